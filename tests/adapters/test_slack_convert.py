"""Slack's shapes: samples, keys, text both ways; no JSON value makes the conversion raise."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.slack import convert
from core.types import ConversationKey, Delivery, InboundMessage, ReplyKind
from tests.adapters.samples import written
from tests.adapters.slack_house import samples

BOT = "U0000000BOT"

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def envelope(event: dict[str, Any], **outer: Any) -> dict[str, Any]:
    installed = {"team_id": "T1", "user_id": BOT, "is_bot": True}
    return {"type": "event_callback", "team_id": "T1", "event": event, "authorizations": [installed]} | outer


def direct(text: str, **event: Any) -> dict[str, Any]:
    base = {"type": "message", "channel_type": "im", "channel": "D1", "user": "U1", "ts": "1.000001", "text": text}
    return envelope(base | event)


def mention(text: str, **event: Any) -> dict[str, Any]:
    return envelope({"type": "app_mention", "channel": "C1", "user": "U1", "ts": "1.000001", "text": text} | event)


def converted(body: object) -> InboundMessage:
    found = convert.message(body, channel="slack", bot="support")
    assert isinstance(found, InboundMessage), found
    return found


def reason(body: object, own_user: str = "") -> str:
    found = convert.message(body, channel="slack", bot="support", own_user=own_user)
    assert isinstance(found, str), found
    return found


@pytest.mark.parametrize("sample", samples("request"), ids=lambda sample: sample["name"])
def test_inbound_samples(sample: dict[str, Any]) -> None:
    request = sample["request"]
    content_type = request["headers"]["Content-Type"]
    raw = json.dumps(request["json"]) if "json" in request else urlencode(request["form"])
    body = convert.envelope(raw.encode(), content_type)
    assert body is not None
    found = convert.message(body, channel="slack", bot="support")
    assert (written(found) if isinstance(found, InboundMessage) else None) == sample["message"]


@pytest.mark.parametrize("sample", samples("delivery"), ids=lambda sample: sample["name"])
def test_outbound_samples(sample: dict[str, Any]) -> None:
    fields = sample["delivery"]
    key, kind = ConversationKey(**fields["conversation"]), ReplyKind(fields["kind"])
    delivery = Delivery(**(fields | {"conversation": key, "kind": kind}))
    if delivery.reference:
        call = {"method": "chat.update", "arguments": convert.update(delivery.reference, delivery.text)}
    else:
        call = {"method": "chat.postMessage", "arguments": convert.post(delivery.address, delivery.text)}
    assert [call] == sample["calls"]


def test_a_mention_and_its_channel_message_have_one_key() -> None:
    text = f"<@{BOT}> hello"
    pair = converted(mention(text)), converted(mention(text, type="message", channel_type="channel"))
    assert pair[0] == pair[1]
    assert pair[0].event_id == "T1:C1:1.000001"


def test_another_text_in_the_same_channel_has_another_key() -> None:
    assert converted(direct("a")).event_id != converted(direct("a", ts="1.000002")).event_id


def test_the_installing_workspace_names_the_team_of_a_shared_channel() -> None:
    body = mention("hello") | {"team_id": "T2"}
    assert converted(body).event_id == "T1:C1:1.000001"


@pytest.mark.parametrize(
    ("event", "thread"),
    [
        (direct("a"), ""),
        (direct("a", thread_ts="0.000009"), "0.000009"),
        (mention("a"), "1.000001"),
        (mention("a", thread_ts="0.000009"), "0.000009"),
    ],
)
def test_threads(event: dict[str, Any], thread: str) -> None:
    message = converted(event)
    assert (message.conversation.thread_id, message.address["thread_ts"]) == (thread, thread)


@pytest.mark.parametrize(
    ("event", "why"),
    [
        ({"bot_id": "B1"}, "from_a_bot"),
        ({"user": BOT}, "from_a_bot"),
        ({"subtype": "bot_message"}, "subtype"),
        ({"subtype": "message_changed"}, "subtype"),
        ({"subtype": ["odd"]}, "subtype"),
        ({"user": "USLACK"}, "not_a_person"),
        ({"user": None}, "not_a_person"),
        ({"ts": "nan"}, "no_channel_or_ts"),
        ({"text": f" <@{BOT}> "}, "no_text"),
        ({"text": None}, "no_text"),
        ({"channel": "C1", "channel_type": "channel"}, "not_mentioned"),
        ({"channel": "G1", "channel_type": "mpim"}, "not_mentioned"),
    ],
)
def test_what_is_not_for_the_bot(event: dict[str, Any], why: str) -> None:
    body = direct("hello")
    assert reason(body | {"event": body["event"] | event}) == why


def test_the_bot_knows_itself_without_the_envelopes_help() -> None:
    assert reason(direct("hello", user="U9") | {"authorizations": []}, own_user="U9") == "from_a_bot"


def test_a_persons_authorization_is_not_taken_for_the_bot() -> None:
    person = {"team_id": "T1", "user_id": "U1", "is_bot": False}
    assert converted(direct("hello") | {"authorizations": [person]}).user_id == "U1"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (f"<@{BOT}> hello", "hello"),
        (f"<@{BOT}|bot>, hello", "hello"),
        (f"hi <@{BOT}> there", "hi there"),
        (f"<@{BOT}>\nline", "line"),
        ("<@U2> and <@U2|ann>", "@U2 and @ann"),
        ("<#C1|general> <#C1>", "#general #C1"),
        ("<!here> <!channel|channel> <!subteam^S1|@team>", "@here channel @team"),
        ("<!date^1392734382^{date}|Feb 18>", "Feb 18"),
        ("<https://example.com|https://example.com>", "https://example.com"),
        ("<https://example.com|example.com>", "https://example.com"),
        ("<https://example.com|here>", "here (https://example.com)"),
        ("<tel:+49123|+49 123>", "+49 123"),
        ("a &lt;b&gt; &amp;lt; c", "a <b> &lt; c"),
        ("2 &lt; 3 and <unclosed", "2 < 3 and <unclosed"),
    ],
)
def test_readable(written: str, read: str) -> None:
    assert convert.readable(written, BOT) == read


@given(st.text())
def test_no_text_of_the_model_keeps_a_control_character(text: str) -> None:
    escaped = convert.escape(text)
    assert "<" not in escaped
    assert ">" not in escaped
    assert len(escaped) == convert.length(text)
    assert escaped.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") == text


@given(anything, anything)
def test_no_value_makes_it_raise(outer: object, inner: Any) -> None:
    for body in (outer, {"type": "event_callback", "event": inner, "authorizations": outer}):
        convert.message(body, channel="slack", bot="support", own_user=BOT)


@given(
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("user", "ts", "text", "channel", "subtype", "thread_ts"), anything)
    )
)
def test_no_event_makes_it_raise(event: dict[str, Any]) -> None:
    for kind in ("message", "app_mention"):
        convert.message(envelope(event | {"type": kind}), channel="slack", bot="support")


@given(st.binary(), st.sampled_from(["application/json", "application/x-www-form-urlencoded", "text/plain"]))
def test_no_body_makes_it_raise(raw: bytes, content_type: str) -> None:
    found = convert.envelope(raw, content_type)
    assert found is None or isinstance(found, dict)
