"""Where a platform waits only so long: a reply is bounded by the time left and the pace measured, and asked to be
short.

The engine here wrote ten tokens a second in the reply before.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from core.channel import Traits
from core.types import Delta, Reply, Usage
from tests.fakes import CollectingChannel, FakeEngine
from tests.rooms import Rooms, rooms

IN_TIME = Traits(text_limit=4000, preview_seconds=0.0, answer_seconds=14.0)
AT_LEISURE = Traits(text_limit=4000, preview_seconds=0.0)
LONG = [Delta(text="word " * 20), Delta(finish="length", usage=Usage(10, 20))]
BRIEF = "[brief en]"


async def measured(house: Rooms) -> None:
    """Let the engine be measured: a hundred tokens in ten seconds."""
    pause = asyncio.Event()
    house.engine.enqueue(["one ", pause, "two", Delta(finish="stop", usage=Usage(10, 100))])
    await house.say("Hello")
    await house.channel.previewed(1)
    house.clock.advance(10)
    pause.set()
    await house.channel.delivered(1)
    await house.runtime.drain(1)


async def answer(house: Rooms, *, waited: float = 0.0) -> Reply:
    house.engine.enqueue(LONG)
    await house.say("Tell me all")
    house.clock.advance(waited)
    (turn,) = await house.ledger.claim(house.clock(), 60.0, 20, 1)
    return (await house.dialogue.answer(turn, house.channel))[0]


async def test_a_reply_gets_the_tokens_that_can_be_written_in_time(tmp_path: Path) -> None:
    async with rooms(tmp_path, engine=FakeEngine(), channels=[CollectingChannel(traits=IN_TIME)]) as house:
        await measured(house)
        assert BRIEF not in str(house.engine.requests[0].messages), "nothing was measured yet"
        assert house.engine.requests[0].sampling.max_tokens == 512
        reply = await answer(house, waited=4.0)
        asked = house.engine.requests[-1]
        assert asked.sampling.max_tokens == int((14 - 4 - 0.5) * 10 * 0.85)
        assert BRIEF in asked.messages[-1]["content"]
        assert BRIEF not in asked.messages[0]["content"], "the system prompt stays as it is, for the prefix cache"
        assert (reply.reason, reply.cut) == ("deadline", True)
        assert reply.text.endswith(" …")
        assert BRIEF in reply.user_text, "history is what the model saw"


async def test_a_reply_that_cannot_come_in_time_is_not_cut_short(tmp_path: Path) -> None:
    async with rooms(tmp_path, engine=FakeEngine(), channels=[CollectingChannel(traits=IN_TIME)]) as house:
        await measured(house)
        for waited in (12.0, 60.0):
            reply = await answer(house, waited=waited)
            assert house.engine.requests[-1].sampling.max_tokens == 512
            assert BRIEF not in str(house.engine.requests[-1].messages[-1])
            assert reply.reason == "length"


async def test_elsewhere_time_does_not_matter(tmp_path: Path) -> None:
    async with rooms(tmp_path, engine=FakeEngine(), channels=[CollectingChannel(traits=AT_LEISURE)]) as house:
        await measured(house)
        assert (await answer(house)).reason == "length"
        assert house.engine.requests[-1].sampling.max_tokens == 512
        assert BRIEF not in str(house.engine.requests[-1].messages)
