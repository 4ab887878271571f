"""Clocks that are set, and a ledger that was written under another time: nobody waits for the difference."""

from __future__ import annotations

from pathlib import Path

from core.clock import SteadyClock
from core.ledger import Admission
from core.throttle import Rate
from core.types import MessageState
from tests.contract.ledgers import Book, SqliteStore

HOUR = 3600.0
SLOW = Admission(Rate.per_minute(1, 2), Rate.per_day(1000), lambda refusal: "Too much.")


def test_it_goes_on_whatever_becomes_of_the_wall_clock() -> None:
    wall, passed = [1_000_000.0], [50.0]
    clock = SteadyClock(lambda: wall[0], lambda: passed[0])
    assert clock() == 1_000_000.0
    wall[0] -= HOUR
    passed[0] += 2.5
    assert clock() == 1_000_002.5


async def test_a_clock_that_went_back_over_a_restart_keeps_nobody_waiting(tmp_path: Path) -> None:
    book = Book(SqliteStore(tmp_path))
    await book.open()
    for _ in range(3):
        await book.accept(book.message(user="busy", chat="busy"), SLOW)
    await book.commit(await book.take(), "Answer", tokens=SLOW.tokens)
    await book.answer("Late part", chat="late")
    await book.accept(book.message(chat="waits", user="patient"))
    for delivery in await book.due():
        await book.ledger.postpone(delivery.id, book.clock() + 60, "429")
    book.clock.advance(-10 * HOUR)
    await book.reopen()
    book.clock.advance(120)
    assert (await book.take()).messages[0].user_id == "patient"
    assert "Late part" in await book.send()
    receipt = await book.accept(book.message(user="busy", chat="busy"), SLOW)
    assert receipt.state is MessageState.WAITING, "two minutes later the limit is over"
    await book.ledger.close()


async def test_a_restart_gives_nobody_their_tokens_back(tmp_path: Path) -> None:
    book = Book(SqliteStore(tmp_path))
    await book.open()
    spent = Admission(Rate.per_minute(600, 100), Rate.per_day(40), lambda refusal: "Too much.")  # a reply takes 42
    await book.accept(book.message(user="busy"), spent)
    await book.commit(await book.take(), "Answer", tokens=spent.tokens)
    await book.reopen()
    receipt = await book.accept(book.message(user="busy"), spent)
    assert receipt.state is MessageState.THROTTLED
    await book.ledger.close()
