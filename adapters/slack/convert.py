"""Slack's shapes to ours: pure and total, so that no JSON value can raise, and what is not for the bot comes back as a
reason (a snake_case word for the log).
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs

import orjson

from adapters.slack.events import fields, installed
from adapters.slack.outbound import string
from core.types import COMMANDS, ConversationKey, InboundMessage, JsonObject

NOT_A_MESSAGE = "not_a_message"  # the one reason that says: another kind of request, look further

# A person writes these; message_deleted, bot_message, channel_join and the rest are noise. message_changed: see _edit.
_PERSONS_SUBTYPES = frozenset({"thread_broadcast", "file_share", "me_message"})
_PLATFORM_USERS = frozenset({"USLACK", "USLACKBOT"})
_TS = re.compile(r"[0-9]{1,12}\.[0-9]{1,9}")
_SCHEME = re.compile(r"^(mailto:|tel:|https?://)")
_TOKEN = re.compile(r"<([^<>\n]+)>")


def envelope(raw: bytes, content_type: str) -> dict[str, Any] | None:
    """The request's JSON object: the body of an event, the `payload` field of an interaction, the fields of a slash
    command (docs.slack.dev/interactivity). None when it cannot be read."""
    try:
        if content_type == "application/json":
            value = orjson.loads(raw)
        else:
            form = parse_qs(raw.decode(), keep_blank_values=True, max_num_fields=200)
            given = {name: values[0] for name, values in form.items()}
            value = orjson.loads(given["payload"]) if "payload" in given else given
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def message(
    body: object, *, channel: str, bot: str, own_user: str = "", threads: bool = False, apart: str = ""
) -> InboundMessage | str:
    """The message of an `event_callback` envelope, or the reason why it is none for the bot.

    `own_user` is the bot's user id, needed where the envelope does not name it. The event id is team:channel:ts:
    a mention arrives as app_mention and, when subscribed, as message.channels too, with different event_ids
    (docs.slack.dev/reference/events/app_mention); an edit adds the time of the edit. `threads`: each message at the top
    of a direct conversation begins a thread, as in the agent view (docs.slack.dev/ai/migrating-to-agent-messaging).
    `apart` comes before the ids of chats and people where several workspaces are served: a person's id is unique within
    their workspace only (docs.slack.dev/reference/objects/user-object).
    """
    outer = fields(body)
    event = fields(outer.get("event"))
    if outer.get("type") != "event_callback" or event.get("type") not in ("message", "app_mention"):
        return NOT_A_MESSAGE
    team, own_user = installed(outer, own_user)
    place = string(event, "channel")
    said, before, version = event, "", ""
    if event.get("subtype") == "message_changed":
        said, before, version = _edit(event)
        if not version:
            return "no_edit_of_a_person"
    user, ts, raw = string(said, "user"), string(said, "ts"), string(said, "text")
    reason = _noise(said, user, own_user)
    if reason:
        return reason
    if not place or not _TS.fullmatch(ts):
        return "no_channel_or_ts"
    direct = event.get("channel_type") == "im" or place.startswith("D")
    mentioned = event["type"] == "app_mention" or _mentions(raw, own_user) or _mentions(before, own_user)
    if not direct and not mentioned:
        return "not_mentioned"
    text = readable(raw, own_user) or _forwarded(said)
    if not text and not (mentioned or said.get("files")):
        return "no_text"
    # A thread is named by its root, never by a reply's own ts (docs.slack.dev/reference/methods/chat.postMessage).
    thread = string(said, "thread_ts")
    thread = (thread if _TS.fullmatch(thread) else "") or ("" if direct and not threads else ts)
    home = string(said, "user_team") or string(said, "team")
    guest = {"user_team": home} if home and home != team else {}  # of another workspace, in a shared channel
    return InboundMessage(
        event_id=f"{team}:{place}:{ts}" + (f":{version}" if version else ""),
        conversation=ConversationKey(channel=channel, bot=bot, chat_id=apart + place, thread_id=thread),
        user_id=apart + user,
        text=text,
        address={"channel": place, "thread_ts": thread, "team": team, "user": user, "ts": ts} | guest,
        sent_at=float(ts),
        source_id=f"{place}:{ts}",
        edited=bool(version),
        speaker="" if direct else _speaker(said, user),
        command="" if text or said.get("files") else "help",  # the bot's name and nothing else
        unreadable=not text and bool(said.get("files")),
    )


def command(body: JsonObject, *, channel: str, bot: str, apart: str = "") -> InboundMessage | str:
    """What a slash command asks for, or the reason why it asks nothing (docs.slack.dev/interactivity/
    implementing-slash-commands).

    Its conversation is the direct one it was typed in; in a channel, where commands know no threads, it is one of its
    own for each user. It shows no message, so it has no source_id; nothing of it can be edited.
    """
    name = string(body, "command")
    if not name.startswith("/"):
        return NOT_A_MESSAGE
    place, person, trigger = (string(body, field) for field in ("channel_id", "user_id", "trigger_id"))
    if not place or not person or not trigger:
        return "no_channel_or_user"
    user = apart + person
    team, text = string(body, "team_id"), readable(string(body, "text"))
    word = text.casefold() or (name[1:].casefold() if name[1:].casefold() in COMMANDS else "help")
    direct = place.startswith("D")
    # `otherwise`: where the answer goes when the bot is not in that channel.
    address = {"channel": place, "thread_ts": "", "team": team, "user": person, "otherwise": person}
    return InboundMessage(
        event_id=f"{team}:command:{trigger}",
        conversation=ConversationKey(channel=channel, bot=bot, chat_id=apart + place, thread_id="" if direct else user),
        user_id=user,
        text=text,
        address=address,
        speaker="" if direct else _name(string(body, "user_name"), person),
        command=word if word in COMMANDS else "",
    )


def readable(text: str, own_user: str = "") -> str:
    """Slack's message text as plain text: the bot's own mention gone, links, channels and people spelt out, entities
    decoded (docs.slack.dev/messaging/formatting-message-text)."""
    if own_user:
        mention = rf"<@{re.escape(own_user)}(?:\|[^<>]*)?>"
        text = re.sub(rf"^\s*{mention}[ \t]*[,:]?\s*", "", text)
        text = re.sub(rf"{mention}[ \t]?", "", text)
    text = _TOKEN.sub(_spelt_out, text)
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").strip()


def _noise(event: dict[str, Any], user: str, own_user: str) -> str:
    if event.get("bot_id") or (own_user and user == own_user):
        return "from_a_bot"
    if event.get("subtype") is not None and string(event, "subtype") not in _PERSONS_SUBTYPES:
        return "subtype"
    if not user or user in _PLATFORM_USERS:
        return "not_a_person"
    return ""


def _edit(event: dict[str, Any]) -> tuple[dict[str, Any], str, str]:
    """The new message, the text it had and the time of the edit; "" for the time when nobody edited: a link's preview,
    a reaction's or reply's count and the end of a stream are message_changed, too."""
    after, before = fields(event.get("message")), fields(event.get("previous_message"))
    edit = fields(after.get("edited"))
    if edit.get("user") != after.get("user") or after.get("text") == before.get("text"):
        return after, "", ""
    return after, string(before, "text"), string(edit, "ts")


def _forwarded(said: dict[str, Any]) -> str:
    """The words of messages that a person shared without any of their own."""
    attachments = said.get("attachments")
    shared = [fields(one) for one in attachments] if isinstance(attachments, list) else []
    return "\n".join(filter(None, (readable(string(one, "text")) for one in shared if one.get("is_share") is True)))


def _speaker(said: dict[str, Any], user: str) -> str:
    profile = fields(said.get("user_profile"))
    return _name(next(filter(None, (string(profile, key) for key in ("display_name", "real_name", "name"))), ""), user)


def _name(name: str, user: str) -> str:
    """One line that a model can read; a bare id would tell it nothing."""
    return " ".join(name.split())[:80] or f"User {user[-4:]}"


def _mentions(text: str, own_user: str) -> bool:
    return bool(own_user) and (f"<@{own_user}>" in text or f"<@{own_user}|" in text)


def _spelt_out(token: re.Match[str]) -> str:
    target, _, label = token[1].partition("|")
    if target.startswith(("@", "#")):
        return target[0] + (label.lstrip("@#") or target[1:])
    if target.startswith("!"):
        name = target[1:].partition("^")[0]
        return label or f"@{name}"
    bare = _SCHEME.sub("", target)
    if target.startswith(("mailto:", "tel:")):
        return label or bare
    return target if label in ("", target, bare) else f"{label} ({target})"
