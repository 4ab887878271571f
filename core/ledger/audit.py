"""The audit record in SQL: each row is chained to the one before it inside the transaction that it tells of.

The end of the chain is read from the table in each transaction and never remembered beyond it: an operator's command
in another process may have written since. `audit_anchor` says what the chain begins after: nothing, rows of a version
without a chain, or the last row that was forgotten.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile

import orjson

from core.audit import GENESIS, AuditEntry, Masked, Written, is_about, link, plain, write
from core.ledger.writer import Connection
from core.masking import mask

SALT_BYTES = 10
POOL = 100
_PERSONAL = frozenset({"conversation", "user", "event", "text_sha256"})  # of a row older than the chain

Record = Callable[[Connection, AuditEntry, float], None]


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it is stored; `hash` is None in one that is older than the chain."""

    id: int
    at: float
    action: str
    subject: str
    detail: str
    personal: str | None
    hash: bytes | None


def new_salt() -> str:
    return os.urandom(SALT_BYTES).hex()


def _salts() -> Iterator[str]:
    """Salts without end, asked of the system many at a time: one by one they cost as much as the row."""
    while True:
        pool, size = os.urandom(POOL * SALT_BYTES).hex(), 2 * SALT_BYTES
        yield from (pool[start : start + size] for start in range(0, len(pool), size))


def end(connection: Connection) -> tuple[int, bytes]:
    """The number of the newest row, and the hash that the next one follows."""
    newest = connection.execute("SELECT id, hash FROM audit WHERE id = (SELECT max(id) FROM audit)").fetchone()
    if newest and newest[1] is not None:
        return newest[0], newest[1]
    before, previous = connection.execute("SELECT id, hash FROM audit_anchor WHERE one = 1").fetchone() or (0, GENESIS)
    return max(before, newest[0] if newest else 0), previous


def write_audit(connection: Connection, entry: AuditEntry, now: float) -> None:
    """Append a row, inside the caller's transaction."""
    _append(connection, end(connection), write(entry, new_salt(), plain), now)


class Recorder:
    """Appends rows on a connection whose transactions are many pieces of work: the end of the chain is read once in
    each, and `anew` says that one has begun, or that a piece of work was undone."""

    def __init__(self, masked: Masked) -> None:
        self._masked = masked
        self._salts = _salts()
        self._end: tuple[int, bytes] | None = None

    def anew(self) -> None:
        self._end = None

    def __call__(self, connection: Connection, entry: AuditEntry, now: float) -> None:
        written = write(entry, next(self._salts), self._masked)
        self._end = _append(connection, self._end or end(connection), written, now)


def _append(connection: Connection, after: tuple[int, bytes], written: Written, now: float) -> tuple[int, bytes]:
    row, at = after[0] + 1, float(now)
    hash = link(after[1], row, at, written)
    connection.execute(
        "INSERT INTO audit (id, at, action, subject, detail, personal, hash) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (row, at, *written, hash),
    )
    return row, hash


def operator() -> str:
    """Whom the operating system runs this process for."""
    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:  # a container's user without a name
        return f"uid {number}"


def write_operated(connection: Connection, action: str, subject: str, detail: Mapping[str, object], now: float) -> None:
    """Append what an operator does, and who it is, inside the caller's transaction."""
    write_audit(connection, AuditEntry(action, subject, {"who": operator(), **detail}), now)


def operated(connection: Connection, action: str, subject: str, detail: Mapping[str, object], now: float) -> None:
    """The same in a transaction of its own."""
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        write_operated(connection, action, subject, detail, now)


