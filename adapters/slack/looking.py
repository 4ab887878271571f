"""What we have shown is found again by the numbers that our messages carry, never by their words; what we may not read
we do not ask for twice.

A message is posted with its turn's number as metadata, and a final one with its delivery's, too
(docs.slack.dev/messaging/message-metadata). chat.startStream takes none (docs.slack.dev/reference/methods/
chat.startStream), so a stream has no number.

Reading takes the history scope of that kind of conversation, and membership (docs.slack.dev/reference/methods/
conversations.history). conversations.replies' page says that bot tokens cannot read threads in channels; with
channels:history they do (github.com/ColeMurray/background-agents/pull/59), and where they do not, it is one more
refusal. 50 calls a minute; of an app sold outside Slack's Marketplace one, and 15 messages
(docs.slack.dev/changelog/2025/05/29/rate-limit-changes-for-non-marketplace-apps).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from adapters.slack import outbound
from adapters.slack.api import Allowance, CallRefused, SlackApi
from adapters.slack.events import fields
from adapters.slack.signature import WINDOW
from core.errors import DeliveryError
from core.types import JsonObject, Turn

PAGES = 5  # of a conversation that are read at most
REFUSALS_KEPT = 2_000

_ONE_THREAD = "thread_not_found"  # and no other place


@dataclass(frozen=True, slots=True)
class Mark:
    """A message of ours that stands in a conversation."""

    reference: str
    ts: float  # by Slack's clock
    turn: int = 0  # 0: it carries no number
    delivery: int = 0  # 0: a preview


class Looking:
    """Reads the conversations of one workspace."""

    def __init__(self, name: str, api: SlackApi, clock: Callable[[], float]) -> None:
        self._api = api
        self._log = structlog.get_logger().bind(channel=name)
        self._looks = Allowance(clock)
        self._own: frozenset[str] = frozenset()  # the bot's user id and its bot id
        self._refused: OrderedDict[str, str] = OrderedDict()  # where, and why

    @property
    def spare(self) -> bool:
        """Whether there is room for a look that nothing depends on."""
        return self._looks.room

    async def preview(self, turn: Turn, known: frozenset[str]) -> str | None:
        """The reference of what an attempt that died had shown of its reply to that turn. Raises DeliveryError when it
        may be asked again."""
        first = turn.messages[0]
        # What came by a slash command has no time of Slack's; its clock is at most so far from ours.
        oldest = first.sent_at or first.accepted_at - WINDOW
        try:
            marks = await self.marks(turn.address, oldest)
        except DeliveryError as error:
            if error.retryable:
                raise
            return None
        return _preview_of(turn, [mark for mark in marks if mark.reference not in known], known)

    async def marks(self, address: JsonObject, oldest: float) -> list[Mark]:
        """Our messages there that are newer than `oldest`, oldest first.

        Raises DeliveryError: retryable when it may be asked again, and else when it cannot be known.
        """
        place = outbound.string(address, "channel")
        if reason := self._refused.get(_kind(place)) or self._refused.get(place):
            raise DeliveryError(reason)
        own, found, cursor = await self._who(), list[Mark](), ""
        for _ in range(PAGES):
            self._looks.take()
            answer = await self._page(place, *outbound.reading(address, oldest, cursor))
            found += _marks(place, answer, own)
            cursor = outbound.string(fields(answer.get("response_metadata")), "next_cursor")
            if not cursor:
                return sorted((mark for mark in found if mark.ts > oldest), key=lambda mark: mark.ts)
        raise DeliveryError("more was written there since than is read")

    async def _page(self, place: str, method: str, arguments: dict[str, object]) -> Mapping[str, object]:
        try:
            answer, _ = await self._api.call(method, arguments, repeatable=True, form=True)
        except CallRefused as refusal:
            self._looks.pause(refusal.retry_after or 0.0)
            if not refusal.retryable and refusal.code != _ONE_THREAD:
                self._never(place, refusal)
            raise
        return answer

    def _never(self, place: str, refusal: CallRefused) -> None:
        """Not asked again by this process, and said once."""
        kind = _kind(place)
        where = kind if kind and refusal.code == "missing_scope" else place
        self._refused[where] = refusal.reason
        if len(self._refused) > REFUSALS_KEPT:
            self._refused.popitem(last=False)
        needed = "im:history" if kind else "channels:history, in private ones groups:history"
        self._log.warning("looking_refused", place=where, reason=refusal.code, needed=needed)

    async def _who(self) -> frozenset[str]:
        if not self._own:
            who, _ = await self._api.call("auth.test", {}, repeatable=True)
            self._own = frozenset(filter(None, (outbound.string(who, key) for key in ("user_id", "bot_id"))))
        return self._own


def _kind(place: str) -> str:
    """One scope is for all direct messages; a channel's id does not say which of the others is its."""
    return "D" if place.startswith("D") else ""


def _marks(place: str, answer: Mapping[str, object], own: frozenset[str]) -> list[Mark]:
    messages = answer.get("messages")
    return [
        _mark(place, message)
        for message in map(fields, messages if isinstance(messages, list) else ())
        if not own.isdisjoint(outbound.string(message, key) for key in ("user", "bot_id")) and _ts(message) > 0
    ]


def _mark(place: str, message: JsonObject) -> Mark:
    metadata = fields(message.get("metadata"))
    ours = metadata.get("event_type") == outbound.NUMBERS_EVENT
    payload = fields(metadata.get("event_payload")) if ours else {}
    turn, delivery = (_number(payload.get(key)) for key in ("turn", "delivery"))
    return Mark(f"{place}:{outbound.string(message, 'ts')}", _ts(message), turn, delivery)


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _ts(message: JsonObject) -> float:
    return seconds(outbound.string(message, "ts"))


def seconds(ts: str) -> float:
    """A message's ts as seconds, 0.0 if it is none."""
    try:
        return float(ts)
    except ValueError:
        return 0.0


def _preview_of(turn: Turn, marks: list[Mark], known: frozenset[str]) -> str | None:
    """By its number; a stream, by being ours, in the turn's thread, and the newest that belongs to nothing else."""
    numbered = [mark.reference for mark in marks if mark.turn == turn.id and not mark.delivery]
    if numbered:
        return numbered[-1]
    if outbound.thread_of(turn.address) is None:
        return None  # Slack streams in threads only, and elsewhere other conversations may share the place
    # What was lost of an earlier reply stands before what is known of it.
    newest = max((seconds(reference.partition(":")[2]) for reference in known), default=0.0)
    streams = [mark.reference for mark in marks if not mark.turn and mark.ts > newest]
    return streams[-1] if streams else None
