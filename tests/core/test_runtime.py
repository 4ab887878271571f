"""Every claimed turn is committed or handed back; users wait for their own conversation only, not for a platform."""

from __future__ import annotations

import asyncio
import gc
import weakref
from pathlib import Path
from typing import Literal

import pytest

from core import runtime
from core.channel import Traits
from core.config import DialogueSettings, ThrottleSettings
from core.engine import EngineState
from core.errors import DeliveryError
from core.types import ConversationKey, InboundMessage, MessageState
from tests.fakes import CollectingChannel, FakeEngine
from tests.rooms import rooms


class Gate(asyncio.Event):
    """A pause in a reply that says when the reply came to it."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = asyncio.Event()

    async def wait(self) -> Literal[True]:
        self.reached.set()
        return await super().wait()


async def test_messages_wait_for_an_engine_that_is_loading(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.switch(EngineState.STARTING, "loading")
    async with rooms(tmp_path, engine=engine) as house:
        await house.say("Hello", event="one")
        assert await house.ledger.state("web", "one") is MessageState.WAITING
        assert not house.house.engine_status().ready
        engine.switch(EngineState.READY)
        await house.channel.delivered(1)
        assert await house.ledger.state("web", "one") is MessageState.ANSWERED


async def test_a_burst_becomes_one_turn(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with rooms(tmp_path, engine=engine, settings=DialogueSettings(merge_seconds=1, merge_cap_seconds=5)) as house:
        for text in ("I have", "a question", "about order 7"):
            await house.say(text)
        house.clock.advance(1.1)
        house.runtime.wake("web")
        await house.channel.delivered(1)
    assert len(engine.requests) == 1
    assert engine.requests[0].messages[-1]["content"].endswith("I have\na question\nabout order 7")


async def test_a_second_question_while_the_first_runs_is_answered_next(tmp_path: Path) -> None:
    engine = FakeEngine()
    pause = asyncio.Event()
    engine.enqueue(["First ", pause, "answer"])
    engine.enqueue(["Second answer"])
    async with rooms(tmp_path, engine=engine) as house:
        await house.say("One")
        await engine.called(1)
        await house.say("Two")
        await house.say("Other", chat="other")
        await engine.called(2)
        assert len(engine.requests) == 2, "the other conversation did not wait"
        pause.set()
        await house.channel.delivered(3)
        assert house.seen() == ["First answer", "Certainly."]
        assert house.seen("other") == ["Second answer"]


async def test_no_more_replies_at_once_than_slots(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.hold()
    async with rooms(tmp_path, engine=engine, concurrency=3) as house:
        for number in range(8):
            await house.say("Hello", chat=f"chat {number}")
        await engine.called(3)
        assert engine.running == 3
        engine.resume()
        await house.channel.delivered(8)
    assert len(engine.requests) == 8


async def test_one_user_in_many_chats_leaves_places_for_others(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.hold()
    async with rooms(tmp_path, engine=engine, concurrency=6) as house:
        for number in range(10):
            await house.say("Hello", chat=f"flood {number}", user="flood")
        await engine.called(3)
        for number in range(3):
            await house.say("Hello", chat=f"calm {number}")
        await engine.called(6)  # at once: nobody's reply had to end for it
        engine.resume()
        await house.channel.delivered(13)
    assert len(engine.requests) == 13, "what was held back was answered when places became free"


async def test_an_over_limit_user_is_told_once_and_nothing_is_dropped(tmp_path: Path) -> None:
    throttle = ThrottleSettings(messages_per_minute=6, burst=2, tokens_per_day=0)
    async with rooms(tmp_path, throttle=throttle) as house:
        receipts = [await house.say(f"Message {number}", user="one") for number in range(6)]
        assert [receipt.state for receipt in receipts] == [MessageState.WAITING] * 2 + [MessageState.THROTTLED] * 4
        await house.say("Hello", chat="two", user="two")
        await house.until(lambda: "Certainly." in house.seen() and house.seen("two") == ["Certainly."])
        notices = [text for text in house.seen() if text.startswith("[throttled")]
        assert notices == ["[throttled en]"]
        assert house.seen("two") == ["Certainly."]


async def test_a_slow_platform_holds_up_no_other(tmp_path: Path) -> None:
    slow, quick = CollectingChannel("slow"), CollectingChannel("quick")
    slow.gate.clear()
    async with rooms(tmp_path, channels=[slow, quick]) as house:
        await house.say("To the slow one")
        message = house.conversation()
        assert message.channel == "slow"
        for number in range(5):
            await house.house.receive(
                InboundMessage(f"q{number}", ConversationKey("quick", "support", f"q{number}"), "q", "Hi")
            )
        await quick.delivered(5)
        assert slow.deliveries == []
        slow.gate.set()
        await slow.delivered(1)


async def test_a_refused_part_is_tried_again_and_holds_back_the_next(tmp_path: Path) -> None:
    channel = CollectingChannel(traits=Traits(text_limit=12))
    engine = FakeEngine(default=["First part. Second one."])
    async with rooms(tmp_path, engine=engine, channels=[channel]) as house:
        channel.fail_deliveries(DeliveryError("flood", retryable=True, retry_after=7))
        await house.say("Hello")
        while not channel.attempts or await house.ledger.next_due_at("web") is None:
            await asyncio.sleep(0.002)
        assert channel.deliveries == []
        house.clock.advance(6.9)
        house.runtime.wake("web")
        assert channel.deliveries == []
        house.clock.advance(0.2)
        house.runtime.wake("web")
        await channel.delivered(2)
        assert house.seen() == ["First part. ", "Second one."]


async def test_a_growing_reply_does_not_overtake_the_one_before(tmp_path: Path) -> None:
    engine, refused, grows = FakeEngine(), asyncio.Event(), Gate()
    engine.enqueue(["Fir", refused, "st."])
    engine.enqueue(["Second ", grows, "grows."])
    async with rooms(tmp_path, engine=engine) as house:
        house.channel.fail_previews(DeliveryError("flood", retryable=True, retry_after=7))
        house.channel.fail_deliveries(DeliveryError("flood", retryable=True, retry_after=7))
        await house.say("One")
        await house.until(lambda: house.channel.refused == 1)
        refused.set()
        await house.until(lambda: house.channel.refused == 2)
        await house.say("Two")
        await grows.reached.wait()
        for _ in range(3):  # its look at the ledger, if it takes one, is answered before ours
            await house.ledger.counts()
        assert house.channel.previews == [], "the first reply is not there yet"
        house.clock.advance(7)
        house.runtime.wake("web")
        await house.channel.previewed(1)
        grows.set()
        await house.channel.delivered(2)
        assert house.seen() == ["First.", "Second grows."]


async def test_a_permanent_refusal_is_recorded_and_lets_the_rest_go(tmp_path: Path) -> None:
    channel = CollectingChannel(traits=Traits(text_limit=12))
    engine = FakeEngine(default=["First part. Second one."])
    async with rooms(tmp_path, engine=engine, channels=[channel]) as house:
        channel.fail_deliveries(DeliveryError("blocked"))
        await house.say("Hello")
        await channel.delivered(1)
        assert (await house.ledger.counts()).failed_deliveries == 1


@pytest.mark.parametrize(
    ("repeats", "seen", "failed"), [(0, ["Second one."], 1), (1, ["First part. ", "Second one."], 0)]
)
async def test_what_may_have_arrived_is_repeated_only_if_the_operator_wants(
    tmp_path: Path, repeats: int, seen: list[str], failed: int
) -> None:
    channel = CollectingChannel(traits=Traits(text_limit=12))
    engine = FakeEngine(default=["First part. Second one."])
    settings = DialogueSettings(merge_seconds=0, merge_cap_seconds=0, repeat_unclear=repeats)
    async with rooms(tmp_path, engine=engine, channels=[channel], settings=settings) as house:
        channel.fail_deliveries(DeliveryError("no answer", unclear=True, retry_after=0))
        await house.say("Hello")
        await channel.delivered(len(seen))
        assert house.seen() == seen
        assert (await house.ledger.counts()).failed_deliveries == failed


async def test_shutdown_hands_unfinished_turns_back_without_counting_the_try(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.hold()
    async with rooms(tmp_path, engine=engine, drain_seconds=0.01) as house:
        await house.say("Hello", event="one")
        await engine.called(1)
    assert engine.aborted, "the engine was told to stop"
    async with rooms(tmp_path) as house:
        await house.channel.delivered(1)
        assert house.seen() == ["Certainly."]
        outcome = await house.house.outcome("web", "one")
        assert outcome is not None and outcome.text == "Certainly."


async def test_a_running_reply_is_finished_by_the_drain(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.hold()
    async with rooms(tmp_path, engine=engine) as house:
        await house.say("Hello")
        await engine.called(1)
        asyncio.get_running_loop().call_soon(engine.resume)
    assert house.seen() == ["Certainly."]


async def test_what_is_committed_during_the_drain_is_delivered_before_the_end(tmp_path: Path) -> None:
    engine = FakeEngine(default=["First part. Second one."])
    engine.hold()
    channel = CollectingChannel(traits=Traits(text_limit=12))
    async with rooms(tmp_path, engine=engine, channels=[channel]) as house:
        for number in range(20):  # more than may be on their way at once
            await house.say("Hello", chat=f"chat {number}")
        await engine.called(16)
        asyncio.get_running_loop().call_soon(engine.resume)
    assert sum(house.seen(f"chat {number}") == ["First part. ", "Second one."] for number in range(20)) >= 16


async def test_answered_waits_for_the_outcome_and_no_longer(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.hold()
    async with rooms(tmp_path, engine=engine) as house:
        await house.say("Hello", event="one")
        assert not await house.house.answered(house.conversation(), "one", 0.01)
        waiting = asyncio.create_task(house.house.answered(house.conversation(), "one", 30))
        engine.resume()
        assert await waiting


async def test_a_redelivery_is_answered_once(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with rooms(tmp_path, engine=engine) as house:
        receipts = [await house.say("Hello", event="same") for _ in range(3)]
        await house.channel.delivered(1)
        assert [receipt.duplicate for receipt in receipts] == [False, True, True]
    assert len(engine.requests) == 1


@pytest.mark.process  # not a process, but as long as one: it is asked every 5 s
async def test_an_idle_engine_is_asked_how_it_is(tmp_path: Path) -> None:
    """Also when nobody writes: an API-only house would never find out otherwise."""
    engine = FakeEngine()
    async with rooms(tmp_path, engine=engine) as house:
        async with asyncio.timeout(20):
            while not engine.looks:
                await asyncio.sleep(0.05)
        assert await house.house.transcript(house.conversation(), 1) == ()


async def test_garbage_is_collected_when_nobody_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a reply, only when that has gone on for long."""
    monkeypatch.setattr(runtime, "TIDY_SECONDS", 0.0)
    monkeypatch.setattr(runtime, "UNTIDY", 1_000_000)
    engine = FakeEngine()
    gate = Gate()
    engine.enqueue(["Good ", gate, "day."])
    gc.disable()
    try:
        async with rooms(tmp_path, engine=engine) as house:
            await house.say("Hello")
            await gate.reached.wait()
            garbage = cycle()
            for _ in range(100):
                await asyncio.sleep(0)
            assert garbage() is not None
            gate.set()
            await house.until(lambda: garbage() is None)
            engine.enqueue(["Good ", another := Gate(), "day."])
            await house.say("Hello again")
            await another.reached.wait()
            garbage = cycle()
            monkeypatch.setattr(runtime, "UNTIDY", 3)
            await house.until(lambda: garbage() is None)
            another.set()
    finally:
        gc.enable()


def cycle() -> weakref.ref[Gate]:
    """What only the collector frees."""
    gate = Gate()
    gate.itself = gate  # type: ignore[attr-defined]
    return weakref.ref(gate)
