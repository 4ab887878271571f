"""What is SQLite's own in the ledger: one gateway to a file, what survives a kill and a full disk, and the indexes."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sqlite3 as stdlib
import sys
from contextlib import closing
from pathlib import Path

import pytest

from core.errors import ConfigError, LedgerError
from core.ledger import Notice, outbox
from core.ledger.sqlite import SqliteLedger
from core.ledger.writer import sqlite3
from core.types import MessageState
from tests.contract.ledgers import AT_ONCE, GENEROUS, Book, SqliteStore, key

PROCESS = Path(__file__).with_name("ledger_process.py")
# The inbox and the index of open deliveries hold what is to be done, not what is stored.
BOUNDED = (
    *("SCAN inbox USING INDEX inbox_order", "SCAN turns USING INDEX turns_running"),
    *("SCAN deliveries USING INDEX deliveries_open", "SCAN (subquery", "SCAN n"),
)
ROOT = PROCESS.parents[2]


def opened(book: Book) -> SqliteLedger:
    assert isinstance(book.ledger, SqliteLedger)
    return book.ledger


async def refused(path: Path) -> str:
    """Why the file cannot be the ledger."""
    ledger = SqliteLedger(path)
    with pytest.raises(ConfigError) as caught:
        await ledger.open(0.0, frozenset())
    await ledger.close()
    (problem,) = caught.value.problems
    assert problem.startswith("ledger.url: ")
    assert str(path) in problem
    return problem


async def start(path: Path, what: str) -> asyncio.subprocess.Process:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return await asyncio.create_subprocess_exec(
        sys.executable, str(PROCESS), str(path), what, stdout=asyncio.subprocess.PIPE, env=environment
    )


# The file


async def test_many_accepts_at_once_are_all_kept(book: Book) -> None:
    messages = [book.message(f"m{index}", chat=f"c{index % 7}") for index in range(300)]
    receipts = await asyncio.gather(*(book.accept(message) for message in messages + messages))
    assert len({receipt.message_id for receipt in receipts}) == 300
    assert sum(receipt.duplicate for receipt in receipts) == 300
    await book.reopen()
    assert (await book.ledger.counts()).waiting == 300


async def test_a_second_gateway_on_one_file_is_refused(book: Book, tmp_path: Path) -> None:
    problem = await refused(tmp_path / "ledger.db")
    assert "another Frontdesk is running" in problem
    await book.accept("The first one goes on")
    await book.ledger.close()
    second = SqliteLedger(tmp_path / "ledger.db")
    await second.open(0.0, frozenset())
    assert (await second.counts()).waiting == 1
    await second.close()


async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(b"These are my notes. " * 100)
    for _ in range(2):  # the lock was given back
        assert "name another file or restore a backup" in await refused(path)
    assert path.read_bytes() == b"These are my notes. " * 100


@pytest.mark.parametrize("table", ["users", "recipes"])
async def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path, table: str) -> None:
    path = tmp_path / "other.db"
    with closing(stdlib.connect(path)) as connection:
        connection.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY)")
    before = path.read_bytes()
    assert "belongs to another program" in await refused(path)
    assert path.read_bytes() == before


async def test_a_damaged_ledger_is_refused(tmp_path: Path) -> None:
    book = Book(SqliteStore(tmp_path))
    await book.open()
    await book.accept("Hello")
    await book.ledger.close()
    path = tmp_path / "ledger.db"
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + os.urandom(len(whole) - 4096))
    assert "name another file or restore a backup" in await refused(path)


async def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert "name a folder you may write to" in await refused(tmp_path / "file" / "ledger.db")
    (tmp_path / "folder").mkdir()
    assert "cannot be used" in await refused(tmp_path / "folder")


async def test_a_start_that_was_cut_off_is_finished_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.touch()
    book = Book(SqliteStore(tmp_path))
    await book.open()
    await book.answer()
    await book.reopen()  # migrations are not applied twice
    assert await book.send() == ["Answer"]
    await book.ledger.close()


# Durability


async def test_every_commit_is_synced(book: Book, tmp_path: Path) -> None:
    ledger = opened(book)
    for connection in (ledger._writing, ledger._reading):
        assert (await connection.run(lambda c: c.execute("PRAGMA synchronous").fetchone()))[0] == 2  # FULL
        assert (await connection.run(lambda c: c.execute("PRAGMA journal_mode").fetchone()))[0] == "wal"
    await book.accept("Hello")
    assert (tmp_path / "ledger.db-wal").stat().st_size > 0
    with pytest.raises(LedgerError):
        await ledger._reading.run(lambda c: c.execute("DELETE FROM messages"))


async def test_every_acknowledged_message_survives_kill_9(tmp_path: Path) -> None:
    process = await start(tmp_path / "ledger.db", "accept")
    assert process.stdout is not None
    lines = [await process.stdout.readline() for _ in range(200)]
    process.send_signal(signal.SIGKILL)
    lines += (await process.stdout.read()).splitlines(keepends=True)
    assert await process.wait() == -signal.SIGKILL
    acknowledged = [line.split()[1].decode() for line in lines if line.endswith(b"\n")]
    ledger = SqliteLedger(tmp_path / "ledger.db")
    await ledger.open(0.0, frozenset())
    assert len(acknowledged) >= 200
    states = [await ledger.state("web", event) for event in acknowledged]
    assert states == [MessageState.WAITING] * len(acknowledged)
    assert (await ledger.counts()).waiting <= len(acknowledged) + 4  # at most what was under way, one a lane
    await ledger.close()


async def test_a_full_disk_is_said_and_heals(tmp_path: Path) -> None:
    process = await start(tmp_path / "ledger.db", "starve")
    output = (await process.communicate())[0].decode().splitlines()
    assert process.returncode == 0
    full = next(index for index, line in enumerate(output) if line.startswith("refused"))
    assert output[:full] == [f"accepted e{index + 1}" for index in range(full)]
    assert full >= 1
    assert output[full + 1] == "refused while-full"
    assert output[full + 2].startswith("check the ledger cannot write")
    # Nothing half-written: what was refused is not there, so its redelivery is the first.
    assert output[full + 3 :] == [
        f"waiting {full}",
        f"accepted e{full + 1}",
        "accepted while-full",
        "accepted after",
        "check ",
    ]
    with closing(stdlib.connect(tmp_path / "ledger.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT count(*) FROM messages").fetchone() == (full + 3,)
        assert connection.execute("SELECT count(*) FROM audit").fetchone() == (full + 3,)


# Indexes


async def test_no_statement_of_a_turn_reads_a_whole_table(book: Book, tmp_path: Path) -> None:
    statements: list[str] = []
    ledger = opened(book)
    await ledger._writing.run(lambda c: c.set_trace_callback(statements.append))
    await ledger._reading.run(lambda c: c.set_trace_callback(statements.append))
    await book.answer(parts=["one", "two"])
    await book.accept("Hello", burst=AT_ONCE)
    turn = await book.take()
    await book.ledger.release(turn, book.clock(), counted=True)
    await book.take()
    await book.ledger.renew([turn.id], book.clock())
    await book.ledger.reclaim(book.clock() + 100)
    turn = await book.take()
    await book.accept(book.message(chat="another of the same user's"))
    assert await book.ledger.claim(book.clock(), 60.0, 20, 1, 1) == ()
    await book.ledger.doubt(1, "no answer", repeats=1)
    await book.ledger.recall(turn, 10)
    await book.ledger.previewed(turn, "shown")
    await book.accept("Next", GENEROUS)
    await book.commit(turn)
    await book.send()
    await book.ledger.waiting_parts(key(), "r")
    await book.ledger.hand_over([1], "r", book.clock())
    await book.ledger.next_due_at("web")
    await book.ledger.next_ready_at()
    await book.ledger.outcome("web", "event-1")
    await book.ledger.transcript(key(), 10)
    await book.ledger.feedback(key(), turn.id, "user", "good", book.clock())
    await book.ledger.keep("web", "account", {})
    await book.ledger.kept("web", "account")
    await book.ledger.keep("web", "account", None)
    stop = Notice("Stopped", "stopped", stop=True, fresh=True)
    await book.ledger.accept(book.message("/stop"), GENEROUS, AT_ONCE, book.clock(), stop)
    await book.ledger.withdraw(key(), book.clock())
    await book.ledger.move(key(), "another")
    await ledger._writing.run(lambda c: outbox.recover(c, frozenset(), 0))
    await book.ledger.close()
    whole = {}
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        for statement in {line for line in statements if re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE)", line)}:
            for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall():
                if row[3].startswith("SCAN") and not row[3].startswith(BOUNDED):
                    whole[row[3]] = statement
    assert len(statements) > 50
    assert whole == {}
