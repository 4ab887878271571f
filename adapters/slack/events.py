"""What Slack tells beside messages, in our words: pure and total, so that no JSON value can raise."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from adapters.slack.outbound import VOTE_ACTION, string
from core.types import ConversationKey, JsonObject

_LEFT = frozenset({"channel_left", "group_left", "channel_deleted", "group_deleted"})
_VOTE = re.compile(r"(good|bad) ([0-9]{1,18}) ([!-~]{1,80}) ([!-~]{1,80})")


@dataclass(frozen=True, slots=True)
class Home:
    """Where the app is installed: a workspace, perhaps of an organisation, or an organisation as a whole (no team)."""

    team: str
    enterprise: str = ""

    def __str__(self) -> str:
        return "/".join(filter(None, (self.enterprise, self.team)))


@dataclass(frozen=True, slots=True)
class Vote:
    """What a person thinks of an answer."""

    conversation: ConversationKey
    turn_id: int
    user_id: str
    vote: str  # "good" or "bad"


@dataclass(frozen=True, slots=True)
class Opened:
    """A person opened the bot's conversation; in the older view that is a thread."""

    channel: str
    thread_ts: str


def home(body: JsonObject) -> Home | None:
    """Which installation a request is for; None when it is for none (url_verification).

    authorizations[0] names it, in shared channels too, where team_id is another workspace's. Events, interactions and
    commands each say it in fields of their own (docs.slack.dev/apis/events-api, docs.slack.dev/interactivity).
    """
    listed = body.get("authorizations")
    first = fields(listed[0]) if isinstance(listed, list) and listed else {}
    whole = any(values.get("is_enterprise_install") in (True, "true") for values in (first, body))
    team = string(first, "team_id") or string(body, "team_id") or string(fields(body.get("team")), "id")
    org = (
        string(first, "enterprise_id") or string(body, "enterprise_id") or string(fields(body.get("enterprise")), "id")
    )
    found = Home("" if whole and org else team, org)
    return found if found.team or found.enterprise else None


def stopped(body: JsonObject, *, channel: str, bot: str, apart: str = "") -> list[ConversationKey]:
    """The conversations, likeliest first, whose reply a person ended with Slack's stop button
    (docs.slack.dev/reference/events/agent_session_stopped)."""
    event = fields(body.get("event"))
    place, thread = string(event, "channel"), string(event, "thread_ts")
    if event.get("type") != "agent_session_stopped" or not place:
        return []
    # A direct message outside threads: Slack names a thread all the same, we do not.
    threads = dict.fromkeys((thread, "") if place.startswith("D") else (thread,))
    return [ConversationKey(channel=channel, bot=bot, chat_id=apart + place, thread_id=thread) for thread in threads]


def left(body: JsonObject, own_user: str) -> str | None:
    """The channel that the bot is no longer in; "" when it was removed from the workspace; None for anything else."""
    event = fields(body.get("event"))
    kind = event.get("type")
    if kind == "app_uninstalled" or (kind == "tokens_revoked" and fields(event.get("tokens")).get("bot")):
        return ""
    own = installed(body, own_user)[1]
    gone = kind == "member_left_channel" and bool(own) and event.get("user") == own
    if gone or (isinstance(kind, str) and kind in _LEFT):
        return string(event, "channel") or None
    return None


def happened_at(body: JsonObject) -> float:
    """When, in seconds since the epoch; 0 when an event does not say."""
    value = body.get("event_time")
    return float(value) if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 40 else 0.0


def vote(body: JsonObject, *, channel: str, bot: str, apart: str = "") -> Vote | None:
    """A press of the buttons under an answer, None for anything else; `apart` is what sets the ids of this workspace
    apart from those of others (docs.slack.dev/reference/interaction-payloads/block_actions-payload).

    The value was written by us and comes back signed by Slack. It names the answer's conversation; that has to be in
    the channel where it was pressed, or the person's own where a slash command's answer was sent.
    """
    actions = body.get("actions")
    if body.get("type") != "block_actions" or not isinstance(actions, list):
        return None
    user = string(fields(body.get("user")), "id")
    place = string(fields(body.get("channel")), "id") or string(fields(body.get("container")), "channel_id")
    pressed = [fields(action) for action in actions]
    for action in pressed:
        if action.get("type") != "feedback_buttons" or action.get("action_id") != VOTE_ACTION:
            continue
        found = _VOTE.fullmatch(string(action, "value"))
        if found is None or not user or not place:
            continue
        chat, thread = found[3], found[4] if found[4] != "-" else ""
        if chat == apart + place or (place.startswith("D") and chat.startswith(apart) and thread == apart + user):
            key = ConversationKey(channel=channel, bot=bot, chat_id=chat, thread_id=thread)
            return Vote(key, int(found[2]), apart + user, found[1])
    return None


def opened(body: JsonObject) -> Opened | None:
    """Somebody looks at the bot's conversation (docs.slack.dev/reference/events/app_home_opened,
    docs.slack.dev/reference/events/assistant_thread_started)."""
    event = fields(body.get("event"))
    if event.get("type") == "app_home_opened" and event.get("tab") == "messages":
        channel, thread = string(event, "channel"), ""
    elif event.get("type") == "assistant_thread_started":
        begun = fields(event.get("assistant_thread"))
        channel, thread = string(begun, "channel_id"), string(begun, "thread_ts")
        if not thread:
            return None
    else:
        return None
    return Opened(channel, thread) if channel else None


def installed(outer: JsonObject, own_user: str) -> tuple[str, str]:
    """Team and bot user id. authorizations[0] names the workspace that installed the app, also in shared channels."""
    team = string(outer, "team_id")
    authorizations = outer.get("authorizations")
    if not isinstance(authorizations, list) or not authorizations:
        return team, own_user
    first = fields(authorizations[0])
    if first.get("is_bot") is not False:
        own_user = string(first, "user_id") or own_user
    return string(first, "team_id") or team, own_user


def fields(value: object) -> dict[str, Any]:
    """A JSON object, an empty one in place of anything else."""
    return value if isinstance(value, dict) else {}
