"""What is remembered of chats for a while, in bounded memory; after a restart it is empty, which costs no message.

Without it: an album's pictures without words are answered apart from its caption, and a reply to our newest message is
quoted to the model although it knows it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

from core.types import ConversationKey, InboundMessage

_MOST = 2_000

Key = TypeVar("Key")
Value = TypeVar("Value")


class Bounded(Generic[Key, Value]):
    """The newest `most` values put under their keys."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._values: OrderedDict[Key, Value] = OrderedDict()

    def put(self, key: Key, value: Value) -> None:
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._most:
            self._values.popitem(last=False)

    def get(self, key: Key) -> Value | None:
        return self._values.get(key)

    def pop(self, key: Key) -> Value | None:
        return self._values.pop(key, None)

    def __contains__(self, key: object) -> bool:
        return key in self._values


class Recent:
    """Asked while an update is read, told what was received and said."""

    def __init__(self) -> None:
        self._newest: Bounded[ConversationKey, int] = Bounded()  # our newest message
        self._replied: Bounded[tuple[ConversationKey, str], int] = Bounded()  # and the one when a person's was written
        self._albums: Bounded[str, str] = Bounded()  # album -> its message with words

    def said(self, conversation: ConversationKey, message_id: int) -> None:
        """We said something new."""
        self._newest.put(conversation, message_id)

    def newest(self, conversation: ConversationKey, source_id: str) -> int:
        """Our newest message there when the person's message was first read, so that an edit of it is read the same."""
        known = self._replied.get((conversation, source_id))
        if known is None:
            known = self._newest.get(conversation) or 0
            self._replied.put((conversation, source_id), known)
        return known

    def part_of_album(self, album: str, message: InboundMessage) -> bool:
        """Whether it is a wordless part of an album whose caption was read. Telegram sends the parts one by one."""
        if album and message.text:
            self._albums.put(album, message.source_id)
        return message.unreadable and self._albums.get(album) is not None
