"""What an operator does to a ledger from another process, whether a gateway runs on it or not.

SQLite's WAL lets them read beside the gateway's writer; what changes something is one short transaction, and then the
running gateway is told to look again.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.errors import LedgerError
from core.ledger.audit import write_operated
from core.ledger.inbox import ADD_TO_INBOX
from core.ledger.writer import Connection, sqlite3

LOOK_AGAIN = signal.SIGUSR1
BUSY_SECONDS = 10.0
LISTED = 50  # of each kind


@dataclass(frozen=True, slots=True)
class Stuck:
    """Something that ended badly in that conversation. `id` is what `retry` takes: "m" and a message's number, "d" and
    a delivery's."""

    id: str
    channel: str
    state: str  # set_aside, failed or unclear
    reason: str
    at: float
    conversation: int


@dataclass(frozen=True, slots=True)
class Report:
    """The state of the ledger."""

    messages: Mapping[str, int]  # state -> how many
    oldest_waiting_at: float | None
    deliveries: Mapping[str, int]
    reasons: Sequence[tuple[str, str, str, int]]  # channel, state, reason, how many: deliveries that ended badly
    stuck: Sequence[Stuck]  # the newest LISTED of each kind


@contextmanager
def opened(path: Path) -> Iterator[Connection]:
    """A connection of one's own to an existing ledger. Raises LedgerError."""
    if not path.exists():
        raise LedgerError(f"{path}: there is no ledger; it is made by the first start")
    try:
        with closing(sqlite3.connect(path, isolation_level=None, timeout=BUSY_SECONDS)) as connection:
            connection.execute("PRAGMA secure_delete=ON")
            connection.execute("SELECT hash FROM audit LIMIT 0")
            yield connection
    except sqlite3.Error as error:
        raise LedgerError(f"{path}: {error}; if it is of an earlier version, start Frontdesk once") from error


def report(connection: Connection) -> Report:
    """Count and list. Reads whole tables: for a person who asks, not for a timer."""
    messages = dict(connection.execute("SELECT state, count(*) FROM messages GROUP BY state").fetchall())
    (oldest,) = connection.execute("SELECT min(accepted_at) FROM messages WHERE state = 'waiting'").fetchone()
    deliveries = dict(connection.execute("SELECT state, count(*) FROM deliveries GROUP BY state").fetchall())
    reasons = connection.execute(
        "SELECT channel, state, reason, count(*) FROM deliveries WHERE state IN ('failed', 'unclear')"
        " GROUP BY channel, state, reason ORDER BY count(*) DESC LIMIT ?",
        (LISTED,),
    ).fetchall()
    return Report(messages, oldest, deliveries, reasons, stuck(connection))


def stuck(connection: Connection) -> list[Stuck]:
    """What ended badly, the newest LISTED of each kind."""
    aside = connection.execute(
        "SELECT 'm' || m.id, m.channel, m.state, t.reason, m.accepted_at, m.conversation_id FROM messages m"
        " JOIN turns t ON t.id = m.turn_id WHERE m.state = 'set_aside' ORDER BY m.id DESC LIMIT ?",
        (LISTED,),
    ).fetchall()
    refused = connection.execute(
        "SELECT 'd' || d.id, d.channel, d.state, d.reason, d.due_at, d.conversation_id FROM deliveries d"
        " WHERE d.state IN ('failed', 'unclear') ORDER BY d.id DESC LIMIT ?",
        (LISTED,),
    ).fetchall()
    return [Stuck(*row) for row in (*aside, *refused)]


def retry(connection: Connection, names: Sequence[str], now: float) -> list[str]:
    """Set-aside messages ("m12") wait again, failed and unclear deliveries ("d34") are due again; returns those that
    were. Both keep their place behind what waits already."""
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        done = retry_each(connection, names, now)
        if done:
            write_operated(connection, "retry", "ledger", {"names": done}, now)
        return done


def retry_each(connection: Connection, names: Sequence[str], now: float) -> list[str]:
    """The same inside the caller's transaction, and without a word in the audit record."""
    return [name for name in names if _retry(connection, name, now)]


def failed(connection: Connection) -> list[str]:
    """What `retry --failed` means: all that is set aside, and all that a platform refused."""
    rows = connection.execute("SELECT 'm' || id FROM messages WHERE state = 'set_aside' ORDER BY id").fetchall()
    rows += connection.execute(
        "SELECT 'd' || id FROM deliveries WHERE state = 'failed' AND reason <> 'the user left' ORDER BY id"
    ).fetchall()
    return [name for (name,) in rows]


def backup(connection: Connection, target: Path) -> None:
    """A consistent copy as of now. The gateway goes on writing meanwhile. Raises LedgerError."""
    if target.exists():
        raise LedgerError(f"{target} exists; name a file that does not")
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))  # ours alone, as the ledger is
    with closing(sqlite3.connect(target)) as copy:
        # All pages in one step: in several, each write of the gateway's would begin it anew.
        connection.backup(copy, pages=-1)
        (found,) = copy.execute("PRAGMA integrity_check").fetchone()
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, without a -wal beside it
    if found != "ok":
        raise LedgerError(f"the copy is not sound: {found}")


def tell_gateway(ledger: Path) -> bool:
    """Have the gateway that runs on this ledger look again; False when none does."""
    try:
        pid = int(ledger.with_name(ledger.name + ".lock").read_text() or "0")
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return False
    if b"main.py" not in command:  # its number is another's by now
        return False
    os.kill(pid, LOOK_AGAIN)
    return True


def _retry(connection: Connection, name: str, now: float) -> bool:
    kind, number = name[:1], name[1:]
    if kind not in {"m", "d"} or not number.isdecimal():
        return False
    if kind == "d":
        return bool(
            connection.execute(
                "UPDATE deliveries SET state = 'pending', due_at = ?, attempts = 0 WHERE id = ?"
                " AND state IN ('failed', 'unclear')",
                (now, int(number)),
            ).rowcount
        )
    row = connection.execute(
        "UPDATE messages SET state = 'waiting', turn_id = NULL, accepted_at = ?, sent_at = 0"
        " WHERE id = ? AND state = 'set_aside' RETURNING conversation_id, user",
        (now, int(number)),
    ).fetchone()
    if row is None:
        return False
    conversation_id, user = row
    (running,) = connection.execute("SELECT running FROM conversations WHERE id = ?", (conversation_id,)).fetchone()
    if running is None:  # else the turn that runs queues it when it ends
        values = (conversation_id, user, int(number), None, now, now)
        connection.execute(ADD_TO_INBOX, (*values, now, 0.0))
    return True
