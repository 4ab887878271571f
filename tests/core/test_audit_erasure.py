"""Erasing a person leaves nothing in the audit record that tells who it was, and the record still verifies."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from sqlite_utils import Database

from core.ledger import erasure, office
from core.ledger.audit import operator
from core.ledger.schema import migrations
from core.ledger.verification import PERSONAL_BACK, PERSONAL_MISSING
from core.ledger.writer import sqlite3
from tests.contract.ledgers import Book, SqliteStore, key
from tests.core.audit_house import file, named, path, sound, told, verdict

PERSON = "person-4711"


def erase(book: Book, user: str = PERSON, channel: str = "web") -> int:
    with office.opened(path(book)) as ledger:
        return erasure.erase(ledger, channel, user, book.clock())


async def say(book: Book, user: str, chat: str, text: str = "yes", channel: str = "web") -> int:
    """A message and its answer; the turn."""
    await book.accept(book.message(text, user=user, chat=chat, channel=channel, event=f"event of {user} {text}"))
    turn = await book.take()
    await book.commit(turn, f"An answer to {text}")
    return turn.id


def personal(book: Book) -> str:
    return str([part for _, _, part in told(book)])


async def test_the_personal_parts_go_and_the_chain_holds(book: Book) -> None:
    await say(book, PERSON, "chat-4711")
    await say(book, "other", "elsewhere")
    before = sound(book)
    assert erase(book) == 1
    assert "4711" not in personal(book)
    assert "elsewhere" in personal(book)
    found = verdict(book, before.head)
    assert (named(found), found.noted_at, found.rows) == ({}, 4, 5)
    ((subject, detail, part),) = told(book, "erase")
    assert (subject, part) == ("user/1", None)
    assert detail == {"who": operator(), "channel": "web", "messages": 1, "rows": [[1, 2]]}


async def test_what_the_record_alone_still_knows_of_them_goes_too(book: Book) -> None:
    """Their messages were forgotten before, and they themselves with them."""
    await say(book, PERSON, "chat-4711")
    await say(book, "person-47", "chat-47")
    await say(book, PERSON, "chat-of-telegram", channel="telegram")
    await book.send()
    await book.ledger.fail(3, "gone")
    book.clock.advance(1000)
    while await book.ledger.forget(book.clock() - 500, float("-inf"), book.clock(), 200):
        pass
    with file(book) as ledger:
        assert ledger.execute("SELECT count(*) FROM users").fetchone() == (0,)
    assert erase(book) == 1
    assert "chat-4711" not in personal(book)
    assert "person-47'" in personal(book), "another's id that begins alike"
    assert "chat-of-telegram" in personal(book), "the same id on another channel is somebody else"
    assert erase(book) == 0
    assert len(told(book, "erase")) == 1
    sound(book)


async def test_their_votes_on_answers_to_others_go(book: Book) -> None:
    turn = await say(book, "other", "group")
    await book.accept(book.message("Hm", user=PERSON, chat="group"))
    await book.commit(await book.take())
    assert await book.ledger.feedback(key("group"), turn, PERSON, "bad", book.clock())
    assert await book.ledger.feedback(key("group"), turn, "other", "good", book.clock())
    erase(book)
    assert [part["user"] for _, _, part in told(book, "feedback") if part] == ["other"]
    sound(book)


async def test_a_masked_person_is_found_and_nobody_who_looks_alike(book: Book) -> None:
    await say(book, "anna@shop.example", "+49 170 1234567")
    await say(book, "otto@shop.example", "+49 170 7654321")
    await book.send()
    book.clock.advance(1000)
    while await book.ledger.forget(book.clock() - 500, float("-inf"), book.clock(), 200):
        pass
    assert erase(book, "anna@shop.example") == 1
    left = [part for _, _, part in told(book) if part]
    assert [part["conversation"] for part in left] == ["web/support/***21"] * 2
    sound(book)


async def test_an_erased_part_cannot_be_guessed(book: Book) -> None:
    """Who knows everything but the salt cannot tell whether it was this."""
    await say(book, PERSON, "chat-4711")
    before = {str(detail["personal"]) for _, detail, _ in told(book)}
    erase(book)
    again = Book(SqliteStore(path(book).parent / "again"))
    path(again).parent.mkdir()
    await again.open()
    await say(again, PERSON, "chat-4711")
    await again.ledger.close()
    assert before.isdisjoint({str(detail["personal"]) for _, detail, _ in told(again)})


async def test_a_part_that_goes_without_an_erasure_is_found_and_one_that_comes_back(book: Book) -> None:
    await say(book, PERSON, "chat-4711")
    await say(book, "other", "elsewhere")
    with file(book) as ledger:
        parts = dict(ledger.execute("SELECT id, personal FROM audit").fetchall())
    erase(book)
    with file(book) as ledger:
        ledger.execute("UPDATE audit SET personal = NULL WHERE id = 3")
        ledger.execute("UPDATE audit SET personal = ? WHERE id = 1", (parts[1],))
    assert named(verdict(book)) == {1: PERSONAL_BACK, 3: PERSONAL_MISSING}


async def test_somebody_made_something_else_of_a_part_and_it_goes_all_the_same(book: Book) -> None:
    await say(book, PERSON, "chat-4711")
    with file(book) as ledger:
        ledger.execute("UPDATE audit SET personal = 'person-4711, no JSON' WHERE id = 1")
        ledger.execute("UPDATE audit SET detail = 'no JSON' WHERE id = 2")
    assert erase(book) == 1
    with file(book) as ledger:
        assert ledger.execute("SELECT personal FROM audit WHERE id < 3").fetchall() == [(None,), (None,)]
    assert list(named(verdict(book))) == [2]


async def test_rows_older_than_the_chain_lose_the_same(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    with closing(sqlite3.connect(store.path, isolation_level=None)) as connection:
        migrations().apply(Database(connection), stop_before="0005_audit_chain")
        connection.execute("INSERT INTO users (id, channel, user_id) VALUES (1, 'web', ?)", (PERSON,))
        connection.execute(
            "INSERT INTO conversations (id, channel, bot, chat_id, thread_id, created_at)"
            " VALUES (1, 'web', 'support', 'chat-4711', '', 1)"
        )
        connection.execute(
            "INSERT INTO messages (id, channel, event_id, conversation_id, user, text, language, address, sent_at,"
            " accepted_at, state) VALUES (1, 'web', 'e-4711', 1, 1, 'yes', '', '{}', 0, 1, 'answered')"
        )
        detail = '{"conversation":"web/support/chat-4711","user":"person-4711","event":"e-4711","state":"answered",'
        connection.execute(
            "INSERT INTO audit (at, action, subject, detail) VALUES (1, 'message', 'message/1', ?)",
            (detail + '"text_sha256":"8a798890fe93817163b10b5f7bd2ca4d25d84c52739a645a889c173eee7d9d3d"}',),
        )
    book = Book(store)
    await book.open()
    assert erase(book) == 1
    assert told(book, "message") == [("message/1", {"state": "answered"}, None)], "a digest of a short text tells it"
    assert sound(book).older == 1
    await book.ledger.close()
