"""Telegram's flood limits as one budget: final texts go first, growing ones take what is spare, a refusal is obeyed.

The limits are not published as numbers to count on; these are the customary ones: one message a second in one chat,
with bursts tolerated, 30 a second over all chats (core.telegram.org/bots/faq#my-bot-is-hitting-limits), 20 a minute in
one group. Edits count as messages. Drafts are none in their chat, where four a second are customary, but over all chats
they count. What counts in the end is a 429: nothing goes to that chat before its `retry_after` is over, and when two
chats are refused at the same time, nothing goes to any. Outside of groups, first and final texts are held to the rates
only for a minute after a refusal: a person who asks twice in a row shall not wait for a number, and accounts that pay,
and servers of one's own, allow more.
Bounded: the chats that were quiet longest are forgotten first, which at worst costs a refusal.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from adapters.telegram.recent import Bounded

_GROUP_CALLS = 20
_GROUP_SECONDS = 60.0
_GROUP_PAUSE_SECONDS = 3.1  # between a growing text's versions in a group
EDIT_PAUSE_SECONDS = 1.1  # and elsewhere, where a chat takes one message a second
DRAFT_PAUSE_SECONDS = 0.25  # between two drafts in a chat
_DRAFT_EARLY_SECONDS = 0.05  # what their pauses, measured elsewhere, may be shorter now and then
_STRICT_SECONDS = 60.0
_MOMENT = 1e-6  # what rounding leaves of a wait that is over


@dataclass(frozen=True, slots=True)
class Urgency:
    """How far ahead of the rate a call may run: in one chat and one group in calls, over all chats in seconds."""

    chat: float
    group: int
    everywhere: float


# A first text is what the user feels, and stays as the reply's message; its versions are worth the least.
FINAL = Urgency(10.0, _GROUP_CALLS, 1.0)
FIRST = Urgency(5.0, 16, 2.0)
VERSION = Urgency(2.0, 12, 0.7)


class Pace:
    """`clock` in seconds, never going back; `per_second` calls over all chats."""

    def __init__(self, clock: Callable[[], float], *, per_second: float = 30.0, chats: int = 2_000) -> None:
        self._clock = clock
        self._per_second = per_second
        self._paid_until: Bounded[int, float] = Bounded(chats)  # each call in a chat takes up one second
        self._all_paid_until = 0.0
        self._groups: Bounded[int, deque[float]] = Bounded(chats)  # when its newest calls were made
        self._drafted_until: Bounded[int, float] = Bounded(chats)
        self._refused_until: Bounded[int, float] = Bounded(chats)
        self._last_refused: tuple[int, float] = (0, 0.0)  # the chat, and until when
        self._all_refused_until = 0.0
        self._strict_until = 0.0

    def final(self, chat_id: int, *, grouped: bool) -> float:
        """Seconds that a final text has to wait; 0.0: it may go now, and is counted."""
        now = self._clock()
        if wait := self._refused(chat_id, now):
            return wait
        waits = [self._group_wait(chat_id, FINAL, now)] if grouped else []
        if now < self._strict_until:
            waits.append(self._all_paid_until - now - FINAL.everywhere)
            if not grouped:
                waits.append(self._chat_wait(chat_id, FINAL, now))
        if (wait := max(waits, default=0.0)) > _MOMENT:
            return wait
        self._count(chat_id, grouped, now)
        return 0.0

    def growing(self, chat_id: int, *, grouped: bool, first: bool) -> bool:
        """Whether a growing text may be shown now; if so, it is counted."""
        now, urgency = self._clock(), FIRST if first else VERSION
        if self._refused(chat_id, now):
            return False
        if first and not grouped and now >= self._strict_until:
            self._count(chat_id, grouped, now)
            return True
        if self._all_paid_until - now > urgency.everywhere:
            return False
        if (self._group_wait if grouped else self._chat_wait)(chat_id, urgency, now) > 0:
            return False
        calls = self._groups.get(chat_id) if grouped else None
        if calls and now < calls[-1] + _GROUP_PAUSE_SECONDS:
            return False
        self._count(chat_id, grouped, now)
        return True

    def draft(self, chat_id: int, *, first: bool) -> bool:
        """Whether a draft may be shown now; if so, it is counted."""
        now, urgency = self._clock(), FIRST if first else VERSION
        if now < self._strict_until:
            return self.growing(chat_id, grouped=False, first=first)
        drafted_until = self._drafted_until.get(chat_id) or 0.0
        if self._all_paid_until - now > urgency.everywhere or drafted_until - now > _DRAFT_EARLY_SECONDS:
            return False
        self._drafted_until.put(chat_id, max(drafted_until, now) + DRAFT_PAUSE_SECONDS)
        self._count_everywhere(now)
        return True

    def spare(self, chat_id: int) -> bool:
        """Whether a sign that nobody would miss may be sent; it is not counted."""
        now = self._clock()
        return not self._refused(chat_id, now) and self._all_paid_until - now <= VERSION.everywhere

    def look(self, chat_id: int) -> bool:
        """Whether Telegram may be asked for a message there; if so, it is counted: no message in the chat, but a call
        among all."""
        if not self.spare(chat_id):
            return False
        self._count_everywhere(self._clock())
        return True

    def refused(self, chat_id: int, seconds: float) -> None:
        """Telegram wants nothing in this chat for so long; a longer wait stays."""
        now = self._clock()
        until = max(now + seconds, self._refused_until.get(chat_id) or 0.0)
        self._refused_until.put(chat_id, until)
        other, others_until = self._last_refused
        if other not in (0, chat_id) and now < others_until:
            self._all_refused_until = max(self._all_refused_until, now + seconds)
        self._last_refused = (chat_id, until)
        self._strict_until = max(self._strict_until, until + _STRICT_SECONDS)

    def _refused(self, chat_id: int, now: float) -> float:
        wait = max(self._refused_until.get(chat_id) or 0.0, self._all_refused_until) - now
        return wait if wait > _MOMENT else 0.0

    def _chat_wait(self, chat_id: int, urgency: Urgency, now: float) -> float:
        # The call itself takes up a second.
        return (self._paid_until.get(chat_id) or now) + 1.0 - now - urgency.chat

    def _group_wait(self, chat_id: int, urgency: Urgency, now: float) -> float:
        calls = self._groups.get(chat_id)
        if calls is None or len(calls) < urgency.group:
            return 0.0
        return calls[len(calls) - urgency.group] + _GROUP_SECONDS - now

    def _count_everywhere(self, now: float) -> None:
        self._all_paid_until = max(self._all_paid_until, now) + 1.0 / self._per_second

    def _count(self, chat_id: int, grouped: bool, now: float) -> None:
        self._count_everywhere(now)
        if grouped:
            calls = self._groups.get(chat_id) or deque(maxlen=_GROUP_CALLS)
            calls.append(now)
            self._groups.put(chat_id, calls)
        else:
            self._paid_until.put(chat_id, max(self._paid_until.get(chat_id) or 0.0, now) + 1.0)
