"""What the ledger's writer promises: many to a commit, nobody told before it, and nobody hurt by another's failure."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path

import pytest

from core.errors import LedgerError
from core.ledger.writer import Connection, Writer, sqlite3


class Table:
    """A writer on a small database of its own, and the statements that its connection ran."""

    def __init__(self, path: Path, *pragmas: str) -> None:
        self.path = path
        self.statements: list[str] = []
        self._pragmas = pragmas

    def connect(self) -> Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        connection.execute("CREATE TABLE IF NOT EXISTS words (word TEXT NOT NULL UNIQUE)")
        for pragma in self._pragmas:
            connection.execute(f"PRAGMA {pragma}")
        connection.set_trace_callback(self.statements.append)
        return connection

    def words(self) -> set[str]:
        with closing(sqlite3.connect(self.path)) as connection:
            return {row[0] for row in connection.execute("SELECT word FROM words")}


def add(word: str | None) -> Callable[[Connection], str | None]:
    def work(connection: Connection) -> str | None:
        connection.execute("INSERT INTO words VALUES (?)", ("before " + str(word),))
        connection.execute("INSERT INTO words VALUES (?)", (word,))
        return word

    return work


async def test_what_comes_together_shares_commits(tmp_path: Path) -> None:
    table = Table(tmp_path / "words.db")
    writer = Writer(table.connect)
    words = [f"w{index}" for index in range(600)]
    results = await asyncio.gather(*(writer.run(add(word)) for word in words))
    await writer.close()
    assert results == words
    assert table.words() == {*words, *(f"before {word}" for word in words)}
    assert 1 <= table.statements.count("COMMIT") <= 60


async def test_work_that_fails_takes_no_other_with_it(tmp_path: Path) -> None:
    table = Table(tmp_path / "words.db")
    writer = Writer(table.connect)

    def stumble(connection: Connection) -> None:
        connection.execute("INSERT INTO words VALUES ('half')")
        raise LookupError("on the way")

    works: list[Coroutine[object, object, str | None]] = [
        writer.run(add("a")),
        writer.run(add(None)),
        writer.run(stumble),
        writer.run(add("b")),
    ]
    results: list[object] = list(await asyncio.gather(*works, return_exceptions=True))
    a, none, stumbled, b = results
    await writer.close()
    assert (a, b) == ("a", "b")
    assert isinstance(none, LedgerError)
    assert isinstance(stumbled, LookupError)
    assert table.words() == {"a", "before a", "b", "before b"}


async def test_a_waiter_that_goes_away_stops_nobody(tmp_path: Path) -> None:
    table = Table(tmp_path / "words.db")
    writer = Writer(table.connect)
    tasks = [asyncio.create_task(writer.run(add(word))) for word in ("a", "b", "c")]
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert await writer.run(add("d")) == "d"
    await writer.close()
    assert table.words() >= {"a", "b", "c", "d"}


async def test_a_closed_writer_finishes_what_it_had_and_refuses_the_rest(tmp_path: Path) -> None:
    table = Table(tmp_path / "words.db")
    writer = Writer(table.connect)
    task = asyncio.create_task(writer.run(add("a")))
    await asyncio.sleep(0)
    await writer.close()
    assert await task == "a"
    with pytest.raises(LedgerError):
        await writer.run(add("b"))
    await writer.close()


async def test_a_writer_that_cannot_connect_says_so_where_it_is_made(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.Error):
        Writer(Table(tmp_path / "no-such-folder" / "words.db").connect)


async def test_a_database_that_may_not_grow_refuses_the_whole_commit(tmp_path: Path) -> None:
    table = Table(tmp_path / "words.db", "page_size = 4096", "max_page_count = 8")
    writer = Writer(table.connect)
    works = [writer.run(add(f"{index}" + "x" * 3000)) for index in range(20)]
    results = await asyncio.gather(*works, return_exceptions=True)
    assert any(isinstance(result, LedgerError) for result in results)
    told = {result for result in results if isinstance(result, str)}
    assert table.words() == told | {f"before {word}" for word in told}
    await writer.run(lambda c: c.execute("PRAGMA max_page_count = 1000"))
    assert await writer.run(add("room again")) == "room again"
    await writer.close()
