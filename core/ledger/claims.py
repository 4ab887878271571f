"""Who is answered next, in SQL, inside the writer's transaction.

People in the channels come before tasks, which nobody waits for at a screen. A user who writes in many conversations
takes turns with the others, and leaves as many places free as are taken: a newcomer waits for nobody's reply.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from core.ledger.turns import read
from core.ledger.writer import Connection
from core.types import Turn

RUNNING_BY_USER = "SELECT user, count(*) FROM turns INDEXED BY turns_running WHERE state = 'running' GROUP BY user"


def claim_all(
    connection: Connection, now: float, lease_seconds: float, merge_messages: int, limit: int, room: int
) -> tuple[Turn, ...]:
    running = Counter(dict(connection.execute(RUNNING_BY_USER).fetchall())) if room else Counter()
    claimed: list[Turn] = []
    while len(claimed) < limit:
        left = room - len(claimed)
        served = [user for user, turns in running.items() if turns >= left] if room else []
        found = _next(connection, now, served)
        if found is None:
            break
        claimed.append(_claim(connection, *found, now, lease_seconds, merge_messages))
        running[found[1]] += 1
    return tuple(claimed)


def _next(connection: Connection, now: float, served: Sequence[int]) -> tuple[int, int, int | None] | None:
    """Conversation, user and handed-back turn of who is next and not among those `served` enough."""
    others = f" AND user NOT IN ({', '.join(map(str, served))})" if served else ""  # row numbers of ours
    row: tuple[int, int, int | None] | None = connection.execute(
        "SELECT conversation_id, user, turn_id FROM inbox INDEXED BY inbox_order"  # noqa: S608 - see above
        f" WHERE ready_at <= ?{others} ORDER BY priority, served_at, message_id LIMIT 1",
        (now,),
    ).fetchone()
    return row


def _claim(
    connection: Connection,
    conversation_id: int,
    user: int,
    turn_id: int | None,
    now: float,
    lease_seconds: float,
    merge_messages: int,
) -> Turn:
    lease = now + lease_seconds
    if turn_id is None:
        turn_id = connection.execute(
            "INSERT INTO turns (conversation_id, user, state, attempt, lease_until, started_at)"
            " VALUES (?, ?, 'running', 1, ?, ?)",
            (conversation_id, user, lease, now),
        ).lastrowid
    else:
        connection.execute(
            "UPDATE turns SET state = 'running', user = ?, attempt = attempt + 1, lease_until = ? WHERE id = ?",
            (user, lease, turn_id),
        )
    connection.execute(
        "UPDATE messages SET state = 'running', turn_id = ? WHERE id IN (SELECT id FROM messages"
        " WHERE conversation_id = ? AND state = 'waiting' ORDER BY id LIMIT ?)",
        (turn_id, conversation_id, merge_messages),
    )
    connection.execute("UPDATE conversations SET running = ? WHERE id = ?", (turn_id, conversation_id))
    connection.execute("DELETE FROM inbox WHERE conversation_id = ?", (conversation_id,))
    connection.execute("UPDATE users SET served_at = ? WHERE id = ?", (now, user))
    connection.execute("UPDATE inbox SET served_at = ? WHERE user = ?", (now, user))
    return read(connection, turn_id)
