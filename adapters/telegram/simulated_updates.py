"""Updates as Telegram writes them when people do something: core.telegram.org/bots/api#update."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

from adapters.telegram.convert import utf16_length

Update = dict[str, Any]

_ENTITY = re.compile(r"(?<!\S)(?:/\w+(?:@\w+)?|@\w+)")


def message(
    message_id: int, user_id: int, chat: Mapping[str, object], text: str, *, language: str, thread_id: int = 0
) -> Update:
    """A person's words, without the update_id; more fields may be put into its `message`."""
    sender = {"id": user_id, "is_bot": False, "first_name": "Customer", "language_code": language}
    said = {"message_id": message_id, "from": sender, "chat": dict(chat), "date": int(time.time()), "text": text}
    if entities := _entities(text):
        said["entities"] = entities
    if thread_id:
        said |= {"message_thread_id": thread_id, "is_topic_message": True}
    return {"message": said}


def left(chat: Mapping[str, object], bot: Mapping[str, object]) -> Update:
    """The bot was blocked, or thrown out of a group."""
    statuses = ("member", "kicked" if chat["type"] == "private" else "left")
    members = [{"user": dict(bot), "status": status} for status in statuses]
    change = {"chat": dict(chat), "from": {"id": abs(int(str(chat["id"]))), "is_bot": False}, "date": int(time.time())}
    return {"my_chat_member": change | {"old_chat_member": members[0], "new_chat_member": members[1]}}


def stopped(chat: Mapping[str, object], draft_id: int, thread_id: int = 0) -> Update:
    """The stop button of a draft was pressed."""
    pressed: Update = {"chat": dict(chat), "draft_id": draft_id}
    return {"stopped_message_generation": pressed | ({"message_thread_id": thread_id} if thread_id else {})}


def moved(message_ids: tuple[int, int], old: int, new: int) -> tuple[Update, Update]:
    """A group became a supergroup: the last word of the one and the first of the other."""
    sender = {"id": 7_000_001, "is_bot": False, "first_name": "Customer"}
    last: Update = {"message_id": message_ids[0], "from": sender, "date": int(time.time())}
    first = last | {"message_id": message_ids[1], "chat": {"id": new, "type": "supergroup"}}
    last |= {"chat": {"id": old, "type": "group"}, "migrate_to_chat_id": new}
    return {"message": last}, {"message": first | {"migrate_from_chat_id": old}}


def pressed(query_id: str, user_id: int, data: str) -> Update:
    """A button under a message was pressed."""
    sender = {"id": user_id, "is_bot": False, "first_name": "Customer"}
    return {"callback_query": {"id": query_id, "from": sender, "chat_instance": "1", "data": data}}


def chat_of(update: Mapping[str, object]) -> int:
    """In whose row an update waits: its chat's, or for a button its presser's; 0 for all others."""
    content: Any = next((value for key, value in update.items() if key != "update_id"), None)
    owner = content.get("chat", content.get("from")) if isinstance(content, dict) else None
    return int(owner["id"]) if isinstance(owner, dict) else 0


def _entities(text: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for match in _ENTITY.finditer(text):
        kind = "bot_command" if match[0].startswith("/") else "mention"
        offset = utf16_length(text[: match.start()])
        found.append({"type": kind, "offset": offset, "length": utf16_length(match[0])})
    return found
