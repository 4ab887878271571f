"""A ledger that an earlier version left opens with everything in it, and what waited there is answered."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlite_utils import Database

from core.ledger.schema import migrations
from tests.contract.ledgers import Book, SqliteStore


async def test_a_waiting_message_of_the_first_schema_is_answered(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    book = Book(store)
    with closing(sqlite3.connect(store.path)) as connection:
        database = Database(connection)
        migrations().apply(database, stop_before="0002_edits_and_speakers")
        assert "speaker" not in database["messages"].columns_dict
        connection.executescript(
            """
            INSERT INTO conversations (id, channel, bot, chat_id, thread_id, created_at)
            VALUES (1, 'web', 'support', 'chat', '', 1);
            INSERT INTO users (id, channel, user_id) VALUES (1, 'web', 'user');
            INSERT INTO messages
            (channel, event_id, conversation_id, user, text, language, address, sent_at, accepted_at, state)
            VALUES ('web', 'old', 1, 1, 'Hello from before', 'en', '{}', 0, 1, 'waiting');
            INSERT INTO inbox (conversation_id, user, served_at, message_id, first_at, ready_at)
            VALUES (1, 1, 0, 1, 1, 1);
            """
        )
    await book.open()
    turn = await book.take()
    assert (turn.text, turn.messages[0].speaker) == ("Hello from before", "")
    await book.commit(turn, "Hello to you")
    assert await book.send() == ["Hello to you"]
    await book.ledger.close()
