"""Cuts a Markdown text into Markdown texts that each render within a platform's limit, and together say all of it.

The cut is made in the Document, not in the source: a style that is cut ends and begins again, so does a code block with
its language, numbers of a list go on, and a link or a piece of code in a line stays whole where it can. Best is a cut
between blocks (never behind a heading), then between items, lines, sentences, clauses, words.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
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
    texts,
)
from adapters.markdown.layout import table_lines, written_out
from adapters.markdown.parse import parse
from adapters.markdown.pauses import pause_at, piece, whole_character
from adapters.markdown.source import write

Blocks = tuple[Block, ...]
Wrap = Callable[[Blocks], Blocks]  # puts blocks into the quotes and lists that they stand in

_GAP = 2  # what usually stands between two blocks
_CUTS = 6  # of one part, until it fits
_TRIES = 6  # how many things fit: each renders at most a part


def split(
    text: str, limit: int, rendered_length: Callable[[str], int], length: Callable[[Document], int] | None = None
) -> list[str]:
    """Parts whose rendering is at most `limit` long; the text itself when it fits. `rendered_length(markdown)` tells
    the length of what a Markdown text becomes, in the platform's own unit; `length(document)` the same of what was read
    already, which is less work.

    `limit` must hold a few characters and marks: what cannot be cut any further is a part even if it is too long.
    """
    document = parse(text)
    # No rendering is much shorter than what it says; of a long text that alone is counted.
    fits = not _says_more(document.blocks, limit * 1.1)
    if fits and (rendered_length(text) if length is None else length(document)) <= limit:
        return [text]
    measure = length or (lambda document: rendered_length(write(document)))
    parts: list[str] = []
    rest = document.blocks
    while rest:
        part, rest = _first_part(rest, limit, measure)
        parts.append(part)
    return parts or [text]


def _first_part(blocks: Blocks, limit: int, measure: Callable[[Document], int]) -> tuple[str, Blocks]:
    """The first part as Markdown, and what is left. Pieces are measured one by one and added up; what they are together
    may be a little longer, and then less of them is taken."""
    room, cut = limit, 0
    while True:
        head, rest = _Cutter(limit, measure).cut(blocks, room, _as_they_are, must=True)
        part, read = _source(head)
        excess = measure(read) - limit
        cut += 1
        if excess <= 0 or room <= 1 or cut > _CUTS:
            return part, rest
        room = max(1, min(room - excess, room * 9 // 10)) if cut < _CUTS else 1


def _as_they_are(blocks: Blocks) -> Blocks:
    return blocks


def _source(blocks: Blocks) -> tuple[str, Document]:
    """The blocks as Markdown, and how that is read; where a style cannot be written so that it is read again, without
    styles."""
    source = write(Document(blocks))
    read = parse(source)
    if _said(read.blocks) != _said(blocks):
        source = write(Document(tuple(_unstyled(block) for block in blocks)))
        read = parse(source)
    return source, read


def _says_more(blocks: Blocks, characters: float) -> bool:
    return any(said > characters for said in accumulate(len(text) for text in texts(blocks)))


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
    """Cuts what stands first off the rest; `must` means that something has to come off, fitting or not.

    Each piece is measured by itself and once, and none that is plainly longer than a part is measured at all: so the
    work grows with the text and not with its square.
    """

    def __init__(self, limit: int, measure: Callable[[Document], int]) -> None:
        self._limit = limit
        self._measure = measure
        self._beyond = 2 * limit  # longer than any part

    def cut(self, blocks: Blocks, room: int, wrap: Wrap, *, must: bool) -> tuple[Blocks, Blocks]:
        """As many blocks as fit into `room`, and a piece of the next one if that is too long for a part of its own."""

        def size(at: int) -> int:
            return self._size((blocks[at],), wrap)

        count, used = self._most(len(blocks), size, lambda number: self._length(wrap(blocks[:number])), room)
        if count == len(blocks):
            return blocks, ()
        if count and size(count) <= self._limit:
            count -= count > 1 and isinstance(blocks[count - 1], Heading)
            return blocks[:count], blocks[count:]
        left = room - used - _GAP if count else room
        head, tail = self._divide(blocks[count], left, wrap, must=must and not count)
        return (*blocks[:count], *head), (*tail, *blocks[count + 1 :])

    def _length(self, blocks: Blocks) -> int:
        return self._measure(Document(blocks))

    def _size(self, blocks: Blocks, wrap: Wrap) -> int:
        """The length of a piece, or something beyond any limit."""
        return self._beyond if _says_more(blocks, self._limit * 1.1) else self._length(wrap(blocks))

    def _divide(self, block: Block, room: int, wrap: Wrap, *, must: bool) -> tuple[Blocks, Blocks]:
        if isinstance(block, Paragraph | Heading):
            return self._text(block, room, wrap, must=must)
        if isinstance(block, Table):
            return self._code(Code("\n".join(table_lines(block, columns=True))), room, wrap, must=must)
        if isinstance(block, Code):
            return self._code(block, room, wrap, must=must)
        if isinstance(block, Quote):
            head, tail = self.cut(block.blocks, room, lambda inner: wrap((Quote(inner),)), must=must)
            return ((Quote(head),) if head else ()), ((Quote(tail),) if tail else ())
        if isinstance(block, Listing):
            return self._listing(block, room, wrap, must=must)
        return ((block,), ()) if must else ((), (block,))

    def _listing(self, listing: Listing, room: int, wrap: Wrap, *, must: bool) -> tuple[Blocks, Blocks]:
        items, first = listing.items, listing.items[0]
        count, _ = self._most(
            len(items),
            lambda at: self._size(_items(listing, at, at + 1), wrap),
            lambda number: self._length(wrap(_items(listing, 0, number))),
            room,
        )
        if count:
            return _items(listing, 0, count), _items(listing, count, len(items))
        if not first:
            return (_items(listing, 0, 1), _items(listing, 1, len(items))) if must else ((), (listing,))
        head, tail = self.cut(first, room, lambda inner: wrap((replace(listing, items=(inner,)),)), must=must)
        if not head:
            return (), (listing,)
        return (replace(listing, items=(head,)),), (*tail, *_items(listing, 1, len(items)))

    def _text(self, block: Paragraph | Heading, room: int, wrap: Wrap, *, must: bool) -> tuple[Blocks, Blocks]:
        runs = block.runs

        def said(*some: Run) -> int:
            return self._size((replace(block, runs=some),), wrap)

        count, used = self._most(
            len(runs), lambda at: said(runs[at]), lambda number: said(*runs[:number]), room, apart=0
        )
        longest, total = sum(len(run.text) for run in runs[:count]), sum(len(run.text) for run in runs)
        if count < len(runs):
            torn = runs[count]
            longest += self._fitting(
                len(torn.text), lambda end: said(replace(torn, text=torn.text[:end])), max(0, room - used)
            )
        if not longest and not must:
            return (), (block,)
        if runs[0].url and longest < len(runs[0].text):
            # Longer than a whole part: its words and its address, as text.
            return self._text(replace(block, runs=join((*written_out(runs[:1]), *runs[1:]))), room, wrap, must=must)
        end = pause_at(runs, max(longest, 1))
        head, tail = piece(runs, 0, end), piece(runs, end, total)
        return ((replace(block, runs=head),) if head else ()), ((replace(block, runs=tail),) if tail else ())

    def _code(self, code: Code, room: int, wrap: Wrap, *, must: bool) -> tuple[Blocks, Blocks]:
        text = code.text
        longest = self._fitting(len(text), lambda end: self._length(wrap((replace(code, text=text[:end]),))), room)
        line = len(text) if longest == len(text) else text.rfind("\n", 1, max(longest, 1) + 1)
        if line < 1 and not must:
            return (), (code,)
        end = line if line > 0 else whole_character(text, max(longest, 1))
        tail = text[end:].removeprefix("\n")
        return (replace(code, text=text[:end]),), ((replace(code, text=tail),) if tail.strip() else ())

    def _most(
        self, count: int, size: Callable[[int], int], length: Callable[[int], int], room: int, *, apart: int = 1
    ) -> tuple[int, int]:
        """How many of these things fit together, and how long they are; 0 when not even one does.

        They are measured one by one until they fill the room; what stands between them, at least `apart`, is then
        learned from what some of them are together.
        """
        ends = [0]
        while len(ends) <= count and (end := ends[-1] + size(len(ends) - 1)) <= room:
            ends.append(end + apart)
        low, used, high = 0, 0, len(ends)
        number, between = high - 1, 0.0
        for _ in range(_TRIES):
            if number <= low:
                break
            found = length(number)
            between = max(0.0, found - ends[number]) / number
            if found <= room:
                low, used = number, found
            else:
                high = number
            free = room - used + ends[low] + between * low
            number = min(high - 1, bisect_right(range(high), free, key=lambda at: ends[at] + between * at) - 1)
        return low, used

    def _fitting(self, count: int, length: Callable[[int], int], room: int) -> int:
        """About the largest number of characters that fit. All are taken to be alike: the next try is where the room
        would end then."""
        low, high, below = 0, min(count, int(room * 1.1)), 0
        each = 1.0
        for attempt in range(2 * _TRIES):
            if low >= high or below >= room * 0.97:
                break
            near = low + int((room - below) / each) if attempt < _TRIES else (low + high + 1) // 2
            number = min(high, max(low + 1, near))
            found = length(number)
            each = max(found / number, 0.1)
            if found <= room:
                low, below = number, found
            else:
                high = number - 1
        return low


def _items(listing: Listing, start: int, end: int) -> Blocks:
    """Some of its items, with their numbers."""
    if start >= end:
        return ()
    first = None if listing.start is None else listing.start + start
    return (Listing(listing.items[start:end], first, listing.tight),)
