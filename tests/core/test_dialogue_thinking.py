"""A model that thinks until the limit has said nothing: it is tried once more with more room, then apologised for."""

from __future__ import annotations

import asyncio
from pathlib import Path

from core.types import Delta, Usage
from tests.core.test_deadline_replies import BRIEF, IN_TIME, measured
from tests.fakes import CollectingChannel, FakeEngine
from tests.rooms import rooms

THOUGHT = [Delta(reasoning="INNERMOST: the user "), Delta(finish="length", usage=Usage(10, 512))]


async def test_it_is_tried_once_more_with_more_room(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.enqueue(THOUGHT)
    engine.enqueue([Delta(reasoning="INNERMOST"), "It is on its way."])
    async with rooms(tmp_path, engine=engine) as house:
        await house.say("Where is my order?")
        await house.channel.delivered(1)
        assert house.seen() == ["It is on its way."]
    assert [request.sampling.max_tokens for request in engine.requests] == [512, 2048]
    assert engine.requests[0].messages == engine.requests[1].messages, "so that the prefix cache holds all of it"


async def test_the_next_turn_begins_with_the_usual_room(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.enqueue(THOUGHT)
    async with rooms(tmp_path, engine=engine) as house:
        for number in range(2):
            await house.say("Where is my order?")
            await house.channel.delivered(number + 1)
    assert [request.sampling.max_tokens for request in engine.requests] == [512, 2048, 512]


async def test_twice_it_is_apologised_for(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.enqueue(THOUGHT)
    engine.enqueue(THOUGHT)
    async with rooms(tmp_path, engine=engine) as house:
        await house.say("Where is my order?")
        await house.channel.delivered(1)
        assert house.seen() == ["[apology_empty en]"]
        assert len(engine.requests) == 2
        await house.say("Hello?")
        await house.channel.delivered(2)
    assert "INNERMOST" not in str(engine.requests[-1].messages)
    assert [message["role"] for message in engine.requests[-1].messages] == ["system", "user"]


async def test_a_context_that_holds_no_more_is_not_tried_again(tmp_path: Path) -> None:
    engine = FakeEngine(default=THOUGHT, context_tokens=300)
    async with rooms(tmp_path, engine=engine) as house:
        await house.say("word " * 60)
        await house.channel.delivered(1)
        assert house.seen() == ["[apology_empty en]"]
    assert len(engine.requests) == 1


async def test_where_time_matters_the_second_try_is_whole_rather_than_in_time(tmp_path: Path) -> None:
    async with rooms(tmp_path, engine=FakeEngine(), channels=[CollectingChannel(traits=IN_TIME)]) as house:
        await measured(house)
        house.engine.enqueue(THOUGHT)
        house.engine.enqueue(["It is on its way."])
        await house.say("Where is my order?")
        (turn,) = await house.ledger.claim(house.clock(), 60.0, 20, 1)
        reply, _ = await house.dialogue.answer(turn, house.channel)
        assert (reply.text, reply.cut) == ("It is on its way.", False)
        first, second = house.engine.requests[-2:]
        assert first.sampling.max_tokens < 512 and BRIEF in first.messages[-1]["content"]
        assert second.sampling.max_tokens == 2048 and BRIEF not in second.messages[-1]["content"]


async def test_a_user_who_stops_it_while_it_thinks_gets_nothing_of_it(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.enqueue([*THOUGHT[:1], asyncio.Event(), "Never said."])
    async with rooms(tmp_path, engine=engine) as house:
        await house.say("Where is my order?")
        await house.until(lambda: engine.running == 1)
        house.clock.advance(1)
        assert house.dialogue.stop(house.conversation(), house.clock())
        await house.until(lambda: engine.running == 0)
        await house.runtime.drain(5)
        assert not any("INNERMOST" in draft.text for draft in house.channel.previews)
        assert not any("INNERMOST" in delivery.text for delivery in house.channel.deliveries)
    assert len(engine.aborted) == 1 and len(engine.requests) == 1
