"""Slack's shapes to ours and back: pure, total, and nothing the model writes can mention anybody.

Inbound functions take any JSON value and never raise; what is not for the bot comes back as a reason (a snake_case word
for the log). Outbound functions build Web API arguments.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs

import orjson

from core.split import clip
from core.types import ConversationKey, Draft, InboundMessage, JsonObject

TEXT_LIMIT = (
    4000  # characters; chat.update answers msg_too_long above it (docs.slack.dev/reference/methods/chat.update)
)

NOT_A_MESSAGE = "not_a_message"  # the one reason that says: another kind of request, look further

# A person writes these; message_changed, message_deleted, bot_message, channel_join and the rest are noise.
_PERSONS_SUBTYPES = frozenset({"thread_broadcast", "file_share"})
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
            fields = {name: values[0] for name, values in form.items()}
            value = orjson.loads(fields["payload"]) if "payload" in fields else fields
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def message(body: object, *, channel: str, bot: str, own_user: str = "") -> InboundMessage | str:
    """The message of an `event_callback` envelope, or the reason why it is none for the bot.

    `own_user` is the bot's user id, needed where the envelope does not name it. The event id is team:channel:ts:
    a mention arrives as app_mention and, when subscribed, as message.channels too, with different event_ids
    (docs.slack.dev/reference/events/app_mention).
    """
    outer = _object(body)
    event = _object(outer.get("event"))
    if outer.get("type") != "event_callback" or event.get("type") not in ("message", "app_mention"):
        return NOT_A_MESSAGE
    team, own_user = _installed(outer, own_user)
    user, place, ts = _string(event, "user"), _string(event, "channel"), _string(event, "ts")
    reason = _noise(event, user, own_user)
    if reason:
        return reason
    if not place or not _TS.fullmatch(ts):
        return "no_channel_or_ts"
    direct = event.get("channel_type") == "im" or place.startswith("D")
    raw = _string(event, "text")
    if not direct and event["type"] == "message" and not _mentions(raw, own_user):
        return "not_mentioned"
    text = readable(raw, own_user)
    if not text:
        return "no_text"
    # A thread is named by its root, never by a reply's own ts (docs.slack.dev/reference/methods/chat.postMessage).
    thread = _string(event, "thread_ts")
    thread = (thread if _TS.fullmatch(thread) else "") or ("" if direct else ts)
    return InboundMessage(
        event_id=f"{team}:{place}:{ts}",
        conversation=ConversationKey(channel=channel, bot=bot, chat_id=place, thread_id=thread),
        user_id=user,
        text=text,
        address={"channel": place, "thread_ts": thread, "team": team, "user": user},
        sent_at=float(ts),
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


def escape(text: str) -> str:
    """Text that Slack shows as written: with & < > escaped, neither `<!channel>` nor `<@U...>` can ping
    (docs.slack.dev/messaging/formatting-message-text#escaping)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def length(text: str) -> int:
    """Characters of the text as it travels, that is escaped."""
    return len(text) + 4 * text.count("&") + 3 * (text.count("<") + text.count(">"))


def post(address: JsonObject, text: str) -> dict[str, object]:
    """Arguments of chat.postMessage."""
    arguments = {"channel": _string(address, "channel"), **_shown(text), "unfurl_links": False, "unfurl_media": False}
    thread = _string(address, "thread_ts")
    return arguments | {"thread_ts": thread} if thread else arguments


def update(reference: str, text: str) -> dict[str, object]:
    """Arguments of chat.update."""
    channel, _, ts = reference.partition(":")
    return {"channel": channel, "ts": ts, **_shown(text)}


def reference_of(answer: JsonObject) -> str:
    """The reference "<channel>:<ts>" of a message that Slack just made or changed; "" when it does not say."""
    channel, ts = _string(answer, "channel"), _string(answer, "ts")
    return f"{channel}:{ts}" if channel and ts else ""


def draft_text(draft: Draft) -> str:
    """What a preview shows of the growing reply; "" when there is nothing to see (Slack answers no_text)."""
    text = clip(draft.text, TEXT_LIMIT, length)
    return text if text.strip() else ""


def _shown(text: str) -> dict[str, object]:
    # Said on every call: chat.update falls back to parse=client where chat.postMessage means none. chat.update lists
    # no `mrkdwn`: should it ignore that, asterisks may turn bold there, but escaping alone already rules out a ping.
    return {"text": escape(text), "parse": "none", "link_names": False, "mrkdwn": False}


def _noise(event: dict[str, Any], user: str, own_user: str) -> str:
    if event.get("bot_id") or (own_user and user == own_user):
        return "from_a_bot"
    if event.get("subtype") is not None and _string(event, "subtype") not in _PERSONS_SUBTYPES:
        return "subtype"
    if not user or user in _PLATFORM_USERS:
        return "not_a_person"
    return ""


def _installed(outer: dict[str, Any], own_user: str) -> tuple[str, str]:
    """Team and bot user id. authorizations[0] names the workspace that installed the app, also in shared channels."""
    team = _string(outer, "team_id")
    authorizations = outer.get("authorizations")
    if not isinstance(authorizations, list) or not authorizations:
        return team, own_user
    first = _object(authorizations[0])
    if first.get("is_bot") is not False:
        own_user = _string(first, "user_id") or own_user
    return _string(first, "team_id") or team, own_user


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


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _string(values: JsonObject, key: str) -> str:
    value = values.get(key)
    return value if isinstance(value, str) else ""
