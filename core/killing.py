"""Named places between two durable steps, where a test has the process kill itself; else passing one costs a call.

What a crash may leave behind is decided at these places: what is on disk by then, and what the outside has seen.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from core.errors import ConfigError

POINTS = (
    "accepted",  # a message is on disk, and its platform has no answer yet
    "claimed",  # a turn is leased, and nobody works on it yet
    "shown",  # the platform shows the first preview, and its reference is not on disk yet
    "written",  # the reply is whole, and not committed yet
    "committed",  # the reply is on disk, and no sender knows of it yet
    "taken",  # a delivery is a sender's, which has not begun to send it
    "sending",  # it is recorded that the platform may have it from now on, and it has not yet
    "delivered",  # the platform has the delivery, and the ledger does not know it yet
    "handed_over",  # a part is given to a platform's own request, and its answer is not on its way yet
)
VARIABLE = "FRONTDESK_KILL_AT"  # as "delivered:3": the third time; not a setting, since nobody but a test wants it

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


def passing(wanted: str) -> Passing:
    """What VARIABLE asks for; "" asks for nothing. Raises ConfigError."""
    if not wanted:
        return pass_by
    point, _, nth = wanted.partition(":")
    if point not in POINTS or not (nth or "1").isdecimal():
        raise ConfigError(
            [f"{VARIABLE}: {wanted!r} is none of {', '.join(POINTS)}, with :N behind it for the Nth time"]
        )
    return KillAt(point, int(nth or 1))
