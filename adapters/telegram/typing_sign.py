"""The sign that a reply is being written: shown until its first text, never instead of one, and worth no error.

core.telegram.org/bots/api#sendchataction: it lasts five seconds, or until a message of ours arrives.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from adapters.telegram.places import Place
from core.errors import DeliveryError
from core.types import ConversationKey

_FIRST_SECONDS = 0.5  # most replies begin sooner and need no sign
_EVERY_SECONDS = 4.5
_LONGEST_SECONDS = 60.0
_MOST = 2_000  # conversations at the same time


class TypingSign:
    """`show` makes the call, `spare` tells whether a chat has room for it, `pause` waits for so many seconds."""

    def __init__(
        self,
        show: Callable[[Place], Awaitable[None]],
        spare: Callable[[int], bool],
        *,
        clock: Callable[[], float],
        pause: Callable[[float], Awaitable[None]],
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        self._show = show
        self._spare = spare
        self._clock = clock
        self._pause = pause
        self._log = log
        self._tasks: dict[ConversationKey, asyncio.Task[None]] = {}
        self._calling: set[asyncio.Task[None] | None] = set()

    def begin(self, conversation: ConversationKey, place: Place) -> None:
        """A message is waiting for its reply."""
        if conversation not in self._tasks and len(self._tasks) < _MOST:
            self._tasks[conversation] = asyncio.create_task(self._keep(conversation, place), name="typing sign")

    def end(self, conversation: ConversationKey) -> None:
        """There is text, or nothing to wait for."""
        task = self._tasks.pop(conversation, None)
        # A call under way is let finish: cutting it off would cost its connection.
        if task is not None and task not in self._calling:
            task.cancel()

    def leave(self, conversation: ConversationKey) -> None:
        """The chat is gone, with all its topics."""
        for key in [*self._tasks]:
            if (key.channel, key.chat_id) == (conversation.channel, conversation.chat_id):
                self.end(key)

    async def close(self) -> None:
        tasks = [*self._tasks.values(), *(task for task in self._calling if task)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()

    async def _keep(self, conversation: ConversationKey, place: Place) -> None:
        task = asyncio.current_task()
        try:
            until = self._clock() + _LONGEST_SECONDS
            await self._pause(_FIRST_SECONDS)
            while self._tasks.get(conversation) is task and self._clock() < until:
                if self._spare(place.chat_id):
                    self._calling.add(task)
                    try:
                        await self._show(place)
                    except DeliveryError as error:
                        self._log.debug("telegram_typing_refused", reason=error.reason)
                        break
                    finally:
                        self._calling.discard(task)
                    if self._tasks.get(conversation) is not task:
                        return
                await self._pause(_EVERY_SECONDS)
            if self._tasks.get(conversation) is task:
                del self._tasks[conversation]
        finally:
            # A cancelled task keeps its error, and that this frame: with the task in it, only the collector frees them.
            del task
