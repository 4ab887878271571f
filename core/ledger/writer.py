"""One thread owns the one connection that writes; what arrives while it commits shares the next commit (group commit).

Each piece of work runs in a savepoint of its own, so that one that fails takes no other with it, and is answered only
after the commit that holds it is on disk (WAL, synchronous=FULL).
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from core.errors import LedgerError
from core.killing import Passing, pass_by

try:  # The stdlib's SQLite may lie in the range of the WAL-reset bug (3.7.0 to 3.51.2); pysqlite3 carries a newer one.
    from pysqlite3 import dbapi2 as sqlite3
except (
    ImportError
):  # no wheel for this platform; one connection doing all writes and checkpoints keeps clear of that bug
    import sqlite3

__all__ = ["Connection", "Reader", "Writer", "sqlite3"]

T = TypeVar("T")
Connection = Any  # sqlite3.Connection of either module
Note = Callable[[BaseException], None]  # told what went wrong, as it happens, from any thread
BATCH = 512


def pass_over(_: BaseException) -> None:
    """Nobody wants to know."""


class _Work(Generic[T]):
    """A piece of work and whoever waits for it."""

    __slots__ = ("error", "function", "future", "result")

    def __init__(self, function: Callable[[Connection], T], future: asyncio.Future[T]) -> None:
        self.function = function
        self.future = future
        self.result: T | None = None
        self.error: BaseException | None = None


class Writer:
    """Runs functions on the writing connection, in order, many to a commit. `anew` is called when a transaction has
    begun and when what a function did was undone: what was read before may not hold any more."""

    def __init__(
        self,
        connect: Callable[[], Connection],
        passing: Passing = pass_by,
        anew: Callable[[], None] = lambda: None,
        note: Note = pass_over,
    ) -> None:
        self._note = note
        self._passing = passing
        self._anew = anew
        self._connection = connect()  # here, where a failure reaches the caller
        self._queue: queue.SimpleQueue[_Work[Any] | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()

    async def run(self, function: Callable[[Connection], T]) -> T:
        """The function's result, once it is on disk. Raises LedgerError when the store refused."""
        if self._closed:
            raise LedgerError("the ledger is closed")
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(_Work(function, future))
        return await future

    async def close(self) -> None:
        """Finish what is queued, then end the thread."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        connection = self._connection
        ending = False
        while not ending:
            batch: list[_Work[Any]] = []
            item = self._queue.get()
            while True:
                if item is None:
                    ending = True
                    break
                batch.append(item)
                if len(batch) == BATCH:
                    break
                try:
                    item = self._queue.get_nowait()
                except queue.Empty:
                    break
            if batch:
                self._commit(connection, batch)
                self._loop.call_soon_threadsafe(_answer, batch)
        connection.close()

    def _commit(self, connection: Connection, batch: list[_Work[Any]]) -> None:
        try:
            connection.execute("BEGIN IMMEDIATE")
            self._anew()
            for work in batch:
                self._try(connection, work)
            self._passing("syncing")
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._note(error)
            # Nothing of this batch is on disk, so nobody may be told that it is.
            refusal = LedgerError(f"the ledger cannot write: {error}")
            for work in batch:
                work.error = refusal
            self._roll_back(connection)

    def _roll_back(self, connection: Connection) -> None:
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            # What comes next is refused as well, until SQLite lets go: it is said, and nobody waits for ever.
            self._note(error)

    def _try(self, connection: Connection, work: _Work[Any]) -> None:
        connection.execute("SAVEPOINT work")
        try:
            work.result = work.function(connection)
        except BaseException as error:  # handed to whoever waits for this piece of work
            self._note(error)
            work.error = LedgerError(f"the ledger refused: {error}") if isinstance(error, sqlite3.Error) else error
            if not connection.in_transaction:  # SQLite itself rolled all of it back (disk full, I/O error)
                raise sqlite3.OperationalError(str(error)) from error
            connection.execute("ROLLBACK TO work")
            self._anew()
        connection.execute("RELEASE work")


def _answer(batch: list[_Work[Any]]) -> None:
    for work in batch:
        if work.future.done():
            continue
        if work.error is not None:
            work.future.set_exception(work.error)
        else:
            work.future.set_result(work.result)


class Reader:
    """Runs functions on a connection that cannot write, in a thread of its own; all that one reads is of one moment."""

    def __init__(self, connect: Callable[[], Connection], note: Note = pass_over) -> None:
        self._note = note
        self._connect = connect
        self._connection: Connection | None = None
        self._closed = False
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="ledger-reader")

    async def run(self, function: Callable[[Connection], T]) -> T:
        """The function's result. Raises LedgerError."""
        if self._closed:
            raise LedgerError("the ledger is closed")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._call, function)
        except sqlite3.Error as error:
            self._note(error)
            raise LedgerError(f"the ledger cannot be read: {error}") from error

    async def close(self) -> None:
        """End the thread."""
        if not self._closed:
            self._closed = True
            await asyncio.get_running_loop().run_in_executor(self._pool, self._close)
            await asyncio.to_thread(self._pool.shutdown)

    def _call(self, function: Callable[[Connection], T]) -> T:
        if self._connection is None:
            self._connection = self._connect()
        self._connection.execute("BEGIN")
        try:
            return function(self._connection)
        finally:
            if self._connection.in_transaction:  # an error of the disk ends it by itself
                self._connection.execute("ROLLBACK")

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
