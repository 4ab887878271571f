"""A ledger that an earlier version left opens with everything in it, and what waited there goes on."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlite_utils import Database

from core.ledger import office
from core.ledger.schema import migrations
from core.ledger.verification import verify
from tests.contract.ledgers import Book, SqliteStore, key

LATER = [step.name for step in migrations().pending(Database(memory=True))][1:]
ROWS = """
INSERT INTO conversations (id, channel, bot, chat_id, thread_id, language, history_from, prompt_tokens, created_at)
VALUES (1, 'web', 'support', 'chat', '', 'en', 1, 40, 1), (2, 'web', 'support', 'other', '', '', 0, 0, 1);
INSERT INTO users (id, channel, user_id) VALUES (1, 'web', 'user'), (2, 'web', 'other');
INSERT INTO turns (id, conversation_id, state, attempt, lease_until, started_at, committed_at, kind, text)
VALUES (1, 1, 'done', 1, 0, 1, 2, 'answer', 'Blue'), (2, 2, 'running', 1, 99, 1, NULL, '', '');
INSERT INTO messages
(id, channel, event_id, conversation_id, user, text, language, address, sent_at, accepted_at, state, turn_id)
VALUES (1, 'web', 'answered', 1, 1, 'What colour?', 'en', '{}', 0, 1, 'answered', 1),
       (2, 'web', 'waiting', 1, 1, 'Hello from before', 'en', '{}', 0, 3, 'waiting', NULL),
       (3, 'web', 'running', 2, 2, 'Cut off', 'en', '{}', 0, 1, 'running', 2);
UPDATE conversations SET running = 2 WHERE id = 2;
INSERT INTO inbox (conversation_id, user, served_at, message_id, first_at, ready_at) VALUES (1, 1, 0, 2, 1, 1);
INSERT INTO history (id, conversation_id, turn_id, role, text)
VALUES (1, 1, 1, 'user', '<What colour?>'), (2, 1, 1, 'assistant', 'Blue');
INSERT INTO deliveries (turn_id, conversation_id, channel, part, parts, text, kind, address, state, attempts, due_at)
VALUES (1, 1, 'web', 1, 2, 'Bl', 'answer', '{}', 'sending', 1, 1),
       (1, 1, 'web', 2, 2, 'ue', 'answer', '{}', 'pending', 0, 1);
INSERT INTO audit (at, action, subject, detail) VALUES (1, 'message', 'message/1', '{}');
"""


def test_there_is_something_to_migrate_from() -> None:
    assert len(LATER) >= 2


@pytest.mark.parametrize("step", LATER)
async def test_a_ledger_of_an_earlier_version_goes_on(tmp_path: Path, step: str) -> None:
    store = SqliteStore(tmp_path)
    with closing(sqlite3.connect(store.path)) as connection:
        migrations().apply(Database(connection), stop_before=step)
        connection.executescript(ROWS)
        if step > "0003_feedback_and_facts":  # from then on it is recorded which sends had begun
            connection.execute("UPDATE deliveries SET begun = 1 WHERE state = 'sending'")
        if step > "0005_audit_chain":  # from then on no row is written like that
            connection.execute("DELETE FROM audit")
        connection.commit()
    book = Book(store)
    await book.open()
    assert (await book.accept(book.message(event="answered"))).duplicate
    turns = {turn.text: turn for turn in [await book.take() for _ in range(2)]}
    assert set(turns) == {"Hello from before", "Cut off"}
    assert turns["Cut off"].attempt == 2
    waiting = turns["Hello from before"]
    assert [entry.text for entry in await book.ledger.recall(waiting, 10)] == ["<What colour?>", "Blue"]
    assert (waiting.messages[0].speaker, waiting.prompt_tokens) == ("", 40)
    await book.commit(waiting, "Hello to you")
    assert await book.send() == ["ue", "Hello to you"], "the first part may have been sent"
    assert await book.ledger.feedback(key(), 1, "user", "good", book.clock())
    await book.ledger.close()
    with office.opened(store.path) as ledger:
        assert office.report(ledger).messages == {"answered": 2, "running": 1}
        found = verify(ledger)
        assert (found.problems, found.older > 0) == ((), step <= "0005_audit_chain")
