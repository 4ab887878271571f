"""First texts that Telegram has not confirmed in time: waited for longer, so that the final text lands in that message.

A send whose answer is late may have been done; only the answer tells the message's id. So the call goes on for a while
after its preview was given up. The final text waits for it once more: if the answer comes, it becomes an edit; if not,
it is sent anew, and the late message is taken back as soon as it is known. Where the connection broke, or the process
died, lost.py looks for what is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from adapters.telegram.recent import Bounded
from core.errors import DeliveryError

PATIENCE = 3.0  # how many times as long as another call a first text may take in all
_MOST = 1_000

Result = TypeVar("Result")


class LateFirsts:
    """`seconds`: how long a preview, and later the final text, waits. `take_back` removes a reference's message."""

    def __init__(self, take_back: Callable[[str], Awaitable[None]], *, seconds: float) -> None:
        self._take_back = take_back
        self._seconds = seconds
        self._calls: Bounded[int, asyncio.Task[str]] = Bounded(_MOST)  # turn -> its first text's late call
        self._running: set[asyncio.Task[Any]] = set()

    async def send(self, turn_id: int, call: Coroutine[Any, Any, str]) -> str | None:
        """The reference that `call` returns; None when an earlier call of the turn was late, which must do. Raises
        DeliveryError."""
        if self._calls.get(turn_id) is not None:
            call.close()
            return None
        task = self._start(call)
        self._calls.put(turn_id, task)
        done, _ = await asyncio.wait({task}, timeout=self._seconds)
        if not done:
            raise DeliveryError(f"no answer from the Bot API in {self._seconds:g} s", unclear=True)
        self._calls.pop(turn_id)
        return task.result()

    async def reference(self, turn_id: int) -> str:
        """The reference of a late first text, "" when there is none or it is not known in time: it is taken back
        then."""
        task = self._calls.get(turn_id)
        if task is None:
            return ""
        done, _ = await asyncio.wait({task}, timeout=self._seconds)
        if not done:
            self._calls.pop(turn_id)
            self._start(self._take_back_later(task))
            return ""
        return "" if task.cancelled() or task.exception() else task.result()

    async def close(self) -> None:
        """Wait for no more answers."""
        tasks = list(self._running)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        task = asyncio.create_task(work, name="telegram first text")
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # or asyncio complains that nobody looked at it

    async def _take_back_later(self, task: asyncio.Task[str]) -> None:
        await asyncio.wait({task})
        if not task.cancelled() and task.exception() is None:
            await self._take_back(task.result())
