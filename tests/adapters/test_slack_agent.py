"""The agent view: suggestions when it is opened, a sign with a stop button while a reply is written, none after it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adapters.slack.simulator import Fault
from core.types import InboundMessage, ReplyKind
from tests.adapters.slack_house import House, delivery, draft

SUGGEST, SESSION, LINE = (
    "assistant.threads.setSuggestedPrompts",
    "agents.sessions.setStatus",
    "assistant.threads.setStatus",
)


async def asked(house: House) -> InboundMessage:
    """A person wrote to the agent, and what shows that has settled."""
    await house.simulator.user_says("D1", "where is my order?")
    await house.only().settled()
    return list(house.gateway.messages.values())[-1]


async def test_who_opens_the_conversation_may_choose_what_to_ask() -> None:
    async with House(streaming="native", agent=True) as house:
        assert (await house.simulator.open_messages("D1")).statuses == [200]
        await house.only().settled()
        shown = house.workspace.view.prompts["D1", ""]
        assert shown["title"] == "support suggested_title "
        assert [prompt["message"] for prompt in shown["prompts"]] == [f"support suggested_{n} " for n in (1, 2, 3)]
        assert "thread_ts" not in shown
        assert house.workspace.messages("D1") == [], "nothing is posted unasked"


async def test_a_thread_of_the_older_view_gets_them_too() -> None:
    async with House() as house:
        event = await house.simulator.begin_thread("D1")
        await house.only().settled()
        thread = event.envelope["event"]["assistant_thread"]["thread_ts"]
        assert list(house.workspace.view.prompts) == [("D1", thread)]


async def test_an_app_that_is_no_agent_is_asked_once() -> None:
    async with House() as house:
        for _ in range(2):
            assert (await house.simulator.open_messages("D1")).statuses == [200]
            await house.only().settled()
        assert house.workspace.counts[SUGGEST] == 1
        await house.simulator.begin_thread("D1")
        await house.only().settled()
        assert house.workspace.counts[SUGGEST] == 2, "the older view is another matter"


async def test_a_suggestion_that_fails_for_now_is_tried_at_the_next_opening() -> None:
    async with House(agent=True) as house:
        house.workspace.fail(SUGGEST, Fault(status=500, body=b""))
        for _ in range(2):
            await house.simulator.open_messages("D1")
            await house.only().settled()
        assert list(house.workspace.view.prompts) == [("D1", "")]


@pytest.mark.parametrize(
    "event",
    [
        {"type": "app_home_opened", "tab": "home", "channel": "D1", "user": "U1"},
        {"type": "app_context_changed", "channel": "D1", "user": "U1"},
        {"type": "assistant_thread_context_changed", "assistant_thread": {"channel_id": "D1", "thread_ts": "1.000001"}},
    ],
)
async def test_what_else_happens_in_the_view_is_acknowledged(event: dict[str, object]) -> None:
    async with House(agent=True) as house:
        assert (await house.simulator.push(event)).statuses == [200]
        assert house.workspace.counts.total() == 0


@pytest.mark.parametrize("streaming", ["native", "edit"])
async def test_the_session_is_at_work_until_the_last_part(streaming: str) -> None:
    async with House(streaming=streaming, agent=True) as house:  # type: ignore[arg-type]  # a parameter's value
        await house.simulator.user_says("D1", "hello", thread_ts="1790000000.000100")
        await house.only().settled()
        (message,) = house.gateway.messages.values()
        thread = ("D1", message.conversation.thread_id)
        assert house.workspace.view.sessions == {thread: "processing"}
        shown = await house.channel.preview(replace(draft("It"), address=message.address))
        for part in (1, 2):
            reference = shown or "" if part == 1 else ""
            item = replace(delivery("It left.", reference), address=message.address, part=part, parts=2)
            await house.channel.deliver(item)
            await house.only().settled()
            assert house.workspace.view.sessions == {thread: "active" if part == 2 else "processing"}
        assert house.workspace.counts[LINE] == 0


async def test_a_notice_ends_no_session() -> None:
    async with House(streaming="native", agent=True) as house:
        message = await asked(house)
        await house.channel.deliver(replace(delivery("help"), address=message.address, kind=ReplyKind.NOTICE))
        await house.only().settled()
        assert list(house.workspace.view.sessions.values()) == ["processing"]
        await house.channel.deliver(replace(delivery("sorry"), address=message.address, kind=ReplyKind.APOLOGY))
        await house.only().settled()
        assert list(house.workspace.view.sessions.values()) == ["active"]


async def test_stop_ends_the_reply_and_the_session_is_no_longer_at_work() -> None:
    async with House(streaming="native", agent=True) as house:
        message = await asked(house)
        await house.channel.preview(replace(draft("It"), address=message.address))
        event = await house.simulator.press_stop("D1", message.conversation.thread_id)
        assert event.statuses == [200]
        await house.only().settled()
        assert house.gateway.stopped[0] == message.conversation
        assert house.workspace.view.sessions == {("D1", message.conversation.thread_id): "active"}


async def test_a_sign_that_is_still_on_its_way_does_not_outlast_the_answer() -> None:
    async with House(streaming="native", agent=True) as house:
        house.workspace.fail(SESSION, Fault(delay=0.05))
        await house.simulator.user_says("D1", "where is my order?")
        (message,) = house.gateway.messages.values()
        await house.channel.deliver(replace(delivery("It left."), address=message.address))
        await house.only().settled()
        assert list(house.workspace.view.sessions.values()) == ["active"]


async def test_an_app_without_sessions_has_the_line_and_is_asked_once() -> None:
    async with House(streaming="native") as house:
        for _ in range(2):
            message = await asked(house)
            await house.channel.deliver(replace(delivery("It left."), address=message.address))
            await house.only().settled()
        assert (house.workspace.counts[SESSION], house.workspace.counts[LINE]) == (1, 2)


async def test_a_session_that_cannot_be_set_for_now_is_set_the_next_time() -> None:
    async with House(streaming="native", agent=True) as house:
        house.workspace.fail(SESSION, Fault(error="ratelimited", status=429, retry_after=0))
        await asked(house)
        assert house.workspace.view.sessions == {}
        await asked(house)
        assert list(house.workspace.view.sessions.values()) == ["processing"]
        assert house.workspace.counts[LINE] == 0
