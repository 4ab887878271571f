"""How fast the engine has been writing lately: what a reply can hold that must be there in time.

Measured on whole replies, so that it holds for what runs now: the model, the machine, and how many write at once.
"""

from __future__ import annotations

WEIGHT = 0.3  # of the newest reply
LEAST_TOKENS = 8  # a shorter reply says little about the pace
RESERVE_SECONDS = 0.5  # to commit a reply and hand it over
CAUTION = 0.85  # of the measured pace: half of all replies are slower than the mean


class Speed:
    """A running mean over replies."""

    def __init__(self) -> None:
        self._first_seconds = 0.0
        self._tokens_per_second = 0.0

    def observe(self, first_seconds: float, seconds: float, tokens: int) -> None:
        """A reply of so many tokens began after `first_seconds` and took `seconds` in all."""
        writing = seconds - first_seconds
        if tokens < LEAST_TOKENS or writing <= 0:
            return
        weight = WEIGHT if self._tokens_per_second else 1.0
        self._first_seconds += weight * (first_seconds - self._first_seconds)
        self._tokens_per_second += weight * (tokens / writing - self._tokens_per_second)

    def tokens_in(self, seconds: float) -> int | None:
        """How many tokens a reply may have that begins now and must be there in so many seconds; None before anything
        was measured."""
        if not self._tokens_per_second:
            return None
        return int(max(0.0, seconds - RESERVE_SECONDS - self._first_seconds) * self._tokens_per_second * CAUTION)
