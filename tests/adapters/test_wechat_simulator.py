"""The simulated WeChat is as strict as the real one: what it would not show is not shown, and it repeats as it does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace

import aiohttp
import pytest
import xmltodict
from aiohttp import web
from aiohttp.test_utils import TestServer

from adapters.wechat.convert import passive_text, render
from adapters.wechat.crypto import Seal
from adapters.wechat.simulator import UNAVAILABLE, Bubble, WeChatPlatform
from tests.adapters.wechat_house import APP_ID, KEY, SECRET, TOKEN, USER

ACCOUNT = "gh_0123456789ab"
SAFE = Seal(TOKEN, app_id=APP_ID, aes_key=KEY)
GOOD = passive_text(to=USER, sender=ACCOUNT, text="Hi", created=1)


@asynccontextmanager
async def answering(answer: Callable[[], web.Response], aes_key: str = "") -> AsyncIterator[WeChatPlatform]:
    """WeChat in front of an account that gives this answer to everything."""

    async def push(_: web.Request) -> web.Response:
        return answer()

    app = web.Application()
    app.add_routes([web.post("/", push)])
    async with (
        WeChatPlatform(token=TOKEN, app_id=APP_ID, app_secret=SECRET, aes_key=aes_key) as wechat,
        TestServer(app) as server,
    ):
        wechat.webhook = str(server.make_url("/"))
        yield wechat


def sealed(reply: str, signature: str = "") -> str:
    encrypted = SAFE.encrypt(reply)
    fields = {"Encrypt": encrypted, "MsgSignature": signature or SAFE.sign("1", "2", encrypted)}
    return render(fields | {"TimeStamp": "1", "Nonce": "2"})


@pytest.mark.parametrize(
    "body",
    [
        "ok",
        "<xml>",
        "<xml/>",
        GOOD.replace(USER, "oSomebodyElse"),
        GOOD.replace(ACCOUNT, USER),
        GOOD.replace("[text]", "[markdown]"),
        GOOD.replace("<Content>", "<Content><a/>"),
        GOOD.replace("<MsgType>", "<More>1</More><MsgType>"),
        passive_text(to=USER, sender=ACCOUNT, text="", created=1),
        passive_text(to=USER, sender=ACCOUNT, text="中" * 683, created=1),
        sealed(GOOD),
    ],
)
async def test_a_malformed_reply_shows_the_error(body: str) -> None:
    async with answering(lambda: web.Response(text=body)) as wechat:
        assert await wechat.user_says(USER, "Hello") == UNAVAILABLE
        assert (len(wechat.malformed), len(wechat.deliveries)) == (1, 1)


@pytest.mark.parametrize(
    "body", [GOOD, sealed(GOOD, signature="0" * 40), sealed("hi"), "<xml><Encrypt>1</Encrypt></xml>"]
)
async def test_in_safe_mode_only_a_sealed_reply_is_shown(body: str) -> None:
    async with answering(lambda: web.Response(text=body), KEY) as wechat:
        assert await wechat.user_says(USER, "Hello") == UNAVAILABLE
    async with answering(lambda: web.Response(text=sealed(GOOD)), KEY) as wechat:
        assert await wechat.user_says(USER, "Hello") == "Hi"


async def test_silence_ends_the_deliveries_and_an_error_does_not() -> None:
    async with answering(lambda: web.Response(text="success")) as wechat:
        assert await wechat.user_says(USER, "Hello") == ""
        assert await wechat.event(USER, "subscribe") == ""
        assert wechat.chat(USER) == (Bubble("user", "Hello"),)
        assert len(wechat.deliveries) == 2
    async with answering(lambda: web.Response(status=500)) as wechat:
        assert await wechat.user_says(USER, "Hello", message_id="5") == UNAVAILABLE
        assert list(wechat.deliveries) == ["5"] * 3
        assert wechat.chat(USER)[-1] == Bubble("wechat", UNAVAILABLE)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ('{"touser":"%s","msgtype":"text","text":{"content":"\\u4f60"}}', 40033),
        ('{"touser":"%s","msgtype":"text","text":{"content":"\\\\u4f60 你"}}', 0),
        ('{"touser":"%s","msgtype":"text"}', 47001),
        ("{", 47001),
    ],
)
async def test_the_api_reads_the_raw_body(raw: str, code: int) -> None:
    async with answering(lambda: web.Response(text="success")) as wechat, aiohttp.ClientSession() as http:
        wechat.api.verified = True
        await wechat.user_says(USER, "Hello")
        query = {"grant_type": "client_credential", "appid": APP_ID, "secret": SECRET}
        async with http.get(f"{wechat.base_url}/cgi-bin/token", params=query) as response:
            token = (await response.json())["access_token"]
        send = f"{wechat.base_url}/cgi-bin/message/custom/send"
        body = raw.replace("%s", USER).encode()
        async with http.post(send, params={"access_token": token}, data=body) as response:
            assert (await response.json())["errcode"] == code
        async with http.post(send, params={"access_token": token + "x"}, data=body) as response:
            assert (await response.json())["errcode"] in (40001, 47001)


async def test_the_push_is_what_wechat_sends() -> None:
    seen = SimpleNamespace(body=b"", query={})

    async def push(request: web.Request) -> web.Response:
        seen.body, seen.query = await request.read(), dict(request.query)
        return web.Response(text="success")

    app = web.Application()
    app.add_routes([web.post("/", push)])
    async with WeChatPlatform(token=TOKEN, clock=lambda: 7.0) as wechat, TestServer(app) as server:
        wechat.webhook = str(server.make_url("/"))
        await wechat.user_says(USER, "a < b ]]> c", message_id="5")
    assert xmltodict.parse(seen.body)["xml"] == {
        "ToUserName": ACCOUNT,
        "FromUserName": USER,
        "CreateTime": "7",
        "MsgType": "text",
        "Content": "a < b ]]> c",
        "MsgId": "5",
    }
    assert set(seen.query) == {"signature", "timestamp", "nonce", "openid"}
