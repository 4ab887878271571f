"""A send whose answer was lost is looked for before anything is sent again, and sent again only where a look came after
everything that Slack could still have been doing with it.

Slack has no key that would make a second post the first one: client_msg_id is for its own apps
(github.com/slackapi/java-slack-sdk/issues/852). Nor does it say how long a call may take at the longest; ours wait 15
seconds for an answer. What remains possible: a post that Slack carries out later than SETTLE_SECONDS after we gave up
waiting is shown twice.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import structlog

from adapters.slack import outbound
from adapters.slack.forms import Forms
from adapters.slack.looking import Looking, Mark, seconds
from core.errors import DeliveryError
from core.types import Delivery, Draft, JsonObject

SETTLE_SECONDS = 30.0  # after a lost call, until what it did can be seen
PATIENCE_SECONDS = 600.0  # with a Slack that says "not now" to every look: the part is holding up those after it
DAY_SECONDS = 86_400.0  # how far back is looked for the answer to a slash command, whose time is not known
KEPT = 2_000  # sends and previews that are remembered


class Doubts:
    """What one workspace may have taken without our hearing of it."""

    def __init__(self, name: str, looking: Looking, forms: Forms, clock: Callable[[], float]) -> None:
        self._looking = looking
        self._forms = forms
        self._clock = clock
        self._log = structlog.get_logger().bind(channel=name)
        self._since = clock()  # whatever was lost before is not known here: a process before this one lost it
        self._lost: OrderedDict[int, float] = OrderedDict()  # deliveries, and when their answer was given up
        self._unseen: OrderedDict[int, None] = OrderedDict()  # deliveries of which it was said that nobody can know
        self._previews: OrderedDict[int, None] = OrderedDict()  # turns with a preview that may stand somewhere

    async def lost_preview(self, draft: Draft) -> str | None:
        """The reference of the preview whose answer was just lost, None if it is not seen (yet)."""
        mark = await self._preview(draft.turn_id, draft.address) if self._looking.spare else None
        if mark is not None:
            return mark.reference
        _keep(self._previews, draft.turn_id)
        return None

    async def lost(self, delivery: Delivery, error: DeliveryError) -> str:
        """The reference of the send whose answer was just lost with that error. Raises DeliveryError when it is not
        seen: unclear, and retryable where it can be looked for later."""
        now = self._clock()
        if len(self._lost) >= KEPT:
            self._since = max(self._since, self._lost.popitem(last=False)[1])
        self._lost[delivery.id] = now
        pause: float | None = SETTLE_SECONDS
        try:
            mark = _sent(await self._marks(delivery.address), delivery)
        except DeliveryError as refusal:
            if not refusal.retryable:
                raise self._nobody_knows(
                    delivery, f"{error.reason}, and it cannot be looked for: {refusal.reason}"
                ) from error
            mark, pause = None, refusal.retry_after
        if mark is None:
            raise DeliveryError(error.reason, unclear=True, retryable=True, retry_after=pause) from error
        self._log.info("found", delivery=delivery.id)
        return mark.reference

    async def find(self, delivery: Delivery) -> Mark | None:
        """What stands of a delivery before it is sent into a message of its own: itself, or the preview it belongs
        into. None: it may be sent. Raises DeliveryError when it may not, yet or at all."""
        if delivery.doubts:
            return await self._find_again(delivery)
        if delivery.part > 1 or delivery.reference or delivery.turn_id not in self._previews:
            return None
        return await self._preview(delivery.turn_id, delivery.address)

    async def _find_again(self, delivery: Delivery) -> Mark | None:
        lost_at = self._lost_at(delivery)
        try:
            marks = await self._marks(delivery.address)
        except DeliveryError as error:
            if error.retryable and not (error.retry_after and self._clock() > lost_at + PATIENCE_SECONDS):
                raise
            # Sent all the same where an operator asked for it, of this one by `retry` or of all by
            # dialogue.repeat_unclear: then it comes back after it was said that nobody can know.
            if delivery.attempts and delivery.id not in self._unseen:
                raise self._nobody_knows(delivery, f"whether it was sent cannot be seen: {error.reason}") from error
            return None
        mark = _sent(marks, delivery)
        if mark is not None:
            self._log.info("found", delivery=delivery.id)
            return mark
        wait = lost_at + SETTLE_SECONDS - self._clock()
        if wait > 0:
            raise DeliveryError("it may still be on its way to Slack", retryable=True, retry_after=wait)
        self._log.info("not_found", delivery=delivery.id)
        return _begun(marks, delivery)

    async def _preview(self, turn_id: int, address: JsonObject) -> Mark | None:
        """A look that nothing depends on."""
        try:
            marks = await self._marks(address)
        except DeliveryError as error:
            self._log.info("preview_not_looked_for", turn=turn_id, reason=error.reason)
            return None
        return next((mark for mark in marks if mark.turn == turn_id and not mark.delivery), None)

    async def _marks(self, address: JsonObject) -> list[Mark]:
        if not self._forms.numbers:
            raise DeliveryError("Slack takes no metadata here")
        oldest = seconds(outbound.string(address, "ts")) or self._clock() - DAY_SECONDS
        return await self._looking.marks(address, oldest)

    def _lost_at(self, delivery: Delivery) -> float:
        """Never later than now: a clock that was set back must keep nobody waiting."""
        now = self._clock()
        self._since = min(self._since, now)
        lost_at = min(self._lost.get(delivery.id, self._since), now)
        if delivery.id in self._lost:
            self._lost[delivery.id] = lost_at
        return lost_at

    def _nobody_knows(self, delivery: Delivery, reason: str) -> DeliveryError:
        _keep(self._unseen, delivery.id)
        return DeliveryError(reason, unclear=True)


def _sent(marks: list[Mark], delivery: Delivery) -> Mark | None:
    return next((mark for mark in marks if mark.delivery == delivery.id), None)


def _begun(marks: list[Mark], delivery: Delivery) -> Mark | None:
    """A preview of its turn, where none is recorded."""
    if delivery.part > 1 or delivery.reference:
        return None
    return next((mark for mark in marks if mark.turn == delivery.turn_id and not mark.delivery), None)


def _keep(kept: OrderedDict[int, None], number: int) -> None:
    kept[number] = None
    if len(kept) > KEPT:
        kept.popitem(last=False)
