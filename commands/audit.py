"""`python main.py audit verify|head|export`: whether the audit record is as it was written, and a copy of it to read.

Beside a running gateway or without one. An export is of one moment, and the record shows who made it.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import orjson

from commands import Plan, Serve
from core.cells import defused
from core.errors import LedgerError
from core.ledger import office
from core.ledger.audit import Row, end, operated, readable, rows, snapshot
from core.ledger.verification import ANCHOR, Problem, Verdict, verify
from core.ledger.writer import Connection, sqlite3

COLUMNS = ("id", "time", "at", "action", "subject", "detail", "personal", "hash")
NOT_FOUND = (
    "no row has the head that was noted: rows were cut off at the end, or the record was written anew,"
    " or that row has been forgotten since (ledger.keep_audit_days)"
)


async def run(plan: Plan, serve: Serve) -> int:
    """0: all is as it was written, or exported; 1: something is wrong, and each row is named; 2: it cannot be read."""
    wanted = _parser().parse_args(plan.arguments)
    try:
        with office.opened(plan.ledger_path) as ledger:
            if wanted.what == "verify":
                return _verify(ledger, wanted.head)
            if wanted.what == "head":
                row, head = end(ledger)
                print(f"row {row}, head {head.hex()}")
                return 0
            return _export(ledger, wanted)
    except LedgerError as error:
        print(error, file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="main.py audit")
    whats = parser.add_subparsers(dest="what", required=True)
    verifying = whats.add_parser("verify", help="recompute the chain, and name each row that is changed or missing")
    verifying.add_argument("--head", type=_head, help="a head noted earlier, which must be in the chain")
    whats.add_parser("head", help="the newest row's hash, to be noted where nobody can change it")
    exporting = whats.add_parser("export", help="the record as JSON lines or CSV")
    exporting.add_argument("--format", choices=("jsonl", "csv"), default="jsonl")
    exporting.add_argument("--from", dest="since", type=_since, metavar="DATE", help="as 2026-11-30; UTC")
    exporting.add_argument("--to", dest="before", type=_before, metavar="DATE", help="a day is included; a time is not")
    exporting.add_argument("file", nargs="?", type=Path, metavar="FILE", help="a new one; default: standard output")
    return parser


def _head(text: str) -> bytes:
    head = bytes.fromhex(text)
    if len(head) != 32:
        raise ValueError(text)
    return head


def _since(text: str) -> float:
    """A time without a zone is UTC."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _before(text: str) -> float:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return _since(text)
    return _since((day + timedelta(days=1)).isoformat())


def _verify(ledger: Connection, noted: bytes | None) -> int:
    verdict = verify(ledger, noted)
    lost = noted is not None and verdict.noted_at is None
    for problem in verdict.problems:
        print(_told(problem))
    if verdict.more:
        print(f"... and {verdict.more} more")
    if lost:
        print(NOT_FOUND)
    if verdict.problems or lost:
        return 1
    print(f"{verdict.rows} rows, head {verdict.head.hex()}")
    for line in _remarks(verdict):
        print(line)
    return 0


def _told(problem: Problem) -> str:
    if problem.first == ANCHOR:
        return f"audit_anchor: {problem.what}"
    if problem.first == problem.last:
        return f"row {problem.first}: {problem.what}"
    return f"rows {problem.first} to {problem.last}: {problem.what}"


def _remarks(verdict: Verdict) -> Iterator[str]:
    if verdict.older:
        yield f"{verdict.older} rows are of an earlier version and stand before the chain: they are not checked"
    elif verdict.begins_after:
        yield f"rows up to {verdict.begins_after} have been forgotten (ledger.keep_audit_days)"
    if verdict.noted_at is not None:
        since = verdict.begins_after + verdict.rows - verdict.noted_at
        yield f"the head that was noted is that of row {verdict.noted_at}; rows written since: {since}"


def _export(ledger: Connection, wanted: argparse.Namespace) -> int:
    if wanted.file is not None and wanted.file.exists():
        raise LedgerError(f"{wanted.file} exists; name a file that does not")
    asked = {"format": wanted.format, "from": wanted.since, "to": wanted.before}
    file = readable(wanted.file.absolute()) if wanted.file else "-"
    try:
        operated(ledger, "export", "audit", asked | {"file": file}, time.time())
    except sqlite3.Error as error:  # as on a full disk: reading needs no room
        print(f"the audit record does not show this export: {error}", file=sys.stderr)
    lines = _csv if wanted.format == "csv" else _jsonl
    with snapshot(ledger):
        found = rows(ledger, wanted.since, wanted.before)
        if wanted.file is None:
            return _to_standard_output(lines(found))
        count = _to_file(wanted.file, found, lines)
    print(f"{wanted.file}: {count} rows")
    return 0


def _to_standard_output(lines: Iterable[bytes]) -> int:
    try:
        for line in lines:
            sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
    except BrokenPipeError:  # whoever reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _to_file(path: Path, found: Iterable[Row], lines: Callable[[Iterable[Row]], Iterator[bytes]]) -> int:
    count = 0

    def counted() -> Iterator[Row]:
        nonlocal count
        for row in found:
            count += 1
            yield row

    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))  # ours alone, as the ledger is
        with path.open("wb") as target:
            target.writelines(lines(counted()))
    except OSError as error:
        raise LedgerError(f"{path} is not whole: {error.strerror}") from error
    return count


def _jsonl(found: Iterable[Row]) -> Iterator[bytes]:
    for row in found:
        yield orjson.dumps(_cells(row, _json_or_text), option=orjson.OPT_APPEND_NEWLINE)


def _csv(found: Iterable[Row]) -> Iterator[bytes]:
    with closing(io.StringIO(newline="")) as text:
        table = csv.writer(text)
        table.writerow(COLUMNS)
        for row in found:
            table.writerow(
                defused(cell) if isinstance(cell, str) else cell for cell in _cells(row, lambda part: part).values()
            )
            yield text.getvalue().encode()
            text.seek(0)
            text.truncate()
        yield text.getvalue().encode()


def _cells(row: Row, part: Callable[[str], object]) -> Mapping[str, object]:
    """What a row holds, by COLUMNS; somebody may have put anything into it."""
    texts = [None if text is None else readable(text) for text in (row.action, row.subject, row.detail, row.personal)]
    action, subject, detail, personal = texts
    at: object = row.at
    hash: object = row.hash
    cells = (
        *(row.id, _time(at), at if isinstance(at, float) else readable(at), action, subject),
        *(detail and part(detail), personal and part(personal)),
        hash.hex() if isinstance(hash, bytes) else hash and readable(hash),
    )
    return dict(zip(COLUMNS, cells, strict=True))


def _json_or_text(text: str) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _time(at: object) -> str:
    try:
        return datetime.fromtimestamp(float(str(at)), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return ""
