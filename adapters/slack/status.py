"""The line "... is writing" under a thread while there is no text yet; whatever fails with it is nobody's trouble.

assistant.threads.setStatus (docs.slack.dev/reference/methods/assistant.threads.setStatus): it goes away by itself when
a message is sent, or after two minutes. In threads only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from adapters.slack import outbound
from adapters.slack.api import Allowance, CallRefused, SlackApi
from core.errors import DeliveryError
from core.types import JsonObject

LINES_KEPT = 64  # calls on their way; more are left out
_NEVER = frozenset(
    {"unknown_method", "method_deprecated", "feature_not_enabled", "missing_scope", "not_allowed_token_type"}
)


class StatusLine:
    """The status lines of one workspace. `show` and `over` are cheap and never wait."""

    def __init__(self, name: str, api: SlackApi, clock: Callable[[], float]) -> None:
        self._name = name
        self._api = api
        self._log = structlog.get_logger().bind(channel=name)
        self._allowance = Allowance(clock)
        self._known = True  # False: Slack said that it has none here
        self._running: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._overtaken: set[tuple[str, str]] = set()

    def show(self, address: JsonObject, text: str) -> None:
        """Begin to show the line in the address's thread, if there is one."""
        key = outbound.thread_of(address)
        if key is None or not self._known or key in self._running or len(self._running) >= LINES_KEPT:
            return
        if self._allowance.spare():
            self._running[key] = asyncio.create_task(self._run(key, text), name=f"{self._name}-status")

    def over(self, address: JsonObject) -> None:
        """A message goes out there: a line that is still on its way would come after it and stay."""
        key = outbound.thread_of(address)
        if key is not None and key in self._running:
            self._overtaken.add(key)

    async def settled(self) -> None:
        """Wait until no call is on its way."""
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def close(self) -> None:
        """Drop what is on its way."""
        for task in self._running.values():
            task.cancel()
        await self.settled()

    async def _run(self, key: tuple[str, str], text: str) -> None:
        try:
            await self._set(key, text)
            if key in self._overtaken:
                await self._set(key, "")
        except DeliveryError as error:
            self._log.debug("status_refused", reason=error.reason)
            if isinstance(error, CallRefused) and error.code in _NEVER:
                self._known = False
            self._allowance.pause(error.retry_after or 0.0)
        finally:
            self._running.pop(key, None)
            self._overtaken.discard(key)

    async def _set(self, key: tuple[str, str], text: str) -> None:
        await self._api.call("assistant.threads.setStatus", outbound.status(key, text), repeatable=True)
