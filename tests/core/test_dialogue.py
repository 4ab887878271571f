"""A turn ends in one committed reply: whole, cut and marked, or an apology; and a failure never reaches the history."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from core.channel import Traits
from core.config import DialogueSettings, ThrottleSettings
from core.errors import DeliveryError, EngineRefused, EngineTimeout, EngineUnavailable, PromptTooLong
from core.types import Delta, Usage
from tests.fakes import CollectingChannel, FakeEngine
from tests.rooms import AT_ONCE, GENEROUS, rooms

SILENT = Traits(text_limit=4000)


async def test_a_reply_grows_and_ends_in_the_message_it_grew_in(tmp_path: Path) -> None:
    engine = FakeEngine()
    pause = asyncio.Event()
    engine.enqueue(["Your order ", pause, "is on its way."])
    async with rooms(tmp_path, engine=engine) as house:
        await house.say("Where is my order?")
        await house.channel.previewed(1)
        assert house.seen() == ["Your order"]
        pause.set()
        await house.channel.delivered(1)
        assert house.seen() == ["Your order is on its way."]
        assert house.channel.deliveries[0].reference == "web-1", "the message that the first preview made"


async def test_reasoning_is_neither_shown_nor_kept(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.enqueue([Delta(reasoning="The user wants a refund."), "Certainly. ", Delta(reasoning="Be brief."), "Done."])
    async with rooms(tmp_path, engine=engine) as house:
        await house.say("Refund please")
        await house.channel.delivered(1)
        await house.say("Thanks")
        await house.channel.delivered(2)
    assert house.channel.screen(house.conversation())[0] == "Certainly. Done."
    assert not any(
        "refund" in str(request.messages).lower().replace("refund please", "") for request in engine.requests
    )
    assert not any("brief" in draft.text for draft in house.channel.previews)


async def test_history_and_session_follow_the_conversation(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.enqueue(["It is blue."])
    async with rooms(tmp_path, engine=engine) as house:
        await house.say("What colour is it?")
        await house.channel.delivered(1)
        await house.say("And how large?")
        await house.channel.delivered(2)
    first, second = engine.requests
    assert second.messages[: len(first.messages)] == first.messages
    assert second.messages[len(first.messages)] == {"role": "assistant", "content": "It is blue."}
    assert first.session_id == second.session_id and len(first.session_id) == 32
    assert first.request_id != second.request_id


@pytest.mark.parametrize("failure", [EngineTimeout("silent"), EngineRefused("no")])
async def test_a_failure_before_the_first_text_is_tried_once_more(tmp_path: Path, failure: Exception) -> None:
    engine = FakeEngine()
    engine.enqueue([failure])
    engine.enqueue(["Here I am."])
    async with rooms(tmp_path, engine=engine) as house:
        await house.say("Hello?")
        await house.channel.delivered(1)
        assert house.seen() == ["Here I am."]


async def test_two_failures_become_an_apology_that_is_no_history(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.enqueue([EngineTimeout("silent")])
    engine.enqueue([EngineTimeout("silent")])
    async with rooms(tmp_path, engine=engine) as house:
        await house.say("我的订单呢")
        await house.channel.delivered(1)
        assert house.seen() == ["[apology_engine zh]"]
        await house.say("还在吗")
        await house.channel.delivered(2)
    assert [message["role"] for message in engine.requests[-1].messages] == ["system", "user"]


async def test_an_empty_reply_is_apologised_for(tmp_path: Path) -> None:
    engine = FakeEngine(default=[" \n"])
    async with rooms(tmp_path, engine=engine) as house:
        await house.say("Hello")
        await house.channel.delivered(1)
        assert house.seen() == ["[apology_empty en]"]


async def test_a_failure_after_text_was_shown_keeps_it_and_marks_it(tmp_path: Path) -> None:
    engine = FakeEngine()
    broke = asyncio.Event()
    engine.enqueue(["The parcel left ", broke, EngineUnavailable("gone")])
    async with rooms(tmp_path, engine=engine) as house:
        await house.say("Where is it?")
        await house.channel.previewed(1)
        broke.set()
        await house.channel.delivered(1)
        assert house.seen() == ["The parcel left\n\n[cut_mark en]"]
        await house.say("Go on")
        await house.channel.delivered(2)
    assert {"role": "assistant", "content": "The parcel left"} in engine.requests[-1].messages


async def test_a_lost_engine_is_waited_for_when_nothing_was_shown(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.enqueue(["The parcel ", EngineUnavailable("gone")])
    engine.enqueue(["The parcel is here."])
    async with rooms(tmp_path, engine=engine, channels=[CollectingChannel(traits=SILENT)]) as house:
        await house.say("Where is it?")
        await engine.called(1)
        house.clock.advance(60)
        house.runtime.wake("web")
        await house.channel.delivered(1)
        assert house.seen() == ["The parcel is here."]


async def test_an_engine_that_always_dies_is_apologised_for(tmp_path: Path) -> None:
    engine = FakeEngine(default=[EngineUnavailable("gone")])
    async with rooms(tmp_path, engine=engine) as house:
        await house.say("Hello")
        for attempt in range(1, AT_ONCE.attempts + 1):
            await engine.called(attempt)
            while await house.ledger.next_ready_at() is None:
                await asyncio.sleep(0.002)
            house.clock.advance(60)
            house.runtime.wake("web")
        await house.channel.delivered(1)
        assert house.seen() == ["[apology_engine en]"]


async def test_a_prompt_that_is_too_long_is_cut_and_tried_again(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with rooms(tmp_path, engine=engine) as house:
        for number in range(4):
            await house.say(f"Question {number}")
            await house.channel.delivered(number + 1)
        engine.enqueue([PromptTooLong("too long")])
        await house.say("One more")
        await house.channel.delivered(5)
        assert house.seen()[-1] == "Certainly."
    refused, accepted = engine.requests[-2:]
    assert len(accepted.messages) < len(refused.messages)
    assert accepted.messages[-1] == refused.messages[-1]


async def test_a_reply_ended_by_its_length_shows_that_it_goes_on(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.enqueue(["One two three", Delta(finish="length", usage=Usage(5, 3))])
    async with rooms(tmp_path, engine=engine) as house:
        await house.say("Count")
        await house.channel.delivered(1)
        assert house.seen() == ["One two three …"]


async def test_the_room_for_the_reply_is_what_the_context_leaves(tmp_path: Path) -> None:
    engine = FakeEngine(context_tokens=300)
    async with rooms(tmp_path, engine=engine) as house:
        await house.say("word " * 60)
        await house.channel.delivered(1)
    assert 16 <= engine.requests[0].sampling.max_tokens < 150


async def test_previews_stop_at_the_first_refusal_and_the_reply_still_arrives(tmp_path: Path) -> None:
    engine = FakeEngine()
    pauses = [asyncio.Event() for _ in range(2)]
    engine.enqueue(["a ", pauses[0], "b ", pauses[1], "c"])
    async with rooms(tmp_path, engine=engine) as house:
        house.channel.fail_previews(DeliveryError("flood", retryable=True, retry_after=30))
        await house.say("Letters")
        await engine.called(1)
        for pause in pauses:
            pause.set()
        await house.channel.delivered(1)
        assert house.channel.previews == []
        assert house.seen() == ["a b c"]


async def test_a_long_reply_arrives_whole_in_order(tmp_path: Path) -> None:
    text = " ".join(f"word{number}" for number in range(300))
    engine = FakeEngine(default=[text])
    async with rooms(tmp_path, engine=engine, channels=[CollectingChannel(traits=Traits(text_limit=200))]) as house:
        await house.say("Tell me all")
        parts = len(text) // 200 + 1
        await house.channel.delivered(parts)
        assert "".join(house.seen()) == text


async def test_tokens_of_the_day_run_out(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.enqueue(["Yes.", Delta(finish="stop", usage=Usage(90, 20))])
    throttle = ThrottleSettings(messages_per_minute=60, burst=60, tokens_per_day=100)
    async with rooms(tmp_path, engine=engine, throttle=throttle) as house:
        await house.say("First")
        await house.channel.delivered(1)
        await house.say("Second")
        await house.channel.delivered(2)
        assert house.seen() == ["Yes.", "[throttled_tokens en]"]


async def test_the_bots_language_stays_with_the_conversation(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with rooms(tmp_path, engine=engine, settings=DialogueSettings(merge_seconds=0), throttle=GENEROUS) as house:
        await house.say("你好")
        await house.channel.delivered(1)
        await house.say("ok, in English now please")
        await house.channel.delivered(2)
    assert len({request.messages[0]["content"] for request in engine.requests}) == 1, "the cached prefix is kept"
