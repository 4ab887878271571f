"""What a process that died had shown is found again and gone on with; what may have arrived is looked for."""

from __future__ import annotations

import asyncio
from pathlib import Path

from core.channel import Traits
from core.errors import DeliveryError
from core.types import Draft, InboundMessage, MessageState
from tests.contract.ledgers import AT_ONCE, GENEROUS, Book, key
from tests.fakes import CollectingChannel, FakeEngine
from tests.rooms import Rooms, rooms


async def test_a_preview_that_nobody_recorded_becomes_the_reply(book: Book, tmp_path: Path) -> None:
    channel = CollectingChannel()
    await book.answer("An earlier answer", parts=[])
    await book.accept(book.message("Hello", event="one"))
    turn = await book.take()
    await channel.preview(Draft(turn.id, turn.conversation, turn.address, "Certai", ""))
    await book.ledger.close()  # as a kill -9 between the two leaves it
    async with rooms(tmp_path, channels=[channel]) as house:
        await channel.delivered(1)
        assert house.seen() == ["Certainly."]
        assert await house.ledger.state("web", "one") is MessageState.ANSWERED


async def test_an_apology_lands_in_it_too(book: Book, tmp_path: Path) -> None:
    channel = CollectingChannel()
    await book.accept("Hello")
    for _ in range(3):
        turn = await book.take()
        await book.reopen()
    await channel.preview(Draft(turn.id, turn.conversation, turn.address, "Certai", ""))
    await book.ledger.close()
    async with rooms(tmp_path, channels=[channel]) as house:
        await channel.delivered(1)
        assert house.seen() == ["[apology_engine en]"]


async def test_what_belongs_to_another_reply_is_left_alone(book: Book, tmp_path: Path) -> None:
    channel = CollectingChannel()
    await book.accept("One")
    first = await book.take()
    reference = await channel.preview(Draft(first.id, first.conversation, first.address, "First.", ""))
    await book.ledger.previewed(first, reference or "")
    await book.commit(first, "First.", parts=["First."])
    await book.accept("Two")
    await book.take()
    await book.ledger.close()
    async with rooms(tmp_path, channels=[channel]) as house:
        await channel.delivered(2)
        assert house.seen() == ["First.", "Certainly."]


async def test_a_channel_is_told_of_parts_that_may_stand_there(book: Book) -> None:
    await book.answer("Earlier", parts=["Earlier"])
    (delivery,) = await book.due()
    await book.accept("Two")
    assert not (await book.take()).unclear, "it is on its way"
    await book.ledger.doubt(delivery.id, "no answer")
    await book.reopen()
    turn = await book.take()
    assert (turn.died, turn.unclear) == (True, True)


async def test_what_is_known_reaches_over_the_channel(book: Book) -> None:
    for channel, chat in (("web", "one"), ("web", "two"), ("phone", "three")):
        message = InboundMessage(f"e-{chat}", key(chat, channel), chat, "Hello", source_id=f"said-{chat}")
        await book.ledger.accept(message, GENEROUS, AT_ONCE, book.clock())
        turn = await book.take()
        await book.ledger.previewed(turn, f"shown-{chat}")
        await book.commit(turn, parts=["x", "y"])
        for _ in range(2):
            (delivery,) = await book.due(channel)
            await book.ledger.sent(delivery.id, f"sent-{chat}-{delivery.part}", book.clock())
    await book.accept(book.message(chat="one"))
    known = await book.ledger.references(await book.take())
    assert known >= {"said-one", "said-two", "shown-one", "shown-two", "sent-one-2", "sent-two-2"}
    assert not {reference for reference in known if "three" in reference}


async def test_a_first_text_whose_answer_was_lost_becomes_the_reply(tmp_path: Path) -> None:
    engine, refused = FakeEngine(), asyncio.Event()
    engine.enqueue(["Certai", refused, "nly."])
    async with rooms(tmp_path, engine=engine) as house:
        house.channel.fail_previews(DeliveryError("no answer", unclear=True))
        await house.say("Hello")
        await house.until(lambda: house.channel.refused == 1)
        refused.set()
        await house.channel.delivered(1)
        assert house.seen() == ["Certainly."]


async def test_an_attempt_that_lost_its_lease_writes_over_nothing(tmp_path: Path) -> None:
    engine, stuck, slow = FakeEngine(), asyncio.Event(), asyncio.Event()
    engine.enqueue(["Old ", stuck, "text."])
    engine.enqueue(["New ", slow, "text."])
    engine.enqueue(["Another ", slow, "one."])
    async with rooms(tmp_path, engine=engine, concurrency=2) as house:
        house.channel.gate.clear()  # its first text is on its way to the platform
        await house.say("Hello", event="one")
        await engine.called(1)
        await house.ledger.reclaim(house.clock() + 1000)  # as after a process stood still
        house.runtime.look_again()
        await house.until(lambda: bool(engine.aborted))
        await quiet(house)
        assert len(engine.requests) == 1, "the next attempt waits until that text has arrived"
        house.channel.gate.set()
        await engine.called(2)
        for chat in ("another", "a third"):
            await house.say("And you?", chat=chat)
        await engine.called(3)
        await quiet(house)
        assert len(engine.requests) == 3, "it has one of the two places"
        stuck.set()
        slow.set()
        await house.channel.delivered(3)
        assert [house.seen(), house.seen("another")] == [["New text."], ["Another one."]]
        assert await house.ledger.state("web", "one") is MessageState.ANSWERED


async def quiet(house: Rooms) -> None:
    """Whatever was to be claimed by now is."""
    for _ in range(5):
        await house.ledger.claim(0.0, 60.0, 20, 1)  # behind theirs in the writer's queue; nothing is ready at 0
        await house.ledger.counts()


async def test_a_channel_that_can_look_is_asked_again_and_told_why(tmp_path: Path) -> None:
    channel = CollectingChannel(traits=Traits(text_limit=4000))
    async with rooms(tmp_path, channels=[channel]) as house:
        channel.fail_deliveries(*[DeliveryError("no answer", unclear=True, retryable=True, retry_after=0)] * 2)
        await house.say("Hello")
        await channel.delivered(1)
        assert [attempt.doubts for attempt in channel.attempts] == [0, 1, 2]
        assert (await house.ledger.counts()).failed_deliveries == 0


async def test_a_send_cut_off_by_a_crash_is_in_doubt_where_it_is_looked_for(book: Book) -> None:
    await book.answer("x", parts=["one", "two"])
    (delivery,) = await book.due()
    await book.ledger.begin(delivery.id)
    await book.reopen(repeatable=["web"])
    (delivery,) = await book.due()
    assert (delivery.text, delivery.doubts) == ("one", 1)
    await book.ledger.sent(delivery.id, "r", book.clock())
    (delivery,) = await book.due()
    await book.reopen(repeatable=["web"])
    (delivery,) = await book.due()
    assert (delivery.text, delivery.doubts) == ("two", 0), "it had not begun"
