"""The audit record: who said what and what answered it, in a chain that anybody can recompute, and nobody's words."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import sys
from contextlib import closing
from pathlib import Path

import pytest
from sqlite_utils import Database

from core.audit import AuditEntry, completion_entry
from core.ledger import Admission, Notice, office
from core.ledger.audit import operator
from core.ledger.schema import migrations
from core.ledger.sqlite import SqliteLedger
from core.ledger.verification import verify
from core.ledger.writer import Connection, sqlite3
from core.throttle import Rate
from core.types import Reply, ReplyKind, Sampling, Usage
from tests.contract.ledgers import AT_ONCE, Book, SqliteStore, key
from tests.core.audit_house import file, named, path, recipe, sound, told, verdict

SAMPLING = Sampling(temperature=0.25, top_p=0.95, max_tokens=77, frequency_penalty=0.1)


class Unmasked(SqliteStore):
    """A store whose record is kept as it comes."""

    def ledger(self) -> SqliteLedger:
        return SqliteLedger(self.path, masking=False)


async def test_a_reply_is_recorded_with_what_produced_it(book: Book) -> None:
    await book.accept("What colour?")
    turn = await book.take()
    reply = dataclasses.replace(book.reply(turn, "Blue"), version="0123456789ab", sampling=SAMPLING)
    await book.ledger.commit(turn, reply, ["Blue"], None, book.clock())
    ((subject, detail, personal),) = told(book, "reply")
    seal = detail.pop("personal")
    assert subject == f"turn/{turn.id}"
    assert detail == {
        "channel": "web",
        "bot": "support",
        "version": "0123456789ab",
        "messages": [turn.messages[0].id],
        "kind": "answer",
        "cut": False,
        "reason": "",
        "model": "test-model",
        "sampling": {"temperature": 0.25, "top_p": 0.95, "max_tokens": 77, "frequency_penalty": 0.1},
        "prompt_tokens": 30,
        "completion_tokens": 12,
    }
    assert personal is not None and isinstance(seal, str) and len(seal) == 64
    assert (personal["conversation"], personal["user"]) == (str(key()), "user")
    assert personal["text_sha256"] == hashlib.sha256(f"{personal['salt']}Blue".encode()).hexdigest()


async def test_the_same_words_of_the_same_user_look_different_each_time(book: Book) -> None:
    for number in range(150):
        await book.accept(book.message("yes", chat=f"chat {number}"))
    details = [detail for _, detail, _ in told(book, "message")]
    parts = [part for _, _, part in told(book, "message") if part]
    assert len({part["salt"] for part in parts}) == len({part["text_sha256"] for part in parts}) == 150
    assert len({str(detail["personal"]) for detail in details}) == 150
    assert "yes" not in str(parts) and hashlib.sha256(b"yes").hexdigest() not in str(parts)


async def test_what_the_house_says_itself_is_recorded_with_the_bots_version(book: Book) -> None:
    admission = Admission(Rate.per_minute(60, 1), None, lambda _: "Slowly.", version="0123456789ab")
    await book.ledger.accept(book.message("/help"), admission, AT_ONCE, book.clock(), Notice("Ask me.", "help"))
    await book.ledger.accept(book.message("more"), admission, AT_ONCE, book.clock())
    assert [(detail["version"], detail["kind"]) for _, detail, _ in told(book, "reply")] == [
        ("0123456789ab", "notice"),
        ("0123456789ab", "notice"),
    ]


async def test_whoever_speaks_in_a_turn_is_named_with_its_reply(book: Book) -> None:
    await book.accept(book.message("One", user="first"))
    await book.accept(book.message("Two", user="second"))
    await book.commit(await book.take())
    ((_, _, personal),) = told(book, "reply")
    assert personal is not None and personal["user"] == ["first", "second"]


async def test_a_completion_is_recorded_and_is_about_nobody(book: Book) -> None:
    entry = completion_entry("chatcmpl-1", "f00d", "support", "0123456789ab", "tiny", SAMPLING, Usage(3, 4), "stop")
    await book.ledger.record(entry, book.clock())
    ((subject, detail, personal),) = told(book, "completion")
    assert (subject, personal) == ("request/chatcmpl-1", None)
    assert (detail["key"], detail["version"], detail["ending"]) == ("f00d", "0123456789ab", "stop")
    sound(book)


async def test_an_auditor_recomputes_the_chain_with_the_written_recipe(book: Book, tmp_path: Path) -> None:
    for number in range(5):
        await book.answer(f"Antwort {number} 好", chat=f"chat {number} 店")
    book.clock.advance(0.1)
    await book.ledger.record(AuditEntry("odd", "two\nlines", {"what": "Ünï\n\x1f\"'"}), 1e16)
    head = sound(book).head.hex()
    program = tmp_path / "recipe.py"
    program.write_text(recipe(), encoding="utf-8")
    assert await ran(program, path(book)) == (0, f"head {head}\n")
    with file(book) as ledger:
        ledger.execute("UPDATE audit SET detail = replace(detail, 'waiting', 'running') WHERE id = 3")
    status, _ = await ran(program, path(book))
    assert status == 1
    assert list(named(verdict(book))) == [3]


async def ran(program: Path, ledger: Path) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(program), str(ledger), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def test_other_processes_write_into_the_same_chain(book: Book) -> None:
    """Each finds the end as the one before left it, whichever connection that was."""
    await book.accept(book.message(event="poison"))
    turn = await book.take()
    await book.ledger.commit(turn, book.reply(turn, "Sorry"), ["Sorry"], None, book.clock(), set_aside=True)
    with office.opened(path(book)) as ledger:
        assert office.retry(ledger, ["m1"], book.clock()) == ["m1"]
    await book.accept("After it")
    assert sound(book).rows == 4
    ((subject, detail, personal),) = told(book, "retry")
    assert (subject, detail, personal) == ("ledger", {"who": operator(), "names": ["m1"]}, None)
    with office.opened(path(book)) as ledger:
        assert office.retry(ledger, ["m1"], book.clock()) == []
    assert len(told(book, "retry")) == 1, "nothing was done"


async def test_work_that_is_undone_leaves_no_gap(book: Book) -> None:
    """Pieces of work that share a commit share the end of the chain, and one of them may fail after its row."""

    def fail(connection: Connection) -> None:
        assert isinstance(book.ledger, SqliteLedger)
        book.ledger.audit(connection, AuditEntry("undone", "x", {}), book.clock())
        raise RuntimeError("after the row")

    assert isinstance(book.ledger, SqliteLedger)
    work = [book.accept(book.message(chat=f"chat {number}")) for number in range(20)]
    failing = [book.ledger.write(fail) for _ in range(20)]
    outcomes = await asyncio.gather(
        *(piece for pair in zip(work, failing, strict=True) for piece in pair), return_exceptions=True
    )
    assert sum(isinstance(outcome, RuntimeError) for outcome in outcomes) == 20
    assert sound(book).rows == 20
    assert told(book, "undone") == []


async def test_what_was_forgotten_is_recorded_and_the_chain_begins_after_it(book: Book) -> None:
    noted = []
    for number in range(6):
        await book.answer(f"Answer {number}")
        noted.append(sound(book).head)
        book.clock.advance(100)
    now = book.clock()
    assert await book.ledger.forget(float("-inf"), now - 350, now, 200) == 6
    found = sound(book)
    assert (found.begins_after, found.rows, found.older) == (6, 7, 0)
    ((_, detail, _),) = told(book, "forget")
    assert detail == {"rows": 6, "up_to": 6, "hash": noted[2].hex()}
    assert verdict(book, noted[4]).noted_at == 10, "a head that was noted before is still found"
    assert verdict(book, noted[2]).noted_at == 6, "also the last one forgotten"
    assert verdict(book, noted[1]).noted_at is None
    assert await book.ledger.forget(float("-inf"), now - 350, now, 200) == 0
    await book.accept("More")
    sound(book)


async def test_a_record_that_says_only_what_was_forgotten_is_left_alone(book: Book) -> None:
    await book.answer()
    for _ in range(3):
        book.clock.advance(1000)
        await book.ledger.forget(float("-inf"), book.clock() - 500, book.clock(), 200)
    assert [len(told(book, action)) for action in ("message", "forget")] == [0, 1]
    book.clock.advance(1000)
    assert await book.ledger.forget(float("-inf"), book.clock() - 500, book.clock(), 1) == 1, (
        "where more may be behind it"
    )
    sound(book)


async def test_a_row_written_under_a_clock_that_was_wrong_keeps_those_after_it(book: Book) -> None:
    await book.ledger.record(AuditEntry("late", "x", {}), book.clock() + 1e9)
    await book.answer()
    book.clock.advance(1000)
    assert await book.ledger.forget(float("-inf"), book.clock() - 500, book.clock(), 200) == 0
    sound(book)


async def test_rows_older_than_the_chain_stand_before_it(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    with closing(sqlite3.connect(store.path)) as connection:
        migrations().apply(Database(connection), stop_before="0005_audit_chain")
        old = [(1.0, "message", f"message/{number}", "{}") for number in range(1, 8)]
        connection.executemany("INSERT INTO audit (at, action, subject, detail) VALUES (?, ?, ?, ?)", old)
        connection.commit()
    book = Book(store)
    await book.open()
    assert (sound(book).rows, sound(book).older) == (0, 7)
    await book.accept("New")
    found = sound(book)
    assert (found.rows, found.older, found.begins_after) == (1, 7, 7)
    assert await book.ledger.forget(float("-inf"), 2.0, book.clock(), 5) == 5
    found = sound(book)
    assert (found.rows, found.older, found.begins_after) == (2, 2, 7)
    assert await book.ledger.forget(float("-inf"), 2.0, book.clock(), 5) == 2
    assert sound(book).older == 0
    await book.ledger.close()


async def test_a_migrated_ledger_without_rows_begins_with_the_first(tmp_path: Path) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        migrations().apply(Database(connection))
        assert verify(connection).rows == 0
        assert verify(connection).head == bytes(32)


@pytest.mark.parametrize("masking", [True, False])
async def test_ids_that_tell_who_somebody_is_are_masked_if_the_setting_says_so(tmp_path: Path, masking: bool) -> None:
    book = Book(SqliteStore(tmp_path) if masking else Unmasked(tmp_path))
    await book.open()
    await book.accept(
        book.message("Hello", user="k1:anna@shop.example", chat="+49 170 1234567", event="4111111111111111")
    )
    turn = await book.take()
    sorry = Reply("Sorry", ReplyKind.APOLOGY, reason="the platform said: 13800138000 is gone")
    await book.ledger.commit(turn, sorry, ["Sorry"], None, book.clock())
    ((_, _, message), (_, detail, _)) = told(book)
    assert message is not None
    if masking:
        assert str(message["user"]).startswith("k1:***@shop.example#")
        assert message["conversation"] == "web/support/***67"
        assert detail["reason"] == "the platform said: ***00 is gone"
    else:
        assert (message["user"], message["conversation"]) == ("k1:anna@shop.example", "web/support/+49 170 1234567")
        assert detail["reason"] == "the platform said: 13800138000 is gone"
    assert message["event"] == "4111111111111111", "a platform's own number, by which its records are found"
    sound(book)
    await book.ledger.close()


def test_an_operator_is_named_by_the_operating_system() -> None:
    assert operator()
