"""What people see in their chats with the simulated bot: every message with all its versions, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Version:
    """A text as it stood from `at` on, in seconds of the simulator's clock."""

    text: str
    at: float


@dataclass(slots=True)
class ChatMessage:
    """A message in a chat; `versions` has more than one after edits."""

    message_id: int
    by_bot: bool
    versions: list[Version]
    reply_to: int = 0
    thread_id: int = 0
    asked: dict[str, object] = field(default_factory=dict)  # the call's parameters
    rich: str = ""  # the HTML of a rich message

    @property
    def text(self) -> str:
        return self.versions[-1].text


class SimulatedChats:
    """All chats. The oldest chats, messages and versions between the first and the last are forgotten first."""

    def __init__(
        self, clock: Callable[[], float], *, chats: int = 20_000, messages: int = 1_000, versions: int = 200
    ) -> None:
        self._clock = clock
        self._limits = (chats, messages, versions)
        self._chats: OrderedDict[int, OrderedDict[int, ChatMessage]] = OrderedDict()
        self._newest: OrderedDict[int, int] = OrderedDict({0: 100})  # ids, by whose sequence they are of
        self.types: OrderedDict[int, str] = OrderedDict()

    def read(self, chat_id: int) -> tuple[ChatMessage, ...]:
        """Everything a person sees there, oldest first."""
        chat = self._chats.get(chat_id)
        return tuple(chat.values()) if chat else ()

    def find(self, chat_id: int, message_id: int) -> ChatMessage | None:
        chat = self._chats.get(chat_id)
        return chat.get(message_id) if chat else None

    def new_id(self, chat_id: int) -> int:
        """One sequence for private chats and basic groups, and each supergroup's own: see lost.py."""
        return self._take_id(chat_id, 0)

    def _take_id(self, chat_id: int, message_id: int) -> int:
        sequence = 0 if self.type_of(chat_id) in ("private", "group") else chat_id
        newest = self._newest.get(sequence, 0)
        self._newest[sequence] = max(newest, message_id or newest + 1)
        self._newest.move_to_end(sequence)
        if len(self._newest) > self._limits[0]:
            self._newest.popitem(last=False)
        return message_id or newest + 1

    def add(
        self,
        chat_id: int,
        text: str,
        *,
        by_bot: bool,
        message_id: int = 0,
        reply_to: int = 0,
        thread_id: int = 0,
        asked: dict[str, object] | None = None,
    ) -> ChatMessage:
        """Put a message at the end of a chat."""
        most_chats, most_messages, _ = self._limits
        chat = self._chats.setdefault(chat_id, OrderedDict())
        message = ChatMessage(
            self._take_id(chat_id, message_id),
            by_bot,
            [Version(text, self._clock())],
            reply_to,
            thread_id,
            asked or {},
        )
        chat[message.message_id] = message
        if len(chat) > most_messages:
            chat.popitem(last=False)
        if len(self._chats) > most_chats:
            self._chats.popitem(last=False)
        return message

    def edit(self, message: ChatMessage, text: str, *, rich: str = "") -> None:
        """A plain text over a rich message takes its looks away."""
        message.rich = rich
        if len(message.versions) >= self._limits[2]:
            del message.versions[1]
        message.versions.append(Version(text, self._clock()))

    def delete(self, chat_id: int, message_id: int) -> None:
        """A person deletes a message for everybody."""
        self._chats.get(chat_id, OrderedDict()).pop(message_id, None)

    def name_type(self, chat_id: int, kind: str) -> None:
        self.types[chat_id] = kind
        if len(self.types) > self._limits[0]:
            self.types.popitem(last=False)

    def type_of(self, chat_id: int) -> str:
        return self.types.get(chat_id) or ("private" if chat_id > 0 else "supergroup")
