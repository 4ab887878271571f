"""A clock that never jumps: seconds since the epoch as at the start, then as they pass, those spent suspended included.

Somebody who sets the machine's clock must not throttle every user for an hour, or hand all running turns to others.
"""

from __future__ import annotations

import time
from collections.abc import Callable


def passed() -> float:
    """Seconds since the machine booted, those it slept included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class SteadyClock:
    """Call it for the time. `wall` is asked once."""

    def __init__(self, wall: Callable[[], float] = time.time, elapsed: Callable[[], float] = passed) -> None:
        self._elapsed = elapsed
        self._offset = wall() - elapsed()

    def __call__(self) -> float:
        return self._elapsed() + self._offset
