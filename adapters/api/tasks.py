"""Tasks: a question is on disk before it is acknowledged, and belongs to the key that asked it."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from adapters.api.answers import OPEN, STATUS, Task, result_of
from adapters.api.callbacks import Callbacks
from adapters.api.convert import Ask, AskHeaders, ResultQuery, parse, parse_named
from adapters.api.door import Caller, admits, as_json
from adapters.api.following import Following, wants_events
from adapters.api.repeats import BODY, Call, Repeats, digest_of
from core.channel import Gateway
from core.errors import RequestError
from core.types import ConversationKey, InboundMessage, MessageState, Outcome, Receipt

LONGEST_WAIT = 60.0  # seconds of one long poll
THROTTLED_SECONDS = 5.0  # until somebody who is over their limit may try again


class Tasks:
    """`/ask` and `/result`."""

    def __init__(
        self,
        name: str,
        bot: str,
        gateway: Gateway,
        following: Following,
        callbacks: Callbacks,
        new_id: Callable[[], str],
    ) -> None:
        self._name = name
        self._bot = bot
        self._gateway = gateway
        self._following = following
        self._callbacks = callbacks
        self._new_id = new_id
        self._repeats = Repeats(name, gateway)

    async def ask(self, request: web.Request, caller: Caller) -> web.Response:
        """Queue a question.

        It is on disk when this answers. With an `Idempotency-Key` the call can be made again as often as needed, for
        instance when its connection broke: the first one counts, and a repeat has `Idempotent-Replayed: true`. With a
        `callback_url` its end is posted there, too.
        """
        named = parse_named(AskHeaders, request.headers).idempotency_key
        body = parse(Ask, await request.read())
        bot = body.bot or self._bot
        if bot not in self._gateway.bots():
            raise RequestError(404, f"There is no bot {bot!r}.", code="model_not_found")
        admits(caller, bot)
        key = caller.key
        digest = {BODY: digest_of(body)} if named else {}

        def message(task_id: str) -> InboundMessage:
            return InboundMessage(
                event_id=task_id,
                conversation=ConversationKey(self._name, bot, f"{key}:{body.conversation or task_id}"),
                user_id=f"{key}:{body.user or ''}",
                text=body.text,
                address=digest | self._callbacks.address(task_id, body.callback_url),
                language=body.language,
                merge=False,
            )

        if named:
            task_id, receipt = await self._repeats.receive(Call(key, named, digest[BODY]), message)
        else:
            task_id = self._new_id()
            receipt = await self._gateway.receive(message(task_id))
        return await self._acknowledged(task_id, receipt)

    async def _acknowledged(self, task_id: str, receipt: Receipt) -> web.Response:
        if receipt.state is MessageState.BLOCKED:
            raise RequestError(403, "This user is blocked: nothing of theirs is answered.", code="user_blocked")
        if receipt.state is MessageState.THROTTLED:
            outcome = await self._gateway.outcome(self._name, task_id)
            text = outcome.text if outcome and outcome.text else "This user is over the limit; try again later."
            raise RequestError(429, text, code="rate_limit_exceeded", retry_after=THROTTLED_SECONDS)
        answer = as_json(Task(task_id, STATUS[receipt.state]), 202)
        if receipt.duplicate:
            answer.headers["Idempotent-Replayed"] = "true"
        return answer

    async def result(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        """What became of a task.

        At once, or after up to `wait` seconds. With `Accept: text/event-stream` it is told as it happens, by events
        that carry JSON. `status` (task_id, status): it has changed. `delta` (text): the growing answer goes on with
        this. `draft` (text): this stands in place of all that came before. `result`: all that this answers otherwise,
        and the last one.
        """
        query = parse_named(ResultQuery, request.query)
        task_id = request.match_info["task_id"]
        outcome = await self._outcome(task_id, caller.key)
        if request.method == "GET" and wants_events(request.headers.get("Accept", "")):
            return await self._following.follow(request, task_id, outcome)
        if query.wait > 0 and outcome.state in OPEN:
            await self._gateway.answered(outcome.conversation, task_id, min(query.wait, LONGEST_WAIT))
            outcome = await self._outcome(task_id, caller.key)
        return as_json(result_of(task_id, outcome))

    async def _outcome(self, task_id: str, key: str) -> Outcome:
        outcome = await self._gateway.outcome(self._name, task_id)
        if outcome is None or outcome.user_id.partition(":")[0] != key:
            raise RequestError(404, "There is no such task.", code="task_not_found")
        return outcome
