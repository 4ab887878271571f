"""An engine that is started again under running replies loses none of them, and answers none twice."""

from __future__ import annotations

import asyncio
from pathlib import Path

from core.config import DialogueSettings
from core.engine import EngineState
from core.errors import EngineUnavailable
from core.types import MessageState
from tests.fakes import FakeEngine
from tests.rooms import Rooms, rooms

AT_ONCE = DialogueSettings(merge_seconds=0.0, merge_cap_seconds=0.0)
GONE = EngineUnavailable("the engine closed the connection")
SILENT = ("a", "b", "c")  # whose reply had not begun


async def until_answered(house: Rooms, count: int) -> None:
    """Time goes by, so that what was handed back is claimed again, until so many replies are there."""
    async with asyncio.timeout(10):
        while len(house.channel.deliveries) < count:
            house.clock.advance(0.5)
            house.runtime.wake("web")
            await asyncio.sleep(0.005)


async def running(house: Rooms, engine: FakeEngine, end: asyncio.Event) -> None:
    """Three replies that have not begun, and one that shows its first words, when the engine goes."""
    for number, chat in enumerate(SILENT, 1):
        engine.enqueue([end, GONE])
        await house.say(f"Question of {chat}", chat=chat, event=chat)
        await engine.called(number)
    engine.enqueue(["Once upon a time ", end, GONE])
    await house.say("A story please", chat="d", event="d")
    await house.channel.previewed(1)


async def test_all_that_had_not_begun_are_answered_by_the_next_one(tmp_path: Path) -> None:
    engine, end = FakeEngine(), asyncio.Event()
    async with rooms(tmp_path, engine=engine, settings=AT_ONCE) as house:
        await running(house, engine, end)
        engine.switch(EngineState.RESTARTING, "started again")
        end.set()
        await house.say("Written meanwhile", chat="e", event="e")
        await house.channel.delivered(1)  # what was shown stands, marked as cut
        await house.until(lambda: engine.running == 0)
        assert [await house.ledger.state("web", chat) for chat in SILENT] != [MessageState.ANSWERED] * 3
        engine.switch(EngineState.READY)
        await until_answered(house, 5)
        for chat in SILENT:
            assert house.seen(chat) == ["Certainly."]
        assert house.seen("e") == ["Certainly."]
        assert len(house.seen("d")) == 1
        assert house.seen("d")[0].startswith("Once upon a time")
        for chat in (*SILENT, "d", "e"):
            assert await house.ledger.state("web", chat) is MessageState.ANSWERED


async def test_what_goes_back_waits_through_several_failed_starts(tmp_path: Path) -> None:
    """The tries of a reply are counted by engines that were ready, not by the time that it takes to get one."""
    engine, end = FakeEngine(), asyncio.Event()
    async with rooms(tmp_path, engine=engine, settings=AT_ONCE) as house:
        engine.enqueue([end, GONE])
        await house.say("Hello", chat="a", event="a")
        await engine.called(1)
        engine.switch(EngineState.RESTARTING)
        end.set()
        await house.until(lambda: engine.running == 0)
        asked = len(engine.requests)
        states = (EngineState.STARTING, EngineState.RESTARTING, EngineState.STARTING, EngineState.FAILED)
        for number, state in enumerate(states):
            engine.switch(state)
            house.clock.advance(200.0)
            await house.say("And I", chat=f"later {number}")
        assert len(engine.requests) == asked
        engine.switch(EngineState.READY)
        await until_answered(house, 5)
        assert house.seen("a") == ["Certainly."]
