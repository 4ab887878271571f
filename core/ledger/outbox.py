"""The outbox in SQL: what is due, what was sent, what failed, what a platform's own request pulls.

Parts of one conversation leave in the order in which they were committed; one that is postponed holds back those
after it.
"""

from __future__ import annotations

from collections.abc import Iterable

from core.ledger.turns import json_object
from core.ledger.writer import Connection
from core.types import ConversationKey, Delivery, ReplyKind

COLUMNS = """d.id, d.turn_id, c.channel, c.bot, c.chat_id, c.thread_id, d.address, d.text, d.kind, d.part, d.parts,
d.reference, d.attempts, d.doubts, t.cut AND t.reason <> 'stopped' FROM deliveries d
JOIN conversations c ON c.id = d.conversation_id JOIN turns t ON t.id = d.turn_id"""
OF_CONVERSATION = "c.channel = ? AND c.chat_id = ? AND c.thread_id = ? AND c.bot = ?"
# Said in the words of the partial index: SQLite does not see that state = 'pending' lies within it.
OPEN = "state IN ('pending', 'sending')"


def _delivery(row: tuple[int, int, str, str, str, str, str, str, str, int, int, str, int, int, int]) -> Delivery:
    return Delivery(
        id=row[0],
        turn_id=row[1],
        conversation=ConversationKey(row[2], row[3], row[4], row[5]),
        address=json_object(row[6]),
        text=row[7],
        kind=ReplyKind(row[8]),
        part=row[9],
        parts=row[10],
        reference=row[11],
        attempts=row[12],
        doubts=row[13],
        cut=bool(row[14]),
    )


def due(connection: Connection, channel: str, now: float, limit: int) -> tuple[Delivery, ...]:
    rows = connection.execute(
        f"SELECT {COLUMNS} WHERE d.channel = ? AND d.state = 'pending' AND d.due_at <= ? AND NOT EXISTS ("  # noqa: S608 - constants
        " SELECT 1 FROM deliveries e WHERE e.conversation_id = d.conversation_id"
        " AND e.state IN ('pending', 'sending') AND e.id < d.id) ORDER BY d.due_at, d.id LIMIT ?",
        (channel, now, limit),
    ).fetchall()
    connection.executemany(
        "UPDATE deliveries SET state = 'sending', begun = 0, attempts = attempts + 1 WHERE id = ?",
        [(row[0],) for row in rows],
    )
    return tuple(_delivery(row) for row in rows)


def begin(connection: Connection, delivery: int) -> None:
    """After a crash, a send that may have happened is never taken for one that did not."""
    connection.execute("UPDATE deliveries SET begun = 1 WHERE id = ?", (delivery,))


def next_due_at(connection: Connection, channel: str) -> float | None:
    row = connection.execute(
        "SELECT min(d.due_at) FROM deliveries d WHERE d.channel = ? AND d.state = 'pending' AND NOT EXISTS ("
        " SELECT 1 FROM deliveries e WHERE e.conversation_id = d.conversation_id"
        " AND e.state IN ('pending', 'sending') AND e.id < d.id)",
        (channel,),
    ).fetchone()
    due_at: float | None = row[0]
    return due_at


def sent(connection: Connection, delivery: int, reference: str, now: float) -> bool:
    (conversation_id,) = connection.execute(
        "UPDATE deliveries SET state = 'sent', reference = ?, sent_at = ? WHERE id = ? RETURNING conversation_id",
        (reference, now, delivery),
    ).fetchone()
    more = connection.execute(
        "SELECT 1 FROM deliveries WHERE conversation_id = ? AND state IN ('pending', 'sending') LIMIT 1",
        (conversation_id,),
    ).fetchone()
    return more is not None


def postpone(connection: Connection, delivery: int, due_at: float, reason: str) -> None:
    connection.execute(
        "UPDATE deliveries SET state = 'pending', due_at = ?, reason = ? WHERE id = ?", (due_at, reason, delivery)
    )


def fail(connection: Connection, delivery: int, reason: str) -> None:
    connection.execute("UPDATE deliveries SET state = 'failed', reason = ? WHERE id = ?", (reason, delivery))


def doubt(connection: Connection, delivery: int, reason: str, repeats: int, again_at: float) -> bool:
    (state,) = connection.execute(
        "UPDATE deliveries SET state = CASE WHEN doubts < ? THEN 'pending' ELSE 'unclear' END, doubts = doubts + 1,"
        " due_at = max(due_at, ?), reason = ? WHERE id = ? RETURNING state",
        (repeats, again_at, reason, delivery),
    ).fetchone()
    return bool(state == "pending")


def recover(connection: Connection, repeatable: frozenset[str], repeats: int) -> None:
    """After a crash: sends that were under way go again where nothing was sent yet or a repeat cannot show twice (an
    edit of the preview never begins, and some channels look first), and are in doubt elsewhere."""
    rows = connection.execute(
        f"SELECT id, channel, begun FROM deliveries WHERE {OPEN} AND state = 'sending'"  # noqa: S608 - a constant
    ).fetchall()
    for delivery, channel, begun in rows:
        if channel in repeatable or not begun:
            connection.execute(
                "UPDATE deliveries SET state = 'pending', doubts = doubts + ? WHERE id = ?", (begun, delivery)
            )
        else:
            doubt(connection, delivery, "the gateway died while it was being sent", repeats, 0.0)


def waiting_parts(connection: Connection, key: ConversationKey, taken_by: str) -> tuple[Delivery, ...]:
    of = (key.channel, key.chat_id, key.thread_id, key.bot)
    rows = connection.execute(
        f"SELECT {COLUMNS} WHERE {OF_CONVERSATION} AND d.taken_by = ? ORDER BY d.id", (*of, taken_by)
    ).fetchall()
    if not rows:
        rows = connection.execute(
            f"SELECT {COLUMNS} WHERE {OF_CONVERSATION} AND d.{OPEN} AND d.state = 'pending' ORDER BY d.id LIMIT 50", of
        ).fetchall()
    return tuple(_delivery(row) for row in rows)


def hand_over(connection: Connection, deliveries: Iterable[int], taken_by: str, now: float) -> frozenset[int]:
    return frozenset(
        delivery
        for delivery in deliveries
        if connection.execute(
            "UPDATE deliveries SET state = 'sent', taken_by = ?, sent_at = ?, attempts = attempts + 1"
            " WHERE id = ? AND (state = 'pending' OR taken_by = ?)",
            (taken_by, now, delivery, taken_by),
        ).rowcount
    )
