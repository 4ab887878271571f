"""Slack's shapes: samples, keys, text both ways; no JSON value makes the conversion raise."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.slack import convert, events, outbound
from core.types import InboundMessage
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
    if found == convert.NOT_A_MESSAGE:
        found = convert.command(body, channel="slack", bot="support")
    assert (written(found) if isinstance(found, InboundMessage) else None) == sample["message"]
    if "vote" in sample:
        vote = events.vote(body, channel="slack", bot="support")
        assert (None if vote is None else asdict(vote)) == sample["vote"]
    if "opened" in sample:
        opened = events.opened(body)
        assert (None if opened is None else asdict(opened)) == sample["opened"]


def test_a_mention_and_its_channel_message_have_one_key() -> None:
    text = f"<@{BOT}> hello"
    pair = converted(mention(text)), converted(mention(text, type="message", channel_type="channel"))
    assert pair[0] == pair[1]
    assert pair[0].event_id == "T1:C1:1.000001"


def test_a_guest_is_streamed_to_in_their_own_workspace() -> None:
    message = converted(mention("hello", user_team="T9"))
    start = outbound.stream_start(message.address, "a")
    assert start is not None
    assert (start["recipient_user_id"], start["recipient_team_id"]) == ("U1", "T9")


def test_a_channel_that_names_no_reader_is_not_streamed_to() -> None:
    assert outbound.stream_start({"channel": "C1", "thread_ts": "1.000001"}, "a") is None
    assert outbound.stream_start({"channel": "D1", "thread_ts": ""}, "a") is None
    assert outbound.stream_start({"channel": "D1", "thread_ts": "1.000001"}, "a") is not None


def test_in_the_agent_view_each_direct_message_begins_a_thread() -> None:
    found = convert.message(direct("a"), channel="slack", bot="support", threads=True)
    assert isinstance(found, InboundMessage)
    assert (found.conversation.thread_id, found.address["thread_ts"]) == ("1.000001", "1.000001")


def test_two_edits_of_one_message_are_two_events_of_one_source() -> None:
    edits = []
    for second in ("2", "3"):
        after = {"user": "U1", "ts": "1.000001", "text": second, "edited": {"user": "U1", "ts": f"{second}.000000"}}
        change = {"subtype": "message_changed", "message": after, "previous_message": {"text": "1"}}
        edits.append(converted(envelope({"type": "message", "channel_type": "im", "channel": "D1", **change})))
    assert len({edit.event_id for edit in edits} | {converted(direct("1")).event_id}) == 3
    assert {edit.source_id for edit in edits} == {converted(direct("1")).source_id}


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
        ({"subtype": "message_changed"}, "no_edit_of_a_person"),
        ({"subtype": "message_changed", "message": "odd", "previous_message": 1}, "no_edit_of_a_person"),
        ({"subtype": ["odd"]}, "subtype"),
        ({"user": "USLACK"}, "not_a_person"),
        ({"user": None}, "not_a_person"),
        ({"ts": "nan"}, "no_channel_or_ts"),
        ({"text": " "}, "no_text"),
        ({"text": None, "attachments": [{"is_share": True}, 1]}, "no_text"),
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


def every_event(body: dict[str, Any]) -> None:
    events.home(body)
    events.stopped(body, channel="slack", bot="support")
    events.left(body, BOT)
    events.opened(body)
    events.vote(body, channel="slack", bot="support")
    events.happened_at(body)


@given(anything, anything)
def test_no_value_makes_it_raise(outer: object, inner: Any) -> None:
    for body in (outer, {"type": "event_callback", "event": inner, "authorizations": outer}):
        convert.message(body, channel="slack", bot="support", own_user=BOT)
        if isinstance(body, dict):
            convert.command(body, channel="slack", bot="support")
            every_event(body)


@given(
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(
            ("user", "ts", "text", "channel", "subtype", "thread_ts", "files", "attachments", "user_profile", "team"),
            anything,
        ),
    )
)
def test_no_event_makes_it_raise(event: dict[str, Any]) -> None:
    for kind in ("message", "app_mention"):
        convert.message(envelope(event | {"type": kind}), channel="slack", bot="support")
    edit = {"type": "message", "subtype": "message_changed", "channel": "D1", "message": event | {"edited": event}}
    convert.message(envelope(edit), channel="slack", bot="support")
    for kind in (
        "agent_session_stopped",
        "tokens_revoked",
        "member_left_channel",
        "app_home_opened",
        "assistant_thread_started",
    ):
        every_event(envelope(event | {"type": kind, "tokens": event, "tab": "messages", "assistant_thread": event}))


@given(st.binary(), st.sampled_from(["application/json", "application/x-www-form-urlencoded", "text/plain"]))
def test_no_body_makes_it_raise(raw: bytes, content_type: str) -> None:
    found = convert.envelope(raw, content_type)
    assert found is None or isinstance(found, dict)


@pytest.mark.parametrize(
    ("body", "home"),
    [
        ({"team_id": "T1"}, events.Home("T1")),
        ({"team_id": "T2", "authorizations": [{"team_id": "T1"}]}, events.Home("T1")),
        ({"team_id": "T1", "authorizations": [{"team_id": "T1", "enterprise_id": "E1"}]}, events.Home("T1", "E1")),
        (
            {
                "team_id": "T1",
                "authorizations": [{"team_id": None, "enterprise_id": "E1", "is_enterprise_install": True}],
            },
            events.Home("", "E1"),
        ),
        ({"team_id": "T1", "enterprise_id": "E1", "is_enterprise_install": "true"}, events.Home("", "E1")),
        ({"team_id": "T1", "enterprise_id": "E1", "is_enterprise_install": "false"}, events.Home("T1", "E1")),
        ({"team": {"id": "T1"}, "enterprise": {"id": "E1"}}, events.Home("T1", "E1")),
        ({"team": {"id": "T1"}, "enterprise": None}, events.Home("T1")),
        ({"type": "url_verification"}, None),
    ],
)
def test_whose_installation_a_request_is_for(body: dict[str, Any], home: events.Home | None) -> None:
    assert events.home(body) == home


def test_ids_of_several_workspaces_are_kept_apart() -> None:
    found = convert.message(direct("a"), channel="slack", bot="support", apart="T2/")
    assert isinstance(found, InboundMessage)
    assert (found.conversation.chat_id, found.user_id) == ("T2/D1", "T2/U1")
    assert (found.address["channel"], found.address["user"]) == ("D1", "U1")
