"""A damaged ledger is refused at the start and left as it was; damage met in work ends the work, and is said."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import shutil
import sqlite3 as stdlib
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
import structlog.testing

from core.errors import ConfigError, LedgerDamaged, LedgerError
from core.ledger import office
from core.ledger.damage import look
from core.ledger.sqlite import SqliteLedger
from core.types import MessageState
from tests.contract.ledgers import Book, SqliteStore

PAGE = 4096
SEED = 20261126
MESSAGES = 120


async def filled(folder: Path) -> Path:
    """A ledger with something in each of its tables, closed."""
    book = Book(SqliteStore(folder))
    await book.open()
    for number in range(MESSAGES):
        await book.answer(f"Answer {number} " * 20, chat=f"chat-{number}")
    await book.send()
    await book.ledger.keep("web", "a fact", {"value": 1})
    await book.accept("And this?")
    await book.ledger.close()
    assert isinstance(book.store, SqliteStore)
    return book.store.path


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return asyncio.run(filled(tmp_path_factory.mktemp("template")))


@pytest.fixture
def path(template: Path, tmp_path: Path) -> Path:
    """A ledger of one's own."""
    return Path(shutil.copy(template, tmp_path))


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def index_pages(path: Path, name: str) -> list[int]:
    """The leaves of an index, as offsets (sqlite.org/fileformat2.html, 1.6)."""
    raw = path.read_bytes()
    with closing(stdlib.connect(f"{path.as_uri()}?immutable=1", uri=True)) as connection:  # leaves the -wal alone
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()

    def leaves(page: int) -> list[int]:
        start = (page - 1) * PAGE
        if raw[start] == 0x0A:
            return [start]
        assert raw[start] == 0x02, "an index"
        cells = int.from_bytes(raw[start + 3 : start + 5], "big")
        places = [int.from_bytes(raw[start + 12 + 2 * cell :][:2], "big") for cell in range(cells)]
        children = [int.from_bytes(raw[start + place :][:4], "big") for place in places]
        return [leaf for child in (*children, int.from_bytes(raw[start + 8 :][:4], "big")) for leaf in leaves(child)]

    return leaves(root)


async def refused(path: Path) -> str:
    """Why it cannot be the ledger; nothing about the file has changed by the try."""
    before = {
        file.name: file.read_bytes() for file in path.parent.iterdir() if not file.name.endswith((".lock", "-shm"))
    }
    ledger = SqliteLedger(path)
    with pytest.raises(ConfigError) as caught:
        await ledger.open(0.0, frozenset())
    after = {
        file.name: file.read_bytes() for file in path.parent.iterdir() if not file.name.endswith((".lock", "-shm"))
    }
    assert {name: raw for name, raw in after.items() if raw or name in before} == before
    (problem,) = caught.value.problems
    assert str(path) in problem
    return problem


async def test_any_page_that_is_overwritten_stops_the_start(template: Path, tmp_path: Path) -> None:
    whole = template.read_bytes()
    chance = random.Random(SEED)
    pages = range(0, len(whole), PAGE)
    assert len(pages) > 30
    for offset in pages:
        folder = tmp_path / f"page-{offset // PAGE}"
        folder.mkdir()
        (folder / "ledger.db").write_bytes(whole)
        overwrite(folder / "ledger.db", offset, chance.randbytes(PAGE))
        assert "restore a backup" in await refused(folder / "ledger.db"), offset
        shutil.rmtree(folder)


