"""Call-backs: whoever asked with a `callback_url` is told how it ended, once for each end under the id of that end.

The address stands with the message and with its reply's delivery, so the outbox carries it over restarts, and tries it
again for about a day. The delivery of a reply that answers several questions has the address of the last one alone; the
others are found in the transcript.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime

import orjson

from adapters.api.answers import STATUS, Result, TaskAnswered, result_of
from adapters.api.posting import Poster
from adapters.api.receivers import Receivers, url_of
from core.channel import Gateway
from core.errors import DeliveryError, RequestError
from core.types import Delivery, Outcome, ReplyKind

TASK, URL = "task", "callback"  # where a message's address keeps them
RECENT = 200  # bubbles that are looked through for the other questions of a reply
HALF_DONE = 1_000  # deliveries some of whose calls are settled and some are not


class Callbacks:
    """Tells, and knows where one may."""

    def __init__(self, name: str, receivers: Receivers, poster: Poster, clock: Callable[[], float]) -> None:
        self._name = name
        self._receivers = receivers
        self._poster = poster
        self._clock = clock
        # By delivery: the calls that are over, each with why it failed for good, or "".
        self._settled: OrderedDict[int, dict[str, str]] = OrderedDict()

    async def close(self) -> None:
        await self._poster.close()

    def address(self, task_id: str, url: str | None) -> dict[str, object]:
        """What a message's address needs for it. Raises RequestError 400 where nothing may be posted."""
        if url is not None and (flaw := self._receivers.flaw(url_of(url))):
            raise RequestError(400, f"callback_url: {flaw}")
        # Also without one of its own: its reply may answer an earlier question that has one.
        kept: dict[str, object] = {} if url is None else {URL: url}
        return kept | {TASK: task_id} if self._receivers else kept

    async def tell(self, delivery: Delivery, gateway: Gateway) -> None:
        """Call those whose questions this reply answers. Raises DeliveryError: retryable while one call is; LedgerError
        before anything is sent."""
        settled = self._settled.pop(delivery.id, {}) if delivery.attempts else {}
        again: DeliveryError | None = None
        for url, name, body in await self._calls(delivery, gateway):
            if name in settled:
                continue
            try:
                await self._post(url, name, body)
                settled[name] = ""
            except DeliveryError as error:
                if error.retryable:
                    again = error
                else:
                    settled[name] = error.reason
        if again is not None:
            if settled:
                self._settled[delivery.id] = settled
                if len(self._settled) > HALF_DONE:
                    self._settled.popitem(last=False)
            raise again
        if reasons := [reason for reason in settled.values() if reason]:
            raise DeliveryError("; ".join(reasons))

    async def _post(self, text: str, name: str, body: bytes) -> None:
        url = url_of(text)
        if self._receivers.flaw(url):  # it was listed when the question came
            raise DeliveryError(f"{url.host}:{url.port} is not in api.callback_hosts any more")
        await self._poster.post(url, name, body)

    async def _calls(self, delivery: Delivery, gateway: Gateway) -> list[tuple[str, str, bytes]]:
        """Address, id and body of each call, oldest question first."""
        task = delivery.address.get(TASK)
        alone = delivery.conversation.chat_id.endswith(f":{task}")  # a conversation without a name has one question
        if not isinstance(task, str) or (URL not in delivery.address and (alone or not self._receivers)):
            return []
        last = await gateway.outcome(self._name, task)
        if last is None or not _has_ended(last):  # erased; or only its place in line was told
            return []
        entries = await gateway.transcript(delivery.conversation, RECENT)
        times = (entry.at for entry in entries if entry.id == f"t{delivery.turn_id}")
        at = next(times, self._clock())
        said = {int(entry.id[1:]): entry.event_id for entry in entries if entry.role == "user"}
        found = [(task, last)]
        for number in sorted((number for number in said if number < last.message_id), reverse=True):
            earlier = await gateway.outcome(self._name, said[number])
            if earlier is None or not _has_ended(earlier) or earlier.kind == ReplyKind.NOTICE:
                continue  # taken back, or answered by the house itself meanwhile
            if _ending(earlier) != _ending(last):  # of the reply before this one
                break
            found.append((said[number], earlier))
        return [_call(task, outcome, at) for task, outcome in reversed(found) if URL in outcome.address]


def _has_ended(outcome: Outcome) -> bool:
    """With words; a throttled one was refused to the caller's face."""
    return bool(outcome.text) and STATUS[outcome.state] == "answered"


def _ending(outcome: Outcome) -> tuple[object, ...]:
    """The same for all questions of one reply. Two replies may end alike (apologies); then the older call is made
    again, under its own id."""
    return outcome.state, outcome.kind, outcome.text, outcome.cut, outcome.model, outcome.usage


def _call(task: str, outcome: Outcome, at: float) -> tuple[str, str, bytes]:
    result = result_of(task, outcome)
    if not isinstance(result, Result):
        raise TypeError("only what has ended with words is told")
    # A set-aside question that the operator has asked anew ends a second time, and that is news.
    name = f"msg_{hashlib.sha256(orjson.dumps(result)).hexdigest()[:32]}"
    timestamp = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    return str(outcome.address[URL]), name, orjson.dumps(TaskAnswered("task.answered", timestamp, result))
