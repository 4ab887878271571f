"""Empties the write-ahead log, where older pages still hold what was erased, and makes the gateway wait for no reader.

SQLite does it only while nobody reads an older state, and waits for that with the writing lock in its hand. So it is
tried for a moment at a time, and what writes comes in between.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from core.ledger.writer import Connection

TRY_MILLISECONDS = 250
PAUSE_SECONDS = 0.25
TRIES = 20


def empty(connection: Connection, pause: Callable[[float], None] = time.sleep, tries: int = TRIES) -> bool:
    """Whether the log is empty now; False if somebody read the ledger all the while (a backup, an export)."""
    (patience,) = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute(f"PRAGMA busy_timeout={TRY_MILLISECONDS}")
    try:
        for left in range(tries, 0, -1):
            (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if not busy:
                return True
            if left > 1:
                pause(PAUSE_SECONDS)
        return False
    finally:
        connection.execute(f"PRAGMA busy_timeout={patience}")
