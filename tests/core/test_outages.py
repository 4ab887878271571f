"""Poison, overload and outages: one bad message holds up nobody, and what is old is not answered as if it were new."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from core.config import DialogueSettings
from core.engine import EngineRequest, EngineState
from core.types import Delta, InboundMessage, MessageState
from tests.fakes import FakeClock, FakeEngine
from tests.rooms import Rooms, rooms

HOUR = 3600.0


class Brittle(FakeEngine):
    """A client that trips over one message."""

    async def stream(self, request: EngineRequest) -> AsyncGenerator[Delta, None]:
        if request.messages[-1]["content"].endswith("Bad"):
            self.requests.append(request)
            raise ZeroDivisionError
        async with aclosing(super().stream(request)) as deltas:
            async for delta in deltas:
                yield delta


async def test_a_message_that_crashes_its_turn_is_set_aside_and_holds_up_nobody(tmp_path: Path) -> None:
    engine = Brittle()
    async with rooms(tmp_path, engine=engine) as house:
        await house.say("Bad", chat="bad", event="bad")
        for number in range(1, 4):
            await house.say("Good", chat="good")
            await house.channel.delivered(number)
            house.clock.advance(10)
            house.runtime.wake("web")
        await house.channel.delivered(4)
        assert house.seen("bad") == ["[apology_engine en]"]
        assert house.seen("good") == ["Certainly."] * 3
        assert await house.ledger.state("web", "bad") is MessageState.SET_ASIDE
        assert (await house.ledger.counts()).set_aside == 1
    assert len(engine.requests) == 6


@pytest.mark.parametrize(
    ("hours", "sent_before", "answered"),
    [
        (0.0, 0.0, True),
        (5.9, 0.0, True),
        (6.1, 0.0, False),
        (0.0, 5.9 * HOUR, True),
        (0.0, 7 * HOUR, False),  # the platform held it for us
        (0.0, 23 * HOUR, False),
        (0.0, 400 * 24 * HOUR, True),  # no platform does that: the time is not to be trusted
        (0.0, -400 * 24 * HOUR, True),
    ],
)
async def test_what_came_through_an_outage_is_apologised_for(
    tmp_path: Path, hours: float, sent_before: float, answered: bool
) -> None:
    engine = FakeEngine()
    engine.switch(EngineState.STARTING)
    async with rooms(tmp_path, engine=engine) as house:
        await _say(house, sent_before)
        house.clock.advance(hours * HOUR)
        engine.switch(EngineState.READY)
        await house.channel.delivered(1)
        assert house.seen() == (["Certainly."] if answered else ["[apology_late en]"])
        assert await house.ledger.state("web", "old") is MessageState.ANSWERED
    assert len(engine.requests) == answered


async def test_an_operator_may_want_everything_answered(tmp_path: Path) -> None:
    settings = DialogueSettings(merge_seconds=0, merge_cap_seconds=0, answer_within_hours=0)
    async with rooms(tmp_path, settings=settings) as house:
        await _say(house, 30 * HOUR)
        await house.channel.delivered(1)
        assert house.seen() == ["Certainly."]


async def test_who_writes_again_after_an_outage_is_answered_for_all_of_it(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.switch(EngineState.STARTING)
    async with rooms(tmp_path, engine=engine) as house:
        await _say(house, 0.0)
        house.clock.advance(7 * HOUR)
        await house.say("Are you there?")
        engine.switch(EngineState.READY)
        await house.channel.delivered(1)
        assert house.seen() == ["Certainly."]
    assert "Is it open?\nAre you there?" in engine.requests[0].messages[-1]["content"]


async def test_a_full_house_says_how_many_are_before_one(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.hold()
    settings = DialogueSettings(merge_seconds=0, merge_cap_seconds=0, busy_after=2)
    async with rooms(tmp_path, engine=engine, settings=settings, concurrency=1) as house:
        for number in range(5):
            await house.say("Hello", chat=f"chat {number}")
            if number == 0:
                await engine.called(1)
        await house.channel.delivered(2)
        assert [house.seen(f"chat {number}") for number in range(5)] == [[], [], [], ["[busy en]"], ["[busy en]"]]
        engine.resume()
        await house.channel.delivered(7)
        assert house.seen("chat 4") == ["[busy en]", "Certainly."]


async def _say(house: Rooms, sent_before: float) -> None:
    message = InboundMessage("old", house.conversation(), "user", "Is it open?", {})
    await house.house.receive(replace(message, sent_at=house.clock() - sent_before))


async def test_a_clock_that_was_ahead_at_the_start_makes_no_message_late(tmp_path: Path) -> None:
    clock, wall = FakeClock(), FakeClock()
    clock.advance(8 * 3600)
    async with rooms(tmp_path, clock=clock, wall=wall) as house:
        message = InboundMessage("e1", house.conversation(), "u", "Hello", {"chat": "chat"}, sent_at=wall())
        await house.house.receive(message)
        await house.channel.delivered(1)
        assert house.seen() == ["Certainly."]
