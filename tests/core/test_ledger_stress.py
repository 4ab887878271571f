"""A ledger that others read, copy and change while messages come in: nobody is locked out, no file grows for good."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from core.errors import LedgerError
from core.ledger import office, wal
from core.ledger.sqlite import WAL_BYTES
from core.types import MessageState
from tests.contract.ledgers import Book, SqliteStore

BESIDE = Path(__file__).with_name("ledger_beside.py")
ROOT = BESIDE.parents[2]
PATIENCE = 60.0
LANES = 8  # messages on their way at the same time
pytestmark = pytest.mark.process


@pytest.fixture
async def book(book: Book) -> Book:
    for number in range(200):
        await book.accept(book.message(f"before {number}", user=f"user-{number % 20}", chat=f"chat-{number % 20}"))
    return book


class Beside:
    """One such process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self) -> str:
        assert self.process.stdout is not None
        return (await asyncio.wait_for(self.process.stdout.readline(), PATIENCE)).decode().strip()

    async def done(self, times: int) -> None:
        """Wait until it has done its work that often."""
        for number in range(1, times + 1):
            assert await self.line() == f"done {number}"

    async def go_on(self) -> str:
        """Tell it to; all that it still prints. It has to end well."""
        printed, _ = await asyncio.wait_for(self.process.communicate(b"\n"), PATIENCE)
        assert self.process.returncode == 0, printed
        return printed.decode()


@asynccontextmanager
async def beside(book: Book, *words: str) -> AsyncIterator[Beside]:
    assert isinstance(book.store, SqliteStore)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(BESIDE), str(book.store.path), *words),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    try:
        yield Beside(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


class Crowd:
    """People who write all the time; `count` of their messages are on disk. A refused one ends it all."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._ended = False
        self._changed = asyncio.Event()
        self._lanes: list[asyncio.Task[None]] = []
        self.count = 0

    async def __aenter__(self) -> Crowd:
        self._lanes = [asyncio.create_task(self._lane(lane)) for lane in range(LANES)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ended = True
        await asyncio.wait_for(asyncio.gather(*self._lanes), PATIENCE)

    async def more(self, messages: int) -> None:
        """Wait until so many more are taken."""
        goal = self.count + messages
        async with asyncio.timeout(PATIENCE):
            while self.count < goal:
                self._changed.clear()
                for lane in self._lanes:
                    if lane.done():
                        await lane
                await self._changed.wait()

    async def _lane(self, lane: int) -> None:
        try:
            number = 0
            while not self._ended:
                number += 1
                name = f"{lane}-{number}"
                receipt = await self._book.accept(self._book.message("Hello", user=name, chat=name))
                assert receipt.state is MessageState.WAITING
                self.count += 1
                self._changed.set()
        finally:
            self._changed.set()


@pytest.mark.parametrize("what", ["backup", "report", "retry"])
async def test_messages_are_taken_beside_a_command_and_a_long_export(book: Book, what: str) -> None:
    async with Crowd(book) as crowd, beside(book, "read") as export, beside(book, what) as command:
        assert (await export.line()).startswith("open ")
        await command.done(3)
        await crowd.more(100)
        await command.go_on()
        assert (await export.go_on()).startswith("read ")
    assert (await book.ledger.counts()).waiting >= 100


async def test_messages_are_taken_beside_all_of_them_at_once(book: Book) -> None:
    async with (
        Crowd(book) as crowd,
        beside(book, "backup") as backup,
        beside(book, "report") as report,
        beside(book, "retry") as retry,
        beside(book, "retry") as another,
    ):
        for command in (backup, report, retry, another):
            await command.done(3)
        await crowd.more(100)
        for command in (backup, report, retry, another):
            await command.go_on()
        for number in range(3):
            async with beside(book, "erase", f"user-{number}") as erase:
                assert (await erase.line()) == "erased 10"


async def test_erasing_waits_for_a_long_export_and_nobody_waits_with_it(book: Book) -> None:
    """What is erased has to leave the -wal, too, which the export still needs."""
    assert isinstance(book.store, SqliteStore)
    log = book.store.path.with_name("ledger.db-wal")
    async with Crowd(book) as crowd, beside(book, "read") as export:
        assert (await export.line()).startswith("open ")
        await book.accept(book.message("my secret word", user="person", chat="person", event="erased"))
        async with beside(book, "erase", "person") as erase:
            async with asyncio.timeout(PATIENCE):
                while await book.ledger.state("web", "erased") is not None:
                    await asyncio.sleep(0.01)
            await crowd.more(100)
            assert b"my secret word" in log.read_bytes()
            await export.go_on()
            assert await erase.line() == "erased 1"
    files = [book.store.path, log]
    assert not [file for file in files if b"my secret word" in file.read_bytes()]


async def test_erasing_says_when_an_export_outlasts_it(book: Book) -> None:
    assert isinstance(book.store, SqliteStore)
    pauses: list[float] = []
    async with beside(book, "read") as export:
        assert (await export.line()).startswith("open ")
        await book.accept("One more, or there is nothing to wait for")
        with office.opened(book.store.path) as connection:
            assert not wal.empty(connection, pauses.append, tries=3)
            assert len(pauses) == 2
        await export.go_on()
    with office.opened(book.store.path) as connection:
        assert wal.empty(connection, pauses.append, tries=1)
    assert book.store.path.with_name("ledger.db-wal").stat().st_size == 0


async def test_what_the_log_grew_to_behind_an_export_is_given_back(book: Book) -> None:
    assert isinstance(book.store, SqliteStore)
    log = book.store.path.with_name("ledger.db-wal")
    for _ in range(2):
        async with beside(book, "read") as export:
            assert (await export.line()).startswith("open ")
            while log.stat().st_size <= WAL_BYTES:
                async with asyncio.TaskGroup() as group:
                    for _ in range(50):
                        group.create_task(book.accept(book.message("x" * 30_000, chat="long", user="long")))
            await export.go_on()
        for _ in range(3):  # the first brings all of it home, and the next begins the log anew
            await book.accept("And now?")
        assert log.stat().st_size <= WAL_BYTES


async def test_a_lock_that_lasts_is_said_and_heals(book: Book) -> None:
    """Somebody else's long transaction: the message is not acknowledged, and the next one is taken."""
    assert isinstance(book.store, SqliteStore)
    with office.opened(book.store.path) as connection:
        await book.ledger._writing.run(lambda c: c.execute("PRAGMA busy_timeout=50"))  # type: ignore[attr-defined]
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match="locked"):
            await book.accept(book.message(event="refused"))
        assert "locked" in await book.ledger.check()
        connection.execute("ROLLBACK")
    assert await book.ledger.check() == ""
    assert not (await book.accept(book.message(event="refused"))).duplicate
