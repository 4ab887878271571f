"""The signs and suggestions of the simulated workspace, for an app that is an agent and for one that is not.

docs.slack.dev/ai/agent-sessions, docs.slack.dev/reference/methods/assistant.threads.setStatus and .setSuggestedPrompts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

AGENT_METHODS = frozenset(
    {"agents.sessions.setStatus", "assistant.threads.setStatus", "assistant.threads.setSuggestedPrompts"}
)
PLACES_KEPT = 5_000


class AgentView:
    """What is shown beside the messages, by channel and thread."""

    def __init__(self, *, agent: bool) -> None:
        self.agent = agent
        self.statuses: dict[tuple[str, str], str] = {}  # the status line, while it is shown
        self.sessions: dict[tuple[str, str], str] = {}  # what a session's status is
        self.prompts: dict[tuple[str, str], Mapping[str, Any]] = {}  # the suggestions; thread "" in an agent app

    def answer(self, method: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """One of AGENT_METHODS, its channel being one that the app may use."""
        place = (str(arguments.get("channel_id", "")), str(arguments.get("thread_ts") or ""))
        if method == "assistant.threads.setSuggestedPrompts":
            return self._suggest(place, arguments)
        if not place[1]:
            return {"ok": False, "error": "invalid_arguments"}
        status = str(arguments.get("status") or "")
        if method == "assistant.threads.setStatus":
            self.statuses.pop(place, None)
            if status:
                _put(self.statuses, place, status)
            return {"ok": True}
        if not self.agent:
            return {"ok": False, "error": "not_agent_app"}
        if status not in ("active", "processing", "suspended", "closed"):
            return {"ok": False, "error": "invalid_arguments"}
        _put(self.sessions, place, status)
        return {"ok": True, "status": status}

    def _suggest(self, place: tuple[str, str], arguments: Mapping[str, Any]) -> dict[str, Any]:
        prompts = arguments.get("prompts")
        if not isinstance(prompts, list) or not 0 < len(prompts) <= 4:
            return {"ok": False, "error": "invalid_arguments"}
        if not all(prompt.get("title") and prompt.get("message") for prompt in prompts):
            return {"ok": False, "error": "invalid_arguments"}
        if not place[1] and not self.agent:
            return {"ok": False, "error": "not_agent_app"}
        if place[1] and self.agent:
            return {"ok": True}  # and nothing happens
        _put(self.prompts, place, arguments)
        return {"ok": True}


def _put(places: dict[tuple[str, str], Any], place: tuple[str, str], value: Any) -> None:
    places[place] = value
    if len(places) > PLACES_KEPT:
        del places[next(iter(places))]
