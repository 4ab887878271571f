"""Whoever changes, removes or moves anything in the audit record is found, and the rows are named."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from core.audit import AuditEntry, Written, link
from core.ledger import erasure, office
from core.ledger.verification import ANCHOR, CHANGED, HASH_CHANGED, LISTED, MISSING, Verdict, verify
from core.ledger.writer import Connection, sqlite3
from tests.contract.ledgers import Book, SqliteStore
from tests.core.audit_house import named

ERASED = {10, 11}  # rows whose personal part is gone
PLAIN = 15  # a row of an ordinary message
COLUMNS = ("at", "action", "subject", "detail", "personal", "hash")
VALUES = st.one_of(
    st.none(), st.text(max_size=5), st.binary(max_size=40), st.floats(allow_nan=False), st.integers(0, 99)
)
PATIENT = settings(deadline=None, max_examples=150)


async def _write(path: Path) -> None:
    """Rows of every kind: forgotten ones before them, an erased person's among them, an operator's."""
    book = Book(SqliteStore(path.parent))
    await book.open()
    for number in range(4):
        await book.answer(f"Old {number}", chat=f"chat {number}")
        book.clock.advance(100)
    await book.ledger.forget(float("-inf"), book.clock() - 250, book.clock(), 200)
    await book.accept(book.message("Mine", user="person", chat="person"))
    await book.commit(await book.take())
    with office.opened(path) as ledger:
        erasure.erase(ledger, "web", "person", book.clock())
    for number in range(3):
        await book.answer(f"New {number}", chat=f"chat {number}")
    await book.ledger.record(AuditEntry("start", "gateway", {"number": 1}), book.clock())
    await book.ledger.close()


@pytest.fixture(scope="module")
def original() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        asyncio.run(_write(path))
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")  # all of it in the one file
        yield path


Change = Callable[[Connection], object]


@contextmanager
def copied(original: Path) -> Iterator[Connection]:
    with tempfile.TemporaryDirectory() as folder:
        path = shutil.copy(original, folder)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous=OFF")
            yield connection


def after(original: Path, *changes: Change) -> Verdict:
    """The verdict on a copy that was changed by somebody."""
    with copied(original) as connection:
        for change in changes:
            change(connection)
        return verify(connection)


def stored(original: Path) -> dict[int, tuple[object, ...]]:
    with closing(sqlite3.connect(original)) as connection:
        rows = connection.execute("SELECT id, at, action, subject, detail, personal, hash FROM audit").fetchall()
    return {row[0]: row[1:] for row in rows}


def put(row: int, column: str, value: object) -> Change:
    return lambda connection: connection.execute(f"UPDATE audit SET {column} = ? WHERE id = ?", (value, row))


def swapped(first: int, second: int) -> Change:
    def change(connection: Connection) -> None:
        for before, now in ((first, -1), (second, first), (-1, second)):
            connection.execute("UPDATE audit SET id = ? WHERE id = ?", (now, before))

    return change


def test_the_original_is_in_order(original: Path) -> None:
    found = after(original)
    assert (found.problems, found.begins_after, found.rows) == ((), 4, 15)
    assert {row[1] for row in stored(original).values()} == {"message", "reply", "forget", "erase", "start"}


@PATIENT
@given(data=st.data())
def test_any_change_of_anything_is_named(original: Path, data: st.DataObject) -> None:
    rows = stored(original)
    row = data.draw(st.sampled_from(sorted(rows)))
    column = data.draw(st.sampled_from(COLUMNS))
    before = rows[row][COLUMNS.index(column)]
    others = st.sampled_from([other[COLUMNS.index(column)] for other in rows.values()])
    value = data.draw(st.one_of(VALUES, others))
    assume(value is not None or column in ("personal", "hash"))
    with copied(original) as connection:
        put(row, column, value)(connection)
        (now,) = connection.execute(f"SELECT {column} FROM audit WHERE id = ?", (row,)).fetchone()
        assume((type(now), now) != (type(before), before))  # SQLite may have made the same of it
        found = named(verify(connection))
    assert row in found, (row, column, value)
    collateral = {ANCHOR, row, row + 1} | (ERASED if rows[row][1] == "erase" else set())
    assert found.keys() <= collateral, found


@PATIENT
@given(data=st.data())
def test_any_flipped_byte_of_a_text_is_named(original: Path, data: st.DataObject) -> None:
    """Also one after which the text is none any more."""
    rows = stored(original)
    row = data.draw(st.sampled_from(sorted(rows)))
    column = data.draw(st.sampled_from(COLUMNS[1:5]))
    text = rows[row][COLUMNS.index(column)]
    assume(isinstance(text, str))
    raw = bytearray(str(text).encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    change = f"UPDATE audit SET {column} = CAST(? AS TEXT) WHERE id = ?"
    found = named(after(original, lambda connection: connection.execute(change, (bytes(raw), row))))
    assert row in found


@PATIENT
@given(data=st.data())
def test_removed_rows_are_named(original: Path, data: st.DataObject) -> None:
    """All but those at the end, which only a noted head shows."""
    rows = sorted(stored(original))
    gone = data.draw(st.sets(st.sampled_from(rows[:-1]), min_size=1, max_size=4))
    removed = [partial(_remove, row) for row in gone]
    found = named(after(original, *removed))
    assert {row for row, what in found.items() if what == MISSING} == gone


def _remove(row: int, connection: Connection) -> None:
    connection.execute("DELETE FROM audit WHERE id = ?", (row,))


@PATIENT
@given(data=st.data())
def test_rows_that_changed_places_are_named_with_their_own(original: Path, data: st.DataObject) -> None:
    rows = sorted(stored(original))
    first, second = data.draw(st.lists(st.sampled_from(rows), min_size=2, max_size=2, unique=True))
    found = named(after(original, swapped(first, second)))
    expected = {first: f"out of order: written as row {second}", second: f"out of order: written as row {first}"}
    assert {row: what for row, what in found.items() if row in expected} == expected
    assert found.keys() <= {ANCHOR, first, second, *ERASED}, found


def test_a_changed_hash_is_told_apart_from_a_changed_row(original: Path) -> None:
    assert named(after(original, put(PLAIN, "hash", bytes(32)))) == {PLAIN: HASH_CHANGED}
    assert named(after(original, put(PLAIN, "hash", None))) == {PLAIN: HASH_CHANGED}
    assert named(after(original, put(PLAIN, "subject", "message/99"))) == {PLAIN: CHANGED}


def test_a_row_that_was_rewritten_with_its_hash_is_betrayed_by_the_next(original: Path) -> None:
    rows = stored(original)
    at, action, _, detail, personal, _ = rows[PLAIN]
    previous = rows[PLAIN - 1][-1]
    assert isinstance(at, float) and isinstance(previous, bytes)
    forged = Written(str(action), "message/99", str(detail), str(personal))
    hash = link(previous, PLAIN, at, forged)
    found = after(original, put(PLAIN, "subject", "message/99"), put(PLAIN, "hash", hash))
    assert list(named(found)) == [PLAIN + 1]


def test_the_beginning_cannot_be_moved(original: Path) -> None:
    def moved(connection: Connection) -> None:
        connection.execute("UPDATE audit_anchor SET (id, hash) = (SELECT id, hash FROM audit WHERE id = 6)")
        connection.execute("DELETE FROM audit WHERE id <= 6")

    assert ANCHOR in named(after(original, moved))
    for change in ("id = 3", "id = 0", "id = 6", "hash = zeroblob(32)", "hash = zeroblob(3)", "hash = 'x'"):
        found = named(after(original, partial(_execute, f"UPDATE audit_anchor SET {change}")))
        assert found.keys() == {ANCHOR}, (change, found)
    assert named(after(original, partial(_execute, "DELETE FROM audit_anchor"))).keys() == {ANCHOR}


def _execute(statement: str, connection: Connection) -> None:
    connection.execute(statement)


def test_a_first_row_that_nobody_chained_is_found(tmp_path: Path) -> None:
    """Written by somebody else into a new ledger, before the first of ours."""

    async def write() -> None:
        book = Book(SqliteStore(tmp_path))
        await book.open()
        with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as connection:
            connection.execute("INSERT INTO audit (at, action, subject, detail) VALUES (1, 'x', 'x', '{}')")
        await book.answer()
        await book.ledger.close()

    asyncio.run(write())
    with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as connection:
        assert ANCHOR in named(verify(connection))


def test_a_row_from_before_the_beginning_has_no_place(original: Path) -> None:
    def back(connection: Connection) -> None:
        connection.execute(
            "INSERT INTO audit SELECT 2, at, action, subject, detail, personal, hash FROM audit WHERE id = 5"
        )

    assert list(named(after(original, back))) == [2]


def test_what_was_cut_off_at_the_end_shows_by_a_noted_head(original: Path) -> None:
    with copied(original) as connection:
        head = verify(connection).head
        assert verify(connection, head).noted_at == 19
        connection.execute("DELETE FROM audit WHERE id = 19")
        found = verify(connection, head)
        assert (found.problems, found.noted_at) == ((), None)
        assert verify(connection, found.head).noted_at == 18
        assert verify(connection, bytes(32)).noted_at is None


def test_a_record_that_was_changed_throughout_is_told_briefly(tmp_path: Path) -> None:
    async def fill() -> None:
        book = Book(SqliteStore(tmp_path))
        await book.open()
        for _ in range(2 * LISTED):
            await book.ledger.record(AuditEntry("start", "gateway", {}), book.clock())
        await book.ledger.close()

    asyncio.run(fill())
    with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as connection:
        _change_all(connection)
        found = verify(connection)
        assert [(problem.first, problem.last) for problem in found.problems] == [(1, LISTED)]
        assert found.more == LISTED


def _change_all(connection: Connection) -> None:
    connection.execute("UPDATE audit SET action = 'stop'")
