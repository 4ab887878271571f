"""Every converter takes every bent sample of its platform: a message, another event or a reason, and never an error."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import orjson
from hypothesis import given, settings

from adapters.api.convert import Ask, Completion, parse
from adapters.slack import convert as slack
from adapters.slack import events
from adapters.telegram import convert as telegram
from adapters.telegram.addressed import Identity
from adapters.web import convert as web
from adapters.wechat import convert as wechat
from core.errors import RequestError
from core.types import ConversationKey, InboundMessage
from tests.adapters import mutations

BOT = Identity(6000001, "sample_bot")
CHAT = ConversationKey("web", "support", "visitor")
fuzz = settings(derandomize=True, database=None, deadline=None, max_examples=400)


def readings(body: bytes) -> list[Any]:
    """As the house reads it, and as a more lenient parser would; nothing where neither can."""
    found = []
    for loads in (orjson.loads, json.loads):
        with contextlib.suppress(ValueError, RecursionError):
            found.append(loads(body))
    return found


def kept(message: object) -> None:
    """A message can be written into the ledger, whatever it was made of."""
    if isinstance(message, InboundMessage):
        assert isinstance(orjson.loads(orjson.dumps(message.address)), dict)
        assert message.event_id
        assert message.user_id
        assert message.conversation.chat_id
        assert message.text or message.command or message.unreadable


@fuzz
@given(mutations.json_bodies("telegram"))
def test_telegram(body: bytes) -> None:
    told = [telegram.convert(update, channel="telegram", bot="support", me=BOT) for update in readings(body)]
    if told:
        kept(told[0])
    assert None not in told
    assert all(isinstance(telegram.album_of(update), str) for update in readings(body))


@fuzz
@given(mutations.json_bodies("slack") | mutations.forms())
def test_slack(body: bytes) -> None:
    for kind in ("application/json", "application/x-www-form-urlencoded"):
        found = slack.envelope(body, kind)
        assert found is None or isinstance(found, dict)
        if found is None:
            continue
        kept(slack.message(found, channel="slack", bot="support", own_user="U0", apart="T1/"))
        kept(slack.command(found, channel="slack", bot="support"))
        assert isinstance(events.stopped(found, channel="slack", bot="support"), list)
        events.home(found), events.left(found, "U0"), events.opened(found), events.happened_at(found)
        events.vote(found, channel="slack", bot="support")


@fuzz
@given(mutations.pushes())
def test_wechat(body: bytes) -> None:
    fields = wechat.fields_of(body)
    if fields is not None:
        found = wechat.inbound(fields, channel="wechat", bot="support")
        assert found
        kept(found)
        assert isinstance(wechat.is_tap(fields), bool)
        assert isinstance(wechat.event_id(fields), str)


@fuzz
@given(mutations.json_bodies("web"))
def test_web(body: bytes) -> None:
    written = web.parse_post(body)
    assert isinstance(written, web.Written | web.Refusal)
    if isinstance(written, web.Written):
        kept(web.inbound(written, CHAT, accept_language="en", now=1.0))


@fuzz
@given(mutations.json_bodies("api"))
def test_api(body: bytes) -> None:
    with contextlib.suppress(RequestError):
        assert parse(Ask, body).text.strip()
    with contextlib.suppress(RequestError):
        assert parse(Completion, body).messages
