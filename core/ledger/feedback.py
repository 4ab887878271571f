"""What users think of replies, in SQL: a vote stands with its turn, the newest counts, and each is in the record."""

from __future__ import annotations

from core.audit import feedback_entry
from core.ledger.audit import Record, write_audit
from core.ledger.writer import Connection
from core.types import ConversationKey, ReplyKind


def vote(
    connection: Connection,
    key: ConversationKey,
    turn_id: int,
    user_id: str,
    voted: str,
    now: float,
    record: Record = write_audit,
) -> bool:
    changed = connection.execute(
        "UPDATE turns SET feedback = ?, feedback_at = ? WHERE id = ? AND state = 'done' AND kind = ?"
        " AND conversation_id = (SELECT id FROM conversations WHERE channel = ? AND chat_id = ? AND thread_id = ?"
        " AND bot = ?)",
        (voted, now, turn_id, ReplyKind.ANSWER, key.channel, key.chat_id, key.thread_id, key.bot),
    ).rowcount
    if changed:
        record(connection, feedback_entry(turn_id, key.channel, user_id, voted), now)
    return bool(changed)
