"""The ledger's port: what the house asks of its durable store, in verbs of what the house does.

Every verb that changes something is durable when it returns, and atomic: all of it happened or none of it. Times come
in as arguments (seconds since the epoch). `tests/contract/test_ledger.py` says what an implementation must keep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from core.audit import AuditEntry
from core.throttle import Rate
from core.types import (
    ConversationKey,
    Delivery,
    Entry,
    HistoryEntry,
    InboundMessage,
    JsonObject,
    MessageState,
    Outcome,
    Receipt,
    Reply,
    Turn,
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a message is throttled, and when the user may write again."""

    reason: str  # "messages" or "tokens"; "blocked": an operator wants no answer for them
    seconds: float


@dataclass(frozen=True, slots=True)
class Admission:
    """The user's limits, and what to tell a user who is over them (once per `notice_seconds`); and what to tell one who
    has to wait because more than `busy_after` conversations do (`busy` takes how many are before, counting theirs)."""

    messages: Rate
    tokens: Rate | None
    notice: Callable[[Refusal], str]
    notice_seconds: float = 60.0
    changed: Callable[[str, str], str] = lambda _, after: after  # how a late edit is put: (before, after)
    busy_after: int = 0  # 0: nobody is told
    busy: Callable[[int], str] = str
    version: str = ""  # of the bot whose phrases these are, and the notice's


@dataclass(frozen=True, slots=True)
class Notice:
    """What the house itself says to a message, in place of the model."""

    text: str
    reason: str
    quiet_seconds: float = 0.0  # not said again in the conversation before that
    fresh: bool = False  # what was said before is no longer part of the conversation
    human: bool = False  # the wish to speak to a person is recorded
    stop: bool = False  # what the same user wrote there and nobody answers yet is taken back


@dataclass(frozen=True, slots=True)
class Burst:
    """How long a message waits for the rest of a burst, and how long and how many at most."""

    wait_seconds: float
    cap_seconds: float
    messages: int


@dataclass(frozen=True, slots=True)
class Counts:
    """The state of the queues."""

    waiting: int
    running: int
    oldest_waiting_at: float | None
    pending_deliveries: int
    failed_deliveries: int
    set_aside: int = 0


