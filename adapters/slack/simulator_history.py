"""What an app may read back of the simulated workspace: conversations.history and conversations.replies.

docs.slack.dev/reference/methods/conversations.history, conversations.replies. Without include_all_metadata the event's
type is all that is given of metadata (github.com/slackapi/python-slack-sdk/issues/1501).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters.slack.simulator_blocks import Shown, true

READ_METHODS = frozenset({"conversations.history", "conversations.replies"})
FORM_ONLY = frozenset({"conversations.replies"})  # a JSON body is not looked at
_DEFAULT = {"conversations.history": 100, "conversations.replies": 1000}
_MOST = {"conversations.history": 999, "conversations.replies": 1000}


@dataclass(slots=True)
class Reading:
    """Which channels and pages an app may read."""

    private: set[str] = field(default_factory=set)  # channels that channels:history is not enough for
    page: int | None = None  # 15: the app is sold outside the Marketplace

    def refusal(self, channel: str, granted: str) -> dict[str, Any] | None:
        """The answer without the scope of that kind of conversation."""
        kind = "im" if channel.startswith("D") else "groups" if channel in self.private else "channels"
        if f"{kind}:history" in granted.replace(" ", "").split(","):
            return None
        return {"ok": False, "error": "missing_scope", "needed": f"{kind}:history", "provided": granted}

    def answer(
        self, method: str, arguments: Mapping[str, Any], shown: Sequence[Shown], about: Mapping[str, Any]
    ) -> dict[str, Any]:
        """A page of a channel, or of one of its threads; `about` is what every message of the app says of it."""
        try:
            oldest = float(arguments.get("oldest") or 0)
        except ValueError:
            return {"ok": False, "error": "invalid_ts_oldest"}
        if method == "conversations.replies":
            root = str(arguments.get("ts", ""))
            thread = [one for one in shown if root in (one.ts, one.thread_ts)]
            if not thread:
                return {"ok": False, "error": "thread_not_found"}
            wanted = sorted((one for one in thread if one.ts != root), key=_time)  # the earliest first
            always = [one for one in thread if one.ts == root]  # whatever the time range
        else:
            wanted = sorted((one for one in shown if one.thread_ts in ("", one.ts)), key=_time, reverse=True)
            always = []
        wanted = [one for one in wanted if _time(one) > oldest or (_time(one) == oldest and _inclusive(arguments))]
        limit = min(int(arguments.get("limit") or _DEFAULT[method]), self.page or _MOST[method])
        try:
            begin = int(base64.b64decode(str(arguments.get("cursor") or "")) or b"0")
        except (ValueError, binascii.Error):
            return {"ok": False, "error": "invalid_cursor"}
        end = begin + limit
        everything = true(arguments.get("include_all_metadata"))
        page = [_message(one, about, everything=everything) for one in (*always, *wanted[begin:end])]
        answer: dict[str, Any] = {"ok": True, "messages": page, "has_more": end < len(wanted)}
        if end < len(wanted):
            answer["response_metadata"] = {"next_cursor": base64.b64encode(str(end).encode()).decode()}
        return answer


def metadata_error(metadata: object) -> str:
    """The error code of metadata, "" if it is taken."""
    if not isinstance(metadata, dict):
        return "invalid_metadata_format"
    if not metadata:
        return ""
    kind, payload = metadata.get("event_type"), metadata.get("event_payload")
    return "" if isinstance(kind, str) and kind and isinstance(payload, dict) else "invalid_metadata_format"


def _time(shown: Shown) -> float:
    return float(shown.ts)


def _inclusive(arguments: Mapping[str, Any]) -> bool:
    return true(arguments.get("inclusive"))


def _message(shown: Shown, about: Mapping[str, Any], *, everything: bool) -> dict[str, Any]:
    message: dict[str, Any] = {"type": "message", "user": shown.user, "text": shown.notification or shown.text}
    message |= {"ts": shown.ts} | ({"thread_ts": shown.thread_ts} if shown.thread_ts else {})
    message |= about if shown.bot else {}
    if shown.metadata:
        message["metadata"] = shown.metadata if everything else {"event_type": shown.metadata["event_type"]}
    return message
