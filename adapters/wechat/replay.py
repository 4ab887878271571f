"""Refuses a query that somebody has kept: it is fresh, and in plain mode it says one thing only.

WeChat's `signature` covers neither the body nor a time limit (developers.weixin.qq.com, dev/push), so whoever has seen
one query could post any body with it for ever. Deliveries of one message are seconds apart, so a window of minutes
takes none of WeChat's own. `msg_signature` covers the body; there the MsgId ends a replay within the window.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping

_HEARD = 10_000


class Replays:
    """The memory of one account's webhook. `seconds`: how far a timestamp may be off; 0 takes any."""

    def __init__(self, *, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._heard: OrderedDict[tuple[str, str, str], bytes] = OrderedDict()

    def fresh(self, timestamp: str) -> bool:
        """Whether a query was signed just now."""
        if not self._seconds:
            return True
        digits = timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12
        return digits and abs(self._clock() - int(timestamp)) <= self._seconds

    def consistent(self, query: Mapping[str, str], body: bytes) -> bool:
        """Whether that (checked) signature has not come with another body before."""
        key = (query["signature"], query["timestamp"], query.get("nonce", ""))
        digest = hashlib.sha256(body).digest()
        heard = self._heard.setdefault(key, digest)
        if len(self._heard) > _HEARD:
            self._heard.popitem(last=False)
        return heard == digest
