"""A request is Slack's own, or it goes no further: compared in constant time, and no header can make it raise."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

WINDOW = 300.0  # seconds (docs.slack.dev/authentication/verifying-requests-from-slack)


def genuine(secret: bytes, raw: bytes, headers: Mapping[str, str], now: float) -> bool:
    """v0=HMAC-SHA256(secret, "v0:<timestamp>:<raw body>"), within five minutes."""
    timestamp = headers.get("X-Slack-Request-Timestamp", "")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        return False
    if abs(now - int(timestamp)) > WINDOW:
        return False
    base = b"v0:" + timestamp.encode() + b":" + raw
    expected = "v0=" + hmac.new(secret, base, hashlib.sha256).hexdigest()
    given = headers.get("X-Slack-Signature", "").encode("utf-8", "surrogateescape")
    return hmac.compare_digest(expected.encode(), given)
