"""Named places between two durable steps, where a test has the process kill itself or linger; else passing one costs a
call.

What a crash may leave behind is decided at these places: what is on disk by then, and what the outside has seen.
"""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable, Mapping

from core.errors import ConfigError

POINTS = (
    "accepted",  # a message is on disk, and its platform has no answer yet
    "syncing",  # a batch of the ledger's writes is made, and not on disk yet
    "claimed",  # a turn is leased, and nobody works on it yet
    "shown",  # the platform shows the first preview, and its reference is not on disk yet
    "written",  # the reply is whole, and not committed yet
    "committed",  # the reply is on disk, and no sender knows of it yet
    "taken",  # a delivery is a sender's, which has not begun to send it
    "sending",  # it is recorded that the platform may have it from now on, and it has not yet
    "delivered",  # the platform has the delivery, and the ledger does not know it yet
    "handed_over",  # a part is given to a platform's own request, and its answer is not on its way yet
)
# Not settings, since nobody but a test wants them.
KILL_AT = "FRONTDESK_KILL_AT"  # as "delivered:3": the third time
SLOW_AT = "FRONTDESK_SLOW_AT"  # as "syncing:0.2": so many seconds each time, as a slow disk does

Passing = Callable[[str], None]


def pass_by(_: str) -> None:
    """Nothing happens."""


class KillAt:
    """Kills the process, as the kernel would, when one of the POINTS is passed for the nth time."""

    def __init__(self, point: str, nth: int = 1) -> None:
        self._point = point
        self._left = nth

    def __call__(self, point: str) -> None:
        if point != self._point:
            return
        self._left -= 1
        if self._left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)


class SlowAt:
    """Holds up the thread that passes one of the POINTS, each time."""

    def __init__(self, point: str, seconds: float) -> None:
        self._point = point
        self._seconds = seconds

    def __call__(self, point: str) -> None:
        if point == self._point:
            time.sleep(self._seconds)


def passing(environment: Mapping[str, str]) -> Passing:
    """What KILL_AT and SLOW_AT ask for there; mostly nothing. Raises ConfigError."""
    wanted: list[Passing] = []
    if kill := environment.get(KILL_AT):
        point, nth = _point(KILL_AT, kill)
        wanted.append(KillAt(point, int(nth)))
    if slow := environment.get(SLOW_AT):
        wanted.append(SlowAt(*_point(SLOW_AT, slow)))
    if not wanted:
        return pass_by

    def all_of(point: str) -> None:
        for one in wanted:
            one(point)

    return all_of


def _point(variable: str, wanted: str) -> tuple[str, float]:
    point, _, number = wanted.partition(":")
    try:
        value = float(number or 1)
    except ValueError:
        value = math.nan
    if point not in POINTS or not 0 <= value <= 1e6:
        raise ConfigError([f"{variable}: {wanted!r} is none of {', '.join(POINTS)}, with : and a number behind it"])
    return point, value
