"""Drafts as people see them: one in a chat and thread, for 30 s, replaced under its id, gone with the next message.

core.telegram.org/bots/api#sendmessagedraft.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

LIFETIME_SECONDS = 30.0
_MOST = 10_000


@dataclass(frozen=True, slots=True)
class ShownDraft:
    """A text that grows; `until` in seconds of the simulator's clock."""

    draft_id: int
    text: str
    until: float
    can_stop: bool = False
    keep_on_stop: bool = False


class SimulatedDrafts:
    """The oldest are forgotten first."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.shown = 0  # how often one was, and changed
        self._clock = clock
        self._drafts: OrderedDict[tuple[int, int], ShownDraft] = OrderedDict()

    def show(self, chat_id: int, thread_id: int, draft_id: int, text: str, *, can_stop: bool, keep: bool) -> None:
        """Replaces what is shown there; an empty text shows that the bot thinks."""
        draft = ShownDraft(draft_id, text, self._clock() + LIFETIME_SECONDS, can_stop, keep)
        self._drafts[chat_id, thread_id] = draft
        self.shown += 1
        if len(self._drafts) > _MOST:
            self._drafts.popitem(last=False)

    def read(self, chat_id: int, thread_id: int = 0) -> ShownDraft | None:
        """What is shown there now."""
        draft = self._drafts.get((chat_id, thread_id))
        return draft if draft is not None and self._clock() < draft.until else None

    def sent(self, chat_id: int, thread_id: int) -> None:
        """The bot sent a message there."""
        self._drafts.pop((chat_id, thread_id), None)

    def stop(self, chat_id: int, thread_id: int = 0) -> int:
        """A person presses the stop button; the draft's id, 0 when there is no such button."""
        draft = self.read(chat_id, thread_id)
        if draft is None or not draft.can_stop:
            return 0
        if not draft.keep_on_stop:
            self._drafts.pop((chat_id, thread_id))
        return draft.draft_id
