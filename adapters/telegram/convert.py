"""A Telegram update to what it means to the house: pure, and total on any JSON; what is not for us gets a reason.

It walks the JSON itself, because PTB's Update.de_json costs 0.25 ms and raises on updates that lack a field.
Fields: core.telegram.org/bots/api#update and #message.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from adapters.telegram.addressed import Identity, addressed, without_address
from adapters.telegram.fields import Json, name_of, number_of, object_of, text_of
from adapters.telegram.quoted import forwarded, reference
from core.types import ConversationKey, InboundMessage

TEXT_LIMIT = 4096  # core.telegram.org/bots/api#sendmessage
GROUPS = frozenset({"group", "supergroup"})
# What a person may send without words; other messages without words are the service messages of a chat.
WORDLESS = frozenset(
    (
        *("photo", "voice", "video", "video_note", "audio", "document", "sticker", "animation", "location", "contact"),
        *("venue", "dice", "poll", "story", "game", "paid_media", "checklist", "live_photo", "rich_message"),
    )
)
# The kind of update, and whether it is an edit. A business message is a customer's to the bot's owner.
_MESSAGES = {
    "message": False,
    "edited_message": True,
    "business_message": False,
    "edited_business_message": True,
}


@dataclass(frozen=True, slots=True)
class Skipped:
    """Why an update is not a message for us, in one word for the log."""

    reason: str


@dataclass(frozen=True, slots=True)
class Left:
    """The user blocked the bot, or the bot is no longer in the group."""

    conversation: ConversationKey  # the chat's; its topics are gone as well


@dataclass(frozen=True, slots=True)
class Stopped:
    """The user pressed the stop button of a draft."""

    conversation: ConversationKey
    draft_id: int


@dataclass(frozen=True, slots=True)
class Moved:
    """A group became a supergroup, which has another id."""

    conversation: ConversationKey  # as it was
    chat_id: str


@dataclass(frozen=True, slots=True)
class Pressed:
    """A button under a message, of which we send none; its wheel turns until the query is answered."""

    query_id: str


Told = InboundMessage | Left | Stopped | Moved | Pressed | Skipped


def no_command(_: str) -> str:
    """For who knows no commands."""
    return ""


def unknown_newest(_conversation: ConversationKey, _source_id: str) -> int:
    """For who does not know what the bot said last."""
    return 0


def convert(
    update: object,
    *,
    channel: str,
    bot: str,
    me: Identity,
    command: Callable[[str], str] = no_command,
    newest: Callable[[ConversationKey, str], int] = unknown_newest,
) -> Told:
    """One update as Telegram posts it, parsed from JSON. Private chats are for us, groups when we are addressed.

    `command` tells which command of the bot a text is, "" for none; `newest` which message of ours was the newest in a
    conversation when a message (by its source_id) was written, 0 when unknown.
    """
    payload = object_of(update)
    update_id = number_of(payload.get("update_id"))
    if update_id is None:
        return Skipped("not_an_update")
    kind = next((kind for kind in _MESSAGES if isinstance(payload.get(kind), dict)), "")
    if not kind:
        return _event(payload, ConversationKey(channel, bot, ""))
    message = object_of(payload[kind])
    if moved := _moved(message, ConversationKey(channel, bot, "")):
        return moved
    found = _message(message, ConversationKey(channel, bot, ""), me, edited=_MESSAGES[kind])
    if isinstance(found, Skipped):
        return found
    said = replace(found, event_id=str(update_id))
    if "forward_origin" in message:
        return replace(said, text=forwarded(message, said.text))
    if not said.text or said.text.startswith("/") or command(said.text):
        return said  # the house must recognise a command
    return replace(said, text=reference(message, me, newest(said.conversation, said.source_id)) + said.text)


def album_of(update: object) -> str:
    """The id of the album that a message is part of, "" for none."""
    payload = object_of(update)
    for kind in _MESSAGES:
        group = object_of(payload.get(kind)).get("media_group_id")
        if isinstance(group, str):
            return group
    return ""


def utf16_length(text: str) -> int:
    """How Telegram's clients count: in UTF-16 units."""
    return len(text) + sum(letter > "\uffff" for letter in text) if not text.isascii() else len(text)


