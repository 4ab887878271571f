"""A Telegram update to a message of the house: pure, and total on any JSON; what is not for us gets a reason instead.

It walks the JSON itself, because PTB's Update.de_json costs 0.25 ms and raises on updates that lack a field.
Fields: core.telegram.org/bots/api#update and #message. Entity offsets are UTF-16 units: core.telegram.org/api/entities.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.types import ConversationKey, InboundMessage

Json = Mapping[str, Any]

TEXT_LIMIT = 4096  # core.telegram.org/bots/api#sendmessage
GROUPS = frozenset({"group", "supergroup"})
_ENTITIES_READ = 100  # Telegram keeps about as many


@dataclass(frozen=True, slots=True)
class Identity:
    """The bot itself; `username` without the @, "" until Telegram has told it."""

    id: int
    username: str = ""


@dataclass(frozen=True, slots=True)
class Skipped:
    """Why an update is not a message for us, in one word for the log."""

    reason: str


def convert(update: object, *, channel: str, bot: str, me: Identity) -> InboundMessage | Skipped:
    """One update as Telegram posts it, parsed from JSON. Private chats are for us, groups when we are addressed."""
    payload = _object(update)
    update_id = _number(payload.get("update_id"))
    if update_id is None:
        return Skipped("not_an_update")
    if not isinstance(payload.get("message"), dict):
        return Skipped(_kind(payload))
    message = _object(payload["message"])
    chat, sender = _object(message.get("chat")), _object(message.get("from"))
    chat_id, user_id, message_id = (
        _number(chat.get("id")),
        _number(sender.get("id")),
        _number(message.get("message_id")),
    )
    if chat_id is None or user_id is None or message_id is None:
        return Skipped("incomplete_message")
    if sender.get("is_bot") is True or message.get("is_automatic_forward") is True:
        return Skipped("not_from_a_person")
    text = _text(message)
    if not text.strip():
        return Skipped("no_text")
    chat_type = _chat_type(chat.get("type"), chat_id)
    if chat_type in GROUPS:
        if not _addressed(message, text, me):
            return Skipped("not_addressed")
        text = _without_address(message, text, me)
    elif chat_type != "private":
        return Skipped("not_a_chat_of_people")
    thread_id = _number(message.get("message_thread_id")) if message.get("is_topic_message") is True else None
    address: dict[str, object] = {"chat_id": chat_id, "chat_type": chat_type, "message_id": message_id}
    if thread_id is not None:
        address["thread_id"] = thread_id
    return InboundMessage(
        event_id=str(update_id),
        conversation=ConversationKey(channel, bot, str(chat_id), "" if thread_id is None else str(thread_id)),
        user_id=str(user_id),
        text=text,
        address=address,
        language=_language(sender.get("language_code")),
        sent_at=float(_number(message.get("date")) or 0),
        # In a group the next message may be another person's, who is owed a reply of their own.
        merge=chat_type == "private",
    )


def utf16_length(text: str) -> int:
    """How Telegram's clients count: in UTF-16 units."""
    return len(text) + sum(letter > "\uffff" for letter in text) if not text.isascii() else len(text)


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _number(value: object) -> int | None:
    # Telegram's ids have at most 52 bits.
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63 else None


def _kind(payload: Json) -> str:
    """The update's kind for the log, also one that is newer than this file."""
    kind = next((key for key in payload if key != "update_id"), "")
    return kind if kind.isidentifier() and len(kind) <= 40 else "unknown_kind"


def _chat_type(value: object, chat_id: int) -> str:
    if isinstance(value, str):
        return value
    return "private" if chat_id > 0 else "group"  # old updates lack it; people's chats have positive ids


def _text(message: Json) -> str:
    value = message.get("text") or message.get("caption")
    return value if isinstance(value, str) else ""


def _language(value: object) -> str:
    tag = value.replace("_", "-").split("-")[0].lower() if isinstance(value, str) else ""
    return tag if tag.isascii() and tag.isalpha() and 2 <= len(tag) <= 3 else ""


def _entities(message: Json) -> list[Json]:
    value = message.get("entities" if message.get("text") else "caption_entities")
    return [_object(entity) for entity in value[:_ENTITIES_READ]] if isinstance(value, list) else []


def _covered(entity: Json, utf16: bytes) -> str:
    offset, length = _number(entity.get("offset")), _number(entity.get("length"))
    if offset is None or length is None or offset < 0 or length < 0:
        return ""
    return utf16[2 * offset : 2 * (offset + length)].decode("utf-16-le", "replace")


def _names_us(entity: Json, utf16: bytes, me: Identity) -> bool:
    kind, name = entity.get("type"), me.username.lower()
    if kind == "text_mention":
        return _number(_object(entity.get("user")).get("id")) == me.id
    if not name:
        return False
    if kind == "mention":
        return _covered(entity, utf16).lower() == f"@{name}"
    return kind == "bot_command" and _covered(entity, utf16).lower().endswith(f"@{name}")


def _replies_to_us(message: Json, me: Identity) -> bool:
    replied = _object(message.get("reply_to_message"))
    # Every message in a forum topic replies to the one that created it, which may be ours without being meant.
    if "forum_topic_created" in replied:
        return False
    if message.get("is_topic_message") is True and replied.get("message_id") == message.get("message_thread_id"):
        return False
    return _number(_object(replied.get("from")).get("id")) == me.id


def _addressed(message: Json, text: str, me: Identity) -> bool:
    if _replies_to_us(message, me):
        return True
    utf16 = text.encode("utf-16-le", "surrogatepass")
    return any(_names_us(entity, utf16, me) for entity in _entities(message))


def _without_address(message: Json, text: str, me: Identity) -> str:
    """The text without the leading "@bot", which is the envelope, not the letter; a command keeps its name."""
    utf16 = text.encode("utf-16-le", "surrogatepass")
    for entity in _entities(message):
        if entity.get("offset") != 0 or not _names_us(entity, utf16, me):
            continue
        covered = _covered(entity, utf16)
        rest = text[len(covered) :]
        if entity.get("type") == "bot_command":
            return covered.rpartition("@")[0] + rest
        return rest.lstrip(" \n,:，：") or text
    return text
