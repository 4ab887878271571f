"""The sign that a reply is being written, under a thread; whatever fails with it is nobody's trouble.

An agent app has sessions (docs.slack.dev/ai/agent-sessions): "processing" shows the sign with a stop button, until the
app itself says "active" again. Any other app has a line of text instead, which goes away by itself when a message is
sent, or after two minutes (docs.slack.dev/reference/methods/assistant.threads.setStatus). Both in threads only. Slack
does not tell an app which of the two it is: the first one it takes is kept to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

import structlog

from adapters.slack import outbound
from adapters.slack.api import Allowance, CallRefused, SlackApi
from core.errors import DeliveryError
from core.types import JsonObject

CALLS_KEPT = 64  # on their way; more are left out

# About the place or the moment; every other refusal is about the app, and stays.
_HERE = frozenset(
    {"channel_not_found", "not_in_channel", "is_archived", "thread_not_found", "invalid_thread_ts", "message_not_found"}
)
Thread = tuple[str, str]


class StatusLine:
    """The signs of one workspace. `show`, `over` and `done` are cheap and never wait."""

    def __init__(self, name: str, api: SlackApi, clock: Callable[[], float]) -> None:
        self._name = name
        self._api = api
        self._log = structlog.get_logger().bind(channel=name)
        self._allowance = Allowance(clock)
        self._sessions = True  # False: the app is no agent
        self._lines = True  # False: nor has it lines
        self._running: dict[Thread, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._overtaken: set[Thread] = set()

    @property
    def idle(self) -> bool:
        """Whether no call is on its way."""
        return not self._running and not self._ending

    def show(self, address: JsonObject, text: str) -> None:
        """Begin to show the sign in the address's thread, if there is one."""
        thread = outbound.thread_of(address)
        if thread is None or thread in self._running or len(self._running) >= CALLS_KEPT:
            return
        if (self._sessions or self._lines) and self._allowance.spare():
            self._running[thread] = self._begin(self._run(thread, text))

    def over(self, address: JsonObject) -> None:
        """A message goes out there: a line that is still on its way would come after it and stay."""
        thread = outbound.thread_of(address)
        if thread is not None and thread in self._running:
            self._overtaken.add(thread)

    def done(self, address: JsonObject) -> None:
        """Nothing is being written there any more: Slack does not end a session's sign by itself."""
        thread = outbound.thread_of(address)
        if thread is None or not self._sessions or len(self._ending) >= CALLS_KEPT:
            return
        self._allowance.take()
        task = self._begin(self._finish(thread, self._running.get(thread)))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def settled(self) -> None:
        """Wait until no call is on its way."""
        while not self.idle:
            await asyncio.gather(*self._running.values(), *self._ending, return_exceptions=True)

    async def close(self) -> None:
        """Drop what is on its way."""
        for task in (*self._running.values(), *self._ending):
            task.cancel()
        await asyncio.gather(*self._running.values(), *self._ending, return_exceptions=True)
        self._running.clear()

    def _begin(self, calls: Coroutine[None, None, None]) -> asyncio.Task[None]:
        return asyncio.create_task(calls, name=f"{self._name}-status")

    async def _run(self, thread: Thread, text: str) -> None:
        try:
            if self._sessions and await self._session(thread, "processing"):
                return
            if self._lines and not self._sessions:
                await self._line(thread, text)
        finally:
            self._running.pop(thread, None)
            self._overtaken.discard(thread)

    async def _finish(self, thread: Thread, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        if self._sessions:
            await self._session(thread, "active")

    async def _session(self, thread: Thread, status: str) -> bool:
        try:
            await self._api.call("agents.sessions.setStatus", outbound.session(thread, status), repeatable=True)
        except DeliveryError as error:
            if self._is_about_the_app(error):
                self._sessions = False
            return False
        return True

    async def _line(self, thread: Thread, text: str) -> None:
        try:
            await self._set(thread, text)
            if thread in self._overtaken:
                await self._set(thread, "")
        except DeliveryError as error:
            if self._is_about_the_app(error):
                self._lines = False

    async def _set(self, thread: Thread, text: str) -> None:
        await self._api.call("assistant.threads.setStatus", outbound.line(thread, text), repeatable=True)

    def _is_about_the_app(self, error: DeliveryError) -> bool:
        self._log.debug("status_refused", reason=error.reason)
        self._allowance.pause(error.retry_after or 0.0)
        return isinstance(error, CallRefused) and not error.retryable and error.code not in _HERE
