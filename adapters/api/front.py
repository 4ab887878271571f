"""The API's routes. Each needs a Bearer key, compared in constant time; a closed connection stops its generation."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncGenerator, Callable, Set
from contextlib import aclosing

from aiohttp import web

from adapters.api.convert import Ask, Completion, Head, joined, parse, result
from core.channel import Gateway
from core.errors import EngineError, EngineRefused, RequestError
from core.types import ConversationKey, Delta, InboundMessage, MessageState, Sampling, Usage

LONGEST_WAIT = 60.0  # seconds of one long poll


class Front:
    """Answers HTTP; the gateway does the rest."""

    def __init__(
        self,
        name: str,
        bot: str,
        keys: Set[bytes],
        gateway: Gateway,
        clock: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self._name = name
        self._bot = bot
        self._keys = keys
        self._gateway = gateway
        self._clock = clock
        self._new_id = new_id

    async def ask(self, request: web.Request) -> web.Response:
        """Queue a question; 202 with the task's id once it is on disk."""
        key = self._key(request)
        self._gateway.admit(request)
        body = parse(Ask, await request.read())
        bot = body.bot or self._bot
        if bot not in self._gateway.bots():
            raise RequestError(404, f"There is no bot {bot!r}.", code="model_not_found")
        task_id = self._new_id()
        message = InboundMessage(
            event_id=task_id,
            conversation=ConversationKey(self._name, bot, f"{key}:{body.conversation or task_id}"),
            user_id=f"{key}:{body.user or ''}",
            text=body.text,
            language=body.language,
            merge=False,
        )
        receipt = await self._gateway.receive(message)
        if receipt.state is MessageState.THROTTLED:
            outcome = await self._gateway.outcome(self._name, task_id)
            text = outcome.text if outcome and outcome.text else "This user is over the limit; try again later."
            raise RequestError(429, text, code="rate_limit_exceeded", retry_after=5)
        return web.json_response({"task_id": task_id, "status": receipt.state.value}, status=202)

    async def result(self, request: web.Request) -> web.Response:
        """What became of a task; `?wait=20` waits for it, up to that many seconds."""
        key = self._key(request)
        task_id = request.match_info["task_id"]
        outcome = await self._gateway.outcome(self._name, task_id)
        if outcome is None or outcome.user_id.partition(":")[0] != key:
            raise RequestError(404, "There is no such task.", code="task_not_found")
        seconds = _seconds(request.query.get("wait", "0"))
        if seconds and outcome.state in (MessageState.WAITING, MessageState.RUNNING):
            await self._gateway.answered(outcome.conversation, task_id, seconds)
            outcome = await self._gateway.outcome(self._name, task_id) or outcome
        return web.json_response(result(task_id, outcome))

    async def models(self, request: web.Request) -> web.Response:
        """Each bot as a model, and the engine's own model."""
        self._key(request)
        names = (*self._gateway.bots(), *filter(None, (self._gateway.engine_model(),)))
        cards = [{"id": name, "object": "model", "created": 0, "owned_by": "frontdesk"} for name in names]
        return web.json_response({"object": "list", "data": cards})

    async def complete(self, request: web.Request) -> web.StreamResponse:
        """OpenAI's chat completion, streamed or whole."""
        self._key(request)
        self._gateway.admit(request)
        body = parse(Completion, await request.read())
        if body.model not in (*self._gateway.bots(), self._gateway.engine_model()):
            raise RequestError(404, f"There is no model {body.model!r}; see GET /v1/models.", code="model_not_found")
        head = Head(f"chatcmpl-{self._new_id()}", int(self._clock()), body.model)
        try:
            async with aclosing(self._deltas(body, head)) as deltas:
                if body.stream:
                    return await self._stream(request, body, head, deltas)
                return web.json_response(head.whole(*joined([delta async for delta in deltas])))
        except EngineRefused as error:
            raise RequestError(400, f"The model refused the request: {error}") from error

    def _deltas(self, body: Completion, head: Head) -> AsyncGenerator[Delta, None]:
        named = body.model in self._gateway.bots()
        sampling = body.sampling(self._gateway.bot(body.model).sampling if named else Sampling())
        messages = [message.plain() for message in body.messages]
        return self._gateway.converse(body.model if named else "", messages, sampling, head.id)

    async def _stream(
        self, request: web.Request, body: Completion, head: Head, deltas: AsyncGenerator[Delta, None]
    ) -> web.StreamResponse:
        # The first delta decides between an error status and a stream: after the first byte it is too late.
        first = await anext(deltas, Delta(finish="stop"))
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store"}
        )
        await response.prepare(request)
        await response.write(head.chunk({"role": "assistant", "content": ""}, None))
        usage, finish = await self._write(response, head, first)
        try:
            async for delta in deltas:
                counted, ended = await self._write(response, head, delta)
                usage, finish = counted or usage, ended or finish
        except EngineError as error:
            await response.write(head.failure(f"The reply broke off: {type(error).__name__}"))
            return response
        await response.write(head.chunk({}, finish or "stop"))
        if body.stream_options and body.stream_options.include_usage:
            await response.write(head.usage(usage or Usage()))
        await response.write(b"data: [DONE]\n\n")
        return response

    @staticmethod
    async def _write(response: web.StreamResponse, head: Head, delta: Delta) -> tuple[Usage | None, str]:
        if delta.text:
            await response.write(head.chunk({"content": delta.text}, None))
        return delta.usage, delta.finish

    def _key(self, request: web.Request) -> str:
        """A fingerprint of the caller's key. Raises RequestError 401."""
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        digest = hashlib.sha256(given.strip().encode("utf-8", "surrogateescape")).digest()
        known = [hmac.compare_digest(digest, key) for key in self._keys]
        if scheme.lower() != "bearer" or not any(known):
            self._gateway.admit(request)  # guessing is limited, too
            raise RequestError(401, "A valid API key is needed: Authorization: Bearer <key>.", code="invalid_api_key")
        return digest.hex()[:16]


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        raise RequestError(400, "wait: a number of seconds is needed.") from None
    return min(max(seconds, 0.0), LONGEST_WAIT)
