"""The way into the inbox in SQL: a message, its user's limits, its place in the queue, in one transaction.

`inbox` has a row exactly for each conversation that has something to answer and no running turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import orjson

from core.audit import message_entry, notice_entry
from core.engine import TASKS, Priority
from core.ledger import Admission, Burst, Notice, Refusal, search
from core.ledger.audit import Record, write_audit
from core.ledger.chats import take_back
from core.ledger.writer import Connection
from core.throttle import own_rate, own_tokens, spend, wait
from core.types import ConversationKey, InboundMessage, MessageState, Receipt, ReplyKind

BUSY_QUIET = 120.0  # seconds until somebody who waits is told again how many are before them
PLACES = 1000  # nobody counts further, we neither: it would be paid for by every message of a long line
ADD_TO_INBOX = f"""
INSERT INTO inbox (conversation_id, priority, user, served_at, message_id, turn_id, first_at, ready_at)
VALUES (?1, (SELECT CASE channel WHEN '{TASKS}' THEN {Priority.TASK:d} ELSE {Priority.PERSON:d} END
             FROM conversations WHERE id = ?1), ?2, (SELECT served_at FROM users WHERE id = ?2), ?3, ?4, ?5, ?6)
ON CONFLICT (conversation_id) DO UPDATE
SET ready_at = CASE WHEN turn_id IS NULL AND ready_at > ?7 THEN min(first_at + ?8, excluded.ready_at) ELSE ready_at END
"""  # noqa: S608 - constants; ?7 is now, ?8 how long a burst may keep the first of it waiting


def accept(
    connection: Connection,
    message: InboundMessage,
    admission: Admission,
    burst: Burst,
    now: float,
    notice: Notice | None = None,
    record: Record = write_audit,
) -> Receipt:
    key = message.conversation
    row = connection.execute(
        "SELECT id, state FROM messages WHERE channel = ? AND event_id = ?", (key.channel, message.event_id)
    ).fetchone()
    if row:
        return Receipt(row[0], MessageState(row[1]), duplicate=True)
    conversation_id, running, known = _conversation(connection, key, now)
    user, refusal, untold = _admit(connection, key.channel, message.user_id, admission, now)
    text, state = _edited(connection, conversation_id, message, admission) if message.edited else (message.text, None)
    if state is None:
        state = _state(refusal, notice)
    said = replace(message, text=text)
    message_id = _store(connection, said, conversation_id, user, state, now)
    record(connection, message_entry(message_id, said, state), now)
    tell = partial(_tell, connection, conversation_id, message_id, message, now, admission.version, record)
    if state is MessageState.WAITING and running is None:
        ready = _ready_at(connection, conversation_id, message, burst, now, known=known)
        row = (conversation_id, user, message_id, None, now, ready)
        connection.execute(ADD_TO_INBOX, (*row, now, burst.cap_seconds))
        if admission.busy_after and (before := _before(connection, conversation_id, admission.busy_after, now)):
            busy = Notice(admission.busy(before), "busy", BUSY_QUIET)
            tell(busy, answers=False)
    if state is MessageState.THROTTLED and refusal is not None and untold:
        tell(Notice(admission.notice(refusal), "throttled"))
    elif state is MessageState.ANSWERED and notice is not None:
        if notice.stop:
            take_back(connection, conversation_id, user)
        tell(notice)
    return Receipt(message_id, state)


def _state(refusal: Refusal | None, notice: Notice | None) -> MessageState:
    if refusal is not None:
        return MessageState.BLOCKED if refusal.reason == "blocked" else MessageState.THROTTLED
    return MessageState.ANSWERED if notice else MessageState.WAITING


def _store(
    connection: Connection, message: InboundMessage, conversation_id: int, user: int, state: MessageState, now: float
) -> int:
    message_id: int = connection.execute(
        "INSERT INTO messages (channel, event_id, conversation_id, user, text, language, address, sent_at, accepted_at,"
        " state, source_id, speaker) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(message.conversation.channel, message.event_id, conversation_id, user, message.text, message.language),
            *(orjson.dumps(message.address).decode(), message.sent_at, now, state, message.source_id, message.speaker),
        ),
    ).lastrowid
    return message_id


def _edited(
    connection: Connection, conversation_id: int, message: InboundMessage, admission: Admission
) -> tuple[str, MessageState | None]:
    """The text of an edit, and its state where it needs no turn of its own."""
    row = connection.execute(
        "SELECT id, text, state FROM messages WHERE conversation_id = ? AND source_id = ? AND source_id <> ''"
        " ORDER BY id LIMIT 1",
        (conversation_id, message.source_id),
    ).fetchone()
    if row is None:  # we never saw the original
        return message.text, None
    original, before, state = row
    if before == message.text:  # platforms edit, too: a link's preview, a translation
        return message.text, MessageState.REPLACED
    connection.execute("UPDATE messages SET text = ? WHERE id = ?", (message.text, original))
    search.changed(connection, original)
    if state == MessageState.WAITING:
        return message.text, MessageState.REPLACED
    return admission.changed(before, message.text), None


def _ready_at(
    connection: Connection, conversation_id: int, message: InboundMessage, burst: Burst, now: float, *, known: bool
) -> float:
    if not message.merge:
        return now
    if not known and burst.messages > 1:  # the first message of a conversation is no burst
        return now + min(burst.wait_seconds, burst.cap_seconds)
    (waiting,) = connection.execute(
        "SELECT count(*) FROM (SELECT 1 FROM messages WHERE conversation_id = ? AND state = 'waiting' LIMIT ?)",
        (conversation_id, burst.messages),
    ).fetchone()
    return now if waiting >= burst.messages else now + min(burst.wait_seconds, burst.cap_seconds)


def _conversation(connection: Connection, key: ConversationKey, now: float) -> tuple[int, int | None, bool]:
    """Its row, its running turn, and whether it was there before."""
    row = connection.execute(
        "SELECT id, running FROM conversations WHERE channel = ? AND chat_id = ? AND thread_id = ? AND bot = ?",
        (key.channel, key.chat_id, key.thread_id, key.bot),
    ).fetchone()
    if row:
        return row[0], row[1], True
    cursor = connection.execute(
        "INSERT INTO conversations (channel, chat_id, thread_id, bot, created_at) VALUES (?, ?, ?, ?, ?)",
        (key.channel, key.chat_id, key.thread_id, key.bot, now),
    )
    return cursor.lastrowid, None, False


def _admit(
    connection: Connection, channel: str, user_id: str, admission: Admission, now: float
) -> tuple[int, Refusal | None, bool]:
    """The user's row, the refusal if over a limit, and whether the user must be told of it."""
    row = connection.execute(
        "SELECT id, messages_arrival, tokens_arrival, told_until, blocked, messages_per_minute, tokens_per_day"
        " FROM users WHERE channel = ? AND user_id = ?",
        (channel, user_id),
    ).fetchone()
    if row is None:
        cursor = connection.execute("INSERT INTO users (channel, user_id) VALUES (?, ?)", (channel, user_id))
        row = (cursor.lastrowid, 0.0, 0.0, 0.0, 0, None, None)
    user, messages_arrival, tokens_arrival, told_until, blocked, per_minute, per_day = row
    if blocked:
        return user, Refusal("blocked", 0.0), False
    messages, tokens = own_rate(admission.messages, per_minute), own_tokens(admission.tokens, per_day)
    refusal = None
    if seconds := wait(messages_arrival, now, messages):
        refusal = Refusal("messages", seconds)
    elif tokens and (seconds := wait(tokens_arrival, now, tokens)):
        refusal = Refusal("tokens", seconds)
    if refusal is None:
        connection.execute(
            "UPDATE users SET messages_arrival = ? WHERE id = ?", (spend(messages_arrival, now, messages), user)
        )
        return user, None, False
    if now < told_until:
        return user, refusal, False
    connection.execute("UPDATE users SET told_until = ? WHERE id = ?", (now + admission.notice_seconds, user))
    return user, refusal, True