class Ledger(Protocol):
    """The durable store of all that was said and what became of it."""

    async def open(self, now: float, repeatable: frozenset[str], repeats: int = 0) -> None:
        """Open the store and take back what a dead process left: its turns go back to the inbox; its sends go back to
        the outbox where a repeat is safe (not begun, or a channel in `repeatable`) and are in doubt elsewhere, as by
        `doubt`. Raises ConfigError when the store cannot be used."""

    async def close(self) -> None:
        """Finish what was begun and refuse the rest."""

    async def accept(
        self, message: InboundMessage, admission: Admission, burst: Burst, now: float, notice: Notice | None = None
    ) -> Receipt:
        """Put a message into the inbox under (channel, event_id); a redelivery finds the same row. Over the limit it is
        recorded as throttled, together with the notice when one is due. With a `notice` it is answered by that, in the
        same transaction. An edit of a message that still waits goes into it; a later one is a message of its own."""

    async def withdraw(self, conversation: ConversationKey, now: float) -> None:
        """The chat is gone with all its threads: what waits there is not answered, what is on its way out is not
        sent."""

    async def move(self, conversation: ConversationKey, chat_id: str) -> None:
        """The chat has another id from now on, in all its threads; where a conversation exists under that id already,
        it stays beside the old one."""

    async def claim(
        self, now: float, lease_seconds: float, merge_messages: int, limit: int, room: int = 0
    ) -> tuple[Turn, ...]:
        """Up to `limit` turns to answer now, people's before tasks. Each is the least recently served user's oldest
        waiting message whose conversation has no running turn, with the messages that came since in that conversation.
        `room` is how many more turns can run at the same time: a user who has as many running as that leaves gets no
        more of them (0: nobody is counted). Fewer than `limit` means that nothing else is ready, or only what such
        users wrote."""

    async def next_ready_at(self, after: float = 0.0) -> float | None:
        """When the first waiting message that is ready later than `after` becomes so; None when there is none."""

    async def renew(self, turns: Sequence[int], lease_until: float) -> None:
        """Prolong the leases of turns that are being answered."""

    async def reclaim(self, now: float) -> int:
        """Hand back the turns whose lease ran out; returns how many."""

    async def release(self, turn: Turn, ready_at: float, *, counted: bool, trouble: str = "") -> None:
        """Hand a claimed turn back to the inbox; `counted`: the try counts as an attempt, and `trouble` is why."""

    async def references(self, turn: Turn) -> frozenset[str]:
        """What is known to stand there by the latest turns of that conversation, its own included, and by the latest
        turns and messages of its channel: references, and the `source_id` of what was said."""

    async def behind(self, turn: Turn) -> bool:
        """Whether parts of an earlier reply in the turn's conversation are still on their way."""

    async def previewed(self, turn: Turn, reference: str) -> None:
        """Record which platform message shows the growing reply. Raises TurnLost."""

    async def commit(
        self,
        turn: Turn,
        reply: Reply,
        parts: Sequence[str],
        tokens: Rate | None,
        now: float,
        *,
        set_aside: bool = False,
    ) -> bool:
        """Close a turn: the reply, the history, the deliveries and the usage, or nothing of it; True when the
        conversation has more to answer. `set_aside`: it is an apology for what failed too often, and the messages are
        recorded as set aside. Raises TurnLost."""

    async def recall(self, turn: Turn, limit: int) -> tuple[HistoryEntry, ...]:
        """The newest `limit` history entries from `turn.history_from` on, oldest first."""

    async def due(self, channel: str, now: float, limit: int) -> tuple[Delivery, ...]:
        """Take up to `limit` deliveries to send now, at most one per conversation and never before an earlier part.
        Fewer than `limit` means that nothing else is due."""

    async def begin(self, delivery: int) -> None:
        """It is about to be sent, in a way that a repeat would show twice."""

    async def next_due_at(self, channel: str) -> float | None:
        """When the channel's next delivery may be sent; None when none is pending."""

    async def sent(self, delivery: int, reference: str, now: float) -> bool:
        """The platform has taken it; True when the conversation has more to deliver."""

    async def postpone(self, delivery: int, due_at: float, reason: str) -> None:
        """It will be tried again."""

    async def fail(self, delivery: int, reason: str) -> None:
        """It will not be tried again."""

    async def doubt(self, delivery: int, reason: str, repeats: int = 0, again_at: float = 0.0) -> bool:
        """Nobody knows whether the platform has it. True: it is sent again at `again_at`, which was done fewer than
        `repeats` times before; else it is `unclear`, and stays so."""

    async def waiting_parts(self, conversation: ConversationKey, taken_by: str) -> tuple[Delivery, ...]:
        """For pull channels: the parts handed over under `taken_by`, or else those pending, oldest first."""

    async def hand_over(self, deliveries: Iterable[int], taken_by: str, now: float) -> frozenset[int]:
        """For pull channels: mark as sent under `taken_by` those that are pending; returns those that are now its own,
        whether they were pending or it had them already."""

    async def outcome(self, channel: str, event_id: str) -> Outcome | None:
        """What became of a message."""

    async def state(self, channel: str, event_id: str) -> MessageState | None:
        """The state alone, cheaper than `outcome`."""

    async def transcript(self, conversation: ConversationKey, limit: int) -> tuple[Entry, ...]:
        """The newest `limit` bubbles, oldest first."""

    async def feedback(self, conversation: ConversationKey, turn: int, user_id: str, vote: str, now: float) -> bool:
        """Store a vote ("good", "bad" or "") with an answer of that conversation; False when it has no such answer."""

    async def keep(self, channel: str, name: str, value: JsonObject | None) -> None:
        """Remember a fact of a channel under that name, in place of the one before; None forgets it."""

    async def kept(self, channel: str, name: str) -> JsonObject | None:
        """The fact of that name; None when there is none."""

    async def forget(self, messages_before: float, audit_before: float, now: float, limit: int) -> int:
        """Delete what ended before these times, the oldest first and nothing that is under way: up to `limit` turns,
        messages and audit rows each; how many that were. 0: nothing is left to forget. The audit record says up to
        where it was forgotten."""

    async def record(self, entry: AuditEntry, now: float) -> None:
        """Append to the audit record."""

    async def counts(self) -> Counts:
        """The state of the queues."""

    async def check(self) -> str:
        """Write and read once; "" when well, else what is wrong."""
