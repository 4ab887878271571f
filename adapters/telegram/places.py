"""Where a message stands and where one goes, as plain values and as the house keeps them: addresses and references."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.telegram.convert import GROUPS
from core.errors import DeliveryError
from core.types import JsonObject


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message goes: `thread_id` and `reply_to` are 0 when there is none, `business` is the business connection
    in whose name it is sent, or ""."""

    chat_id: int
    thread_id: int = 0
    reply_to: int = 0
    business: str = ""
    grouped: bool = False  # several people read there
    topics: bool = False  # several conversations are held there


@dataclass(frozen=True, slots=True)
class Shown:
    """A message of ours in a chat. In a migrated group the chat is not the one that was asked for."""

    chat_id: int
    message_id: int

    @property
    def reference(self) -> str:
        return f"{self.chat_id}:{self.message_id}"


def place_of(address: JsonObject) -> Place:
    """Where an answer goes. Raises DeliveryError on an address that is not ours."""
    chat_id, thread_id = address.get("chat_id"), address.get("thread_id")
    if not isinstance(chat_id, int):
        raise DeliveryError("the address has no chat_id")
    grouped = address.get("chat_type") in GROUPS
    reply_to = message_id_of(address) if grouped else 0
    business = str(address.get("business_connection_id", ""))
    topics = isinstance(thread_id, int) or address.get("is_forum") is True
    return Place(chat_id, thread_id if isinstance(thread_id, int) else 0, reply_to, business, grouped, topics)


def message_id_of(address: JsonObject) -> int:
    """The id of the message that is answered, 0 when it is not known."""
    message_id = address.get("message_id")
    return message_id if isinstance(message_id, int) else 0


def shown_of(reference: str) -> Shown | None:
    """The message that a reference names, None for ""."""
    chat_id, _, message_id = reference.partition(":")
    try:
        return Shown(int(chat_id), int(message_id))
    except ValueError:
        return None
