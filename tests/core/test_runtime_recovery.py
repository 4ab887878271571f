"""What a process that died had shown is found again and gone on with; what may have arrived is looked for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.channel import Traits
from core.errors import DeliveryError
from core.types import Draft, MessageState
from tests.contract.ledgers import Book, SqliteStore
from tests.fakes import CollectingChannel
from tests.rooms import rooms


@pytest.fixture
async def book(tmp_path: Path) -> AsyncIterator[Book]:
    book = Book(SqliteStore(tmp_path))
    await book.open()
    yield book
    await book.ledger.close()


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


async def test_what_may_be_an_unclear_part_is_not_written_over(book: Book) -> None:
    await book.answer("Earlier", parts=["Earlier"])
    (delivery,) = await book.due()
    await book.ledger.doubt(delivery.id, "no answer")
    await book.accept("Two")
    assert not (await book.take()).died
    await book.reopen()
    assert not (await book.take()).died


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
