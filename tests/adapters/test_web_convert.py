"""The page's JSON and headers: everything from outside is judged, nothing makes the reader raise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.web import convert
from adapters.web.convert import Refusal, Written
from core.types import ConversationKey, Delivery, MessageState, Receipt, ReplyKind

UUID = "0b6f8a52-6c1c-4f3e-9a51-3d1f2a7c9e10"
SAMPLES = sorted((Path(convert.__file__).parent / "samples").glob("*.json"))
KEY = ConversationKey("web", "support", "0123456789abcdef0123456789abcdef")


def body(**fields: object) -> bytes:
    return json.dumps(fields).encode()


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_samples(path: Path) -> None:
    sample = json.loads(path.read_text(encoding="utf-8"))
    if "delivery" in sample:
        given_delivery = sample["delivery"]
        delivery = Delivery(
            id=given_delivery["id"],
            turn_id=given_delivery["turn_id"],
            conversation=KEY,
            address={},
            text=given_delivery["text"],
            kind=ReplyKind(given_delivery["kind"]),
        )
        entry = convert.entry_json(convert.delivered_entry(delivery, 1_800_000_000.0))
        assert [{"event": "reply", "data": entry}] == sample["calls"]
        return
    request = sample["request"]
    written = convert.parse_post(request["body"].encode())
    if sample["message"] is None:
        assert isinstance(written, Refusal)
        assert (written.status, written.code) == (sample["status"], sample["code"])
        return
    assert isinstance(written, Written)
    cookie = request["headers"]["Cookie"].partition("=")[2]
    assert convert.is_visitor(cookie)
    key = ConversationKey("web", "support", convert.visitor_key(cookie))
    message = convert.inbound(written, key, accept_language=request["headers"]["Accept-Language"], now=1_800_000_000.0)
    assert sample["message"] == {
        "event_id": message.event_id,
        "chat_id": message.conversation.chat_id,
        "user_id": message.user_id,
        "text": message.text,
        "language": message.language,
    }


def test_there_are_samples_both_ways() -> None:
    kinds = {("delivery" in json.loads(path.read_text(encoding="utf-8"))) for path in SAMPLES}
    assert kinds == {True, False}


@given(st.binary(max_size=300))
def test_any_bytes_are_judged(data: bytes) -> None:
    assert isinstance(convert.parse_post(data), Refusal | Written)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_json_is_judged(value: object) -> None:
    assert isinstance(convert.parse_post(json.dumps({"id": value, "text": value}).encode()), Refusal)
    assert isinstance(convert.parse_post(json.dumps(value).encode()), Refusal)


def test_the_limit_counts_characters_not_bytes() -> None:
    assert isinstance(convert.parse_post(body(id=UUID, text="😀" * convert.TEXT_LIMIT)), Written)
    refused = convert.parse_post(body(id=UUID, text="a" * (convert.TEXT_LIMIT + 1)))
    assert isinstance(refused, Refusal)
    assert (refused.status, refused.code) == (413, "text_too_long")


def test_line_breaks_stay_and_half_surrogates_do_not_enter() -> None:
    assert convert.parse_post(body(id=UUID.upper(), text=" a\r\nb\0\n ")) == Written(UUID, "a\nb")
    assert isinstance(convert.parse_post(b'{"id": "%s", "text": "\\ud800"}' % UUID.encode()), Refusal)


@given(st.text(st.characters(), max_size=60), st.integers(0, 60))
def test_a_draft_continues_at_utf16_units(text: str, cut: int) -> None:
    cut = min(cut, len(text))
    at = convert.utf16_length(text[:cut])
    assert at == len(text[:cut].encode("utf-16-le", "surrogatepass")) // 2
    assert convert.splice(text, at, text[cut:]) == text
    assert convert.splice(text[:cut], at, text[cut:]) == text
    assert convert.splice(text, convert.utf16_length(text) + 1, "x") is None


@given(st.text(st.characters(categories=("L", "Cs", "Cc"))))
def test_every_text_fits_into_one_event(text: str) -> None:
    event = convert.frame("draft", {"text": text})
    assert event.startswith(b"event: draft\ndata: ")
    assert event.count(b"\n") == 3
    assert b"\r" not in event
    assert json.loads(event.split(b"data: ", 1)[1]) == {"text": text}


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("", []),
        ("*", []),
        ("zh-CN,zh;q=0.9,en;q=0.8", ["zh", "en"]),
        ("de;q=0.4, EN-gb ; q=0.9, zh-Hant-TW", ["zh", "en", "de"]),
        ("en;q=0, fr", ["fr"]),
        ("en;q=nonsense, ;;;, zh", ["zh"]),
    ],
)
def test_languages(header: str, wanted: list[str]) -> None:
    assert convert.languages(header) == wanted


@given(st.text())
def test_any_language_header_finds_a_language(header: str) -> None:
    assert convert.page_language(header, ("en", "zh"), "en") in ("en", "zh")


@pytest.mark.parametrize(
    ("headers", "own"),
    [
        ({}, True),  # a program, not a browser
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, True),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://chat.example.com"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Origin": "https://chat.example.com"}, True),
        ({"Origin": "http://CHAT.example.com"}, True),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "https://chat.example.com.evil.example"}, False),
        ({"Origin": "https://chat.example.com:8443"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": ""}, False),
        ({"Origin": "https://[broken"}, False),
    ],
)
def test_only_our_own_page_posts(headers: dict[str, str], own: bool) -> None:
    assert convert.from_own_page(headers, ("chat.example.com",)) is own


def test_a_visitor_cannot_reach_another_ones_row() -> None:
    other = ConversationKey("web", "support", "f" * 32)
    assert convert.event_id(KEY, UUID) != convert.event_id(other, UUID)


def test_the_record_does_not_hold_the_cookie() -> None:
    cookie = "A" * 43
    assert convert.is_visitor(cookie)
    assert cookie not in convert.visitor_key(cookie)
    assert not convert.is_visitor("A" * 42)
    assert not convert.is_visitor("A" * 43 + "\n")


@pytest.mark.parametrize(("state", "pending"), [(MessageState.WAITING, True), (MessageState.THROTTLED, False)])
def test_the_sender_finds_its_own_message(state: MessageState, pending: bool) -> None:
    message = convert.inbound(Written(UUID, "hello"), KEY, accept_language="", now=5.0)
    entry = convert.entry_json(convert.accepted_entry(message, Receipt(7, state)))
    assert (entry["id"], entry["client_id"], entry["pending"], entry["text"]) == ("m7", UUID, pending, "hello")
