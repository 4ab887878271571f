"""Cuts a Markdown text into Markdown texts that each render within a platform's limit, and together say all of it.

The cut is made in the Document, not in the source: a style that is cut ends and begins again, so does a code block with
its language, numbers of a list go on, and a link or a piece of code in a line stays whole where it can. Best is a cut
between blocks (never behind a heading), then between items, lines, sentences, clauses, words.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import accumulate

from adapters.markdown.document import (
    Block,
    Code,
    Document,
    Heading,
    Listing,
    Paragraph,
    Quote,
    Run,
    Runs,
    Style,
    Table,
    join,
    plain_text,
    texts,
)
from adapters.markdown.layout import table_lines, written_out
from adapters.markdown.parse import parse
from adapters.markdown.source import write

Blocks = tuple[Block, ...]
Length = Callable[[Blocks], int]  # of what the blocks become

_PAUSES = tuple(
    re.compile(pattern)
    for pattern in (r"\n", r"[.!?。！？…]+[\"'”’）)]*(?=\s|[^\x00-\x7f])\s*", r"[,;:，；：、]\s*", r"\s+")
)


def split(text: str, limit: int, rendered_length: Callable[[str], int]) -> list[str]:
    """Parts whose rendering is at most `limit` long; the text itself when it fits. `rendered_length(markdown)` tells
    the length of what a Markdown text becomes, in the platform's own unit.

    `limit` must hold a few characters and marks: what cannot be cut any further is a part even if it is too long.
    """
    if rendered_length(text) <= limit:
        return [text]

    def length(blocks: Blocks) -> int:
        return rendered_length(write(Document(blocks)))

    parts: list[str] = []
    rest = parse(text).blocks
    while rest:
        head, rest = _Cutter(limit).cut(rest, length, must=True)
        parts.append(_source(head))
    return parts or [text]


def _source(blocks: Blocks) -> str:
    """The blocks as Markdown; where a style cannot be written so that it is read again, without styles."""
    source = write(Document(blocks))
    if _said(parse(source).blocks) != _said(blocks):
        return write(Document(tuple(_unstyled(block) for block in blocks)))
    return source


def _said(blocks: Blocks) -> str:
    return "".join("".join(texts(blocks)).split())


def _unstyled(block: Block) -> Block:
    if isinstance(block, Paragraph | Heading):
        return replace(block, runs=_bare(block.runs))
    if isinstance(block, Quote):
        return Quote(tuple(_unstyled(inner) for inner in block.blocks))
    if isinstance(block, Listing):
        return replace(block, items=tuple(tuple(_unstyled(inner) for inner in item) for item in block.items))
    if isinstance(block, Table):
        return replace(block, rows=tuple(tuple(_bare(cell) for cell in row) for row in block.rows))
    return block


def _bare(runs: Runs) -> Runs:
    return join(replace(run, style=run.style & Style.CODE) for run in runs)


class _Cutter:
    """Cuts what stands first off the rest; `must` means that something has to come off, fitting or not."""

    def __init__(self, limit: int) -> None:
        self._limit = limit

    def cut(self, blocks: Blocks, length: Length, *, must: bool) -> tuple[Blocks, Blocks]:
        """As many blocks as fit, and a piece of the next one if that is too long for a part of its own."""
        sizes = [_characters((block,)) for block in blocks]
        count = self._most(sizes, lambda number: length(blocks[:number]))
        if count == len(blocks):
            return blocks, ()
        if count and sizes[count] <= self._limit and length((blocks[count],)) <= self._limit:
            count -= count > 1 and isinstance(blocks[count - 1], Heading)
            return blocks[:count], blocks[count:]
        before = blocks[:count]
        head, tail = self._divide(blocks[count], lambda inner: length((*before, *inner)), must=must and not count)
        return (*before, *head), (*tail, *blocks[count + 1 :])

    def _divide(self, block: Block, length: Length, *, must: bool) -> tuple[Blocks, Blocks]:
        if isinstance(block, Paragraph | Heading):
            return self._text(block, length, must=must)
        if isinstance(block, Table):
            return self._code(Code("\n".join(table_lines(block, columns=True))), length, must=must)
        if isinstance(block, Code):
            return self._code(block, length, must=must)
        if isinstance(block, Quote):
            head, tail = self.cut(block.blocks, lambda inner: length((Quote(inner),)), must=must)
            return ((Quote(head),) if head else ()), ((Quote(tail),) if tail else ())
        if isinstance(block, Listing):
            return self._listing(block, length, must=must)
        return ((block,), ()) if must else ((), (block,))

    def _listing(self, listing: Listing, length: Length, *, must: bool) -> tuple[Blocks, Blocks]:
        items, first = listing.items, listing.items[0]
        sizes = [_characters(item) + 2 for item in items]
        count = self._most(sizes, lambda number: length((replace(listing, items=items[:number]),)))
        if count:
            return (replace(listing, items=items[:count]),), _later(listing, count)
        if not first:
            return ((replace(listing, items=((),)),), _later(listing, 1)) if must else ((), (listing,))
        head, tail = self.cut(first, lambda inner: length((replace(listing, items=(inner,)),)), must=must)
        if not head:
            return (), (listing,)
        return (replace(listing, items=(head,)),), (*tail, *_later(listing, 1))

    def _text(self, block: Paragraph | Heading, length: Length, *, must: bool) -> tuple[Blocks, Blocks]:
        runs = block.runs
        total = sum(len(run.text) for run in runs)
        longest = self._most([1] * total, lambda end: length((replace(block, runs=_slice(runs, 0, end)),)))
        if not longest and not must:
            return (), (block,)
        if runs[0].url and longest < len(runs[0].text):
            # Longer than a whole part: its words and its address, as text.
            return self._text(replace(block, runs=join((*written_out(runs[:1]), *runs[1:]))), length, must=must)
        end = _pause(runs, max(longest, 1))
        head, tail = _slice(runs, 0, end), _slice(runs, end, total)
        return ((replace(block, runs=head),) if head else ()), ((replace(block, runs=tail),) if tail else ())

    def _code(self, code: Code, length: Length, *, must: bool) -> tuple[Blocks, Blocks]:
        text = code.text
        longest = self._most([1] * len(text), lambda end: length((replace(code, text=text[:end]),)))
        line = len(text) if longest == len(text) else text.rfind("\n", 1, max(longest, 1) + 1)
        if line < 1 and not must:
            return (), (code,)
        end = line if line > 0 else _whole_character(text, max(longest, 1))
        tail = text[end:].removeprefix("\n")
        return (replace(code, text=text[:end]),), ((replace(code, text=tail),) if tail.strip() else ())

    def _most(self, sizes: Sequence[int], length: Callable[[int], int]) -> int:
        """About the largest number of things that fit together, 0 when not even one does.

        `sizes` are the characters they say, which no rendering makes much shorter. Each try writes and renders a whole
        part, so the next try is where the limit must be if all things are alike.
        """
        most = bisect_right(list(accumulate(sizes)), self._limit * 1.1)
        low, high, below, tries = 0, most, 0, 0
        each = max(1.0, sum(sizes[:most]) / max(most, 1))
        while low < high and below < self._limit * 0.97:
            tries += 1
            near = low + int((self._limit - below) / each) if tries < 8 else (low + high + 1) // 2
            # The first try is a small one, only to learn how long things are.
            number = high // 16 if tries == 1 and high > 32 else min(high, max(low + 1, near))
            found = length(number)
            each = max(found / number, 0.1)
            if found <= self._limit:
                low, below = number, found
            else:
                high = number - 1
        return low


def _later(listing: Listing, count: int) -> Blocks:
    if count >= len(listing.items):
        return ()
    start = None if listing.start is None else listing.start + count
    return (replace(listing, items=listing.items[count:], start=start),)


def _characters(blocks: Iterable[Block]) -> int:
    return sum(len(text) for text in texts(blocks))


def _slice(runs: Iterable[Run], start: int, end: int) -> Runs:
    cut, at = [], 0
    for run in runs:
        cut.append(replace(run, text=run.text[max(0, start - at) : max(0, end - at)]))
        at += len(run.text)
    return join(cut)


def _pause(runs: Sequence[Run], longest: int) -> int:
    """Where to cut, at `longest` or before, so that a reader would pause there and nothing is torn."""
    text = plain_text(runs)
    if longest >= len(text):
        return len(text)
    ends = list(accumulate(len(run.text) for run in runs))
    whole = [
        (end - len(run.text), end) for run, end in zip(runs, ends, strict=True) if run.url or run.style & Style.CODE
    ]
    # A pause in the first half would leave a part that is needlessly short.
    for pause in _PAUSES:
        found = [match.end() for match in pause.finditer(text, longest // 2, longest)]
        free = [end for end in found if end and not any(start < end < stop for start, stop in whole)]
        if free:
            return free[-1]
    torn = [start for start, stop in whole if 0 < start < longest < stop]
    return torn[0] if torn else _whole_character(text, longest)


def _whole_character(text: str, end: int) -> int:
    """Not between a character and what combines with it."""
    at = end
    while 1 < at < len(text) and (unicodedata.category(text[at]) in {"Mn", "Me", "Cf"} or text[at - 1] == "\u200d"):
        at -= 1
    return at if at > 1 else end
