"""WeChat's way in: only WeChat is listened to, what it cannot mean costs nothing, and nothing it says is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from adapters.wechat.convert import passive_text, render
from adapters.wechat.crypto import Seal
from adapters.wechat.webhook import BODY_LIMIT
from tests.adapters.wechat_house import APP_ID, KEY, TOKEN, USER, House, house

PLAIN = Seal(TOKEN, app_id=APP_ID)
SAFE = Seal(TOKEN, app_id=APP_ID, aes_key=KEY)
HEAD: dict[str, str | int] = {"ToUserName": "gh_0123456789ab", "FromUserName": USER, "CreateTime": 1_790_000_000}
TEXT = HEAD | {"MsgType": "text", "Content": "Where is my order?", "MsgId": "1"}


def signed(seal: Seal = PLAIN, timestamp: str = "1790000000", nonce: str = "7") -> dict[str, str]:
    return {"signature": seal.sign(timestamp, nonce), "timestamp": timestamp, "nonce": nonce}


def sealed(plain: str, seal: Seal = SAFE) -> tuple[dict[str, str], bytes]:
    encrypted = seal.encrypt(plain)
    query = signed(seal) | {"encrypt_type": "aes", "msg_signature": seal.sign("1790000000", "7", encrypted)}
    return query, render({"ToUserName": "gh_0123456789ab", "Encrypt": encrypted}).encode()


async def post(home: House, query: Mapping[str, str], body: bytes) -> tuple[int, str]:
    async with aiohttp.ClientSession() as http, http.post(home.url, params=query, data=body) as response:
        return response.status, await response.text()


async def get(home: House, query: Mapping[str, str]) -> tuple[int, str, str]:
    async with aiohttp.ClientSession() as http, http.get(home.url, params=query) as response:
        return response.status, await response.text(), response.content_type


def pushing(**values: Any) -> dict[str, Any]:
    """Settings of a channel that answers at once, so that only the way in counts."""
    return {"verified": "true", "app_secret": "s"} | values


async def test_the_console_gets_its_echo_back() -> None:
    async with house() as home:
        assert await get(home, signed() | {"echostr": "4375120948"}) == (200, "4375120948", "text/plain")
        assert (await get(home, signed() | {"echostr": "<script>"}))[2] == "text/plain"
        assert (await get(home, signed() | {"signature": "0" * 40, "echostr": "1"}))[0] == 401
        assert (await get(home, {"echostr": "1"}))[0] == 401


async def test_the_console_gets_its_encrypted_echo_back() -> None:
    async with house(safe=True) as home:
        echo = SAFE.encrypt("4375120948")
        query = signed(SAFE) | {
            "encrypt_type": "aes",
            "msg_signature": SAFE.sign("1790000000", "7", echo),
            "echostr": echo,
        }
        assert await get(home, query) == (200, "4375120948", "text/plain")
        assert (await get(home, query | {"echostr": SAFE.encrypt("5")}))[0] == 401
        broken = query | {"echostr": "AAAA", "msg_signature": SAFE.sign("1790000000", "7", "AAAA")}
        assert (await get(home, broken))[0] == 400
        assert (await get(home, signed(SAFE) | {"echostr": "plain"}))[:2] == (200, "plain")


@pytest.mark.parametrize(
    "change",
    [{"signature": ""}, {"signature": "0" * 40}, {"timestamp": "1790000001"}, {"nonce": "8"}, {"signature": "é"}],
)
async def test_a_forged_push_is_refused(change: dict[str, str]) -> None:
    async with house() as home:
        assert (await post(home, signed() | change, render(TEXT).encode()))[0] == 401
        assert home.gateway.received == 0


async def test_in_safe_mode_the_signature_binds_the_text() -> None:
    async with house(safe=True, **pushing()) as home:
        query, body = sealed(render(TEXT))
        assert await post(home, query, body) == (200, "success")
        _, other = sealed(render(TEXT | {"Content": "Something else", "MsgId": "2"}))
        for status, forged in {
            "another text": (query, other),
            "no signature": ({name: query[name] for name in query if name != "msg_signature"}, body),
            "the plain signature for both": (query | {"msg_signature": query["signature"]}, body),
            "no ciphertext": (query, render(TEXT).encode()),
            "garbage": (query, b"\x00\xff"),
            "nothing": (query, b""),
            "plain after all": (signed(), render(TEXT).encode()),
        }.items():
            assert (await post(home, *forged))[0] == 401, status
        assert list(home.gateway.messages) == ["1"]


async def test_in_safe_mode_only_the_message_signature_decides() -> None:
    async with house(safe=True, **pushing()) as home:
        query, body = sealed(render(TEXT))
        assert await post(home, query | {"signature": "0" * 40}, body) == (200, "success")


@pytest.mark.parametrize(
    "encrypted",
    ["AAAA", "no base64", Seal(TOKEN, app_id="wx-other", aes_key=KEY).encrypt("<xml/>")],
    ids=["too short", "no base64", "another account's"],
)
async def test_a_signed_ciphertext_that_is_broken_is_refused(encrypted: str) -> None:
    async with house(safe=True) as home:
        query = signed(SAFE) | {"encrypt_type": "aes", "msg_signature": SAFE.sign("1790000000", "7", encrypted)}
        assert (await post(home, query, render({"Encrypt": encrypted}).encode()))[0] == 400
        assert home.gateway.received == 0


async def test_compatible_mode_takes_both() -> None:
    async with house(safe=True, **pushing(mode="compatible")) as home:
        assert await post(home, signed(), render(TEXT).encode()) == (200, "success")
        assert await post(home, *sealed(render(TEXT | {"MsgId": "2"}))) == (200, "success")
        assert list(home.gateway.messages) == ["1", "2"]


async def test_an_encrypted_push_without_a_key_tells_the_operator() -> None:
    async with house(**pushing()) as home:
        with capture_logs() as lines:
            assert (await post(home, *sealed(render(TEXT))))[0] == 400
        assert [line["remedy"] for line in lines if line["event"] == "push_encrypted_without_key"]
        # The console's compatible mode sends the plain fields beside the ciphertext.
        query, _ = sealed(render(TEXT))
        assert await post(home, query, render(TEXT | {"Encrypt": "AAAA"}).encode()) == (200, "success")
        assert list(home.gateway.messages) == ["1"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"garbage",
        b"<xml><MsgType>",
        b"{}",
        b'{"a":',
        b'<!DOCTYPE x [<!ENTITY a "b">]><xml><Content>&a;</Content></xml>',
        b"<xml>" + b"<a>" * 20_000 + b"</xml>",
        render(HEAD | {"MsgType": "event", "Event": "SCAN", "EventKey": "42"}).encode(),
        render(HEAD | {"MsgType": "event", "Event": "VIEW", "EventKey": "https://example.com"}).encode(),
        render(HEAD | {"MsgType": "hologram", "MsgId": "3"}).encode(),
    ],
)
async def test_what_is_not_for_us_is_answered_success_and_logged(body: bytes) -> None:
    async with house() as home:
        with capture_logs() as lines:
            assert await post(home, signed(), body) == (200, "success")
        assert {line["event"] for line in lines} & {"push_unparseable", "push_ignored"}
        assert home.gateway.received == 0


async def test_a_body_over_the_limit_is_not_read() -> None:
    async with house(**pushing()) as home:
        whole = render(TEXT).encode()
        assert (await post(home, signed(), whole + b" " * (BODY_LIMIT - len(whole))))[0] == 200
        assert (await post(home, signed(), whole + b" " * (BODY_LIMIT - len(whole) + 1)))[0] == 413

        async def chunks() -> object:
            for _ in range(9):
                yield b"<a>" * 3000

        async with (
            aiohttp.ClientSession() as http,
            http.post(home.url, params=signed(), data=chunks()) as response,
        ):
            assert response.status == 413


async def test_neither_texts_nor_secrets_are_logged() -> None:
    async with house(safe=True, **pushing()) as home:
        with capture_logs() as lines:
            await post(home, *sealed(render(TEXT)))
            await post(home, signed(), render(TEXT).encode())
        assert lines
        assert not [line for line in lines if any(word in str(line) for word in ("order", TOKEN, KEY))]


async def test_a_push_in_json_is_answered_in_json() -> None:
    async with house() as home:
        body = b'{"ToUserName":"gh_0123456789ab","FromUserName":"u","CreateTime":1790000000,"MsgType":"text"'
        body += b',"Content":"hi","MsgId":9}'
        push = asyncio.create_task(post(home, signed(), body))
        await home.gateway.until(lambda: home.gateway.waits == 1)
        await home.gateway.commit("Hello")
        expected = passive_text(to="u", sender="gh_0123456789ab", text="Hello", created=1_790_000_000, as_json=True)
        assert await push == (200, expected)


async def test_a_try_that_runs_out_gets_no_http_answer_at_all() -> None:
    async with house(hold_seconds=0.05) as home:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await post(home, signed(), render(TEXT).encode())
        assert list(home.gateway.messages) == ["1"]
