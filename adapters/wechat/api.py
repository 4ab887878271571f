"""The three calls to WeChat's API: stable_token, custom/send, custom/typing. DeliveryError comes out, never a secret.

developers.weixin.qq.com: /cgi-bin/stable_token (normal mode returns one token until 5 minutes before its end; forced
refreshes 20 a day and at least 30 s apart), /cgi-bin/message/custom/send, /cgi-bin/message/custom/typing. The token
stands in the query, so no address is ever logged or kept in an error.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime

import aiohttp
import orjson

from adapters.wechat.convert import custom_text
from adapters.wechat.refusals import TOKEN_REFUSED, Refused
from core.errors import DeliveryError

_EARLY = 300.0  # seconds before its end that a token is renewed
_FORCED_PAUSE = 30.0  # seconds between two forced refreshes, as WeChat demands


class Api:
    """One account's API. `clock` gives the time of day, `timer` seconds that never jump back."""

    def __init__(
        self,
        *,
        base_url: str,
        app_id: str,
        app_secret: str,
        clock: Callable[[], float],
        timer: Callable[[], float],
        timeout_seconds: float = 10.0,
    ) -> None:
        self.ahead: float | None = None  # seconds that WeChat's clock was ahead of ours at its last answer
        self._base_url = base_url
        self._app_id = app_id
        self._app_secret = app_secret
        self._clock = clock
        self._timer = timer
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds, connect=timeout_seconds / 2)
        self._http: aiohttp.ClientSession | None = None
        self._refreshing = asyncio.Lock()
        self._token = ""
        self._renew_at = 0.0
        self._forced_at = -_FORCED_PAUSE

    @property
    def is_open(self) -> bool:
        """Whether calls can be made."""
        return self._http is not None

    async def open(self) -> None:
        """Make the connection pool; nothing is sent."""
        if self._http is None:
            self._http = aiohttp.ClientSession(timeout=self._timeout)

    async def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def send_text(self, to: str, text: str) -> str:
        """Send a text of at most 2,048 bytes of UTF-8; returns WeChat's id of it, "" since it names none as yet."""
        sent = await self._authorised("/cgi-bin/message/custom/send", custom_text(to, text), repeatable=False)
        return str(sent.get("msgid", ""))

    async def typing(self, to: str) -> None:
        """Show the user that an answer is being written, for 15 s."""
        body = json.dumps({"touser": to, "command": "Typing"}).encode()
        await self._authorised("/cgi-bin/message/custom/typing", body, repeatable=True)

    async def token(self, spent: str = "") -> str:
        """An access token, another one than `spent`; one caller fetches it, the others wait and share it."""
        async with self._refreshing:
            if self._token and self._token != spent and self._timer() < self._renew_at:
                return self._token
            force = bool(spent) and spent == self._token
            if force and self._timer() - self._forced_at < _FORCED_PAUSE:
                raise Refused(40001, "refreshed less than 30 s ago")
            if force:
                self._forced_at = self._timer()
            body = {"grant_type": "client_credential", "appid": self._app_id, "secret": self._app_secret}
            raw = json.dumps(body | {"force_refresh": force}).encode()
            answer = await self._post("/cgi-bin/stable_token", raw, {}, repeatable=True)
            token, lasts = answer.get("access_token"), answer.get("expires_in")
            if not isinstance(token, str) or not isinstance(lasts, int):
                raise DeliveryError("WeChat's answer holds no access token", retryable=True, retry_after=60.0)
            self._token, self._renew_at = token, self._timer() + max(lasts - _EARLY, _EARLY / 10)
            return token

    async def _authorised(self, path: str, body: bytes, *, repeatable: bool) -> Mapping[str, object]:
        token = await self.token()
        try:
            return await self._post(path, body, {"access_token": token}, repeatable=repeatable)
        except Refused as refusal:
            if refusal.code not in TOKEN_REFUSED:
                raise
        token = await self.token(spent=token)
        return await self._post(path, body, {"access_token": token}, repeatable=repeatable)

    async def _post(
        self, path: str, body: bytes, query: Mapping[str, str], *, repeatable: bool
    ) -> Mapping[str, object]:
        """The fields of WeChat's answer. `repeatable`: an unknown outcome does no harm, so it counts as a failure."""
        if self._http is None:
            raise DeliveryError("the channel is not started", retryable=True)
        unknown = DeliveryError("no answer from WeChat", retryable=repeatable, unclear=not repeatable)
        headers = {"Content-Type": "application/json; charset=utf-8"}
        try:
            async with self._http.post(
                self._base_url + path, params=query, data=body, headers=headers, allow_redirects=False
            ) as response:
                status, raw = response.status, await response.read()
                sent_at = _date(response.headers.get("Date", ""))
        # From none: the texts of aiohttp's exceptions hold the address, and the address holds the token.
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            raise DeliveryError("WeChat cannot be reached", retryable=True, retry_after=5.0) from None
        except (aiohttp.ClientError, TimeoutError):
            raise unknown from None
        self.ahead = None if sent_at is None else sent_at - self._clock()
        if status in (429, 503):
            raise DeliveryError(f"WeChat is busy (HTTP {status})", retryable=True, retry_after=5.0)
        answer = _object(raw)
        if answer is None:
            raise unknown
        code = answer.get("errcode", 0)
        if isinstance(code, int) and code != 0:
            raise Refused(code, str(answer.get("errmsg", "")))
        return answer


def _object(raw: bytes) -> Mapping[str, object] | None:
    try:
        answer = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return answer if isinstance(answer, dict) else None


def _date(value: str) -> float | None:
    """The time of an answer, to the second; None when it does not tell."""
    try:
        return parsedate_to_datetime(value).timestamp()
    except ValueError:
        return None
