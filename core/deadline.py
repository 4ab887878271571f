"""A moving deadline for one reply: when it passes, the connection is closed, and whoever reads from it wakes.

One timer a reply. `asyncio.timeout` around each read costs 4 microseconds, a third of all that a chunk costs us.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf


class Deadline:
    """Calls `close` once when `at` (the event loop's time) has passed, and `passed` tells that from other ends."""

    def __init__(self, at: float, close: Callable[[], object]) -> None:
        self.passed = False
        self._loop = asyncio.get_running_loop()
        self._close = close
        self._at = at
        self._timer = self._loop.call_at(at, self._check)
        self._fires = at  # when the timer looks; inf when none is set

    def move(self, seconds: float) -> None:
        """It is that many seconds from now."""
        self._at = self._loop.time() + seconds
        if self._at < self._fires:  # for a later one the timer that is set will do: it looks, and sets itself again
            self._arm()

    def pause(self) -> None:
        """There is none until the next `move`: something else than the connection is waited for."""
        self._at = inf

    def stop(self) -> None:
        """There is none any more."""
        self._timer.cancel()

    def _arm(self) -> None:
        self._timer.cancel()
        self._timer = self._loop.call_at(self._at, self._check)
        self._fires = self._at

    def _check(self) -> None:
        if self._loop.time() >= self._at:
            self.passed = True
            self._close()
        elif self._at == inf:
            self._fires = inf
        else:
            self._arm()
