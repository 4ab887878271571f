"""A call that is made again is the same task: its id follows from the caller's key and the call's own, and the ledger,
where an id stands once, does the rest. So it holds after a restart and for calls at the same moment.

A call that was refused (its user is over a limit, or blocked) did nothing, so its repeat is a new try, under the next
id; it is made only when the one before is known to be refused, which is for good. So at most one of them is answered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import orjson

from adapters.api.convert import Ask
from core.channel import Gateway
from core.errors import RequestError
from core.types import InboundMessage, MessageState, Receipt

REFUSED = (MessageState.THROTTLED, MessageState.BLOCKED)
BODY = "body"  # where a message's address keeps the digest of its call's body


@dataclass(frozen=True, slots=True)
class Call:
    """A call to /ask that its caller gave a name."""

    fingerprint: str  # of the API key
    name: str  # the Idempotency-Key
    digest: str  # of what is asked

    def task_id(self, tries: int) -> str:
        """The id after so many refused tries: 32 hexadecimal digits."""
        return hashlib.sha256(f"{self.fingerprint}:{tries}:{self.name}".encode()).hexdigest()[:32]


def digest_of(body: Ask) -> str:
    """The same for bodies that ask the same, however they are written down."""
    asked = body.model_dump()
    if body.callback_url is None:
        del asked["callback_url"]  # as it was before there was such a field, or repeats over an update were refused
    return hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()


class Repeats:
    """Receives named calls, each once."""

    def __init__(self, channel: str, gateway: Gateway) -> None:
        self._channel = channel
        self._gateway = gateway

    async def receive(self, call: Call, message: Callable[[str], InboundMessage]) -> tuple[str, Receipt]:
        """The task's id and the receipt, a duplicate's for a repeat; `message` makes the task of that id. Raises
        RequestError 422 when the name was given to another body before, LedgerError."""
        task_id = call.task_id(0)
        receipt = await self._gateway.receive(message(task_id))
        if not receipt.duplicate:
            return task_id, receipt
        first = await self._gateway.outcome(self._channel, task_id)
        if first is not None and first.address.get(BODY) != call.digest:
            words = "This Idempotency-Key came with another body before; something new needs a key of its own."
            raise RequestError(422, words, code="idempotency_key_reused")
        if receipt.state in REFUSED:
            task_id = call.task_id(await self._refused_tries(call))
            receipt = await self._gateway.receive(message(task_id))
        return task_id, receipt

    async def _refused_tries(self, call: Call) -> int:
        """How many there were, at least one; found in few looks, since a caller may have tried for days."""
        low, high = 0, 1
        while await self._was_refused(call.task_id(high)):
            low, high = high, high * 2
        while high - low > 1:
            middle = (low + high) // 2
            if await self._was_refused(call.task_id(middle)):
                low = middle
            else:
                high = middle
        return high

    async def _was_refused(self, task_id: str) -> bool:
        outcome = await self._gateway.outcome(self._channel, task_id)
        return outcome is not None and outcome.state in REFUSED
