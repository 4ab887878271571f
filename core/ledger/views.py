"""What is read from the ledger and changes nothing."""

from __future__ import annotations

from dataclasses import replace

from core.ledger import Counts
from core.ledger.turns import json_object
from core.ledger.writer import Connection
from core.types import ConversationKey, Entry, HistoryEntry, MessageState, Outcome, Usage


def next_ready_at(connection: Connection, after: float) -> float | None:
    ready_at: float | None = connection.execute(
        "SELECT min(ready_at) FROM inbox WHERE ready_at > ?", (after,)
    ).fetchone()[0]
    return ready_at


def recall(connection: Connection, conversation_id: int, start: int, limit: int) -> tuple[HistoryEntry, ...]:
    rows = connection.execute(
        "SELECT id, role, text FROM history WHERE conversation_id = ? AND id >= ? ORDER BY id DESC LIMIT ?",
        (conversation_id, start, limit),
    ).fetchall()
    return tuple(HistoryEntry(*row) for row in reversed(rows))


def outcome(connection: Connection, channel: str, event_id: str) -> Outcome | None:
    row = connection.execute(
        "SELECT m.id, c.channel, c.bot, c.chat_id, c.thread_id, u.user_id, m.state, t.text, t.kind, t.cut, t.model,"
        " t.prompt_tokens, t.completion_tokens, t.cached_tokens, m.address FROM messages m"
        " JOIN users u ON u.id = m.user JOIN conversations c ON c.id = m.conversation_id"
        " LEFT JOIN turns t ON t.id = m.turn_id AND t.state = 'done' WHERE m.channel = ? AND m.event_id = ?",
        (channel, event_id),
    ).fetchone()
    if row is None:
        return None
    known = Outcome(row[0], ConversationKey(*row[1:5]), row[5], MessageState(row[6]), address=json_object(row[14]))
    if row[7] is None:
        return known
    usage = Usage(row[11], row[12], row[13])
    return replace(known, text=row[7], kind=row[8], cut=bool(row[9]), model=row[10], usage=usage)


def state(connection: Connection, channel: str, event_id: str) -> MessageState | None:
    row = connection.execute(
        "SELECT state FROM messages WHERE channel = ? AND event_id = ?", (channel, event_id)
    ).fetchone()
    return MessageState(row[0]) if row else None


def transcript(connection: Connection, key: ConversationKey, limit: int) -> tuple[Entry, ...]:
    row = connection.execute(
        "SELECT id FROM conversations WHERE channel = ? AND chat_id = ? AND thread_id = ? AND bot = ?",
        (key.channel, key.chat_id, key.thread_id, key.bot),
    ).fetchone()
    if row is None:
        return ()
    messages = connection.execute(
        "SELECT id, text, accepted_at, event_id, state FROM messages WHERE conversation_id = ?"
        " ORDER BY id DESC LIMIT ?",
        (row[0], limit),
    ).fetchall()
    turns = connection.execute(
        "SELECT id, text, committed_at, kind, cut FROM turns WHERE conversation_id = ? AND state = 'done'"
        " ORDER BY id DESC LIMIT ?",
        (row[0], limit),
    ).fetchall()
    open_states = (MessageState.WAITING, MessageState.RUNNING)
    entries = [Entry(f"m{m[0]}", "user", m[1], m[2], event_id=m[3], pending=m[4] in open_states) for m in messages]
    entries += [Entry(f"t{t[0]}", "bot", t[1], t[2], kind=t[3], cut=bool(t[4])) for t in turns]
    # A notice carries the same time as the message it answers: the message goes first.
    entries.sort(key=lambda entry: (entry.at, entry.role == "bot", int(entry.id[1:])))
    return tuple(entries[-limit:])


def counts(connection: Connection) -> Counts:
    waiting, oldest = connection.execute(
        "SELECT count(*), min(accepted_at) FROM messages INDEXED BY messages_waiting WHERE state = 'waiting'"
    ).fetchone()
    (running,) = connection.execute("SELECT count(*) FROM turns WHERE state = 'running'").fetchone()
    (pending,) = connection.execute("SELECT count(*) FROM deliveries WHERE state IN ('pending', 'sending')").fetchone()
    (failed,) = connection.execute("SELECT count(*) FROM deliveries WHERE state IN ('failed', 'unclear')").fetchone()
    (aside,) = connection.execute(
        "SELECT count(*) FROM messages INDEXED BY messages_set_aside WHERE state = 'set_aside'"
    ).fetchone()
    return Counts(waiting, running, oldest, pending, failed, aside)
