"""Erases what a person said and was told, so that no copy is left in the file; what became of each message stays.

Rows keep their numbers, states, times and digests (the audit's), so that counts and a record's chain stay true; texts,
addresses, names and the person's id go.
"""

from __future__ import annotations

import json

from core.ledger.writer import Connection

ERASED = "erased"
_PERSONAL = frozenset({"conversation", "user", "event"})  # of an audit row's detail
_NOTHING = (
    "text = '', address = '{}', reference = '', taken_by = NULL,"
    " state = CASE WHEN state IN ('pending', 'sending') THEN 'failed' ELSE state END"
)
_TURNS = "SELECT DISTINCT turn_id FROM messages WHERE user = ? AND turn_id IS NOT NULL"
_CONVERSATIONS = "SELECT DISTINCT conversation_id FROM messages WHERE user = ?"


def erase(connection: Connection, channel: str, user_id: str) -> int:
    """Erase one user of a channel; how many messages of theirs there were. What waits is withdrawn first. In a group
    their own words go, and the replies to them; what others said stays."""
    row = connection.execute("SELECT id FROM users WHERE channel = ? AND user_id = ?", (channel, user_id)).fetchone()
    if row is None:
        return 0
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        count = _erase(connection, row[0])
    # With secure_delete on, freed pages are overwritten; the WAL holds older ones until it begins anew.
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return count


def _erase(connection: Connection, user: int) -> int:
    (count,) = connection.execute("SELECT count(*) FROM messages WHERE user = ?", (user,)).fetchone()
    alone = [
        conversation
        for (conversation,) in connection.execute(_CONVERSATIONS, (user,)).fetchall()
        if not connection.execute(
            "SELECT 1 FROM messages WHERE conversation_id = ? AND user <> ? LIMIT 1", (conversation, user)
        ).fetchone()
    ]
    turns = [turn for (turn,) in connection.execute(_TURNS, (user,)).fetchall()]
    messages = [message for (message,) in connection.execute("SELECT id FROM messages WHERE user = ?", (user,))]
    connection.execute(
        "DELETE FROM inbox WHERE user = ? AND message_id IN (SELECT id FROM messages WHERE user = ?)", (user, user)
    )
    connection.execute("UPDATE messages SET state = 'withdrawn' WHERE user = ? AND state = 'waiting'", (user,))
    for turn in turns:
        connection.execute("UPDATE turns SET text = '', reference = '' WHERE id = ?", (turn,))
        connection.execute(f"UPDATE deliveries SET {_NOTHING} WHERE turn_id = ?", (turn,))  # noqa: S608 - a constant
        connection.execute("DELETE FROM history WHERE turn_id = ?", (turn,))
    # Notices that were no answer to a message (a place in line) are turns of the conversation alone.
    for conversation in alone:
        connection.execute("DELETE FROM history WHERE conversation_id = ?", (conversation,))
        connection.execute("UPDATE turns SET text = '', reference = '' WHERE conversation_id = ?", (conversation,))
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
    _erase_audit(connection, messages, turns)
    connection.execute("UPDATE users SET user_id = ? || id WHERE id = ?", (f"{ERASED}-", user))
    return int(count)


def _erase_audit(connection: Connection, messages: list[int], turns: list[int]) -> None:
    """The digests stay; who it was goes. One walk through the record, which has no index to be kept for this."""
    subjects = {f"message/{message}" for message in messages} | {f"turn/{turn}" for turn in turns}
    found = [
        (row, detail)
        for row, subject, detail in connection.execute("SELECT id, subject, detail FROM audit")
        if subject in subjects
    ]
    for row, detail in found:
        known = json.loads(detail)
        kept = {name: ERASED if name in _PERSONAL else value for name, value in known.items()}
        connection.execute("UPDATE audit SET detail = ? WHERE id = ?", (json.dumps(kept), row))
