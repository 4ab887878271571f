"""WeChat's API on loopback: tokens that end, rights, windows, counts and sizes as WeChat has them, faults on demand.

Error codes: developers.weixin.qq.com, "全局返回码"; windows and counts: .../api_sendcustommessage; forced refreshes:
.../getStableAccessToken.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

_TEXT_LIMIT = 2048  # bytes
_WINDOW = 48 * 3600.0  # seconds after a user's message
_WINDOW_MESSAGES = 5
_EVENT_WINDOW = 60.0  # seconds after following, a menu click or a scan
_EVENT_MESSAGES = 3
_TYPING_AFTER = 30.0  # seconds since the user wrote
_TYPING_LASTS = 15.0
_TOKEN_SECONDS = 7200
_LOG = 10_000

# A \u escape: behind an even number of backslashes. WeChat refuses it or shows it literally.
_ESCAPE = re.compile(rb"(?<!\\)(?:\\\\)*\\u[0-9a-fA-F]{4}")

_ERRORS: Mapping[int, str] = {
    -1: "system error",
    40001: "invalid credential, access_token is invalid or not latest",
    40003: "invalid openid",
    40013: "invalid appid",
    40033: "invalid charset. please check your request, if include \\uxxxx will create fail!",
    40125: "invalid appsecret",
    40164: "invalid ip 192.0.2.1, not in whitelist",
    41001: "access_token missing",
    42001: "access_token expired",
    45002: "content size out of limit",
    45009: "reach max api daily quota limit",
    45011: "api minute-quota reach limit, must slower, retry next minute",
    45015: "response out of time limit or subscription is canceled",
    45047: "out of response count limit",
    45080: "client msg id not found in 30s",
    45081: "typing already set",
    47001: "data format error",
    48001: "api unauthorized",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with the next call whose path ends so."""

    path: str
    errcode: int = 0  # answered instead of doing it
    status: int = 0  # answered instead of doing it, with a page that is no JSON
    silent: bool = False  # no answer before the caller gives up
    done: bool = False  # it takes effect all the same (a text is shown, only the answer is lost)


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it arrived."""

    path: str
    body: Mapping[str, object]
    raw: bytes


@dataclass(slots=True)
class _Window:
    opened: float
    seconds: float = _WINDOW
    left: int = _WINDOW_MESSAGES
    typing_until: float = 0.0


class ApiSide:
    """The API of one account. `show` puts a customer-service text before a user's eyes."""

    def __init__(
        self,
        *,
        app_id: str,
        app_secret: str,
        verified: bool,
        clock: Callable[[], float],
        show: Callable[[str, str], None],
        users: int,
    ) -> None:
        self.verified = verified
        self.faults: deque[Fault] = deque(maxlen=1000)
        self.calls: deque[Call] = deque(maxlen=_LOG)
        self._app_id = app_id
        self._app_secret = app_secret
        self._clock = clock
        self._show = show
        self._users = users
        self._windows: dict[str, _Window] = {}
        self._token = ""
        self._token_ends = 0.0
        self._tokens = 0
        self._closing = asyncio.Event()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/cgi-bin/stable_token", self._stable_token),
            web.get("/cgi-bin/token", self._plain_token),
            web.post("/cgi-bin/message/custom/send", self._custom_send),
            web.post("/cgi-bin/message/custom/typing", self._custom_typing),
        ]

    def close(self) -> None:
        """Let silent calls go."""
        self._closing.set()

    def spend_token(self) -> None:
        """End the present token early, as WeChat does when somebody else fetches one."""
        self._token_ends = 0.0

    def wrote(self, openid: str) -> None:
        """A user wrote: five messages within 48 h are allowed again."""
        self._open(openid, _Window(self._clock()))

    def acted(self, openid: str) -> None:
        """A user followed, scanned or clicked: three messages within a minute, unless more are allowed anyway."""
        window = self._windows.get(openid)
        if window is None or not window.left or self._clock() - window.opened > window.seconds:
            self._open(openid, _Window(self._clock(), _EVENT_WINDOW, _EVENT_MESSAGES))

    def _open(self, openid: str, window: _Window) -> None:
        self._windows.pop(openid, None)
        self._windows[openid] = window
        if len(self._windows) > self._users:
            del self._windows[next(iter(self._windows))]

    async def _stable_token(self, request: web.Request) -> web.Response:
        return await self._call(request, self._give_token)

    async def _plain_token(self, request: web.Request) -> web.Response:
        query = request.query
        body = {"appid": query.get("appid"), "secret": query.get("secret"), "force_refresh": True}
        return _answer(self._give_token(body, b""))

    async def _custom_send(self, request: web.Request) -> web.Response:
        return await self._call(request, self._send, token=True)

    async def _custom_typing(self, request: web.Request) -> web.Response:
        return await self._call(request, self._type, token=True)

    async def _call(
        self,
        request: web.Request,
        act: Callable[[Mapping[str, object], bytes], Mapping[str, object]],
        *,
        token: bool = False,
    ) -> web.Response:
        raw = await request.read()
        try:
            body = json.loads(raw)
        except ValueError:
            return _answer(_error(47001))
        self.calls.append(Call(request.path, body, raw))
        fault = next((fault for fault in self.faults if request.path.endswith(fault.path)), None)
        if fault is not None:
            self.faults.remove(fault)
            if fault.done:
                act(body, raw)
            if fault.silent:
                await self._closing.wait()
            if fault.status:
                return web.Response(status=fault.status, text="<html>bad gateway</html>")
            return _answer(_error(fault.errcode))
        refusal = self._token_refusal(request.query.get("access_token", "")) if token else 0
        return _answer(_error(refusal) if refusal else act(body, raw))

    def _give_token(self, body: Mapping[str, object], _raw: bytes) -> Mapping[str, object]:
        if body.get("appid") != self._app_id:
            return _error(40013)
        if body.get("secret") != self._app_secret:
            return _error(40125)
        if body.get("force_refresh") or self._clock() >= self._token_ends - 300:
            self._tokens += 1
            self._token, self._token_ends = f"token-{self._tokens}", self._clock() + _TOKEN_SECONDS
        return {"access_token": self._token, "expires_in": int(self._token_ends - self._clock())}

    def _token_refusal(self, token: str) -> int:
        if not token:
            return 41001
        if token != self._token:
            return 40001
        return 42001 if self._clock() >= self._token_ends else 0

    def _send(self, body: Mapping[str, object], raw: bytes) -> Mapping[str, object]:
        openid, text = body.get("touser"), body.get("text")
        content = text.get("content") if isinstance(text, dict) else None
        if _ESCAPE.search(raw):
            return _error(40033)
        if not isinstance(openid, str) or not isinstance(content, str) or body.get("msgtype") != "text":
            return _error(47001)
        if not self.verified:
            return _error(48001)
        if len(content.encode()) > _TEXT_LIMIT:
            return _error(45002)
        window = self._windows.get(openid)
        if window is None or self._clock() - window.opened > window.seconds:
            return _error(45015 if window else 40003)
        if not window.left:
            return _error(45047)
        window.left -= 1
        window.typing_until = 0.0
        self._show(openid, content)
        return _error(0)

    def _type(self, body: Mapping[str, object], _raw: bytes) -> Mapping[str, object]:
        if not self.verified:
            return _error(48001)
        window, now = self._windows.get(str(body.get("touser"))), self._clock()
        if window is None:
            return _error(40003)
        if now - window.opened > _TYPING_AFTER:
            return _error(45080)
        if now < window.typing_until:
            return _error(45081)
        window.typing_until = now + _TYPING_LASTS
        return _error(0)


def _error(code: int) -> Mapping[str, object]:
    return {"errcode": code, "errmsg": _ERRORS.get(code, "ok" if code == 0 else "error")}


def _answer(fields: Mapping[str, object]) -> web.Response:
    return web.json_response(fields)
