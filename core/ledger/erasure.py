"""Erases what a person said and was told, so that no copy is left in the file; what became of each message stays.

Rows keep their numbers, states and times, so that counts and the audit's chain stay true; texts, addresses, names and
the person's id go, and with them the personal parts of the audit's rows.
"""

from __future__ import annotations

from core.errors import LedgerError
from core.ledger import search, wal
from core.ledger.audit import erase_personal, write_operated
from core.ledger.chats import take_back
from core.ledger.turns import queue_next
from core.ledger.writer import Connection

ERASED = "erased"
_NOTHING = (
    "text = '', address = '{}', reference = '', taken_by = NULL,"
    " state = CASE WHEN state IN ('pending', 'sending') THEN 'failed' ELSE state END"
)
_TURNS = "SELECT DISTINCT turn_id FROM messages WHERE user = ? AND turn_id IS NOT NULL"
_CONVERSATIONS = "SELECT DISTINCT conversation_id FROM messages WHERE user = ?"


def erase(connection: Connection, channel: str, user_id: str, now: float, who: str = "") -> int:
    """Erase one user of a channel; how many messages of theirs there were. What waits is withdrawn first, and a reply
    being written to them is dropped, or its commit would bring their words back. In a group their own words go, and the
    replies to them; what others said stays, and is answered."""
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        row = connection.execute(
            "SELECT id FROM users WHERE channel = ? AND user_id = ?", (channel, user_id)
        ).fetchone()
        count, subjects = _erase(connection, row[0], now) if row else (0, set[str]())
        rows, recorded = erase_personal(connection, channel, user_id, subjects)
        if row or rows:
            # How many of their messages the record knew, where they themselves were forgotten before.
            count = max(count, recorded)
            detail = {"channel": channel, "messages": count, "rows": rows} | ({"who": who} if who else {})
            write_operated(connection, "erase", f"user/{row[0] if row else 0}", detail, now)
    # With secure_delete on, freed pages are overwritten; the WAL holds older ones until it begins anew.
    if not wal.empty(connection):
        raise LedgerError(
            f"erased ({count} messages); but somebody reads the ledger (a backup, an export), and its -wal file holds"
            " the words until then: run this again when that is done"
        )
    return count


def _erase(connection: Connection, user: int, now: float) -> tuple[int, set[str]]:
    """How many messages of theirs there were, and what of the audit's subjects is about them."""
    (count,) = connection.execute("SELECT count(*) FROM messages WHERE user = ?", (user,)).fetchone()
    conversations = [conversation for (conversation,) in connection.execute(_CONVERSATIONS, (user,)).fetchall()]
    for conversation in conversations:
        take_back(connection, conversation, user)
        _drop_running(connection, conversation, user, now)
    alone = [
        conversation
        for conversation in conversations
        if not connection.execute(
            "SELECT 1 FROM messages WHERE conversation_id = ? AND user <> ? LIMIT 1", (conversation, user)
        ).fetchone()
    ]
    turns = [turn for (turn,) in connection.execute(_TURNS, (user,)).fetchall()]
    messages = [message for (message,) in connection.execute("SELECT id FROM messages WHERE user = ?", (user,))]
    for turn in turns:
        connection.execute("UPDATE turns SET text = '', note = '', reference = '' WHERE id = ?", (turn,))
        connection.execute(f"UPDATE deliveries SET {_NOTHING} WHERE turn_id = ?", (turn,))  # noqa: S608 - a constant
        connection.execute("DELETE FROM history WHERE turn_id = ?", (turn,))
    # Notices that were no answer to a message (a place in line) are turns of the conversation alone.
    for conversation in alone:
        connection.execute("DELETE FROM history WHERE conversation_id = ?", (conversation,))
        connection.execute(
            "UPDATE turns SET text = '', note = '', reference = '' WHERE conversation_id = ?", (conversation,)
        )
        connection.execute(
            f"UPDATE deliveries SET {_NOTHING} WHERE conversation_id = ?",  # noqa: S608 - a constant
            (conversation,),
        )
        connection.execute(
            "UPDATE conversations SET chat_id = ? || id, thread_id = '', prompt_tokens = 0 WHERE id = ?",
            (f"{ERASED}-", conversation),
        )
    connection.execute(
        "UPDATE messages SET text = '', address = '{}', event_id = ? || id, source_id = '', speaker = '', language = ''"
        " WHERE user = ?",
        (f"{ERASED}-", user),
    )
    search.remove(connection, messages, turns)
    search.leave_no_copy(connection)
    connection.execute("UPDATE users SET user_id = ? || id WHERE id = ?", (f"{ERASED}-", user))
    return int(count), {f"message/{message}" for message in messages} | {f"turn/{turn}" for turn in turns}


def _drop_running(connection: Connection, conversation: int, user: int, now: float) -> None:
    """Whoever writes the reply finds its turn lost; what others said in the same turn waits again."""
    (turn,) = connection.execute("SELECT running FROM conversations WHERE id = ?", (conversation,)).fetchone()
    theirs = connection.execute(
        "UPDATE messages SET state = 'withdrawn' WHERE turn_id = ? AND user = ? AND state = 'running'", (turn, user)
    ).rowcount
    if not theirs:
        return
    connection.execute("UPDATE turns SET state = 'dropped' WHERE id = ?", (turn,))
    connection.execute(
        "UPDATE messages SET state = 'waiting', turn_id = NULL WHERE turn_id = ? AND user <> ?", (turn, user)
    )
    connection.execute("UPDATE conversations SET running = NULL WHERE id = ?", (conversation,))
    queue_next(connection, conversation, now)
