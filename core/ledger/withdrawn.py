"""What nobody wants answered any more in SQL: a withdrawn message is recorded as such, and no turn of it is left open.

A turn that runs is not touched: whoever runs it is told to stop, and commits what stands.
"""

from __future__ import annotations

from core.ledger.writer import Connection

OF_CHAT = "conversation_id IN (SELECT id FROM conversations WHERE channel = ? AND chat_id = ?)"


def withdraw(connection: Connection, channel: str, chat_id: str) -> None:
    """A whole chat is gone, with all its threads."""
    chat = (channel, chat_id)
    connection.execute(
        f"UPDATE turns SET state = 'dropped' WHERE id IN (SELECT turn_id FROM inbox WHERE {OF_CHAT})",  # noqa: S608 - a constant
        chat,
    )
    connection.execute(f"DELETE FROM inbox WHERE {OF_CHAT}", chat)  # noqa: S608 - likewise
    connection.execute(
        f"UPDATE messages SET state = 'withdrawn' WHERE {OF_CHAT} AND state = 'waiting'",  # noqa: S608 - likewise
        chat,
    )
    # Said in the words of the partial index: SQLite does not see that state = 'pending' lies within it.
    connection.execute(
        f"UPDATE deliveries SET state = 'failed', reason = 'the user left' WHERE {OF_CHAT}"  # noqa: S608 - likewise
        " AND state IN ('pending', 'sending') AND state = 'pending'",
        chat,
    )


def take_back(connection: Connection, conversation_id: int, user: int) -> None:
    """A user's messages there that no turn has taken up yet; others' go on waiting in their place."""
    connection.execute(
        "UPDATE messages SET state = 'withdrawn' WHERE conversation_id = ? AND state = 'waiting' AND user = ?",
        (conversation_id, user),
    )
    left = connection.execute(
        "SELECT id, user FROM messages WHERE conversation_id = ? AND state = 'waiting' ORDER BY id LIMIT 1",
        (conversation_id,),
    ).fetchone()
    if left is None:
        connection.execute(
            "UPDATE turns SET state = 'dropped' WHERE id = (SELECT turn_id FROM inbox WHERE conversation_id = ?)",
            (conversation_id,),
        )
        connection.execute("DELETE FROM inbox WHERE conversation_id = ?", (conversation_id,))
    else:
        connection.execute(
            "UPDATE inbox SET message_id = ?, user = ?, served_at = (SELECT served_at FROM users WHERE id = ?)"
            " WHERE conversation_id = ?",
            (*left, left[1], conversation_id),
        )