@pytest.mark.parametrize("left", [20, 100, PAGE // 2, PAGE, 5 * PAGE, -PAGE, -PAGE // 2])
async def test_a_file_that_was_cut_off_stops_the_start(path: Path, left: int) -> None:
    os.truncate(path, left if left > 0 else path.stat().st_size + left)
    assert "restore a backup" in await refused(path)


@pytest.mark.parametrize("head", [b"\0" * 100, b"SQLite format 4\0", b"\xff" * 16])
async def test_a_head_that_is_overwritten_stops_the_start(path: Path, head: bytes) -> None:
    overwrite(path, 0, head)
    assert "restore a backup" in await refused(path)


async def test_damage_under_what_a_crash_left_is_seen_and_the_log_is_kept(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    book = Book(SqliteStore(tmp_path / "first"))
    await book.open()
    for number in range(200):
        await book.accept(book.message("x" * 500, chat=f"chat-{number}"))
    with office.opened(tmp_path / "first" / "ledger.db") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    await book.accept("Only in the log")
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for name in ("ledger.db", "ledger.db-wal"):
        shutil.copy(tmp_path / "first" / name, crashed / name)
    await book.ledger.close()
    assert (crashed / "ledger.db-wal").stat().st_size > 0
    overwrite(crashed / "ledger.db", PAGE, os.urandom((crashed / "ledger.db").stat().st_size - PAGE))
    assert "restore a backup" in await refused(crashed / "ledger.db")


async def test_an_empty_file_is_a_new_ledger(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").touch()
    book = Book(SqliteStore(tmp_path))
    await book.open()
    assert (await book.accept("Hello")).state is MessageState.WAITING
    await book.ledger.close()


async def test_a_large_ledger_is_looked_through_as_far_as_there_is_time(path: Path) -> None:
    with closing(stdlib.connect(path)) as connection:
        connection.execute(
            "INSERT INTO facts (channel, name, value) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
            " WHERE i < 3000) SELECT 'web', i, hex(randomblob(1000)) FROM n"
        )
        connection.commit()
    overwrite(path, path.stat().st_size - PAGE, os.urandom(PAGE))
    with pytest.raises(LedgerDamaged):
        look(path)
    ticks = itertools.count()
    look(path, 1.0, lambda: next(ticks))
    assert next(ticks) < 10, "it ended when its time was over"


# In work


# A process of its own: closing a file here would take SQLite's locks from it (sqlite.org/howtocorrupt.html, 2.2).
OVERWRITE = """
import os, sys
with open(sys.argv[1], "r+b") as file:
    for offset in sys.argv[2:]:
        file.seek(int(offset))
        file.write(os.urandom(4096))
"""


@pytest.fixture
async def damaged(path: Path) -> AsyncIterator[Book]:
    """An open ledger, its index of messages overwritten on disk; nothing has met that yet."""
    pages = index_pages(path, "sqlite_autoindex_messages_1")
    book = Book(SqliteStore(path.parent))
    await book.open()
    subprocess.run([sys.executable, "-c", OVERWRITE, str(path), *map(str, pages)], check=True)
    yield book
    await book.ledger.close()


async def test_damage_met_in_work_is_said_once_and_nothing_more_is_taken(damaged: Book) -> None:
    assert isinstance(damaged.store, SqliteStore)
    log = damaged.store.path.with_name("ledger.db-wal")
    written = log.read_bytes()
    with structlog.testing.capture_logs() as lines:
        with pytest.raises(LedgerError):
            await damaged.accept(damaged.message(event="event-77"))
        for verb in (damaged.accept("Hello"), damaged.claim(), damaged.due(), damaged.ledger.counts()):
            with pytest.raises(LedgerDamaged, match="restore a backup"):
                await verb
    assert [line["event"] for line in lines] == ["ledger_damaged"]
    assert "restore a backup" in await damaged.ledger.check()
    assert log.read_bytes() == written, "nothing was written"


async def test_damage_met_by_a_reader_stops_the_writer(damaged: Book) -> None:
    with pytest.raises(LedgerError):
        await damaged.ledger.outcome("web", "event-77")
    with pytest.raises(LedgerDamaged):
        await damaged.accept("Hello")


async def test_a_refusal_that_is_no_damage_stops_nothing(damaged: Book) -> None:
    with pytest.raises(LedgerError, match="no such table"):
        await damaged.ledger._writing.run(lambda c: c.execute("SELECT * FROM nowhere"))  # type: ignore[attr-defined]
    assert await damaged.ledger.check() == ""


async def test_an_operators_command_says_it_too(damaged: Book) -> None:
    assert isinstance(damaged.store, SqliteStore)
    with pytest.raises(LedgerError, match="malformed"), office.opened(damaged.store.path) as connection:
        connection.execute("SELECT count(*) FROM messages WHERE channel = 'web' AND event_id > 'a'").fetchone()
