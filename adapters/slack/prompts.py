"""What a person may ask, suggested when they open the bot's conversation; nothing is posted there unasked.

Two views (docs.slack.dev/ai/migrating-to-agent-messaging): that of an agent, whose conversation is opened, and the
older one of an assistant, whose thread is begun. A plain app has neither: Slack says so once and is not asked again.
"""

from __future__ import annotations

import asyncio

import structlog

from adapters.slack import outbound
from adapters.slack.api import CallRefused, SlackApi
from adapters.slack.events import Opened
from core.errors import DeliveryError

CALLS_KEPT = 64  # on their way; more are left out

# The app has no such view, in the words of the method or of Slack's common errors.
_NEVER = frozenset(
    {
        "not_agent_app",
        "unknown_method",
        "method_deprecated",
        "feature_not_enabled",
        "missing_scope",
        "not_allowed_token_type",
    }
)


class Prompts:
    """The suggestions of one workspace. `suggest` is cheap and never waits."""

    def __init__(self, name: str, api: SlackApi) -> None:
        self._name = name
        self._api = api
        self._log = structlog.get_logger().bind(channel=name)
        self._refused: set[bool] = set()  # views, by whether they have threads
        self._running: set[asyncio.Task[None]] = set()

    @property
    def idle(self) -> bool:
        """Whether no call is on its way."""
        return not self._running

    def suggest(self, opened: Opened, title: str, prompts: list[str]) -> None:
        """Begin to show them."""
        if bool(opened.thread_ts) in self._refused or len(self._running) >= CALLS_KEPT:
            return
        task = asyncio.create_task(self._show(opened, title, prompts), name=f"{self._name}-prompts")
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def settled(self) -> None:
        """Wait until no call is on its way."""
        await asyncio.gather(*self._running, return_exceptions=True)

    async def close(self) -> None:
        """Drop what is on its way."""
        for task in self._running:
            task.cancel()
        await self.settled()

    async def _show(self, opened: Opened, title: str, prompts: list[str]) -> None:
        arguments = outbound.prompts(opened.channel, opened.thread_ts, title, prompts)
        try:
            await self._api.call("assistant.threads.setSuggestedPrompts", arguments, repeatable=True)
        except DeliveryError as error:
            self._log.debug("prompts_refused", reason=error.reason)
            if isinstance(error, CallRefused) and error.code in _NEVER:
                self._refused.add(bool(opened.thread_ts))
