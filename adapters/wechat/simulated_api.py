"""WeChat's API on loopback: tokens that end, rights, windows, counts and sizes as WeChat has them, faults on demand.

Error codes: developers.weixin.qq.com, "全局返回码"; kinds of messages: .../api_sendcustommessage.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate

from aiohttp import web

from adapters.wechat.simulated_limits import Calls, Windows
from adapters.wechat.simulated_push import TEXT_LIMIT
from adapters.wechat.simulated_tokens import Tokens

_LOG = 10_000

# A \u escape: behind an even number of backslashes. WeChat refuses it or shows it literally.
_ESCAPE = re.compile(rb"(?<!\\)(?:\\\\)*\\u[0-9a-fA-F]{4}")

_ERRORS: Mapping[int, str] = {
    -1: "system error",
    40001: "invalid credential, access_token is invalid or not latest",
    40003: "invalid openid",
    40008: "invalid message type",
    40013: "invalid appid",
    40014: "invalid access_token",
    40033: "invalid charset. please check your request, if include \\uxxxx will create fail!",
    40125: "invalid appsecret",
    40164: "invalid ip 192.0.2.1, not in whitelist",
    40243: "invalid appsecret, appsecret is frozen",
    41001: "access_token missing",
    42001: "access_token expired",
    43019: "require remove blacklist",
    45002: "content size out of limit",
    45009: "reach max api daily quota limit",
    45011: "api minute-quota reach limit, must slower, retry next minute",
    45015: "response out of time limit or subscription is canceled",
    45047: "out of response count limit",
    45072: "invalid command",
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
        self.not_listed = ""  # the caller's address, when it is not in the IP whitelist
        self.text_limit = TEXT_LIMIT
        self.ahead = 0.0  # seconds that WeChat's clock is ahead of everybody else's
        self.windows = Windows(clock, users=users)
        self.messages = Calls(clock, per_minute=10_000, per_day=500_000)  # of custom/send and custom/typing
        self.faults: deque[Fault] = deque(maxlen=1000)
        self.calls: deque[Call] = deque(maxlen=_LOG)
        self._app_id = app_id
        self._tokens = Tokens(clock, app_id=app_id, app_secret=app_secret)
        self._clock = clock
        self._show = show
        self._closing = asyncio.Event()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/cgi-bin/stable_token", self._stable_token),
            web.get("/cgi-bin/token", self._plain_token),
            web.post("/cgi-bin/message/custom/send", self._custom_send),
            web.post("/cgi-bin/message/custom/typing", self._custom_typing),
            web.post("/cgi-bin/clear_quota", self._clear_quota),
        ]

    async def date(self, _: web.Request, response: web.StreamResponse) -> None:
        """Put WeChat's own time on an answer."""
        response.headers["Date"] = formatdate(self._clock() + self.ahead, usegmt=True)

    def close(self) -> None:
        """Let silent calls go."""
        self._closing.set()

    def spend_token(self) -> None:
        """End the present token early, as WeChat does when somebody else fetches one."""
        self._tokens.spend()

    async def _stable_token(self, request: web.Request) -> web.Response:
        return await self._call(request, lambda body, _: self._given(self._tokens.stable(body)))

    async def _plain_token(self, request: web.Request) -> web.Response:
        return web.json_response(self._given(self._tokens.plain(request.query)))

    async def _custom_send(self, request: web.Request) -> web.Response:
        return await self._call(request, self._send, token=True)

    async def _custom_typing(self, request: web.Request) -> web.Response:
        return await self._call(request, self._type, token=True)

    async def _clear_quota(self, request: web.Request) -> web.Response:
        return await self._call(request, self._clear, token=True)

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
            return web.json_response(_error(47001))
        if not isinstance(body, dict):
            return web.json_response(_error(47001))
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
            return web.json_response(_error(fault.errcode))
        refusal = self._tokens.refusal(request.query.get("access_token", "")) if token else 0
        return web.json_response(_error(refusal) if refusal else act(body, raw))

    def _given(self, answer: Mapping[str, object] | int) -> Mapping[str, object]:
        if self.not_listed:
            words = f"invalid ip {self.not_listed} ipv6 ::ffff:{self.not_listed}, not in whitelist rid: 6a6b0000-0-0"
            return {"errcode": 40164, "errmsg": words}
        return _error(answer) if isinstance(answer, int) else answer

    def _send(self, body: Mapping[str, object], raw: bytes) -> Mapping[str, object]:
        openid, content = body.get("touser"), _words(body)
        if _ESCAPE.search(raw):
            return _error(40033)
        if not isinstance(openid, str) or body.get("msgtype") is None:
            return _error(47001)
        if body["msgtype"] not in ("text", "msgmenu"):
            return _error(40008)
        if content is None:
            return _error(47001)
        if not self.verified:
            return _error(48001)
        if len(content.encode()) > self.text_limit:
            return _error(45002)
        refusal = self.messages.refusal() or self.windows.send(openid)
        if not refusal:
            self._show(openid, content)
        return _error(refusal)

    def _type(self, body: Mapping[str, object], _raw: bytes) -> Mapping[str, object]:
        if not self.verified:
            return _error(48001)
        return _error(self.messages.refusal() or self.windows.type(str(body.get("touser")), body.get("command")))

    def _clear(self, body: Mapping[str, object], _raw: bytes) -> Mapping[str, object]:
        if body.get("appid") != self._app_id:
            return _error(40013)
        self.messages.clear()
        return _error(0)


def _words(body: Mapping[str, object]) -> str | None:
    """What a user sees of a text or a msgmenu; None when it has not the form that WeChat asks for."""
    inside = body.get(str(body.get("msgtype")))
    if not isinstance(inside, dict):
        return None
    if body["msgtype"] == "text":
        content = inside.get("content")
        return content if isinstance(content, str) and content else None
    lines = [inside.get("head_content", "")]
    choices = inside.get("list")
    for choice in choices if isinstance(choices, list) else ():
        if not isinstance(choice, dict) or not {"id", "content"} <= set(choice):
            return None
        word, number = choice["content"], choice["id"]
        lines.append(f'<a href="weixin://bizmsgmenu?msgmenucontent={word}&msgmenuid={number}">{word}</a>')
    lines.append(inside.get("tail_content", ""))
    return "\n".join(str(line) for line in lines if line) or None


def _error(code: int) -> Mapping[str, object]:
    return {"errcode": code, "errmsg": _ERRORS.get(code, "ok" if code == 0 else "error")}
