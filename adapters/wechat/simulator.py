"""WeChat on loopback: pushes to our webhook as WeChat does, judges the replies as strictly, and shows what users see.

A push that is not answered in time (5 s; `patience` scales it) is closed and sent again with the same MsgId, three
deliveries in all; without a valid answer the user sees that the account has no service for now
(developers.weixin.qq.com, "被动回复用户消息"). Its own reading of replies and its cipher are wechatpy's, not ours.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote
from xml.parsers.expat import ExpatError

import aiohttp
import xmltodict
from aiohttp import web
from wechatpy.crypto import PrpCrypto, WeChatCrypto
from wechatpy.exceptions import WeChatException

from adapters.wechat.simulated_api import ApiSide

UNAVAILABLE = "该公众号暂时无法提供服务，请稍后再试"
_TEXT_LIMIT = 2048  # bytes
_USERS = 20_000
_LINK = re.compile(r'<a href="weixin://bizmsgmenu\?msgmenucontent=([^"&<]+)&msgmenuid=([^"&<]+)">[^<>]+</a>')
_BUBBLES = 500  # a user

By = Literal["user", "account", "wechat"]


@dataclass(frozen=True, slots=True)
class Bubble:
    """One line of a chat as its user sees it; "wechat" is the platform's own note."""

    by: By
    text: str


class MalformedReply(Exception):
    """A reply WeChat would not show."""


