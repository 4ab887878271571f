"""The replies being written: stop means stop, also for a reply that is about to begin.

A turn is claimed, then recalled, then written: who says stop meanwhile means it all the same. So what was said is
remembered for a while, and counts for every turn whose messages are older.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TypeVar

from core.types import ConversationKey, Turn

REMEMBERED = 2_000  # stops, and chats that were left

Key = TypeVar("Key")


@dataclass(slots=True)
class Growing:
    """A reply being written, and how to end it."""

    conversation: ConversationKey  # where it is now
    task: asyncio.Task[object]
    conversation_id: int = 0
    text: str = ""  # so far
    stopped: bool = False
    left: bool = False  # the chat is gone: nothing more may be sent

    @property
    def ending(self) -> str:
        """Why it ended, as a reply's reason."""
        return "left" if self.left else "stopped"

    def end(self, *, left: bool) -> None:
        """End it where it stands; once."""
        self.stopped, self.left = True, left
        self.task.cancel()


class GrowingReplies:
    """At most one for each conversation, as many as turns run."""

    def __init__(self) -> None:
        self._growing: dict[int, Growing] = {}  # by turn
        self._stopped: OrderedDict[ConversationKey, float] = OrderedDict()
        self._left: OrderedDict[tuple[str, str], float] = OrderedDict()

    def begin(self, turn: Turn, task: asyncio.Task[object]) -> Growing:
        """From now on it can be ended; it is already where a stop came after its newest message."""
        key, newest = turn.conversation, turn.messages[-1].accepted_at
        left = self._left.get(_chat(key), 0.0) > newest
        growing = Growing(
            key, task, turn.conversation_id, stopped=left or self._stopped.get(key, 0.0) > newest, left=left
        )
        self._growing[turn.id] = growing
        return growing

    def text(self, conversation_id: int) -> tuple[int, str] | None:
        """The turn being written there, and its text so far; None when none is."""
        for turn, growing in self._growing.items():
            if growing.conversation_id == conversation_id:
                return turn, growing.text
        return None

    def end(self, turn: Turn) -> None:
        """It is written, or given up."""
        self._growing.pop(turn.id, None)

    def stop(self, conversation: ConversationKey, at: float) -> bool:
        """End the reply to what was said there before `at`; False when none is being written."""
        _remember(self._stopped, conversation, at)
        growing = next((one for one in self._growing.values() if one.conversation == conversation), None)
        if growing is None or growing.stopped:
            return False
        growing.end(left=False)
        return True

    def move(self, conversation: ConversationKey, chat_id: str) -> None:
        """The chat has another id from now on: a reply being written is stopped there."""
        for growing in self._growing.values():
            if _chat(growing.conversation) == _chat(conversation):
                growing.conversation = replace(growing.conversation, chat_id=chat_id)

    def leave(self, conversation: ConversationKey, at: float) -> None:
        """End every reply in that chat, whatever its thread."""
        _remember(self._left, _chat(conversation), at)
        for growing in self._growing.values():
            if _chat(growing.conversation) == _chat(conversation) and not growing.stopped:
                growing.end(left=True)


def _chat(conversation: ConversationKey) -> tuple[str, str]:
    return conversation.channel, conversation.chat_id


def _remember(times: OrderedDict[Key, float], key: Key, at: float) -> None:
    times[key] = at
    times.move_to_end(key)
    if len(times) > REMEMBERED:
        times.popitem(last=False)
