"""The contract of core.ledger.Ledger, seventh part: what is too old is forgotten, and nothing else."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from core.config import LedgerSettings
from core.ledger import Admission, Notice
from core.retention import DAY, Retention
from core.throttle import Rate
from core.types import MessageState
from tests.contract.ledgers import AT_ONCE, GENEROUS, Book, SqliteStore, key

ONE = Admission(Rate.per_minute(60, 1), None, lambda refusal: f"Too many {refusal.reason}.")


def retention(book: Book, *, messages: float = 0.0, audit: float = 0.0) -> Retention:
    settings = LedgerSettings(keep_messages_days=messages, keep_audit_days=audit)
    return Retention(book.ledger, settings, book.clock)


def rows(book: Book, table: str) -> int:
    assert isinstance(book.store, SqliteStore)
    with closing(sqlite3.connect(book.store.path)) as connection:
        (count,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    return int(count)


async def test_what_is_old_goes_with_all_that_belongs_to_it(book: Book) -> None:
    for number in range(450):
        await book.answer(chat=f"old {number % 7}")
    await book.send()
    await book.accept(book.message("throttled", user="other", event="t1"), ONE)
    await book.accept(book.message("throttled", user="other", event="t2"), ONE)
    await book.commit(await book.take())
    book.clock.advance(31 * DAY)
    await book.answer("New", chat="new")
    await book.accept(book.message("Waiting", chat="waits", event="waits"))
    assert await retention(book, messages=30).forget() > 450
    assert [entry.text for entry in await book.ledger.transcript(key("old 1"), 10)] == []
    assert [entry.text for entry in await book.ledger.transcript(key("new"), 10)] == ["Hello", "New"]
    assert await book.ledger.state("web", "waits") is MessageState.WAITING
    counted = {table: rows(book, table) for table in ("messages", "turns", "deliveries", "history", "conversations")}
    assert counted == {"messages": 2, "turns": 1, "deliveries": 1, "history": 2, "conversations": 2}
    assert rows(book, "users") == 1, "the other user is forgotten"
    assert rows(book, "audit") > 900, "the record has days of its own"
    assert (await book.take()).conversation == key("waits")


async def test_the_record_is_forgotten_by_its_own_days(book: Book) -> None:
    await book.answer("Old")
    book.clock.advance(31 * DAY)
    await book.answer("New")
    assert await retention(book, audit=30).forget() == 2
    assert rows(book, "audit") == 3, "one says that the others were forgotten"
    assert rows(book, "messages") == 2


async def test_nothing_under_way_is_forgotten(book: Book) -> None:
    await book.answer("Being sent", chat="sent")
    await book.due()
    await book.accept(book.message(chat="runs", event="runs"))
    turn = await book.take()
    book.clock.advance(31 * DAY)
    assert await retention(book, messages=30).forget() == 0
    await book.commit(turn, "Late")
    assert [entry.text for entry in await book.ledger.transcript(key("runs"), 10)] == ["Hello", "Late"]


async def test_without_days_nothing_is_forgotten(book: Book) -> None:
    await book.answer("Old")
    book.clock.advance(10_000 * DAY)
    await retention(book).run()
    assert rows(book, "messages") == 1


async def test_a_user_who_is_forgotten_and_writes_again_is_known_anew(book: Book) -> None:
    await book.answer("Old")
    await book.send()
    book.clock.advance(31 * DAY)
    await retention(book, messages=30).forget()
    assert rows(book, "users") == 0
    greeting = Notice("Hello", "greeting")
    await book.ledger.accept(book.message("/start"), GENEROUS, AT_ONCE, book.clock(), greeting)
    turn = await book.answer("New")
    assert turn.prompt_tokens == 0
