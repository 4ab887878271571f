"""A kept query is worth nothing after the window, one query says one thing, and both keys are read during a change."""

from __future__ import annotations

import aiohttp
import pytest
from wechatpy.crypto import WeChatCrypto

from adapters.wechat.convert import fields_of, render
from adapters.wechat.crypto import Seal
from adapters.wechat.replay import Replays
from adapters.wechat.settings import Settings
from core.config import ChannelSettings
from tests.adapters.wechat_house import APP_ID, KEY, TOKEN, USER, Clock, House, house

OLD_KEY = KEY[::-1]
TEXT: dict[str, str | int] = {
    "ToUserName": "gh_0123456789ab",
    "FromUserName": USER,
    "CreateTime": 1_790_000_000,
    "MsgType": "text",
    "Content": "Where is my order?",
    "MsgId": "1",
}


async def post(home: House, query: dict[str, str], body: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as http, http.post(home.url, params=query, data=body.encode()) as response:
        return response.status, await response.text()


def signed(timestamp: str, nonce: str = "7") -> dict[str, str]:
    return {"signature": Seal(TOKEN, app_id=APP_ID).sign(timestamp, nonce), "timestamp": timestamp, "nonce": nonce}


def sealed(key: str, text: str = "Where is my order?") -> tuple[dict[str, str], str]:
    seal = Seal(TOKEN, app_id=APP_ID, aes_key=key)
    encrypted = seal.encrypt(render(TEXT | {"Content": text}))
    query = signed("1790000000") | {"encrypt_type": "aes"}
    return query | {"msg_signature": seal.sign("1790000000", "7", encrypted)}, render({"Encrypt": encrypted})


@pytest.mark.parametrize(
    ("timestamp", "status"),
    [
        ("1790000000", 200),
        ("1789999400", 200),
        ("1789999399", 401),
        ("1790000601", 401),
        ("1409735669", 401),
        ("", 401),
        ("soon", 401),
        ("-1790000000", 401),
        ("1790000000.5", 401),
        ("\u0661\u0667\u0669\u0660\u0660\u0660\u0660\u0660\u0660\u0660", 401),
        ("9" * 400, 401),
    ],
)
async def test_only_a_fresh_query_is_taken(timestamp: str, status: int) -> None:
    async with house(verified="true", app_secret="s") as home:
        assert (await post(home, signed(timestamp), render(TEXT)))[0] == status
        assert home.gateway.received == (status == 200)
        query = signed(timestamp) | {"echostr": "5"}
        async with aiohttp.ClientSession() as http, http.get(home.url, params=query) as response:
            assert response.status == 200, "the set-up call tells its sender nothing new, however old it is"


async def test_in_safe_mode_a_kept_message_is_refused_after_the_window() -> None:
    async with house(safe=True, verified="true", app_secret="s") as home:
        query, body = sealed(KEY)
        assert (await post(home, query, body))[0] == 200
        assert (await post(home, query, body))[0] == 200
        home.clock.now += 601
        assert (await post(home, query, body))[0] == 401
        assert len(home.gateway.messages) == 1


async def test_the_window_can_be_switched_off() -> None:
    async with house(verified="true", app_secret="s", replay_seconds=0) as home:
        assert (await post(home, signed("1409735669"), render(TEXT)))[0] == 200


async def test_in_plain_mode_one_query_says_one_thing() -> None:
    async with house(verified="true", app_secret="s") as home:
        query = signed("1790000000")
        assert (await post(home, query, render(TEXT)))[0] == 200
        assert (await post(home, query, render(TEXT)))[0] == 200  # WeChat's own redelivery
        assert (await post(home, query, render(TEXT | {"Content": "I am somebody else", "MsgId": "2"})))[0] == 401
        assert (await post(home, signed("1790000000", "8"), render(TEXT | {"MsgId": "2"})))[0] == 200
        assert [message.text for message in home.gateway.messages.values()] == ["Where is my order?"] * 2


def test_what_was_heard_is_bounded() -> None:
    replays = Replays(seconds=600.0, clock=Clock())
    for number in range(10_001):
        assert replays.consistent(signed("1", str(number)), b"a")
    assert not replays.consistent(signed("1", "10000"), b"b")
    assert replays.consistent(signed("1", "0"), b"b")  # the oldest is forgotten


@pytest.mark.parametrize("key", [KEY, OLD_KEY])
async def test_both_keys_are_read_and_the_reply_is_under_the_same(key: str) -> None:
    async with house(safe=True, aes_key_previous=OLD_KEY) as home:
        home.gateway.answers_at_once = "On its way."
        status, reply = await post(home, *sealed(key))
        fields = fields_of(reply.encode()) or {}
        plain = WeChatCrypto(TOKEN, key, APP_ID).decrypt_message(
            reply, fields["MsgSignature"], fields["TimeStamp"], fields["Nonce"]
        )
        assert (status, (fields_of(plain.encode()) or {})["Content"]) == (200, "On its way.")


async def test_the_consoles_echo_may_be_under_either_key() -> None:
    async with house(safe=True, aes_key_previous=OLD_KEY) as home:
        for key, status in ((KEY, 200), (OLD_KEY, 200), ("z" * 42 + "A", 400)):
            seal = Seal(TOKEN, app_id=APP_ID, aes_key=key)
            echo = seal.encrypt("4375120948")
            query = signed("1790000000") | {"encrypt_type": "aes", "echostr": echo}
            query["msg_signature"] = seal.sign("1790000000", "7", echo)
            async with aiohttp.ClientSession() as http, http.get(home.url, params=query) as response:
                assert response.status == status


async def test_without_a_present_key_the_previous_one_opens_nothing() -> None:
    async with house(aes_key_previous=OLD_KEY) as home:
        assert (await post(home, *sealed(OLD_KEY)))[0] == 400


def test_the_previous_key_is_a_secret_like_the_others() -> None:
    given: ChannelSettings = Settings.model_validate({"token": "t", "app_id": "a", "aes_key_previous": OLD_KEY})
    assert OLD_KEY not in repr(given)
    with pytest.raises(ValueError, match="43"):
        Settings.model_validate({"aes_key_previous": "short"})