def forget_rows(connection: Connection, before: float, now: float, limit: int, record: Record = write_audit) -> int:
    """Delete up to `limit` of the oldest rows, as far as all of them are older; how many. The chain then begins after
    the last of them, and a row says so."""
    oldest = connection.execute("SELECT id, at, action, hash FROM audit ORDER BY id LIMIT ?", (limit,)).fetchall()
    old = list(takewhile(lambda row: row[1] < before, oldest))
    # Each look would else forget the row of the one before, and write one that says so, for ever.
    if not old or (len(old) < limit and all(action == "forget" for _, _, action, _ in old)):
        return 0
    last, _, _, last_hash = old[-1]
    detail = {"rows": len(old), "up_to": last, "hash": last_hash.hex() if last_hash else ""}
    record(connection, AuditEntry("forget", "audit", detail), now)
    connection.execute("DELETE FROM audit WHERE id <= ?", (last,))
    if last_hash:
        connection.execute("UPDATE audit_anchor SET id = ?, hash = ?", (last, last_hash))
    return len(old)


def erase_personal(
    connection: Connection, channel: str, user_id: str, subjects: Iterable[str]
) -> tuple[list[list[int]], int]:
    """Erase the personal parts of the rows about these subjects, and of whatever else shows that user of the channel,
    such as rows whose messages were forgotten. Returns the rows as [first, last] pairs, and how many were messages.
    One walk through the record, which has no index to be kept for this."""
    about = set(subjects)
    listed = orjson.dumps(sorted(about)).decode()
    found = connection.execute(
        "SELECT id, action, subject, detail, personal FROM audit WHERE personal IS NOT NULL AND"
        " (subject IN (SELECT value FROM json_each(?)) OR instr(personal, ?) OR instr(personal, ?)) ORDER BY id",
        (listed, *(orjson.dumps(name).decode()[1:-1] for name in (user_id, mask(user_id)))),
    ).fetchall()
    rows = [
        (row, action)
        for row, action, subject, detail, personal in found
        if subject in about
        or (json_object(detail).get("channel") == channel and is_about(json_object(personal), user_id, mask))
    ]
    connection.executemany("UPDATE audit SET personal = NULL WHERE id = ?", [(row,) for row, _ in rows])
    _erase_unchained(connection, listed)
    return ranges(row for row, _ in rows), sum(action == "message" for _, action in rows)


def _erase_unchained(connection: Connection, listed: str) -> None:
    """Rows older than the chain have their personal part in the detail."""
    found = connection.execute(
        "SELECT id, detail FROM audit WHERE hash IS NULL AND subject IN (SELECT value FROM json_each(?))", (listed,)
    ).fetchall()
    for row, detail in found:
        kept = {name: value for name, value in json_object(detail).items() if name not in _PERSONAL}
        connection.execute("UPDATE audit SET detail = ? WHERE id = ?", (orjson.dumps(kept).decode(), row))


def ranges(rows: Iterable[int]) -> list[list[int]]:
    """Ascending numbers as [first, last] pairs."""
    pairs: list[list[int]] = []
    for row in rows:
        if pairs and row == pairs[-1][1] + 1:
            pairs[-1][1] = row
        else:
            pairs.append([row, row])
    return pairs


def rows(connection: Connection, since: float | None = None, before: float | None = None) -> Iterator[Row]:
    """The rows, or those of that time, oldest first, read as they are taken."""
    columns = "SELECT id, at, action, subject, detail, personal, hash FROM audit"
    if since is None and before is None:
        found = connection.execute(f"{columns} ORDER BY id")
    else:
        span = (float("-inf") if since is None else since, float("inf") if before is None else before)
        found = connection.execute(f"{columns} WHERE at >= ? AND at < ? ORDER BY id", span)
    return (Row(*row) for row in found)


@contextmanager
def snapshot(connection: Connection) -> Iterator[None]:
    """One moment of the ledger, whatever is written meanwhile; a text that is not UTF-8 any more is read all the same,
    with what is wrong as surrogates."""
    connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.text_factory = str
        if connection.in_transaction:  # an error of the disk ends it by itself
            connection.execute("ROLLBACK")


def readable(text: object) -> str:
    """As a text that can be written as UTF-8: file names and what `snapshot` reads need not be."""
    return str(text).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def json_object(text: str) -> dict[str, object]:
    """The object that a part of a row is; an empty one if somebody made something else of it."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}
