"""What happens to a ledger beside its gateway, in a process of its own: `python ledger_beside.py FILE WHAT [USER]`.

`read` reads a word from everything, holds that state open until it is told to go on, and reads the rest. The others do
what an operator's command does, again and again until they are told to stop (`erase` once), and print a line for each.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from select import select

from core.ledger import erasure, office
from core.ledger.writer import sqlite3

TABLES = ("messages", "turns", "history", "deliveries", "audit")


def told() -> bool:
    """Whether a line has come, or the end of all."""
    return bool(select([sys.stdin], [], [], 0)[0])


def again() -> Iterator[int]:
    for number in count(1):
        if told():
            return
        yield number
        print("done", number, flush=True)


def read(path: Path) -> None:
    """A long export."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        rows = connection.execute("SELECT * FROM messages ORDER BY id")
        rows.fetchone()
        (messages,) = connection.execute("SELECT count(*) FROM messages").fetchone()
        print("open", messages, flush=True)
        sys.stdin.readline()
        found = 1 + len(rows.fetchall())
        for table in TABLES:
            connection.execute(f"SELECT * FROM {table}").fetchall()
        assert found == messages, "of one moment"
        print("read", found, flush=True)


def main(path: Path, what: str, user: str) -> None:
    if what == "read":
        read(path)
    elif what == "erase":
        with office.opened(path) as connection:
            print("erased", erasure.erase(connection, "web", user, time.time()), flush=True)
    elif what == "backup":
        for number in again():
            target = path.with_name(f"copy-{number}.db")
            with office.opened(path) as connection:
                office.backup(connection, target)
            target.unlink()
    else:
        for _ in again():
            with office.opened(path) as connection:
                if what == "report":
                    assert office.report(connection).messages
                else:
                    office.retry(connection, [*office.failed(connection), "m1", "d1"], time.time())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], "".join(sys.argv[3:]))
