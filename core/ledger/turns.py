"""A turn in SQL: read, hand back, show, commit. Each function runs inside the writer's transaction.

A conversation has at most one running turn; every change to it names the attempt it belongs to, so that a worker
whose lease ran out can change nothing any more.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from core.audit import reply_entry
from core.errors import TurnLost
from core.ledger.audit import Record, write_audit
from core.ledger.inbox import ADD_TO_INBOX, queue_parts
from core.ledger.writer import Connection
from core.throttle import Rate, own_tokens, spend
from core.types import ConversationKey, JsonObject, MessageState, Reply, ReplyKind, StoredMessage, Turn

OPEN_PARTS = (
    "EXISTS (SELECT 1 FROM deliveries d WHERE d.conversation_id = t.conversation_id"
    " AND d.state IN ('pending', 'sending'))"
)
UNCLEAR_PARTS = (
    "EXISTS (SELECT 1 FROM (SELECT id FROM turns WHERE conversation_id = t.conversation_id ORDER BY id DESC LIMIT 4) n"
    " JOIN deliveries d ON d.turn_id = n.id WHERE d.reference = '' AND (d.state = 'unclear' OR d.doubts > 0))"
)
LATEST = 500  # turns and messages of all conversations that show how far a channel's had come
REFERENCES = 50  # turns of a conversation that may be mistaken for what died
DIED = "the process or the worker that answered it died"


def read(connection: Connection, turn_id: int) -> Turn:
    """A turn that runs, with its messages."""
    row = connection.execute(
        "SELECT t.conversation_id, c.channel, c.bot, c.chat_id, c.thread_id, c.language, t.attempt, t.reference,"  # noqa: S608 - a constant
        f" c.history_from, c.prompt_tokens, t.trouble, {OPEN_PARTS}, {UNCLEAR_PARTS}"
        " FROM turns t JOIN conversations c ON c.id = t.conversation_id WHERE t.id = ?",
        (turn_id,),
    ).fetchone()
    messages = connection.execute(
        "SELECT m.id, u.user_id, m.text, m.address, m.language, m.accepted_at, m.speaker, m.sent_at FROM messages m"
        " JOIN users u ON u.id = m.user WHERE m.turn_id = ? ORDER BY m.id",
        (turn_id,),
    ).fetchall()
    return Turn(
        id=turn_id,
        conversation_id=row[0],
        conversation=ConversationKey(row[1], row[2], row[3], row[4]),
        messages=tuple(_stored(m) for m in messages),
        language=row[5],
        attempt=row[6],
        reference=row[7],
        history_from=row[8],
        prompt_tokens=row[9],
        trouble=row[10],
        died=row[10] == DIED,
        behind=bool(row[11]),
        unclear=bool(row[12]),
    )


def _stored(row: tuple[int, str, str, str, str, float, str, float]) -> StoredMessage:
    return StoredMessage(row[0], row[1], row[2], json_object(row[3]), row[4], row[5], row[6], row[7])


def json_object(text: str) -> JsonObject:
    value = orjson.loads(text)
    return value if isinstance(value, dict) else {}


def references(connection: Connection, turn: Turn) -> frozenset[str]:
    rows = connection.execute(
        "SELECT reference FROM (SELECT reference FROM turns WHERE conversation_id = ?1 ORDER BY id DESC LIMIT ?2)"
        " UNION SELECT d.reference FROM (SELECT id FROM turns WHERE conversation_id = ?1 ORDER BY id DESC LIMIT ?2) t"
        " JOIN deliveries d ON d.turn_id = t.id"
        " UNION SELECT t.reference FROM (SELECT conversation_id, reference FROM turns ORDER BY id DESC LIMIT ?3) t"
        " JOIN conversations c ON c.id = t.conversation_id WHERE c.channel = ?4"
        " UNION SELECT reference FROM (SELECT * FROM deliveries ORDER BY id DESC LIMIT ?3) WHERE channel = ?4"
        " UNION SELECT source_id FROM (SELECT * FROM messages ORDER BY id DESC LIMIT ?3) WHERE channel = ?4",
        (turn.conversation_id, REFERENCES, LATEST, turn.conversation.channel),
    ).fetchall()
    return frozenset(reference for (reference,) in rows if reference)


def behind(connection: Connection, turn_id: int) -> bool:
    (there,) = connection.execute(f"SELECT {OPEN_PARTS} FROM turns t WHERE t.id = ?", (turn_id,)).fetchone()  # noqa: S608
    return bool(there)


def release(
    connection: Connection,
    turn_id: int,
    attempt: int | None,
    ready_at: float,
    *,
    counted: bool,
    trouble: str = "",
) -> bool:
    """Hand a turn back; False if it was not running any more (or is on another attempt)."""
    changed = connection.execute(
        "UPDATE turns SET state = 'waiting', attempt = attempt - ?, trouble = coalesce(nullif(?, ''), trouble)"
        " WHERE id = ? AND state = 'running' AND (? IS NULL OR attempt = ?)",
        (0 if counted else 1, trouble, turn_id, attempt, attempt),
    ).rowcount
    if not changed:
        return False
    # Waiting again, as every other message of the inbox: counted as such, and bounded anew by the next claim.
    conversation_id, message_id, user = connection.execute(
        "SELECT m.conversation_id, m.id, m.user FROM messages m WHERE m.turn_id = ? ORDER BY m.id LIMIT 1", (turn_id,)
    ).fetchone()
    connection.execute("UPDATE messages SET state = 'waiting', turn_id = NULL WHERE turn_id = ?", (turn_id,))
    connection.execute("UPDATE conversations SET running = NULL WHERE id = ?", (conversation_id,))
    row = (conversation_id, user, message_id, turn_id, ready_at, ready_at)
    connection.execute(ADD_TO_INBOX, (*row, ready_at, 0.0))
    return True


def reclaim(connection: Connection, lease_before: float) -> int:
    rows = connection.execute(
        "SELECT id FROM turns WHERE state = 'running' AND lease_until < ?", (lease_before,)
    ).fetchall()
    return sum(release(connection, turn_id, None, 0.0, counted=True, trouble=DIED) for (turn_id,) in rows)


def previewed(connection: Connection, turn: Turn, reference: str) -> None:
    changed = connection.execute(
        "UPDATE turns SET reference = ? WHERE id = ? AND state = 'running' AND attempt = ?",
        (reference, turn.id, turn.attempt),
    ).rowcount
    if not changed:
        raise TurnLost(f"turn {turn.id}, attempt {turn.attempt}, is not ours any more")


def commit(
    connection: Connection,
    turn: Turn,
    reply: Reply,
    parts: Sequence[str],
    tokens: Rate | None,
    now: float,
    *,
    set_aside: bool = False,
    record: Record = write_audit,
) -> bool:
    reference = _close_turn(connection, turn, reply, now)
    state = MessageState.SET_ASIDE if set_aside else MessageState.ANSWERED
    connection.execute("UPDATE messages SET state = ? WHERE turn_id = ?", (state, turn.id))
    if reply.kind is ReplyKind.ANSWER:
        connection.executemany(
            "INSERT INTO history (conversation_id, turn_id, role, text) VALUES (?, ?, ?, ?)",
            [
                (turn.conversation_id, turn.id, "user", reply.user_text),
                (turn.conversation_id, turn.id, "assistant", reply.model_text),
            ],
        )
        _grow(connection, turn, reply)
    else:
        connection.execute("UPDATE conversations SET running = NULL WHERE id = ?", (turn.conversation_id,))
    address = orjson.dumps(turn.address).decode()
    queue_parts(
        connection,
        turn.id,
        turn.conversation_id,
        turn.conversation.channel,
        address,
        reply.kind,
        parts,
        reference,
        now,
    )
    user, arrival, per_day = connection.execute(
        "SELECT id, tokens_arrival, tokens_per_day FROM users WHERE channel = ? AND user_id = ?",
        (turn.conversation.channel, turn.user_id),
    ).fetchone()
    tokens = own_tokens(tokens, per_day)
    if tokens and reply.usage.total:
        connection.execute(
            "UPDATE users SET tokens_arrival = ? WHERE id = ?", (spend(arrival, now, tokens, reply.usage.total), user)
        )
    record(connection, reply_entry(turn, reply), now)
    return queue_next(connection, turn.conversation_id, now)


def _grow(connection: Connection, turn: Turn, reply: Reply) -> None:
    """The conversation as the model will see it: unless it was begun anew while the turn ran, which is of the old one
    then."""
    (begun_anew,) = connection.execute(
        "SELECT coalesce(c.fresh_at > t.started_at, 0) FROM turns t JOIN conversations c ON c.id = t.conversation_id"
        " WHERE t.id = ?",
        (turn.id,),
    ).fetchone()
    if begun_anew:
        connection.execute(
            "UPDATE conversations SET running = NULL, history_from ="
            " (SELECT coalesce(max(id), 0) + 1 FROM history WHERE conversation_id = ?) WHERE id = ?",
            (turn.conversation_id, turn.conversation_id),
        )
        return
    connection.execute(
        "UPDATE conversations SET running = NULL, language = ?, history_from = max(history_from, ?),"
        " prompt_tokens = ? WHERE id = ?",
        (reply.language, reply.history_from, reply.usage.total, turn.conversation_id),
    )


def _close_turn(connection: Connection, turn: Turn, reply: Reply, now: float) -> str:
    """Returns the reference of the preview, which may be recorded though the caller's copy of the turn is older."""
    usage = reply.usage
    rows = connection.execute(
        "UPDATE turns SET state = 'done', committed_at = ?, kind = ?, text = ?, cut = ?, reason = ?, model = ?,"
        " prompt_tokens = ?, completion_tokens = ?, cached_tokens = ?, first_text_seconds = ?,"
        " reference = coalesce(nullif(?, ''), reference) WHERE id = ? AND state = 'running' AND attempt = ?"
        " RETURNING reference",
        (
            *(now, reply.kind, reply.text, reply.cut, reply.reason, reply.model),
            *(usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, reply.first_text_seconds),
            *(turn.reference, turn.id, turn.attempt),
        ),
    ).fetchall()
    if not rows:
        raise TurnLost(f"turn {turn.id}, attempt {turn.attempt}, is not ours any more")
    reference: str = rows[0][0]
    return reference


def queue_next(connection: Connection, conversation_id: int, now: float) -> bool:
    """What was written while the turn ran is next; it has waited long enough for its burst."""
    row = connection.execute(
        "SELECT id, user FROM messages WHERE conversation_id = ? AND state = 'waiting' ORDER BY id LIMIT 1",
        (conversation_id,),
    ).fetchone()
    if row is None:
        return False
    message_id, user = row
    connection.execute(ADD_TO_INBOX, (conversation_id, user, message_id, None, now, now, now, 0.0))
    return True