def _before(connection: Connection, conversation_id: int, most: int, now: float) -> int:
    """The conversation's place in line, counted as `claim` takes them, PLACES at most; 0 while fewer than `most` others
    wait for more than the rest of their burst."""
    (waiting,) = connection.execute(
        "SELECT count(*) FROM (SELECT 1 FROM inbox WHERE ready_at <= ? AND conversation_id <> ? LIMIT ?)",
        (now, conversation_id, most),
    ).fetchone()
    if waiting < most:
        return 0
    (place,) = connection.execute(
        "SELECT count(*) FROM (SELECT 1 FROM inbox INDEXED BY inbox_order WHERE (priority, served_at, message_id)"
        " <= (SELECT priority, served_at, message_id FROM inbox WHERE conversation_id = ?) LIMIT ?)",
        (conversation_id, PLACES),
    ).fetchone()
    return int(place)


def _tell(
    connection: Connection,
    conversation_id: int,
    message_id: int,
    message: InboundMessage,
    now: float,
    version: str,
    record: Record,
    notice: Notice,
    *,
    answers: bool = True,
) -> None:
    """A notice is a turn of its own that no engine sees; unless it `answers` the message, another one will."""
    said = connection.execute(
        "SELECT 1 FROM turns WHERE conversation_id = ? AND reason = ? AND committed_at > ? LIMIT 1",
        (conversation_id, notice.reason, now - notice.quiet_seconds),
    ).fetchone()
    if notice.quiet_seconds and said:
        return
    turn_id = connection.execute(
        "INSERT INTO turns (conversation_id, state, attempt, lease_until, started_at, committed_at, kind, text, reason)"
        " VALUES (?, 'done', 1, 0, ?, ?, ?, ?, ?)",
        (conversation_id, now, now, ReplyKind.NOTICE, notice.text, notice.reason),
    ).lastrowid
    if answers:
        connection.execute("UPDATE messages SET turn_id = ? WHERE id = ?", (turn_id, message_id))
    address = orjson.dumps(message.address).decode()
    queue_parts(
        connection,
        turn_id,
        conversation_id,
        message.conversation.channel,
        address,
        ReplyKind.NOTICE,
        [notice.text],
        "",
        now,
    )
    record(connection, notice_entry(turn_id, message_id, message, notice.text, version), now)
    if notice.fresh:
        connection.execute(
            "UPDATE conversations SET language = '', prompt_tokens = 0, fresh_at = ?, history_from ="
            " (SELECT coalesce(max(id), 0) + 1 FROM history WHERE conversation_id = ?) WHERE id = ?",
            (now, conversation_id, conversation_id),
        )
    if notice.human:
        connection.execute("UPDATE conversations SET human_at = ? WHERE id = ?", (now, conversation_id))


def queue_parts(
    connection: Connection,
    turn_id: int,
    conversation_id: int,
    channel: str,
    address: str,
    kind: ReplyKind,
    parts: Sequence[str],
    reference: str,
    now: float,
) -> None:
    connection.executemany(
        "INSERT INTO deliveries"
        " (turn_id, conversation_id, channel, part, parts, text, kind, address, state, reference, due_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'pending', ?, ?)",
        [
            (
                turn_id,
                conversation_id,
                channel,
                index,
                len(parts),
                text,
                kind,
                address,
                reference if index == 1 else "",
                now,
            )
            for index, text in enumerate(parts, 1)
        ],
    )