def _message(message: Json, key: ConversationKey, me: Identity, *, edited: bool) -> InboundMessage | Skipped:
    """All of the message that does not depend on other messages."""
    where, sender = object_of(message.get("chat")), object_of(message.get("from"))
    ids = number_of(where.get("id")), number_of(sender.get("id")), number_of(message.get("message_id"))
    chat_id, user_id, message_id = ids
    if chat_id is None or user_id is None or message_id is None:
        return Skipped("incomplete_message")
    chat_type = _chat_type(where.get("type"), chat_id)
    if reason := _unwanted(message, sender, chat_type, chat_id == user_id):
        return Skipped(reason)
    text = text_of(message)
    text = text if text.strip() else ""
    if not text and (edited or not WORDLESS & message.keys()):
        return Skipped("edited_without_words" if edited else "no_text")  # such as a location that moves
    grouped = chat_type in GROUPS
    if grouped and not addressed(message, text, me):
        return Skipped("not_addressed")
    place, chat, thread_id = _place(message, chat_id, chat_type, message_id)
    return InboundMessage(
        event_id="",
        conversation=replace(key, chat_id=chat, thread_id=thread_id),
        user_id=str(user_id),
        text=without_address(message, text, me) if grouped or text.startswith("/") else text,
        address=place,
        language=_language(sender.get("language_code")),
        sent_at=float(number_of(message.get("date")) or 0),
        # In a group the next message may be another person's, who is owed a reply of their own.
        merge=not grouped,
        source_id=f"{chat_id}:{message_id}",
        edited=edited,
        speaker=name_of(sender) if grouped else "",
        unreadable=not text,
    )


def _unwanted(message: Json, sender: Json, chat_type: str, alone: bool) -> str:
    """Why a message gets no answer whatever it says, "" when it may."""
    if sender.get("is_bot") is True or message.get("is_automatic_forward") is True:
        return "not_from_a_person"
    if chat_type not in GROUPS and chat_type != "private":
        return "not_a_chat_of_people"
    # The owner's own words come as business messages too; the customer is who the chat is named after.
    return "from_the_owner" if "business_connection_id" in message and not alone else ""


def _place(message: Json, chat_id: int, chat_type: str, message_id: int) -> tuple[dict[str, object], str, str]:
    """The address of an answer, and the conversation's chat and thread."""
    place: dict[str, object] = {"chat_id": chat_id, "chat_type": chat_type, "message_id": message_id}
    connection = message.get("business_connection_id")
    if isinstance(connection, str):
        # The same customer may write to the bot itself, too, and blocking that is not leaving this.
        return place | {"business_connection_id": connection}, f"business:{connection}:{chat_id}", ""
    if object_of(message.get("chat")).get("is_forum") is True:
        place["is_forum"] = True
    thread_id = number_of(message.get("message_thread_id")) if message.get("is_topic_message") is True else None
    if thread_id is None:
        return place, str(chat_id), ""
    return place | {"thread_id": thread_id}, str(chat_id), str(thread_id)


def _moved(message: Json, key: ConversationKey) -> Moved | None:
    """Both chats tell it, the old one and the new: core.telegram.org/bots/api#message, migrate_to_chat_id."""
    here = number_of(object_of(message.get("chat")).get("id"))
    new, old = number_of(message.get("migrate_to_chat_id")), number_of(message.get("migrate_from_chat_id"))
    if here is None or (new or old) is None:
        return None
    before, after = (here, new) if new is not None else (old, here)
    return Moved(replace(key, chat_id=str(before)), str(after))


def _event(payload: Json, key: ConversationKey) -> Told:
    """An update that is no message."""
    query_id = object_of(payload.get("callback_query")).get("id")
    if isinstance(query_id, str) and query_id:
        return Pressed(query_id)
    told = object_of(payload.get("my_chat_member") or payload.get("stopped_message_generation"))
    chat_id = number_of(object_of(told.get("chat")).get("id"))
    if chat_id is None:
        return Skipped(_kind(payload))
    chat = replace(key, chat_id=str(chat_id))
    if not isinstance(payload.get("my_chat_member"), dict):
        thread_id = number_of(told.get("message_thread_id"))
        thread = "" if thread_id is None else str(thread_id)
        return Stopped(replace(chat, thread_id=thread), number_of(told.get("draft_id")) or 0)
    # core.telegram.org/bots/api#chatmemberupdated: in private chats it comes only when the bot is blocked or unblocked.
    now = object_of(told.get("new_chat_member"))
    gone = now.get("status") in ("left", "kicked") or (now.get("status") == "restricted" and not now.get("is_member"))
    return Left(chat) if gone else Skipped("my_chat_member")


def _kind(payload: Json) -> str:
    """The update's kind for the log, also one that is newer than this file."""
    kind = next((key for key in payload if key != "update_id"), "")
    return kind if kind.isidentifier() and len(kind) <= 40 else "unknown_kind"


def _chat_type(value: object, chat_id: int) -> str:
    if isinstance(value, str):
        return value
    return "private" if chat_id > 0 else "group"  # old updates lack it; people's chats have positive ids


def _language(value: object) -> str:
    tag = value.replace("_", "-").split("-")[0].lower() if isinstance(value, str) else ""
    return tag if tag.isascii() and tag.isalpha() and 2 <= len(tag) <= 3 else ""
