"""Requests for the rest of a reply in the very same moment: one makes the model go on, the other waits for that."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import cast

import pytest

from adapters.wechat.convert import tap_link
from adapters.wechat.passive import Pace, PassiveReplies
from core.channel import Gateway
from core.types import ConversationKey, InboundMessage, Receipt
from tests.adapters.wechat_house import GO_ON, PHRASES, USER, Clock, MemoryGateway

MORE = f"{PHRASES['more_follows']}\n{tap_link(PHRASES['fetch_more'], 'en')}"
QUESTION = "How do I return it?"


async def with_a_reply_cut_short() -> tuple[MemoryGateway, PassiveReplies, list[InboundMessage]]:
    """A user with a reply that is not whole, and two requests for its rest."""
    gateway, clock = MemoryGateway(), Clock()
    pace = Pace(answer_seconds=60.0, hold_seconds=60.0)
    replies = PassiveReplies(cast("Gateway", gateway), pace=pace, timer=clock, idle=lambda _: True)
    question = InboundMessage("1", ConversationKey("wechat", "support", USER), USER, QUESTION, language="zh")
    await gateway.receive(question)
    await gateway.commit("First", cut=True)
    assert await replies.answer(question, tap=False, arrived=clock(), alive=lambda: True) == f"First\n\n{MORE}"
    return gateway, replies, [replace(question, event_id=number, text="more") for number in ("2", "3")]


@pytest.mark.parametrize("tap", [False, True])
async def test_two_requests_in_the_very_same_moment_go_on_once(tap: bool) -> None:
    gateway, replies, requests = await with_a_reply_cut_short()
    answers = [replies.answer(one, tap=tap, arrived=Clock()(), alive=lambda: True) for one in requests]
    both = asyncio.gather(*answers)
    await gateway.until(lambda: gateway.waits == 2)
    assert [message.text for message in gateway.messages.values()] == [QUESTION, GO_ON["en"]]
    await gateway.commit("pack it.", of=[GO_ON["en"]])
    assert sorted(str(answer) for answer in await both) == ["", "pack it."]


async def test_two_requests_to_a_verified_account_in_the_very_same_moment_go_on_once() -> None:
    gateway, replies, requests = await with_a_reply_cut_short()
    both = await asyncio.gather(*(replies.held(one, tap=True, alive=lambda: True) for one in requests))
    assert [message.text for message in gateway.messages.values()] == [QUESTION, GO_ON["en"]]
    assert [isinstance(taken, Receipt) for taken in both] == [True, False]
    assert both[1] == ""
