"""Who is meant by a message in a group: only what Telegram itself marks as ours counts, never a look-alike name.

The rule: a mention, a command with our name (`/help@bot`), or a reply to us. A command without a name is for us only as
a reply to us: with privacy mode off, `/help` in a group may be meant for any of its bots. A command that names another
bot is never for us. Entity offsets are UTF-16 units: core.telegram.org/api/entities.
"""

from __future__ import annotations

from dataclasses import dataclass

from adapters.telegram.fields import Json, number_of, object_of

_ENTITIES_READ = 100  # Telegram keeps about as many


@dataclass(frozen=True, slots=True)
class Identity:
    """The bot itself; `username` without the @, "" until Telegram has told it."""

    id: int
    username: str = ""


def addressed(message: Json, text: str, me: Identity) -> bool:
    """Whether a message in a group is for us."""
    utf16 = text.encode("utf-16-le", "surrogatepass")
    found = _entities(message)
    if any(_names_us(entity, utf16, me) for entity in found):
        return True
    return _replies_to_us(message, me) and not any(_commands_another(entity, utf16) for entity in found)


def without_address(message: Json, text: str, me: Identity) -> str:
    """The text without the leading "@bot", which is the envelope, not the letter; a command keeps its name."""
    utf16 = text.encode("utf-16-le", "surrogatepass")
    for entity in _entities(message):
        if entity.get("offset") != 0 or not _names_us(entity, utf16, me):
            continue
        covered = _covered(entity, utf16)
        rest = text[len(covered) :]
        if entity.get("type") == "bot_command":
            return covered.rpartition("@")[0] + rest
        return rest.lstrip(" \n,:，：") or "/help"  # called by name and nothing else
    return text


def opens_topic(message: Json) -> bool:
    """Whether its reply is none: a message in a forum topic replies to the one that created the topic."""
    replied = object_of(message.get("reply_to_message"))
    if "forum_topic_created" in replied:
        return True
    return message.get("is_topic_message") is True and replied.get("message_id") == message.get("message_thread_id")


def _entities(message: Json) -> list[Json]:
    value = message.get("entities" if message.get("text") else "caption_entities")
    return [object_of(entity) for entity in value[:_ENTITIES_READ]] if isinstance(value, list) else []


def _covered(entity: Json, utf16: bytes) -> str:
    offset, length = number_of(entity.get("offset")), number_of(entity.get("length"))
    if offset is None or length is None or offset < 0 or length < 0:
        return ""
    return utf16[2 * offset : 2 * (offset + length)].decode("utf-16-le", "replace")


def _names_us(entity: Json, utf16: bytes, me: Identity) -> bool:
    kind, name = entity.get("type"), me.username.lower()
    if kind == "text_mention":
        return number_of(object_of(entity.get("user")).get("id")) == me.id
    if not name:
        return False
    if kind == "mention":
        return _covered(entity, utf16).lower() == f"@{name}"
    return kind == "bot_command" and _covered(entity, utf16).lower().endswith(f"@{name}")


def _commands_another(entity: Json, utf16: bytes) -> bool:
    return entity.get("type") == "bot_command" and entity.get("offset") == 0 and "@" in _covered(entity, utf16)


def _replies_to_us(message: Json, me: Identity) -> bool:
    if opens_topic(message):
        return False
    return number_of(object_of(object_of(message.get("reply_to_message")).get("from")).get("id")) == me.id
