"""What the tests of the audit record have in common: the file beside the ledger, and the auditor's own recipe."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from core import audit
from core.ledger import office
from core.ledger.verification import ANCHOR, Problem, Verdict, verify
from core.ledger.writer import Connection, sqlite3  # two libraries in one process would undo each other's locks
from tests.contract.ledgers import Book, SqliteStore


def path(book: Book) -> Path:
    assert isinstance(book.store, SqliteStore)
    return book.store.path


@contextmanager
def file(book: Book) -> Iterator[Connection]:
    """The ledger's file as somebody has it who is no part of Frontdesk."""
    with closing(sqlite3.connect(path(book), isolation_level=None)) as connection:
        yield connection


def verdict(book: Book, noted: bytes | None = None) -> Verdict:
    with office.opened(path(book)) as ledger:
        return verify(ledger, noted)


def named(found: Verdict) -> dict[int, str]:
    """What is wrong, by row; ANCHOR is audit_anchor."""
    return {row: problem.what for problem in found.problems for row in _rows(problem)}


def _rows(problem: Problem) -> range:
    return range(ANCHOR, ANCHOR + 1) if problem.first == ANCHOR else range(problem.first, problem.last + 1)


def sound(book: Book) -> Verdict:
    """The verdict, of a record in which nothing is wrong."""
    found = verdict(book)
    assert (named(found), found.more) == ({}, 0)
    return found


def told(book: Book, action: str = "") -> list[tuple[str, dict[str, object], dict[str, object] | None]]:
    """Subject, detail and personal part of the rows of that action, oldest first."""
    with file(book) as ledger:
        rows = ledger.execute(
            "SELECT subject, detail, personal FROM audit WHERE ? IN ('', action) ORDER BY id", (action,)
        ).fetchall()
    return [(subject, json.loads(detail), json.loads(part) if part else None) for subject, detail, part in rows]


def recipe() -> str:
    """The program in the docstring of core/audit.py."""
    lines = (audit.__doc__ or "").splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("    import hashlib"))
    return textwrap.dedent("\n".join(lines[start:]))
