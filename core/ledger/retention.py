"""Forgets what is older than its days, a little at a time: no transaction is long, and nothing goes that is under way.

Rows are numbered as they come, so the oldest are the first: each look reads as many as it may delete, and no more.
What nobody ever fetched is forgotten with the rest.
"""

from __future__ import annotations

from core.ledger import search
from core.ledger.audit import Record, forget_rows, write_audit
from core.ledger.writer import Connection

FARTHEST_SECONDS = 2 * 3600.0  # no wait of ours is longer ...
DAY_SECONDS = 86_400.0  # ... but for the tokens of a day: who spent all of them has, whatever the clock did
BEING_SENT = "SELECT 1 FROM deliveries WHERE turn_id = ? AND state = 'sending' LIMIT 1"

EMPTY_CONVERSATION = """
DELETE FROM conversations WHERE id = ? AND running IS NULL
AND NOT EXISTS (SELECT 1 FROM messages WHERE conversation_id = ?)
AND NOT EXISTS (SELECT 1 FROM turns WHERE conversation_id = ?)
"""


def forget(
    connection: Connection,
    messages_before: float,
    audit_before: float,
    now: float,
    limit: int,
    record: Record = write_audit,
) -> int:
    """Delete up to `limit` turns, messages without one, and audit rows that are older; how many that were."""
    turns = [
        turn
        for turn, ended, state in connection.execute(
            "SELECT id, coalesce(committed_at, started_at), state FROM turns ORDER BY id LIMIT ?", (limit,)
        ).fetchall()
        if ended < messages_before
        and state in {"done", "dropped"}
        and not connection.execute(BEING_SENT, (turn,)).fetchone()
    ]
    touched: set[tuple[int]] = set()
    said: list[int] = []
    for turn in turns:
        said += [message for (message,) in connection.execute("SELECT id FROM messages WHERE turn_id = ?", (turn,))]
        touched.update(connection.execute("SELECT conversation_id FROM turns WHERE id = ?", (turn,)))
        for table in ("deliveries", "history", "messages"):
            connection.execute(f"DELETE FROM {table} WHERE turn_id = ?", (turn,))  # noqa: S608 - of three names
        connection.execute("DELETE FROM turns WHERE id = ?", (turn,))
    messages = [
        (message, conversation)
        for message, conversation, accepted_at, state, turn in connection.execute(
            "SELECT id, conversation_id, accepted_at, state, turn_id FROM messages ORDER BY id LIMIT ?", (limit,)
        ).fetchall()
        if accepted_at < messages_before and turn is None and state not in {"waiting", "running"}
    ]
    connection.executemany("DELETE FROM messages WHERE id = ?", [(message,) for message, _ in messages])
    touched.update((conversation,) for _, conversation in messages)
    search.remove(connection, [*said, *(message for message, _ in messages)], turns)
    connection.executemany(EMPTY_CONVERSATION, [(conversation,) * 3 for (conversation,) in touched])
    return len(turns) + len(messages) + forget_rows(connection, audit_before, now, limit, record)


def idle_users(connection: Connection, limit: int) -> list[tuple[int, float, float]]:
    """Users of whom nothing is left, as `forget_users` wants them. It walks through all messages: for a reader."""
    rows: list[tuple[int, float, float]] = connection.execute(
        "SELECT id, messages_arrival, told_until FROM users WHERE id NOT IN (SELECT user FROM messages) LIMIT ?",
        (limit,),
    ).fetchall()
    return rows


def forget_users(connection: Connection, users: list[tuple[int, float, float]]) -> None:
    """Delete those who have not written since they were found idle: a message would have moved one of the two times."""
    connection.executemany("DELETE FROM users WHERE id = ? AND messages_arrival = ? AND told_until = ?", users)


def bring_back(connection: Connection, now: float) -> None:
    """Times further ahead than anything here ever plans were written under another clock: they count as now."""
    ahead = now + FARTHEST_SECONDS
    connection.execute("UPDATE inbox SET ready_at = ?, first_at = ? WHERE ready_at > ?", (now, now, ahead))
    connection.execute(
        "UPDATE deliveries SET due_at = ? WHERE state IN ('pending', 'sending') AND state = 'pending' AND due_at > ?",
        (now, ahead),
    )
    for column in ("messages_arrival", "told_until"):
        connection.execute(f"UPDATE users SET {column} = ? WHERE {column} > ?", (now, ahead))  # noqa: S608 - of two
    day = now + DAY_SECONDS
    connection.execute("UPDATE users SET tokens_arrival = ? WHERE tokens_arrival > ?", (day, day))
