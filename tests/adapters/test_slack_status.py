"""The status line: there while nothing else is, gone with the first text, and silent about its failures."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from adapters.slack.simulator import Fault
from core.types import InboundMessage
from tests.adapters.slack_house import House, delivery, draft

METHOD = "assistant.threads.setStatus"


async def asked(house: House, channel: str = "C1") -> InboundMessage:
    """A person has mentioned the bot, and the line is there if it is to be there."""
    await house.simulator.mention(channel, "where is my order?")
    await house.only().status.settled()
    return list(house.gateway.messages.values())[-1]


async def test_the_line_is_there_until_the_first_text() -> None:
    async with House() as house:
        message = await asked(house)
        thread = ("C1", message.conversation.thread_id)
        assert house.workspace.view.statuses == {thread: "support chat_writing "}
        assert house.workspace.counts[METHOD] == 1, "once for a mention that arrives twice"
        await house.channel.preview(replace(draft("It"), address=message.address))
        assert house.workspace.view.statuses == {}


async def test_a_line_that_comes_after_the_text_is_taken_away() -> None:
    async with House() as house:
        hold = asyncio.Event()
        house.workspace.fail(METHOD, Fault(hold=hold))
        await house.simulator.mention("C1", "hello")
        (message,) = house.gateway.messages.values()
        await house.channel.deliver(replace(delivery("It left."), address=message.address))
        hold.set()
        await house.only().status.settled()
        assert house.workspace.view.statuses == {}


async def test_outside_threads_there_is_none() -> None:
    async with House() as house:
        await house.simulator.user_says("D1", "hello")
        assert house.workspace.counts.total() == 0


@pytest.mark.parametrize("error", ["unknown_method", "missing_scope", "feature_not_enabled"])
async def test_a_slack_without_it_is_asked_once(error: str) -> None:
    async with House() as house:
        house.workspace.fail(METHOD, Fault(error=error))
        with capture_logs() as lines:
            await asked(house)
            await asked(house)
        assert house.workspace.counts[METHOD] == 1
        assert {line["log_level"] for line in lines} <= {"debug", "info"}


@pytest.mark.parametrize("fault", [Fault(error="channel_not_found"), Fault(drop=True), Fault(status=500, body=b"")])
async def test_another_failure_is_of_no_consequence(fault: Fault) -> None:
    async with House() as house:
        house.workspace.fail(METHOD, fault)
        message = await asked(house)
        await house.channel.deliver(replace(delivery("It left."), address=message.address))
        await asked(house)
        assert house.workspace.counts[METHOD] == 2


async def test_lines_keep_to_the_rate() -> None:
    now = 1_790_000_000.0
    async with House(clock=lambda: now) as house:
        for number in range(45):
            await asked(house, f"C{number}")
        assert house.workspace.counts[METHOD] == 40
        house.workspace.fail(METHOD, Fault(error="ratelimited", status=429, retry_after=90))
        now += 61
        await asked(house)
        await asked(house)
        assert house.workspace.counts[METHOD] == 41


async def test_close_waits_for_nothing() -> None:
    async with House() as house:
        house.workspace.fail(METHOD, Fault(hold=asyncio.Event()))
        await house.simulator.mention("C1", "hello")
        await house.channel.close()
        assert not house.only().status._running
