"""A damaged ledger is seen at the start or by the first statement that meets the damage; then nothing more is taken.

What SQLite finds out of order may be all that is, or the least of it: going on would spread it, or answer from half of
what was said. So the house says so, acknowledges nothing, and leaves the file for whoever restores a backup.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import structlog

from core.errors import LedgerDamaged
from core.ledger.writer import sqlite3

LOOK_SECONDS = 0.3  # a look at a million messages takes four, and nobody may wait for it at each start
REMEDY = "stop Frontdesk and restore a backup"
_STEPS = 100  # pages, or operations on rows, between two looks at the clock
_SIGNS = frozenset({11, 26})  # SQLITE_CORRUPT, SQLITE_NOTADB: sqlite.org/rescode.html


def is_damage(error: BaseException) -> bool:
    """Whether SQLite met something in the file that is not as it was written."""
    return isinstance(error, sqlite3.Error) and (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF in _SIGNS


def look(path: Path, seconds: float = LOOK_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
    """Look through the pages of an existing file for so long, and change nothing. Raises LedgerDamaged."""
    end = clock() + seconds
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)) as connection:
        connection.set_progress_handler(lambda: clock() > end, _STEPS)
        try:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname == "SQLITE_INTERRUPT":
                return  # as far as there was time
            raise
    if found != "ok":
        raise LedgerDamaged(f"it is damaged: {' '.join(found.split())}")


class Damage:
    """What has been seen of it, by the writer and the readers together."""

    def __init__(self) -> None:
        self._seen = ""
        self._lock = threading.Lock()

    def note(self, error: BaseException) -> None:
        """Remember it, if it is damage. Any thread may call it."""
        with self._lock:
            if not self._seen and is_damage(error):
                self._seen = str(error)
                structlog.get_logger().error("ledger_damaged", reason=self._seen, remedy=REMEDY)

    def refuse(self) -> None:
        """Raises LedgerDamaged once something was seen."""
        if self._seen:
            raise LedgerDamaged(f"the ledger is damaged ({self._seen}): {REMEDY}")
