"""GCRA, the one rule of admission: a steady rate with a burst, in one number per key ("theoretical arrival time").

The persistent limits of a user live in the ledger, decided in the transaction that accepts the message; the limit per
IP address is abuse protection and lives in memory, bounded.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

# Seconds. Times near the epoch's 1.8e9 have a resolution of 2e-7, and a burst adds up hundreds of such errors.
ROUNDING = 1e-4


@dataclass(frozen=True, slots=True)
class Rate:
    """`interval` seconds for one unit in the long run; `burst` units may come at once."""

    interval: float
    burst: float

    @classmethod
    def per_minute(cls, units: float, burst: float) -> Rate:
        return cls(60.0 / units, burst)

    @classmethod
    def per_day(cls, units: float) -> Rate:
        """A day's budget that may be spent at once and grows back evenly."""
        return cls(86_400.0 / units, units)


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of a limit: `remaining` of its `limit` units may come now, all of them again after `seconds`."""

    limit: int
    remaining: int
    seconds: float


def spend(arrival: float, now: float, rate: Rate, units: float = 1.0) -> float:
    """The new arrival time after taking `units`, whether or not they were allowed."""
    return max(arrival, now) + units * rate.interval


def wait(arrival: float, now: float, rate: Rate, units: float = 1.0) -> float:
    """Seconds until `units` would be admitted; 0.0 if they are admitted now."""
    excess = spend(arrival, now, rate, units) - now - rate.burst * rate.interval
    return excess if excess > ROUNDING else 0.0


def left(arrival: float, now: float, rate: Rate) -> Allowance:
    """What is left; asking costs nothing."""
    taken = max(0.0, arrival - now)
    remaining = rate.burst - (taken - ROUNDING) / rate.interval
    return Allowance(int(rate.burst), max(0, int(remaining)), taken)


def own_rate(usual: Rate, per_minute: float | None) -> Rate:
    """The rate of a user who has one of their own; None is the usual one."""
    return usual if per_minute is None else Rate.per_minute(per_minute, min(usual.burst, max(1.0, per_minute)))


def own_tokens(usual: Rate | None, per_day: float | None) -> Rate | None:
    """The same for the tokens of a day."""
    return usual if per_day is None else Rate.per_day(per_day)


class IpThrottle:
    """A limit per IP address, remembered for the `capacity` most recent addresses."""

    def __init__(self, rate_per_minute: float, *, capacity: int = 10_000) -> None:
        self._rate = Rate.per_minute(rate_per_minute, max(1.0, rate_per_minute))
        self._capacity = capacity
        self._arrivals: OrderedDict[str, float] = OrderedDict()

    def admit(self, ip: str, now: float) -> float:
        """0.0 when the request is admitted (and counted), else the seconds to wait."""
        arrival = self._arrivals.get(ip, 0.0)
        seconds = wait(arrival, now, self._rate)
        if seconds == 0.0:
            self._arrivals[ip] = spend(arrival, now, self._rate)
            self._arrivals.move_to_end(ip)
            if len(self._arrivals) > self._capacity:
                self._arrivals.popitem(last=False)
        return seconds

    def left(self, ip: str, now: float) -> Allowance:
        """What that address has left; asking costs nothing."""
        return left(self._arrivals.get(ip, 0.0), now, self._rate)
