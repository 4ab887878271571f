"""Walks the audit record from its beginning and names every row that is not as it was written, with what is wrong.

What cannot be seen from the file alone: rows cut off at its end, and a record written anew from some row on by somebody
who recomputed the hashes. A head that was noted elsewhere shows both.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeGuard

from core.audit import GENESIS, SEAL, Written, digest, link
from core.ledger.audit import Row, json_object, rows, snapshot
from core.ledger.writer import Connection

LISTED = 1000  # of the problems, the ones that are told
COMPARED = 32  # changed rows that are compared with each other, in case they changed places
ANCHOR = 0  # no row has this number: it stands for audit_anchor

CHANGED = "changed"
HASH_CHANGED = "its hash was changed"
MISSING = "missing"
ELSEWHERE = "out of order: written as row {row}"
PERSONAL_CHANGED = "its personal part was changed"
PERSONAL_MISSING = "its personal part is missing, and no erasure names it"
PERSONAL_BACK = "its personal part is back, though it was erased"
PERSONAL_ADDED = "it has a personal part, and was written without one"
NO_PLACE = "stands before the beginning of the chain"
ANCHOR_CHANGED = "is not where the chain begins"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with the rows from `first` to `last`; ANCHOR is audit_anchor."""

    first: int
    last: int
    what: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a walk found: how many rows the chain has, how many are `older` than it, the row whose hash is the head that
    was asked for, and what is wrong; `more` problems are beyond LISTED."""

    rows: int
    head: bytes
    begins_after: int
    older: int
    noted_at: int | None
    problems: tuple[Problem, ...]
    more: int


@dataclass(slots=True)
class _Doubt:
    """A row that does not follow the one before it."""

    row: Row
    previous: bytes  # as it stands in the row before
    what: str = CHANGED


@dataclass(slots=True)
class _Walk:
    """Where the walk is: the last row's number, and the hashes that the next one may follow, the stored one first; none
    when that cannot be known."""

    last: int
    previous: tuple[bytes, ...]
    erased: list[tuple[int, int]]
    noted: bytes | None
    rows: int = 0
    noted_at: int | None = None
    doubts: list[_Doubt] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    more: int = 0

    def step(self, row: Row) -> None:
        if row.id != self.last + 1:
            self.tell(self.last + 1, row.id - 1, MISSING)
            self.previous = ()
        self.rows, self.last = self.rows + 1, row.id
        sound = _is_sound(row)
        computed = tuple(_hash(row, previous) for previous in self.previous) if sound else ()
        if sound and _is_hash(row.hash) and (not self.previous or row.hash in computed):
            if computed and row.hash != computed[0] and self.doubts:
                self.doubts[-1].what = HASH_CHANGED  # this row follows the hash that the one before it had
            self._follow(row)
        else:
            what = CHANGED if _is_hash(row.hash) else HASH_CHANGED
            if len(self.doubts) < LISTED:
                self.doubts.append(_Doubt(row, self.previous[0] if self.previous else GENESIS, what))
            else:
                self.more += 1
            self.previous = (row.hash, *computed[:2]) if _is_hash(row.hash) else computed[:2]

    def _follow(self, row: Row) -> None:
        self.previous = (row.hash or GENESIS,)
        if row.hash == self.noted:
            self.noted_at = row.id
        if what := self.personal(row):
            self.tell(row.id, row.id, what)

    def personal(self, row: Row) -> str:
        """What is wrong with its personal part; "" if nothing is."""
        seal, was_erased = json_object(row.detail).get(SEAL), self._was_erased(row.id)
        if row.personal is None:
            return PERSONAL_MISSING if seal is not None and not was_erased else ""
        if seal is None:
            return PERSONAL_ADDED
        if was_erased:
            return PERSONAL_BACK
        return "" if isinstance(row.personal, str) and digest(row.personal) == seal else PERSONAL_CHANGED

    def _was_erased(self, row: int) -> bool:
        index = bisect_right(self.erased, (row, sys.maxsize)) - 1
        return index >= 0 and row <= self.erased[index][1]

    def tell(self, first: int, last: int, what: str) -> None:
        if self.problems and (self.problems[-1].last, self.problems[-1].what) == (first - 1, what):
            self.problems[-1] = Problem(self.problems[-1].first, last, what)
        elif len(self.problems) < LISTED:
            self.problems.append(Problem(first, last, what))
        else:
            self.more += 1


def verify(connection: Connection, noted: bytes | None = None) -> Verdict:
    """Walk through the record as it is now, beside whatever is written meanwhile; `noted` is a head to look for."""
    with snapshot(connection):
        erased, recorded, recorded_by = _recorded(connection)
        begins_after, previous, moved = _beginning(connection, recorded)
        walk = _Walk(begins_after, (previous,), erased, noted, noted_at=begins_after if noted == previous else None)
        older = 0
        for row in rows(connection):
            if row.id > begins_after:
                walk.step(row)
            elif previous == GENESIS and row.hash is None:
                older += 1
            else:
                walk.tell(row.id, row.id, NO_PLACE)
    if moved and recorded_by not in {doubt.row.id for doubt in walk.doubts}:
        walk.problems.insert(0, Problem(ANCHOR, ANCHOR, ANCHOR_CHANGED))
    _compare(walk)
    for doubt in walk.doubts:
        walk.tell(doubt.row.id, doubt.row.id, doubt.what)
    problems = tuple(sorted(walk.problems, key=lambda problem: (problem.first, problem.last)))
    head = walk.previous[0] if walk.previous else GENESIS
    return Verdict(walk.rows, head, begins_after, older, walk.noted_at, problems, walk.more)


def _recorded(connection: Connection) -> tuple[list[tuple[int, int]], tuple[int, bytes] | None, int]:
    """What the record says of itself: the rows whose personal part was erased, in order and apart from each other; the
    last row that was forgotten, with its hash; and which row says so."""
    erased: list[tuple[int, int]] = []
    forgotten, by = None, 0
    for row, action, text in connection.execute(
        "SELECT id, action, detail FROM audit WHERE action IN ('erase', 'forget') AND hash IS NOT NULL ORDER BY id"
    ):
        detail = json_object(text) if isinstance(text, str) else {}
        if action == "erase":
            pairs = detail.get("rows")
            known = [pair for pair in pairs if _is_pair(pair)] if isinstance(pairs, list) else []
            erased += [(first, last) for first, last in known if last < row]
            continue
        last, hash = detail.get("up_to"), detail.get("hash")
        if isinstance(last, int) and isinstance(hash, str) and len(hash) == 2 * len(GENESIS) and _is_hex(hash):
            forgotten, by = (last, bytes.fromhex(hash)), row
    return _apart(erased), forgotten, by


def _beginning(connection: Connection, recorded: tuple[int, bytes] | None) -> tuple[int, bytes, bool]:
    """What the chain begins after: a row and its hash, and whether audit_anchor says something else."""
    anchor = connection.execute("SELECT id, hash FROM audit_anchor").fetchone()
    stated = (anchor[0], anchor[1]) if anchor and isinstance(anchor[0], int) and _is_hash(anchor[1]) else None
    first = next((row for row in rows(connection) if row.hash is not None), None)
    if recorded is None and stated and first and stated[0] >= first.id:
        stated = None
    agreed = stated == recorded if recorded else stated is not None and stated[1] == GENESIS
    new = (first.id - 1 if first else 0, GENESIS)
    possible = [beginning for beginning in (recorded, stated, new) if beginning is not None]
    # Where they differ, the oldest row says which is right; where it is missing, the record itself is believed first.
    followed = [beginning for beginning in possible if first and _follows(first, *beginning)]
    beginning = (followed or possible)[0]
    return *beginning, not agreed or beginning != stated


def _follows(row: Row, last: int, previous: bytes) -> bool:
    return row.id == last + 1 and _is_sound(row) and row.hash == _hash(row, previous)


def _compare(walk: _Walk) -> None:
    """Rows that changed places are named as such, and a row whose forerunner only stands elsewhere is in order."""
    if not 2 <= len(walk.doubts) <= COMPARED:
        return
    doubts = [doubt for doubt in walk.doubts if _is_sound(doubt.row)]
    stored = {doubt.row.hash for doubt in doubts if _is_hash(doubt.row.hash)}
    for doubt in doubts:
        if any(_hash(doubt.row, hash) == doubt.row.hash for hash in stored):
            walk.doubts.remove(doubt)
            if what := walk.personal(doubt.row):
                walk.tell(doubt.row.id, doubt.row.id, what)
            continue
        for place in doubts:
            previous = {place.previous, *stored}
            if any(_hash(doubt.row, hash, place.row.id) == doubt.row.hash for hash in previous):
                doubt.what = ELSEWHERE.format(row=place.row.id)


def _hash(row: Row, previous: bytes, place: int | None = None) -> bytes:
    return link(previous, place or row.id, row.at, Written(row.action, row.subject, row.detail, None))


def _is_sound(row: Row) -> bool:
    """SQLite keeps any type in any column."""
    return isinstance(row.at, float) and all(isinstance(text, str) for text in (row.action, row.subject, row.detail))


def _is_hash(value: object) -> TypeGuard[bytes]:
    return isinstance(value, bytes) and len(value) == len(GENESIS)


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(number, int) for number in value)


def _is_hex(text: str) -> bool:
    return all(character in "0123456789abcdef" for character in text)


def _apart(pairs: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for first, last in sorted(pairs):
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged
