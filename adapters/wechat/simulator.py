"""WeChat on loopback: pushes to our webhook as WeChat does, judges the replies as strictly, and shows what users see.

A push that is not answered in time (5 s; `patience` scales it) is closed and sent again with the same MsgId, three
deliveries in all; without a valid answer the user sees that the account has no service for now
(developers.weixin.qq.com, "被动回复用户消息").
"""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

import aiohttp
from aiohttp import web

from adapters.wechat.simulated_api import ApiSide
from adapters.wechat.simulated_push import Form, MalformedReply, Mode, Push, Wire, sign

__all__ = ["UNAVAILABLE", "Bubble", "MalformedReply", "WeChatPlatform", "sign"]

UNAVAILABLE = "该公众号暂时无法提供服务，请稍后再试"
_USERS = 20_000
_LINK = re.compile(r'<a href="weixin://bizmsgmenu\?msgmenucontent=([^"&<]+)&msgmenuid=([^"&<]+)">([^<>]+)</a>')
_BUBBLES = 500  # a user
_SILENCE = 1800.0  # seconds until a conversation with a person at the console ends (product/kf/forwarding)

By = Literal["user", "account", "wechat"]


@dataclass(frozen=True, slots=True)
class Bubble:
    """One line of a chat as its user sees it; "wechat" is the platform's own note."""

    by: By
    text: str


class WeChatPlatform:
    """One official account, its users and WeChat between them. Use it with `async with`.

    `mode` is plain without an `aes_key`, safe with one, unless it says "compatible".
    """

    def __init__(
        self,
        *,
        token: str,
        app_id: str = "wx0123456789abcdef",
        app_secret: str = "sample-app-secret",  # noqa: S107  # the simulator's own
        aes_key: str = "",
        mode: Mode | None = None,
        form: Form = "xml",
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
        mode = mode or ("safe" if aes_key else "plain")
        self.wire = Wire(token=token, app_id=app_id, account=account, aes_key=aes_key, mode=mode, form=form)
        self._tries = tries
        self._clock = clock
        self._chats: dict[str, deque[Bubble]] = {}
        self._open: dict[str, asyncio.Timeout] = {}
        self._with_person: dict[str, float] = {}  # users who talk to one at the console, and since when all is silent
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
        app.on_response_prepare.append(self.api.date)
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

    async def user_taps(self, openid: str, label: str = "") -> str:
        """A user taps a link in the account's last text, the first or the one with that label, which writes its word
        in their name; returns what they see as the reply to it. Raises LookupError when there is none to tap."""
        links = _LINK.findall(self.answers(openid)[-1])
        tapped = next((link for link in links if label in ("", link[2])), None)
        if tapped is None:
            raise LookupError("the account's last text has no such link")
        word, menu_id = unquote(tapped[0]), tapped[1]
        return await self._sends(openid, word, {"MsgType": "text", "Content": word, "bizmsgmenuid": menu_id})

    async def user_sends(self, openid: str, kind: str, **fields: str) -> str:
        """A user sends an image, a voice, a location ...; returns what they see as the reply to it. With a MsgId that
        was there before, WeChat delivers that message again."""
        return await self._sends(openid, f"[{kind}]", {"MsgType": kind, **fields})

    async def _sends(
        self, openid: str, bubble: str, fields: Mapping[str, str], message_id: str = "", duplicates: int = 0
    ) -> str:
        self._show(openid, "user", bubble)
        self.api.windows.wrote(openid)
        if self._is_with_person(openid):
            return ""
        push = self._push(openid, {"MsgId": message_id or str(next(self._numbers)), **fields})
        async with asyncio.TaskGroup() as group:
            first = group.create_task(self._until_answered(push))
            for _ in range(duplicates):
                group.create_task(self._attempt(push))
        return self._seen(openid, first.result())

    async def event(self, openid: str, event: str, **fields: str) -> str:
        """Something happened (subscribe, CLICK, ...); returns what the user sees as the reply to it."""
        if event in ("subscribe", "CLICK", "SCAN"):
            self.api.windows.acted(openid)
        elif event == "unsubscribe":
            self.api.windows.left(openid)
        push = self._push(openid, {"MsgType": "event", "Event": event, **fields})
        return self._seen(openid, await self._until_answered(push))

    def person_takes(self, openid: str) -> None:
        """Somebody at the console takes a user who was given to it: what the user writes is pushed no more until
        `person_leaves`, or until half an hour of silence. Raises LookupError for anybody else."""
        if openid not in self.transferred:
            raise LookupError("the user was not given to the console")
        self._with_person[openid] = self._clock()

    def person_leaves(self, openid: str) -> None:
        """The conversation with the person is over."""
        self._with_person.pop(openid, None)

    def _is_with_person(self, openid: str) -> bool:
        since = self._with_person.get(openid)
        if since is None:
            return False
        if self._clock() - since > _SILENCE:
            self.person_leaves(openid)
            return False
        self._with_person[openid] = self._clock()
        return True

    def _seen(self, openid: str, shown: str) -> str:
        if shown:
            self._show(openid, "wechat" if shown == UNAVAILABLE else "account", shown)
        return shown

    def _push(self, openid: str, fields: Mapping[str, str]) -> Push:
        created = str(int(self._clock()))
        return Push(openid, fields.get("MsgId", f"{openid}:{created}"), {"CreateTime": created, **fields})

    async def _until_answered(self, push: Push) -> str:
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
                shown = self.wire.read(raw, push.openid)
            except MalformedReply as error:
                self.malformed.append(str(error))
                return UNAVAILABLE
            if shown.transferred:
                self.transferred.append(push.openid)
            return shown.text
        return UNAVAILABLE

    async def _attempt(self, push: Push) -> bytes | None:
        """The body of one delivery's answer; None when there was none in time, or not with status 200."""
        if self._http is None:
            raise RuntimeError("the platform is not started")
        self.deliveries.append(push.id)
        # Each delivery is signed anew.
        timestamp, nonce = str(int(self._clock())), str(next(self._numbers))[-10:]
        query, body = self.wire.write(push, timestamp=timestamp, nonce=nonce)
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

    def _show(self, openid: str, by: By, text: str) -> None:
        chat = self._chats.setdefault(openid, deque(maxlen=_BUBBLES))
        chat.append(Bubble(by, text))
        if len(self._chats) > _USERS:
            del self._chats[next(iter(self._chats))]
