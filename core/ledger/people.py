"""One user as an operator sees them: what they use, limits of their own, and a block that ends what waits for them."""

from __future__ import annotations

from core.ledger.archive import Item, Page
from core.ledger.chats import take_back
from core.ledger.writer import Connection
from core.types import MessageState

DAY = 86_400.0


def users(connection: Connection, wanted: str, channel: str, before: int, limit: int) -> Page:
    """Users whose id or name holds what is wanted, the newest first; `before` is the row of the last one shown."""
    pattern = f"%{wanted.replace('~', '~~').replace('%', '~%').replace('_', '~_')}%"
    rows = connection.execute(
        "SELECT u.id FROM users u WHERE u.id < ? AND u.user_id <> 'erased-' || u.id"  # the name `erase` leaves
        " AND (? = '' OR u.channel = ?) AND (? = '%%' OR u.user_id LIKE ? ESCAPE '~' OR EXISTS"
        " (SELECT 1 FROM messages m WHERE m.user = u.id AND m.speaker LIKE ? ESCAPE '~')) ORDER BY u.id DESC LIMIT ?",
        (before, channel, channel, pattern, pattern, pattern, limit + 1),
    ).fetchall()
    items = [item for (user,) in rows[:limit] if (item := _item(connection, user)) is not None]
    return Page(items, rows[limit - 1][0] if len(rows) > limit else None)


def user(connection: Connection, number: int, now: float) -> Item | None:
    """One user, with their conversations and what they used in the last 24 hours; None if there is none."""
    item = _item(connection, number)
    if item is None:
        return None
    conversations = connection.execute(
        "SELECT conversation_id, max(id) FROM messages WHERE user = ? GROUP BY conversation_id"
        " ORDER BY 2 DESC LIMIT 100",
        (number,),
    ).fetchall()
    messages, throttled = connection.execute(
        "SELECT count(*), coalesce(sum(state = ?), 0) FROM messages WHERE user = ? AND accepted_at >= ?",
        (MessageState.THROTTLED, number, now - DAY),
    ).fetchone()
    (tokens,) = connection.execute(
        "SELECT coalesce(sum(prompt_tokens + completion_tokens), 0) FROM turns WHERE state = 'done'"
        " AND committed_at >= ? AND id IN (SELECT turn_id FROM messages WHERE user = ? AND accepted_at >= ?)",
        (now - DAY, number, now - 2 * DAY),
    ).fetchone()
    usage = {"messages_24h": messages, "tokens_24h": tokens, "throttled_24h": throttled}
    return item | {"conversations": [conversation for conversation, _ in conversations], "usage": usage}


def _item(connection: Connection, number: int) -> Item | None:
    row = connection.execute(
        "SELECT channel, user_id, blocked, messages_per_minute, tokens_per_day FROM users WHERE id = ?", (number,)
    ).fetchone()
    if row is None:
        return None
    channel, user_id, blocked, per_minute, per_day = row
    count, last_at = connection.execute(
        "SELECT count(*), max(accepted_at) FROM messages WHERE user = ?", (number,)
    ).fetchone()
    name = connection.execute(
        "SELECT speaker FROM messages WHERE user = ? AND speaker <> '' ORDER BY id DESC LIMIT 1", (number,)
    ).fetchone()
    own = {"messages_per_minute": per_minute, "tokens_per_day": per_day}
    return {
        "id": number,
        "channel": channel,
        "user": user_id,
        "name": name[0] if name else "",
        "messages": count,
        "last_at": last_at,
        "blocked": bool(blocked),
        "limits": own if per_minute is not None or per_day is not None else None,
    }


def limit(connection: Connection, number: int, per_minute: float | None, per_day: int | None) -> bool:
    """Give a user limits of their own, counted from now on; None takes back the usual one. False if there is no such
    user."""
    # What was used is written in the pace of the old limit: kept, a higher one would help only when that has passed.
    changed = connection.execute(
        "UPDATE users SET messages_per_minute = ?, tokens_per_day = ?, messages_arrival = 0, tokens_arrival = 0"
        " WHERE id = ?",
        (per_minute, per_day, number),
    ).rowcount
    return bool(changed)


def block(connection: Connection, number: int, *, blocked: bool) -> bool:
    """Answer a user no more, or again; what of theirs waits is withdrawn. False if there is no such user."""
    changed = connection.execute("UPDATE users SET blocked = ? WHERE id = ?", (int(blocked), number)).rowcount
    if changed and blocked:
        rows = connection.execute(
            "SELECT DISTINCT conversation_id FROM messages WHERE state = 'waiting' AND user = ?", (number,)
        ).fetchall()
        for (conversation,) in rows:
            take_back(connection, conversation, number)
    return bool(changed)
