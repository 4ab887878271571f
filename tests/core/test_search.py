"""What was said is found by its words, in any script, while it is stored and not a moment longer."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.ledger import erasure, office, search
from core.ledger.archive import Wanted
from core.ledger.console import ConsoleLedger
from core.ledger.sqlite import SqliteLedger
from core.ledger.writer import sqlite3
from core.types import InboundMessage
from tests.contract.ledgers import AT_ONCE, GENEROUS, Book, key


def console(book: Book) -> ConsoleLedger:
    assert isinstance(book.ledger, SqliteLedger)
    return ConsoleLedger(book.ledger)


async def indexed(book: Book) -> ConsoleLedger:
    there = console(book)
    while await there.index():
        pass
    return there


async def found(book: Book, wanted: str) -> list[tuple[object, object]]:
    page = await (await indexed(book)).conversations(Wanted(search=wanted))
    return [(item["chat"], item["excerpt"]) for item in page.items]


@pytest.mark.parametrize(
    ("wanted", "excerpt"),
    [
        ("订单", "我的\x01订单\x02 A17 在哪里？ Wo ist meine Bestellung Übersee?"),
        ("单", "我的订\x01单\x02 A17 在哪里？ Wo ist meine Bestellung Übersee?"),
        ("bestell", "我的订单 A17 在哪里？ Wo ist meine \x01Bestell\x02ung Übersee?"),
        ("A17 MEINE", "我的订单 \x01A17\x02 在哪里？ Wo ist \x01meine\x02 Bestellung Übersee?"),
        ("ubersee", "我的订单 A17 在哪里？ Wo ist meine Bestellung Übersee?"),
    ],
)
async def test_words_and_characters_are_found(book: Book, wanted: str, excerpt: str) -> None:
    await book.accept(book.message("我的订单 A17 在哪里？ Wo ist meine Bestellung Übersee?", chat="here"))
    await book.accept(book.message("Something else, 单独", chat="there"))
    assert ("here", excerpt) in await found(book, wanted)


@pytest.mark.parametrize("wanted", ["单订", "order", "17", 'x" OR "a', "NEAR(", "*", '"', "是"])
async def test_what_was_not_said_is_not_found(book: Book, wanted: str) -> None:
    await book.accept(book.message("我的订单 A17", chat="here"))
    assert await found(book, wanted) == []


async def test_replies_are_found_once_they_are_whole(book: Book) -> None:
    await book.accept(book.message("Question", chat="one"))
    turn = await book.take()
    assert await found(book, "parcel") == []
    await book.commit(turn, "Your parcel is on its way")
    assert await found(book, "parcel") == [("one", "Your \x01parcel\x02 is on its way")]
    await book.reopen()
    assert await found(book, "parcel") == [("one", "Your \x01parcel\x02 is on its way")]


async def test_a_turn_that_was_handed_back_is_found_later(book: Book) -> None:
    await book.accept(book.message("Question", chat="one"))
    turn = await book.take()
    await indexed(book)
    await book.ledger.release(turn, book.clock(), counted=True)
    await indexed(book)
    again = await book.take()
    await book.commit(again, "A late reply")
    assert [chat for chat, _ in await found(book, "late")] == ["one"]


async def test_an_edit_is_found_by_its_new_words_only(book: Book) -> None:
    said = InboundMessage("e1", key("one"), "user", "The red one", source_id="7")
    await book.ledger.accept(said, GENEROUS, AT_ONCE, book.clock())
    assert [chat for chat, _ in await found(book, "red")] == ["one"]
    edit = InboundMessage("e2", key("one"), "user", "The blue one", source_id="7", edited=True)
    await book.ledger.accept(edit, GENEROUS, AT_ONCE, book.clock())
    assert await found(book, "red") == []
    assert [chat for chat, _ in await found(book, "blue")] == ["one"]


async def test_who_was_erased_leaves_no_word_in_the_file(book: Book, tmp_path: Path) -> None:
    await book.accept(book.message("Meine Lieblingsfarbe ist Zinnoberrot", chat="one", user="gone"))
    await book.commit(await book.take(), "Zinnoberrot steht Ihnen gut")
    await book.send()
    await book.accept(book.message("Zinnoberrot", chat="two", user="stays"))
    assert len(await found(book, "zinnoberrot")) == 2
    await book.ledger.close()
    with office.opened(tmp_path / "ledger.db") as ledger:
        assert erasure.erase(ledger, "web", "gone", book.clock()) == 1
    await book.reopen()
    assert [chat for chat, _ in await found(book, "zinnoberrot")] == ["two"]
    await book.ledger.close()
    for path in tmp_path.glob("ledger.db*"):
        assert b"lieblingsfarbe" not in path.read_bytes().lower(), path.name


async def test_an_index_that_is_up_to_date_writes_nothing(book: Book) -> None:
    await book.accept(book.message("Hello", chat="one"))
    there = await indexed(book)
    before = await changes(book)
    for _ in range(3):
        assert await there.index() == 0
    assert await changes(book) == before


async def changes(book: Book) -> int:
    """Rows that the writer's connection has ever changed."""
    assert isinstance(book.ledger, SqliteLedger)
    return int(await book.ledger.write(lambda c: c.execute("SELECT total_changes()").fetchone()[0]))


async def test_what_is_forgotten_is_not_found(book: Book) -> None:
    await book.accept(book.message("Old news", chat="one"))
    await book.commit(await book.take(), "Old answer")
    await book.send()
    assert len(await found(book, "old")) == 1
    book.clock.advance(1000)
    while await book.ledger.forget(book.clock(), 0.0, book.clock(), 100):
        pass
    assert await found(book, "old") == []


@given(st.text(), st.text())
def test_no_text_breaks_the_query_or_the_excerpt(text: str, wanted: str) -> None:
    assert len(search.excerpt(text * 3, wanted).replace(search.START, "").replace(search.END, "")) <= search.EXCERPT + 2
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE VIRTUAL TABLE found USING fts5(words, tokenize = 'unicode61 remove_diacritics 2')")
        connection.execute("INSERT INTO found (rowid, words) VALUES (2, ?)", (search.spaced(text),))
        search.found(connection, wanted, 10)  # no syntax of SQLite's gets through
