"""A chat that ends, moves or takes its words back in SQL: withdrawn messages are recorded so, and leave no turn open.

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


def move(connection: Connection, channel: str, chat_id: str, new_chat_id: str) -> None:
    """The platform gave the chat another id: its conversations go on under it. One that was begun there already stays
    beside it."""
    connection.execute(
        "UPDATE OR IGNORE conversations SET chat_id = ? WHERE channel = ? AND chat_id = ?",
        (new_chat_id, channel, chat_id),
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
