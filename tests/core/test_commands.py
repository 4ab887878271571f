"""What the house answers by itself, what users take back, and that stop means stop."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from core.config import DialogueSettings
from core.types import InboundMessage, MessageState
from tests.fakes import FakeEngine
from tests.rooms import Rooms, rooms


def message(house: Rooms, event: str, text: str, **fields: object) -> InboundMessage:
    return replace(InboundMessage(event, house.conversation(), "user", text, {}), **fields)  # type: ignore[arg-type]


async def test_commands_are_answered_without_the_model_and_once(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with rooms(tmp_path, engine=engine) as house:
        for event, text in (("1", "/start abc"), ("2", "/help"), ("3", "转人工"), ("3", "转人工")):
            receipt = await house.house.receive(message(house, event, text, language="zh"))
            assert receipt.state is MessageState.ANSWERED
        await house.channel.delivered(3)
        assert house.seen() == ["[greeting zh]", "[help zh]", "[human_noted zh]"]
    assert engine.requests == []


async def test_a_new_conversation_forgets_and_the_ledger_does_not(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with rooms(tmp_path, engine=engine) as house:
        await house.say("My name is Blue")
        await house.channel.delivered(1)
        await house.say("/new")
        await house.channel.delivered(2)
        await house.say("What is my name?")
        await house.channel.delivered(3)
        assert "Blue" not in str(engine.requests[-1].messages)
        assert len(await house.house.transcript(house.conversation(), 10)) == 6
        await house.say("And now?")
        await house.channel.delivered(4)
        assert len(engine.requests[-1].messages) == 4


async def test_stop_ends_the_reply_down_to_the_engine_and_keeps_what_stands(tmp_path: Path) -> None:
    engine = FakeEngine()
    never = asyncio.Event()
    engine.enqueue(["Once upon a time ", never, "there was"])
    async with rooms(tmp_path, engine=engine) as house:
        await house.say("A story please")
        await house.channel.previewed(1)
        await house.say("/stop")
        await house.channel.delivered(2)
        await house.until(lambda: engine.running == 0)
        assert house.seen() == ["Once upon a time …", "[stopped en]"]
        await house.say("Go on")
        await house.channel.delivered(3)
    assert engine.aborted == [engine.requests[0]]
    assert {"role": "assistant", "content": "Once upon a time"} in engine.requests[-1].messages


async def test_a_stop_delivered_again_does_not_end_a_later_reply(tmp_path: Path) -> None:
    engine = FakeEngine()
    pause = asyncio.Event()
    engine.enqueue(["One ", pause, "two"])
    async with rooms(tmp_path, engine=engine) as house:
        await house.say("/stop", event="stop")
        await house.channel.delivered(1)
        await house.say("Count")
        await house.channel.previewed(1)
        assert (await house.say("/stop", event="stop")).duplicate
        pause.set()
        await house.channel.delivered(2)
        assert house.seen() == ["[stopped en]", "One two"]
    assert engine.aborted == []


async def test_stop_before_the_first_text_says_nothing_of_the_reply(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.hold()
    async with rooms(tmp_path, engine=engine) as house:
        await house.say("A story please", event="one")
        await engine.called(1)
        await house.say("/stop")
        await house.channel.delivered(1)
        await house.until(lambda: engine.running == 0)
        assert house.seen() == ["[stopped en]"]
        assert await house.house.answered(house.conversation(), "one", 5)
        engine.resume()


async def test_a_user_who_leaves_gets_nothing_more(tmp_path: Path) -> None:
    engine = FakeEngine()
    never = asyncio.Event()
    engine.enqueue(["Once ", never, "upon"])
    async with rooms(tmp_path, engine=engine) as house:
        await house.say("A story please", event="one")
        await house.channel.previewed(1)
        await house.say("Are you there?", event="two")
        await house.house.leave(house.conversation())
        await house.until(lambda: engine.running == 0)
        assert await house.house.answered(house.conversation(), "one", 5)
        assert await house.ledger.state("web", "two") is MessageState.WITHDRAWN
        counts = await house.ledger.counts()
        assert (counts.waiting, counts.pending_deliveries) == (0, 0)
    assert house.channel.deliveries == []
    assert len(engine.requests) == 1


async def test_an_edit_of_a_waiting_message_goes_into_it(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.hold()
    async with rooms(tmp_path, engine=engine) as house:
        await house.house.receive(message(house, "1", "first", source_id="s1"))
        await engine.called(1)
        await house.house.receive(message(house, "2", "I want a red hat", source_id="s2"))
        edit = message(house, "3", "I want a blue hat", source_id="s2", edited=True)
        assert (await house.house.receive(edit)).state is MessageState.REPLACED
        assert (await house.house.receive(edit)).duplicate
        engine.resume()
        await house.channel.delivered(2)
    assert len(engine.requests) == 2
    assert engine.requests[1].messages[-1]["content"].endswith("I want a blue hat")


async def test_a_late_edit_is_a_new_turn_that_says_what_changed(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with rooms(tmp_path, engine=engine) as house:
        await house.house.receive(message(house, "1", "I want a red hat", source_id="s1"))
        await house.channel.delivered(1)
        same = message(house, "2", "I want a red hat", source_id="s1", edited=True)
        assert (await house.house.receive(same)).state is MessageState.REPLACED, "the platform's own edit"
        await house.house.receive(message(house, "3", "I want a blue hat", source_id="s1", edited=True))
        await house.channel.delivered(2)
        await house.house.receive(message(house, "4", "Never seen before", source_id="s9", edited=True))
        await house.channel.delivered(3)
    assert engine.requests[1].messages[-1]["content"].endswith("[edited en]")
    assert engine.requests[2].messages[-1]["content"].endswith("Never seen before")


async def test_what_cannot_be_read_is_said_once_a_burst(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with rooms(tmp_path, engine=engine) as house:
        for number in range(4):
            await house.house.receive(message(house, f"album {number}", "", unreadable=True, language="en"))
        await house.channel.delivered(1)
        house.clock.advance(30)
        await house.house.receive(message(house, "later", "", unreadable=True, language="en"))
        await house.channel.delivered(2)
        assert house.seen() == ["[unreadable en]"] * 2
    assert engine.requests == []


async def test_names_are_in_the_prompt_where_several_write(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with rooms(tmp_path, engine=engine) as house:
        await house.house.receive(message(house, "1", "Where is it?", speaker="Customer A"))
        await house.channel.delivered(1)
    assert engine.requests[0].messages[-1]["content"].endswith("\nCustomer A: Where is it?")


async def test_stop_takes_back_a_message_that_still_waits_for_its_burst(tmp_path: Path) -> None:
    engine = FakeEngine()
    patient = DialogueSettings(merge_seconds=10, merge_cap_seconds=30)
    async with rooms(tmp_path, engine=engine, settings=patient) as house:
        await house.say("A story please", event="one")
        await house.say("/stop")
        await house.channel.delivered(1)
        assert await house.ledger.state("web", "one") is MessageState.WITHDRAWN
        assert house.seen() == ["[stopped en]"]
    assert engine.requests == []


async def test_a_stop_reaches_a_turn_that_was_claimed_and_has_not_begun(tmp_path: Path) -> None:
    """The stop comes between the claim and the first step of the reply: it is remembered and counts."""
    engine = FakeEngine()
    async with rooms(tmp_path, engine=engine) as house:
        for chat, end in (("stops", house.house.stop), ("leaves", house.house.leave)):
            key = house.conversation(chat)
            await house.runtime.drain(1)
            await house.say("A story please", chat=chat, event=chat)
            (turn,) = await house.ledger.claim(house.clock(), 60.0, 20, 1)
            house.clock.advance(1)
            await end(key)
            reply, _ = await house.dialogue.answer(turn, house.channel)
            assert (reply.text, reply.cut, reply.reason) == ("", True, {"stops": "stopped", "leaves": "left"}[chat])
            assert await house.ledger.state("web", chat) is MessageState.ANSWERED
            house.clock.advance(1)
            await house.say("I am back", chat=chat)
            (turn,) = await house.ledger.claim(house.clock(), 60.0, 20, 1)
            assert (await house.dialogue.answer(turn, house.channel))[0].text == "Certainly."
    assert len(engine.requests) == 2


async def test_a_chat_that_is_left_ends_its_replies_in_all_threads(tmp_path: Path) -> None:
    engine = FakeEngine()
    never = asyncio.Event()
    for _ in range(3):
        engine.enqueue(["Once ", never, "upon"])
    async with rooms(tmp_path, engine=engine) as house:
        left, stays = house.conversation("left"), house.conversation("stays")
        for number, key in enumerate((left, replace(left, thread_id="7"), stays)):
            await house.house.receive(message(house, str(number), "A story please", conversation=key))
        await engine.called(3)
        await house.house.leave(replace(left, thread_id="8"))
        await house.until(lambda: engine.running == 1)
        assert engine.aborted == [request for request in engine.requests if request in engine.aborted]
        assert len(engine.aborted) == 2
        never.set()
        await house.channel.delivered(1)
    assert house.seen("stays") == ["Once upon"]


async def test_a_new_conversation_ends_the_reply_of_the_old_one_and_forgets_it(tmp_path: Path) -> None:
    engine = FakeEngine()
    never = asyncio.Event()
    engine.enqueue(["Blue is ", never, "a colour"])
    async with rooms(tmp_path, engine=engine) as house:
        await house.say("Tell me of blue")
        await house.channel.previewed(1)
        house.clock.advance(1)
        await house.say("/new")
        await house.channel.delivered(2)
        assert engine.running == 0
        house.clock.advance(1)
        await house.say("Hello")
        await house.channel.delivered(3)
    assert "lue" not in str(engine.requests[-1].messages)


async def test_a_vote_reaches_its_answer(tmp_path: Path) -> None:
    async with rooms(tmp_path) as house:
        await house.say("Hello")
        await house.channel.delivered(1)
        turn = house.channel.deliveries[0].turn_id
        assert await house.house.feedback(house.conversation(), turn, "user", "good")
        assert not await house.house.feedback(house.conversation("another"), turn, "user", "good")


async def test_a_stop_reaches_a_reply_whose_chat_was_renamed_meanwhile(tmp_path: Path) -> None:
    engine = FakeEngine()
    never = asyncio.Event()
    engine.enqueue(["Once ", never, "upon"])
    async with rooms(tmp_path, engine=engine) as house:
        await house.say("A story please", chat="group")
        await house.channel.previewed(1)
        await house.house.move(house.conversation("group"), "supergroup")
        await house.say("/stop", chat="supergroup")
        await house.channel.delivered(2)
        assert set(house.seen("supergroup")) == {"Once …", "[stopped en]"}
    assert engine.aborted == [engine.requests[0]]
