"""One signed call to a receiver: what it answers decides whether it is made again; no address gets into an error.

The signature is that of www.standardwebhooks.com: HMAC-SHA256 over id, time and body, which any of its libraries
verifies. The address's query may hold a token of the receiver's, so errors name the host alone.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable
from email.utils import parsedate_to_datetime

import aiohttp
from yarl import URL

from core.errors import DeliveryError

SECONDS = 10.0  # of one call in all
REST_SECONDS = 60.0  # a receiver that let us wait in vain is left alone, so that the calls to others need not wait
LONGEST_PAUSE = 3600.0  # that a receiver may ask for
PASSING = frozenset({408, 425, 429})  # and every 5xx
SECRET_PREFIX = "whsec_"  # noqa: S105 - what secrets begin with
LEAST_BYTES, MOST_BYTES = 24, 64


def secret_bytes(text: str) -> bytes:
    """The key that a secret stands for. Raises ValueError that says how one is made."""
    try:
        key = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith(SECRET_PREFIX) or not LEAST_BYTES <= len(key) <= MOST_BYTES:
        raise ValueError(
            f"must be {SECRET_PREFIX} and {LEAST_BYTES} to {MOST_BYTES} bytes in base64; make one with"
            f' `echo "{SECRET_PREFIX}$(openssl rand -base64 32)"`'
        )
    return key


def signature(key: bytes, name: str, timestamp: int, body: bytes) -> str:
    """What stands in webhook-signature."""
    mac = hmac.new(key, f"{name}.{timestamp}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(mac.digest()).decode()}"


class Poster:
    """Makes the calls, over connections of its own. `clock` gives the time of day, `timer` seconds that never jump."""

    def __init__(
        self,
        key: bytes,
        *,
        clock: Callable[[], float],
        timer: Callable[[], float],
        seconds: float = SECONDS,
    ) -> None:
        self._key = key
        self._clock = clock
        self._timer = timer
        self._timeout = aiohttp.ClientTimeout(total=seconds)
        self._session: aiohttp.ClientSession | None = None
        self._resting: dict[str, float] = {}  # until when; as many as hosts are listed

    async def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def post(self, url: URL, name: str, body: bytes) -> None:
        """Post JSON under an id that is the same for each repeat. Raises DeliveryError."""
        host = f"{url.host}:{url.port}"
        if (rest := self._resting.get(host, 0.0) - self._timer()) > 0:
            raise DeliveryError(f"{host} let an earlier call wait in vain", retryable=True, retry_after=rest)
        timestamp = int(self._clock())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Frontdesk",
            "webhook-id": name,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(self._key, name, timestamp, body),
        }
        try:
            # The body of the answer is not asked for: leaving closes the connection under it.
            async with self._open().post(url, data=body, headers=headers, allow_redirects=False) as response:
                status, wanted = response.status, response.headers.get("Retry-After", "")
        except TimeoutError:
            self._resting[host] = self._timer() + REST_SECONDS
            raise DeliveryError(f"{host}: no answer in time", retryable=True) from None
        # From none: the texts of aiohttp's exceptions hold the address.
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise DeliveryError(f"{host}: {type(error).__name__}", retryable=True) from None
        if 200 <= status < 300:
            return
        passing = status in PASSING or status >= 500
        pause = self._pause(wanted) if passing else None
        raise DeliveryError(f"{host}: HTTP {status}", retryable=passing, retry_after=pause)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            # No cookies: what one receiver sets is nothing for the next call.
            self._session = aiohttp.ClientSession(timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar())
        return self._session

    def _pause(self, wanted: str) -> float | None:
        """Retry-After in seconds, a date or a number; None leaves the pause to us."""
        if wanted.isascii() and wanted.isdigit():
            seconds = float(wanted[:9])
        else:
            try:
                seconds = parsedate_to_datetime(wanted).timestamp() - self._clock()
            except (ValueError, OverflowError):
                return None
        return min(seconds, LONGEST_PAUSE) if seconds >= 1.0 else None
