"""What an operator does to the ledger beside a running gateway: report, retry, backup, erase."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from core.errors import LedgerError, TurnLost
from core.ledger import erasure, office
from core.types import MessageState
from tests.contract.ledgers import Book, SqliteStore, key

SECRET = "Meine Kundennummer ist 70031188-Blau"
ANSWER = "Ihre 70031188-Blau ist unterwegs"


def path(book: Book) -> Path:
    assert isinstance(book.store, SqliteStore)
    return book.store.path


async def set_aside(book: Book, event: str = "poison") -> int:
    receipt = await book.accept(book.message(event=event))
    turn = await book.take()
    await book.ledger.commit(turn, book.reply(turn, "Sorry"), ["Sorry"], None, book.clock(), set_aside=True)
    return receipt.message_id


async def test_the_report_says_what_became_of_everything(book: Book) -> None:
    await set_aside(book)
    await book.send()
    await book.answer("x", parts=["one", "two"])
    (delivery,) = await book.due()
    await book.ledger.doubt(delivery.id, "no answer")
    (delivery,) = await book.due()
    await book.ledger.fail(delivery.id, "blocked")
    await book.accept(book.message(chat="waits"))
    with office.opened(path(book)) as ledger:
        report = office.report(ledger)
    assert report.messages == {"answered": 1, "set_aside": 1, "waiting": 1}
    assert report.deliveries == {"failed": 1, "sent": 1, "unclear": 1}
    assert report.oldest_waiting_at == book.clock()
    assert {(reason[1], reason[2]) for reason in report.reasons} == {("unclear", "no answer"), ("failed", "blocked")}
    assert [stuck.state for stuck in report.stuck] == ["set_aside", "failed", "unclear"]


async def test_what_was_set_aside_is_answered_when_it_is_tried_again(book: Book) -> None:
    number = await set_aside(book)
    await book.send()
    book.clock.advance(10 * 3600)
    with office.opened(path(book)) as ledger:
        assert office.retry(ledger, [f"m{number}", "m999", "x1", "d1"], book.clock()) == [f"m{number}"]
        assert office.retry(ledger, [f"m{number}"], book.clock()) == [], "it waits already"
    turn = await book.take()
    assert (turn.text, turn.attempt, turn.messages[0].accepted_at) == ("Hello", 1, book.clock())
    await book.commit(turn, "At last")
    assert await book.send() == ["At last"]
    assert await book.ledger.state("web", "poison") is MessageState.ANSWERED


async def test_what_is_tried_again_while_a_turn_runs_comes_after_it(book: Book) -> None:
    number = await set_aside(book)
    await book.accept("And this?")
    running = await book.take()
    with office.opened(path(book)) as ledger:
        assert office.retry(ledger, [f"m{number}"], book.clock()) == [f"m{number}"]
    assert await book.claim() is None
    await book.commit(running)
    assert (await book.take()).text == "Hello"


async def test_what_a_platform_refused_is_sent_again(book: Book) -> None:
    await book.answer("x", parts=["one", "two", "three"])
    (delivery,) = await book.due()
    await book.ledger.fail(delivery.id, "no")
    (delivery,) = await book.due()
    await book.ledger.doubt(delivery.id, "no")
    assert await book.send() == ["three"]
    with office.opened(path(book)) as ledger:
        assert office.failed(ledger) == ["d1"], "an unclear one may have been seen"
        assert office.retry(ledger, ["d1", "d2", "d3"], book.clock()) == ["d1", "d2"]
    assert await book.send() == ["one", "two"]


async def test_a_backup_is_whole_while_messages_come_in(book: Book, tmp_path: Path) -> None:
    copied = asyncio.Event()

    async def write() -> int:
        count = 0
        while not copied.is_set():
            await book.accept(book.message(chat=f"chat {count}", event=f"beside {count}"))
            count += 1
        return count

    for number in range(200):
        await book.accept(book.message(event=f"before {number}"))
    writing = asyncio.create_task(write())
    target = tmp_path / "copy.db"
    await asyncio.to_thread(_copy, path(book), target)
    copied.set()
    assert await writing > 0
    with closing(sqlite3.connect(target)) as copy:
        (before,) = copy.execute("SELECT count(*) FROM messages WHERE event_id LIKE 'before %'").fetchone()
        (waiting,) = copy.execute("SELECT count(*) FROM inbox").fetchone()
        (chats,) = copy.execute("SELECT count(DISTINCT conversation_id) FROM messages").fetchone()
    assert before == 200
    assert waiting == chats, "of one moment"
    assert target.stat().st_mode & 0o077 == 0
    assert not target.with_name("copy.db-wal").exists()
    with pytest.raises(LedgerError, match="exists"), office.opened(path(book)) as ledger:
        office.backup(ledger, target)


def _copy(ledger: Path, target: Path) -> None:
    with office.opened(ledger) as connection:
        office.backup(connection, target)


async def test_a_backup_can_be_gone_on_with(book: Book, tmp_path: Path) -> None:
    await book.answer("Blue")
    await book.accept("And red?")
    (tmp_path / "restored").mkdir()
    store = SqliteStore(tmp_path / "restored")
    _copy(path(book), store.path)
    restored = Book(store)
    await restored.open()
    turn = await restored.take()
    assert [entry.text for entry in await restored.ledger.recall(turn, 10)] == ["<Hello>", "Blue"]
    await restored.ledger.close()


async def test_erasing_a_person_leaves_no_copy_in_any_file(book: Book) -> None:
    for number in range(3):
        await book.accept(book.message(f"{SECRET} {number}", user="person-4711", chat="chat-4711"))
        await book.commit(await book.take(), ANSWER, parts=[ANSWER])
        await book.send()
    await book.accept(book.message(SECRET, user="person-4711", chat="chat-4711", event="ev-4711"))
    await book.accept(book.message("Somebody else", user="other", chat="other"))
    with office.opened(path(book)) as ledger:
        assert erasure.erase(ledger, "web", "person-4711", book.clock()) == 4
        assert erasure.erase(ledger, "web", "person-4711", book.clock()) == 0
    turn = await book.take()
    assert turn.text == "Somebody else"
    await book.commit(turn)
    await book.ledger.close()
    files = [file for file in path(book).parent.iterdir() if file.is_file()]
    assert len(files) >= 2
    for file in files:
        raw = file.read_bytes()
        for trace in (SECRET, ANSWER, "70031188", "-4711"):
            assert trace.encode() not in raw, (file, trace)
    with office.opened(path(book)) as ledger:
        assert office.report(ledger).messages == {"answered": 4, "withdrawn": 1}, "what became of them stays"
    await book.open()


async def test_erasing_one_of_a_group_leaves_what_others_said(book: Book) -> None:
    await book.accept(book.message(SECRET, user="person-4711", chat="group"))
    await book.commit(await book.take(), ANSWER)
    book.clock.advance(1)
    await book.accept(book.message("Where is it?", user="other", chat="group"))
    await book.commit(await book.take(), "Here")
    await book.send()
    with office.opened(path(book)) as ledger:
        erasure.erase(ledger, "web", "person-4711", book.clock())
    texts = [entry.text for entry in await book.ledger.transcript(key("group"), 10)]
    assert texts == ["", "", "Where is it?", "Here"]
    await book.accept(book.message("And now?", user="other", chat="group"))
    history = await book.ledger.recall(await book.take(), 10)
    assert [entry.text for entry in history] == ["<Where is it?>", "Here"]


async def test_a_reply_being_written_does_not_bring_erased_words_back(book: Book) -> None:
    await book.accept(book.message(SECRET, user="person-4711", chat="group"))
    await book.accept(book.message("Where is it?", user="other", chat="group"))
    running = await book.take()
    await book.accept(book.message("Please", user="other", chat="group"))
    with office.opened(path(book)) as ledger:
        assert erasure.erase(ledger, "web", "person-4711", book.clock()) == 1
    with pytest.raises(TurnLost):
        await book.commit(running, ANSWER)
    turn = await book.take()
    assert turn.text == "Where is it?\nPlease"
    await book.commit(turn, "Here")
    assert await book.send() == ["Here"]
    await book.ledger.close()
    assert b"70031188" not in b"".join(file.read_bytes() for file in path(book).parent.iterdir() if file.is_file())
    await book.open()


async def test_erasing_one_who_waits_in_a_group_leaves_the_others_waiting(book: Book) -> None:
    await book.accept(book.message(SECRET, user="person-4711", chat="group"))
    await book.accept(book.message("Where is it?", user="other", chat="group"))
    with office.opened(path(book)) as ledger:
        erasure.erase(ledger, "web", "person-4711", book.clock())
    assert (await book.take()).text == "Where is it?"


def test_no_ledger_is_said(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="no ledger"), office.opened(tmp_path / "nothing.db"):
        raise AssertionError
    assert not (tmp_path / "nothing.db").exists()
    (tmp_path / "other.db").write_text("no database at all")
    with pytest.raises(LedgerError, match=r"other\.db"), office.opened(tmp_path / "other.db"):
        raise AssertionError
