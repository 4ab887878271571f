"""`main.py audit`: what is wrong is named and is the exit status; an export is whole, of one moment, and recorded."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bots.workshop import Workshop
from commands import Plan, Serve, backup
from commands import audit as command
from core.audit import AuditEntry
from core.config import Environment, LedgerSettings, Settings
from core.ledger import Admission
from core.ledger.audit import operator
from core.throttle import Rate
from tests.contract.ledgers import AT_ONCE, Book, SqliteStore
from tests.core.audit_house import file, path, sound, told

HOME = Path(__file__).resolve().parent.parent.parent
DAY = 86_400.0
Captured = pytest.CaptureFixture[str]


@pytest.fixture
async def book(book: Book) -> Book:
    await book.answer("Blue")
    return book


def plan(book: Book, *arguments: str) -> Plan:
    settings = Settings(ledger=LedgerSettings(url=f"sqlite:///{path(book)}"))

    def build(*_: object, **__: object) -> None:
        raise AssertionError("it needs no channel")

    environment = Environment(path(book).parent / ".env", {})
    return Plan(HOME, HOME / "config.toml", arguments, settings, environment, {}, Workshop({}), (), build)  # type: ignore[arg-type]


async def _serve(*_: object) -> None:
    raise AssertionError("it needs no server")


SERVE: Serve = _serve


async def run(book: Book, *arguments: str) -> int:
    return await command.run(plan(book, *arguments), SERVE)


async def test_a_sound_record_is_told_with_its_head(book: Book, capsys: Captured) -> None:
    head = sound(book).head.hex()
    assert await run(book, "verify") == 0
    assert capsys.readouterr().out == f"2 rows, head {head}\n"
    assert await run(book, "head") == 0
    assert capsys.readouterr().out == f"row 2, head {head}\n"


async def test_each_bad_row_is_named(book: Book, capsys: Captured) -> None:
    for number in range(5):
        await book.answer(f"Answer {number}")
    with file(book) as ledger:
        ledger.execute("UPDATE audit SET at = at + 1 WHERE id = 2")
        ledger.execute("DELETE FROM audit WHERE id IN (4, 5, 9)")
        ledger.execute("UPDATE audit SET personal = NULL WHERE id = 7")
        ledger.execute("UPDATE audit_anchor SET id = 3")
    assert await run(book, "verify") == 1
    assert capsys.readouterr().out.splitlines() == [
        "audit_anchor: is not where the chain begins",
        "row 2: changed",
        "rows 4 to 5: missing",
        "row 7: its personal part is missing, and no erasure names it",
        "row 9: missing",
    ]


async def test_a_noted_head_is_looked_for(book: Book, capsys: Captured) -> None:
    head = sound(book).head.hex()
    await book.answer("More")
    assert await run(book, "verify", "--head", head.upper()) == 0
    assert "the head that was noted is that of row 2; rows written since: 2" in capsys.readouterr().out
    with file(book) as ledger:
        ledger.execute("DELETE FROM audit WHERE id > 1")
    assert await run(book, "verify") == 0
    capsys.readouterr()
    assert await run(book, "verify", "--head", head) == 1
    assert "cut off" in capsys.readouterr().out
    for wrong in ("xyz", "abcd"):
        with pytest.raises(SystemExit, match="2"):
            await run(book, "verify", "--head", wrong)


async def test_what_stands_before_the_chain_is_told(book: Book, capsys: Captured) -> None:
    book.clock.advance(100)
    await book.accept("New")
    await book.ledger.forget(float("-inf"), book.clock() - 50, book.clock(), 200)
    assert await run(book, "verify") == 0
    assert "rows up to 2 have been forgotten" in capsys.readouterr().out


async def test_an_export_is_whole_and_can_be_verified_from_itself(book: Book, tmp_path: Path, capsys: Captured) -> None:
    await book.ledger.record(AuditEntry("odd", "=1+1", {"text": '好 \u2028 \x7f \\ "', "number": 0.0001}), book.clock())
    target = tmp_path / "audit.jsonl"
    assert await run(book, "export", str(target)) == 0
    assert capsys.readouterr().out == f"{target}: 4 rows\n"
    assert target.stat().st_mode & 0o077 == 0
    lines = [json.loads(line) for line in target.read_text(encoding="utf-8").split("\n")[:-1]]
    assert [line["action"] for line in lines] == ["message", "reply", "odd", "export"]
    assert lines[0]["personal"]["user"] == "user"
    assert lines[0]["time"] == datetime.fromtimestamp(lines[0]["at"], UTC).isoformat(timespec="milliseconds").replace(
        "+00:00", "Z"
    )
    assert lines[3]["detail"]["who"] == operator()
    assert lines[3]["detail"]["file"] == str(target)
    previous = bytes(32)
    for line in lines:
        detail = json.dumps(line["detail"], ensure_ascii=False, separators=(",", ":"))
        row = "\n".join([str(line["id"]), repr(line["at"]), line["action"], line["subject"], detail])
        previous = hashlib.sha256(previous + row.encode()).digest()
        assert previous.hex() == line["hash"]
    assert await run(book, "export", str(target)) == 2, "it is there already"
    assert len(told(book, "export")) == 1


async def test_a_table_holds_no_formula(book: Book, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    for number, start in enumerate("=+-@\t＝"):
        await book.ledger.record(AuditEntry("odd", f"{start}cmd{number}", {"n": number}), book.clock())
    assert await run(book, "export", "--format", "csv") == 0
    table = list(csv.reader(io.StringIO(capfdbinary.readouterr().out.decode(), newline="")))
    assert table[0] == ["id", "time", "at", "action", "subject", "detail", "personal", "hash"]
    assert [row[4] for row in table if row[3] == "odd"] == [f"'{start}cmd{n}" for n, start in enumerate("=+-@\t＝")]
    assert len(table) == 10
    assert json.loads(table[1][6])["user"] == "user"


async def test_an_export_of_some_days(book: Book, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    first = datetime.fromtimestamp(book.clock(), UTC)
    book.clock.advance(DAY)
    await book.accept("The next day")
    book.clock.advance(DAY)
    await book.accept("The day after")

    async def exported(*arguments: str) -> list[int]:
        assert await run(book, "export", *arguments) == 0
        lines = capfdbinary.readouterr().out.splitlines()
        return [json.loads(line)["id"] for line in lines if json.loads(line)["action"] != "export"]

    second, third = (datetime.fromtimestamp(first.timestamp() + days * DAY, UTC) for days in (1, 2))
    assert await exported() == [1, 2, 3, 4]
    assert await exported("--from", second.date().isoformat()) == [3, 4]
    assert await exported("--to", second.date().isoformat()) == [1, 2, 3]
    assert await exported("--from", second.date().isoformat(), "--to", second.date().isoformat()) == [3]
    assert await exported("--to", second.isoformat()) == [1, 2], "a time itself is not included"
    assert await exported("--from", third.isoformat().replace("+00:00", "Z")) == [4]
    with pytest.raises(SystemExit, match="2"):
        await run(book, "export", "--from", "yesterday")


async def test_a_row_of_which_somebody_made_something_else_is_exported_as_it_is(
    book: Book, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    with file(book) as ledger:
        ledger.execute("UPDATE audit SET detail = 'no JSON', at = 'x', hash = 'y', personal = x'ff' WHERE id = 1")
        ledger.execute("UPDATE audit SET subject = CAST(x'61ff62' AS TEXT), at = 1e300 WHERE id = 2")
    assert await run(book, "export") == 0
    lines = [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]
    assert (lines[0]["detail"], lines[0]["at"], lines[0]["hash"], lines[0]["time"]) == ("no JSON", "x", "y", "")
    assert lines[1]["subject"] == "a\ufffdb"


async def test_an_export_is_of_one_moment(book: Book, tmp_path: Path) -> None:
    """The gateway goes on writing, and nobody waits for the export."""
    for number in range(300):
        await book.accept(book.message(chat=f"chat {number}"))
    target = tmp_path / "audit.jsonl"
    exporting = asyncio.create_task(asyncio.to_thread(asyncio.run, run(book, "export", str(target))))
    written = 0
    while not exporting.done():
        await book.accept(book.message(chat=f"beside {written}"))
        written += 1
    assert await exporting == 0
    lines = [json.loads(line) for line in target.read_text(encoding="utf-8").split("\n")[:-1]]
    ids = [line["id"] for line in lines]
    assert ids == list(range(1, len(ids) + 1))
    assert lines[-1]["hash"] != sound(book).head.hex() or not written
    assert "export" in {line["action"] for line in lines}


async def test_a_backup_is_recorded_and_holds_the_row_that_says_so(
    book: Book, tmp_path: Path, capsys: Captured
) -> None:
    target = tmp_path / "copy.db"
    assert await backup.run(plan(book, str(target)), SERVE) == 0
    assert await backup.run(plan(book, str(target)), SERVE) == 2
    assert "exists" in capsys.readouterr().err
    ((subject, detail, _),) = told(book, "backup")
    assert (subject, detail) == ("ledger", {"who": operator(), "file": str(target)})
    (tmp_path / "restored").mkdir()
    restored = Book(SqliteStore(tmp_path / "restored"))
    target.rename(path(restored))
    assert sound(restored).head == sound(book).head


async def test_without_a_ledger_it_says_so(tmp_path: Path, capsys: Captured) -> None:
    nowhere = Book(SqliteStore(tmp_path))
    assert await run(nowhere, "verify") == 2
    assert "there is no ledger" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        await run(nowhere)


@pytest.mark.process
async def test_the_command_beside_a_ledger_in_use(book: Book) -> None:
    await book.ledger.accept(
        book.message("Hi"), Admission(Rate.per_minute(60, 5), None, lambda _: ""), AT_ONCE, book.clock()
    )
    variables = {name: value for name, value in os.environ.items() if not name.startswith("FRONTDESK")}
    for words, expected in ((["verify"], 0), (["export", "--format", "csv"], 0), (["verify", "--head", "11" * 32], 1)):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *(str(HOME / "main.py"), "audit", *words),
            stdout=asyncio.subprocess.PIPE,
            env=variables | {"FRONTDESK__LEDGER__URL": f"sqlite:///{path(book)}"},
        )
        output, _ = await process.communicate()
        assert process.returncode == expected, output
    await book.accept("Goes on")
    assert sound(book).rows == 5
