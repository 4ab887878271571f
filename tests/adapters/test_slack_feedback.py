"""The buttons under an answer: there whenever Slack shows them, never in the way of the text, each press one vote."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from adapters.slack import events, outbound
from adapters.slack.settings import Streaming
from adapters.slack.simulator import Fault
from core.types import ConversationKey, Delivery, ReplyKind
from tests.adapters.slack_house import THREAD, House, delivery, draft, ready

READER = {"channel": "C1", "thread_ts": THREAD, "team": "T0000000001", "user": "U0000000001"}
KEY = ConversationKey("slack", "support", "C1", THREAD)


def house_of(streaming: Streaming = "edit", **settings: Any) -> House:
    return House(feedback=True, streaming=streaming, **settings)


def final(text: str, reference: str = "", **fields: Any) -> Delivery:
    item = replace(delivery(text, reference), address=READER, turn_id=7)
    return replace(item, **fields)


async def grown(house: House, *texts: str) -> str:
    """The previews of a reply; returns their reference."""
    await ready(house)
    reference = ""
    for text in texts:
        reference = await house.channel.preview(replace(draft(text, reference, turn_id=7), address=READER)) or ""
    return reference


@pytest.mark.parametrize("streaming", ["edit", "auto"])
@pytest.mark.parametrize("good", [True, False])
async def test_a_press_is_a_vote_for_that_answer(streaming: Streaming, good: bool) -> None:
    async with house_of(streaming=streaming) as house:
        reference = await grown(house, "It")
        await house.channel.deliver(final("It **left** today.", reference))
        (reply,) = house.workspace.replies("C1")
        assert (reply.text, reply.notification != "") == ("It **left** today.", True)
        assert await house.simulator.vote(reply, good, user="U9") == 200
        assert house.gateway.votes == [(KEY, 7, "U9", "good" if good else "bad")]
        assert house.workspace.counts["chat.startStream"] == (streaming == "auto")
        assert house.workspace.counts["chat.update"] == (streaming == "edit")


async def test_an_answer_without_a_preview_has_them_too() -> None:
    async with house_of() as house:
        await ready(house)
        await house.channel.deliver(final("It left today."))
        (reply,) = house.workspace.replies("C1")
        assert [block["type"] for block in reply.blocks] == ["markdown", "context_actions"]
        assert reply.notification == "It left today."


async def test_a_whole_preview_still_gets_its_buttons() -> None:
    async with house_of() as house:
        reference = await grown(house, "whole")
        await house.channel.deliver(final("whole", reference))
        (reply,) = house.workspace.replies("C1")
        assert len(reply.blocks) == 2


async def test_a_stream_that_has_to_be_set_right_keeps_its_buttons() -> None:
    async with house_of(streaming="auto") as house:
        reference = await grown(house, "Use `cat")
        await house.channel.deliver(final("Use `cat <file>`.", reference))
        (reply,) = house.workspace.replies("C1")
        assert (reply.text, len(reply.blocks)) == ("Use `cat <file>`.", 2)


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": ReplyKind.NOTICE},
        {"kind": ReplyKind.APOLOGY},
        {"kind": ReplyKind.HANDOFF},
        {"part": 1, "parts": 2},
    ],
)
async def test_nothing_else_is_voted_for(fields: dict[str, Any]) -> None:
    async with house_of() as house:
        await ready(house)
        await house.channel.deliver(final("a text", **fields))
        (reply,) = house.workspace.replies("C1")
        assert reply.blocks == ()
        with pytest.raises(LookupError):
            await house.simulator.vote(reply, good=True)


async def test_of_several_parts_the_last_one_asks() -> None:
    async with house_of() as house:
        await ready(house)
        for part in (1, 2):
            await house.channel.deliver(final(f"part {part}", part=part, parts=2))
        assert [len(reply.blocks) for reply in house.workspace.replies("C1")] == [0, 2]


async def test_switched_off_there_are_none() -> None:
    async with House() as house:
        await ready(house)
        await house.channel.deliver(final("It left today."))
        assert house.workspace.replies("C1")[0].blocks == ()


@pytest.mark.parametrize("error", ["invalid_blocks", "invalid_blocks_format", "invalid_arguments"])
@pytest.mark.parametrize("streaming", ["edit", "auto"])
async def test_a_slack_that_refuses_the_blocks_gets_the_text_and_is_not_asked_again(
    error: str, streaming: Streaming
) -> None:
    async with house_of(streaming=streaming) as house:
        method = "chat.stopStream" if streaming == "auto" else "chat.update"
        for turn in (7, 8):
            await ready(house)
            shown = await house.channel.preview(replace(draft("It", turn_id=turn), address=READER))
            assert shown
            if turn == 7:
                house.workspace.fail(method, Fault(error=error))
            await house.channel.deliver(final("It left today.", shown, turn_id=turn))
        assert [(reply.text, reply.blocks) for reply in house.workspace.replies("C1")] == [("It left today.", ())] * 2
        assert house.workspace.counts[method] == 3


async def test_blocks_that_are_too_long_go_without_buttons_this_time() -> None:
    async with house_of() as house:
        await ready(house)
        house.workspace.fail("chat.postMessage", Fault(error="msg_blocks_too_long"))
        for text in ("one", "two"):
            await house.channel.deliver(final(text))
        assert [len(reply.blocks) for reply in house.workspace.replies("C1")] == [0, 2]


async def test_a_slack_that_knows_no_markdown_gets_mrkdwn_and_is_not_asked_again() -> None:
    async with house_of() as house:
        reference = await grown(house, "**It**")
        for method in ("chat.update", "chat.update"):
            house.workspace.fail(method, Fault(error="no_text"))
        await house.channel.deliver(final("**It** left.", reference))
        (reply,) = house.workspace.replies("C1")
        assert (reply.text, reply.blocks) == ("*It* left.", ())
        await house.channel.deliver(final("**Next**", turn_id=8))
        assert house.workspace.replies("C1")[-1].text == "*Next*"
        assert house.workspace.counts["chat.postMessage"] == 2


async def test_text_alone_takes_the_place_of_the_blocks_before_it() -> None:
    async with house_of() as house:
        await ready(house)
        reference = await house.channel.deliver(final("half"))
        house.workspace.fail("chat.update", Fault(error="invalid_arguments"), times=2)
        await house.channel.deliver(final("whole", reference))
        assert [(reply.text, reply.blocks) for reply in house.workspace.replies("C1")] == [("whole", ())]


async def test_what_is_refused_in_every_form_says_so_and_teaches_nothing() -> None:
    async with house_of() as house:
        await ready(house)
        house.workspace.fail("chat.postMessage", Fault(error="invalid_arguments"), times=3)
        with pytest.raises(Exception, match="invalid_arguments"):
            await house.channel.deliver(final("one"))
        await house.channel.deliver(final("two"))
        assert len(house.workspace.replies("C1")[-1].blocks) == 2


async def test_a_vote_that_cannot_be_stored_is_not_acknowledged() -> None:
    async with house_of() as house:
        await ready(house)
        await house.channel.deliver(final("It left today."))
        (reply,) = house.workspace.replies("C1")
        house.gateway.failures = 1
        assert await house.simulator.vote(reply, good=True) == 503
        assert await house.simulator.vote(reply, good=True) == 200
        assert len(house.gateway.votes) == 1


async def test_an_answer_to_a_slash_command_is_voted_for_where_it_was_sent() -> None:
    async with house_of() as house:
        await house.simulator.slash_command("C1", "/frontdesk", "where is my order?", user="U7")
        (message,) = house.gateway.messages.values()
        item = final("It left today.", address=message.address, conversation=message.conversation)
        await house.channel.deliver(item)
        (reply,) = house.workspace.replies("D7")
        assert await house.simulator.vote(reply, good=True, user="U7") == 200
        assert house.gateway.votes == [(message.conversation, 7, "U7", "good")]


async def test_a_lost_answer_with_buttons_is_unclear_like_any_other() -> None:
    async with house_of(timeout_seconds=0.05) as house:
        await ready(house)
        hold = asyncio.Event()
        house.workspace.fail("chat.postMessage", Fault(hold=hold))
        with pytest.raises(Exception, match="outcome unknown"):
            await house.channel.deliver(final("It left today."))
        hold.set()
        assert house.workspace.counts["chat.postMessage"] == 1


PRESSED = {"type": "feedback_buttons", "action_id": outbound.VOTE_ACTION, "value": "good 7 C1 1.000001"}


def pressed(place: str = "C1", user: str = "U1", apart: str = "", **action: Any) -> events.Vote | None:
    body = {"type": "block_actions", "user": {"id": user}, "channel": {"id": place}, "actions": [PRESSED | action]}
    return events.vote(body, channel="slack", bot="support", apart=apart)


def test_a_vote_names_the_answer_and_its_conversation() -> None:
    key = ConversationKey("slack", "support", "C1", "1.000001")
    assert pressed() == events.Vote(key, 7, "U1", "good")
    assert pressed(value="bad 7 C1 -") == events.Vote(replace(key, thread_id=""), 7, "U1", "bad")


def test_a_vote_in_one_of_several_workspaces() -> None:
    found = pressed(apart="T2/", value="good 7 T2/C1 1.000001")
    assert found == events.Vote(ConversationKey("slack", "support", "T2/C1", "1.000001"), 7, "T2/U1", "good")
    assert pressed(apart="T2/", value="good 7 T1/C1 1.000001") is None
    assert pressed(apart="T2/") is None


def test_a_slash_answer_that_was_sent_to_the_person_can_be_voted_for_there() -> None:
    assert pressed("D1", value="good 7 C1 U1") is not None
    assert pressed("D1", value="good 7 C1 U2") is None, "another person's"
    assert pressed("C2", value="good 7 C1 U1") is None


@pytest.mark.parametrize(
    "action",
    [
        {"type": "button"},
        {"action_id": "another"},
        {"value": "good 7 C2 1.000001"},
        {"value": "great 7 C1 1.000001"},
        {"value": "good -7 C1 1.000001"},
        {"value": "good 7 C1"},
        {"value": "good ٧ C1 1.000001"},
        {"value": "good 7777777777777777777 C1 1.000001"},
        {"value": None},
    ],
)
def test_what_is_no_vote_for_an_answer_here(action: dict[str, Any]) -> None:
    assert pressed(**action) is None