class WeChatPlatform:
    """One official account, its users and WeChat between them. Use it with `async with`."""

    def __init__(
        self,
        *,
        token: str,
        app_id: str = "wx0123456789abcdef",
        app_secret: str = "sample-app-secret",  # noqa: S107  # the simulator's own
        aes_key: str = "",
        account: str = "gh_0123456789ab",
        verified: bool = False,
        patience: float = 5.0,
        tries: int = 3,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.webhook = ""  # set it before anybody writes
        self.lost_replies = 0  # that many next replies arrive too late: WeChat sends the message again
        self.patience = patience
        self.malformed: deque[str] = deque(maxlen=1000)  # why replies were not shown
        self.deliveries: deque[str] = deque(maxlen=10_000)  # the MsgId of each try
        self.transferred: deque[str] = deque(maxlen=1000)  # users given to the console's people
        self._token = token
        self._crypto = WeChatCrypto(token, aes_key, app_id) if aes_key else None
        self._app_id = app_id
        self._account = account
        self._tries = tries
        self._clock = clock
        self._chats: dict[str, deque[Bubble]] = {}
        self._open: dict[str, asyncio.Timeout] = {}
        self._numbers = itertools.count(23_000_000_000_000_001)
        self.api = ApiSide(
            app_id=app_id,
            app_secret=app_secret,
            verified=verified,
            clock=clock,
            show=lambda openid, text: self._show(openid, "account", text),
            users=_USERS,
        )
        self._runner: web.AppRunner | None = None
        self._http: aiohttp.ClientSession | None = None
        self.base_url = ""

    async def __aenter__(self) -> WeChatPlatform:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Serve the API; `base_url` is known afterwards."""
        app = web.Application()
        app.add_routes(self.api.routes())
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.base_url = f"http://{host}:{port}"
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None)
        )

    async def stop(self) -> None:
        """Close everything."""
        self.api.close()
        if self._http is not None:
            await self._http.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def chat(self, openid: str) -> tuple[Bubble, ...]:
        """What a user sees, oldest first."""
        return tuple(self._chats.get(openid, ()))

    def answers(self, openid: str) -> list[str]:
        """What the account said to a user, oldest first."""
        return [bubble.text for bubble in self.chat(openid) if bubble.by == "account"]

    def hang_up(self, message_id: str) -> None:
        """Run out of patience with the delivery of this message now under way."""
        self._open[message_id].reschedule(0.0)

    async def user_says(self, openid: str, text: str, *, message_id: str = "", duplicates: int = 0) -> str:
        """A user writes; returns what they see as the reply to it: a text, "" for silence, or UNAVAILABLE.

        With `duplicates`, WeChat sends the same push that many times more, all at once, and drops the replies.
        """
        return await self._sends(openid, text, {"MsgType": "text", "Content": text}, message_id, duplicates)

    async def user_taps(self, openid: str) -> str:
        """A user taps the newest link in the account's last text, which writes its word in their name; returns what
        they see as the reply to it. Raises LookupError when there is none to tap."""
        tapped = next(iter(_LINK.findall(self.answers(openid)[-1])), None)
        if tapped is None:
            raise LookupError("the account's last text has no link")
        word, menu_id = unquote(tapped[0]), tapped[1]
        return await self._sends(openid, word, {"MsgType": "text", "Content": word, "bizmsgmenuid": menu_id})

    async def user_sends(self, openid: str, kind: str, **fields: str) -> str:
        """A user sends an image, a voice, a location ...; returns what they see as the reply to it."""
        return await self._sends(openid, f"[{kind}]", {"MsgType": kind, **fields})

    async def _sends(
        self, openid: str, bubble: str, fields: Mapping[str, str], message_id: str = "", duplicates: int = 0
    ) -> str:
        self._show(openid, "user", bubble)
        self.api.wrote(openid)
        push = self._push(openid, {**fields, "MsgId": message_id or str(next(self._numbers))})
        async with asyncio.TaskGroup() as group:
            first = group.create_task(self._until_answered(openid, push))
            for _ in range(duplicates):
                group.create_task(self._attempt(push))
        return self._seen(openid, first.result())

    async def event(self, openid: str, event: str, **fields: str) -> str:
        """Something happened (subscribe, CLICK, ...); returns what the user sees as the reply to it."""
        if event in ("subscribe", "CLICK", "SCAN"):
            self.api.acted(openid)
        push = self._push(openid, {"MsgType": "event", "Event": event, **fields})
        return self._seen(openid, await self._until_answered(openid, push))

    def _seen(self, openid: str, shown: str) -> str:
        if shown:
            self._show(openid, "wechat" if shown == UNAVAILABLE else "account", shown)
        return shown

    def _push(self, openid: str, fields: Mapping[str, str]) -> _Push:
        created = int(self._clock())
        whole = {"ToUserName": self._account, "FromUserName": openid, "CreateTime": str(created), **fields}
        xml: str = xmltodict.unparse({"xml": whole}, full_document=False)
        return _Push(openid, fields.get("MsgId", f"{openid}:{created}"), xml)

    async def _until_answered(self, openid: str, push: _Push) -> str:
        for _ in range(self._tries):
            raw = await self._attempt(push)
            if raw is None:
                continue
            if self.lost_replies:
                self.lost_replies -= 1
                continue
            if raw in (b"", b"success"):
                return ""
            try:
                return self._read(raw, openid)
            except MalformedReply as error:
                self.malformed.append(str(error))
                return UNAVAILABLE
        return UNAVAILABLE

    async def _attempt(self, push: _Push) -> bytes | None:
        """The body of one delivery's answer; None when there was none in time, or not with status 200."""
        if self._http is None:
            raise RuntimeError("the platform is not started")
        self.deliveries.append(push.id)
        query, body = self._sealed(push)
        try:
            async with asyncio.timeout(self.patience) as limit:
                self._open[push.id] = limit
                async with self._http.post(self.webhook, params=query, data=body) as response:
                    raw = await response.read()
                    return raw if response.status == 200 else None
        except (TimeoutError, aiohttp.ClientError):
            return None
        finally:
            if self._open.get(push.id) is limit:
                del self._open[push.id]

    def _sealed(self, push: _Push) -> tuple[dict[str, str], bytes]:
        """The query and the body of a delivery; each has its own nonce."""
        timestamp, nonce = str(int(self._clock())), str(next(self._numbers))[-10:]
        query = {"timestamp": timestamp, "nonce": nonce, "openid": push.openid}
        query["signature"] = sign(self._token, timestamp, nonce)
        if self._crypto is None:
            return query, push.xml.encode()
        encrypted = PrpCrypto(self._crypto.key).encrypt(push.xml, self._app_id).decode()
        query |= {"encrypt_type": "aes", "msg_signature": sign(self._token, timestamp, nonce, encrypted)}
        envelope: str = xmltodict.unparse(
            {"xml": {"ToUserName": self._account, "Encrypt": encrypted}}, full_document=False
        )
        return query, envelope.encode()

    def _read(self, raw: bytes, openid: str) -> str:
        """The text of a passive reply. Raises MalformedReply for everything WeChat would not show."""
        fields = _elements(raw)
        if self._crypto is not None:
            if "Encrypt" not in fields:
                raise MalformedReply("not encrypted")
            try:
                signed = [fields[name] for name in ("MsgSignature", "TimeStamp", "Nonce")]
                fields = _elements(self._crypto.decrypt_message(dict(fields), *signed).encode())
            except (WeChatException, KeyError, ValueError, TypeError) as error:
                raise MalformedReply(f"cannot be decrypted ({type(error).__name__})") from error
        if fields.get("MsgType") == "transfer_customer_service" and len(fields) == 4:
            if (fields["ToUserName"], fields["FromUserName"]) != (openid, self._account):
                raise MalformedReply("to and from are not swapped")
            self.transferred.append(openid)
            return ""
        if set(fields) != {"ToUserName", "FromUserName", "CreateTime", "MsgType", "Content"}:
            raise MalformedReply(f"elements {sorted(fields)}")
        if (fields["ToUserName"], fields["FromUserName"]) != (openid, self._account):
            raise MalformedReply("to and from are not swapped")
        if fields["MsgType"] != "text" or not fields["CreateTime"].isdigit():
            raise MalformedReply("not a text of some time")
        if not 0 < len(fields["Content"].encode()) <= _TEXT_LIMIT:
            raise MalformedReply(f"{len(fields['Content'].encode())} bytes")
        return fields["Content"]

    def _show(self, openid: str, by: By, text: str) -> None:
        chat = self._chats.setdefault(openid, deque(maxlen=_BUBBLES))
        chat.append(Bubble(by, text))
        if len(self._chats) > _USERS:
            del self._chats[next(iter(self._chats))]


@dataclass(frozen=True, slots=True)
class _Push:
    openid: str
    id: str
    xml: str


def sign(*values: str) -> str:
    """WeChat's signature over the token and these values."""
    return hashlib.sha1("".join(sorted(values)).encode(), usedforsecurity=False).hexdigest()


def _elements(raw: bytes) -> dict[str, str]:
    try:
        root = xmltodict.parse(raw, strip_whitespace=False)
    except (ExpatError, ValueError) as error:
        raise MalformedReply("not XML") from error
    fields = root.get("xml")
    if not isinstance(fields, dict) or not all(isinstance(value, str) for value in fields.values()):
        raise MalformedReply("not flat XML")
    return fields
