"""WeChat's XML in and out: every sample, and nothing that could make it raise or change its meaning."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import pytest
import xmltodict
from hypothesis import given
from hypothesis import strategies as st

from adapters.wechat import convert
from core.types import ConversationKey, InboundMessage
from tests.adapters.samples import written
from tests.adapters.wechat_house import KEY, USER, house

SAMPLES = Path(__file__).parents[2] / "adapters" / "wechat" / "samples"
INBOUND = sorted(SAMPLES.glob("in_*.json"))


@pytest.mark.parametrize("path", INBOUND, ids=lambda path: path.stem)
async def test_a_sample_is_received_as_the_message_it_is(path: Path) -> None:
    sample = json.loads(path.read_text(encoding="utf-8"))
    request = sample["request"]
    # Push mode answers at once, so that only the message counts here.
    async with (
        house(safe="aes_key" in sample["settings"], verified="true", app_secret="s") as home,
        aiohttp.ClientSession() as http,
        http.post(f"{home.url}?{urlencode(request['query'])}", data=request["body"].encode()) as response,
    ):
        assert (response.status, await response.text()) == (200, "success")
        received = [written(message) for message in home.gateway.messages.values()]
    assert received == ([sample["message"]] if sample["message"] else [])


def test_the_samples_use_the_tests_own_key() -> None:
    keys = {json.loads(path.read_text(encoding="utf-8"))["settings"].get("aes_key", KEY) for path in INBOUND}
    assert keys == {KEY}


BOMB = b"""<!DOCTYPE xml [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;">]><xml><Content>&b;</Content></xml>"""


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"\x00",
        b"hello",
        b"<xml>",
        b"<html><a>1</a></html>",
        b"<xml><a>1</a></xml><xml/>",
        b"<xml><a>1</a><a>2</a></xml>",
        b"<xml><Content>&undefined;</Content></xml>",
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><xml/>',
        b'<?xml version="1.0" encoding="no-such"?><xml/>',
        b'<?xml version="1.0" encoding="utf-7"?><xml/>',
        b"<xml>" + b"<a>" * 10_000,
        b"<xml><Content>\xff\xfe</Content></xml>",
        b"{",
        b"[1]",
        b"{" * 20_000,
        b'{"a":' * 5_000,
        BOMB,
    ],
)
def test_what_is_no_push_has_no_fields(body: bytes) -> None:
    assert convert.fields_of(body) is None


@given(st.binary(max_size=300) | st.text(max_size=200).map(lambda text: f"<xml>{text}</xml>".encode(errors="replace")))
def test_any_bytes_are_read_without_raising(body: bytes) -> None:
    fields = convert.fields_of(body)
    kinds = (str, InboundMessage, ConversationKey)
    assert fields is None or isinstance(convert.inbound(fields, channel="wechat", bot="support"), kinds)


NAMES = ["ToUserName", "FromUserName", "CreateTime", "MsgType", "Content", "MsgId", "Event", "EventKey"]
NAMES += ["Recognition", "Title", "Url", "bizmsgmenuid"]
WORDS = ["text", "event", "voice", "link", "image", "subscribe", "unsubscribe", "CLICK", "stop"]


@given(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=40) | st.sampled_from(WORDS)))
def test_any_fields_are_a_message_a_leaving_or_a_reason(fields: dict[str, str]) -> None:
    found = convert.inbound(fields, channel="wechat", bot="support")
    if isinstance(found, InboundMessage):
        assert found.text or found.command or found.unreadable
        assert found.event_id and found.user_id
    assert found


def test_numbers_of_other_scripts_are_no_time() -> None:
    for created in ("٣", "²", "1e9", "-1", "9" * 400, ""):
        fields = {
            "ToUserName": "a",
            "FromUserName": "b",
            "MsgType": "text",
            "Content": "c",
            "MsgId": "1",
            "CreateTime": created,
        }
        found = convert.inbound(fields, channel="wechat", bot="support")
        assert isinstance(found, InboundMessage)
        assert found.sent_at == 0.0


def test_an_event_is_told_apart_by_sender_time_and_kind() -> None:
    event = {"FromUserName": USER, "CreateTime": "1790000000", "Event": "subscribe"}
    assert convert.event_id(event) == f"{USER}:1790000000:subscribe"
    assert convert.event_id(event | {"MsgId": "7"}) == "7"
    click = event | {"Event": "CLICK", "EventKey": "a"}
    assert convert.event_id(click) != convert.event_id(click | {"EventKey": "b"})


TRICKY = [
    "]]>",
    "a]]>b]]]]>>c",
    "]]></Content><MsgType><![CDATA[image]]>",
    "<![CDATA[x]]>",
    "&amp; & <a href='x'>",
    "😀👨‍👩‍👧",
    "\x00a\x0bb\ud800c",
]


@pytest.mark.parametrize("text", TRICKY)
def test_a_reply_holds_exactly_the_text(text: str) -> None:
    xml = convert.passive_text(to="u", sender="gh", text=text, created=1)
    read = xmltodict.parse(xml, strip_whitespace=False)["xml"]
    assert read == {
        "ToUserName": "u",
        "FromUserName": "gh",
        "CreateTime": "1",
        "MsgType": "text",
        "Content": convert.clean(text),
    }


@given(st.text(alphabet=st.sampled_from("]>&<a\x01\n😀中\ud800")))
def test_any_text_survives_a_reply_and_a_call(text: str) -> None:
    content = convert.clean(text)
    assert xmltodict.parse(convert.render({"Content": content}), strip_whitespace=False)["xml"]["Content"] in (
        content,
        None,
    )
    assert json.loads(convert.custom_text("u", text))["text"]["content"] == content


def test_a_reply_in_json_holds_the_same_fields() -> None:
    reply = json.loads(convert.passive_text(to="u", sender="gh", text="你]]>好", created=1, as_json=True))
    assert reply == {"ToUserName": "u", "FromUserName": "gh", "CreateTime": 1, "MsgType": "text", "Content": "你]]>好"}


def test_real_characters_are_sent_in_a_call() -> None:
    assert "你好😀".encode() in convert.custom_text("u", "你好😀")


@pytest.mark.parametrize("text", ["1", "继续", "继续！", " more ", "More", "？", "?", "👍", "。。。", "１", "..."])
def test_a_text_that_asks_for_the_rest(text: str) -> None:
    assert convert.is_fetch(text)


@pytest.mark.parametrize("text", ["发票", "12", "more than 3 items?", "继续发货吗", "hi"])
def test_a_text_that_asks_for_something(text: str) -> None:
    assert not convert.is_fetch(text)


def test_a_cut_ends_at_a_character() -> None:
    assert convert.cut("中中中", 8) == "中中"
    assert convert.cut("a😀", 4) == "a"
    assert convert.utf8_length("中😀a\ud800") == 3 + 4 + 1 + 3
