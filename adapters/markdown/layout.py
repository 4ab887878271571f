"""Blocks as lines of a chat message: bullets, numbers, indents and blank lines, the same wherever text is shown.

Tables become lines too: `a | b`, and padded to columns where the platform shows code in a fixed width.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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
)

BULLET = "• "
RULE = "———"
INDENT = "  "
MAX_PADDING = 32  # columns; a cell wider than this pushes the rest of its row instead of widening every row


@dataclass(frozen=True, slots=True)
class Line:
    """One line of runs without line breaks, or a whole code block; `quote` is how many quotes it stands in."""

    runs: Runs = ()
    code: Code | None = None
    quote: int = 0


def lines(document: Document, *, columns: bool) -> list[Line]:
    """`columns`: tables as padded code blocks, otherwise as plain lines."""
    return list(_blocks(document.blocks, columns, tight=False))


def width(text: str) -> int:
    """Columns the text takes in a fixed-width font: two for wide characters, none for what combines or is invisible."""
    if text.isascii():
        return len(text)
    return sum(_columns(char) for char in text)


def shows_address(run: Run) -> bool:
    """Whether the label of a link is its address already."""
    label, url = run.text.strip(), run.url
    return label in {url, url.rstrip("/"), url.removeprefix("mailto:")} or label.rstrip("/") == url.rstrip("/")


def written_out(runs: Runs) -> Runs:
    """Links as text, `label (address)`, for places that have no links."""
    written: list[Run] = []
    for at, run in enumerate(runs):
        written.append(Run(run.text, run.style) if run.url else run)
        if run.url and (at + 1 == len(runs) or runs[at + 1].url != run.url) and not shows_address(run):
            written.append(Run(f" ({run.url})"))
    return tuple(written)


def table_lines(table: Table, *, columns: bool) -> list[str]:
    """A line for each row that says something."""
    rows = [["".join(run.text for run in written_out(cell)) for cell in row] for row in table.rows]
    padding = [0] * len(table.aligns)
    if columns:
        padding = [min(max(width(row[at]) for row in rows), MAX_PADDING) for at in range(len(table.aligns))]
    shown = []
    for row in rows:
        while row and not row[-1]:
            row.pop()
        cells = [_padded(cell, padding[at], table.aligns[at]) for at, cell in enumerate(row)]
        shown.append(" | ".join(cells).rstrip())
    return [line for line in shown if line]


def _padded(cell: str, columns: int, align: str) -> str:
    missing = max(0, columns - width(cell))
    left = {"right": missing, "center": missing // 2}.get(align, 0)
    return " " * left + cell + " " * (missing - left)


def _columns(char: str) -> int:
    if unicodedata.category(char) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _blocks(blocks: Sequence[Block], columns: bool, tight: bool) -> Iterator[Line]:
    before: Block | None = None
    for block in blocks:
        shown = list(_block(block, columns))
        if before is not None and shown and not (tight or _close(before, block)):
            yield Line()
        yield from shown
        before = block if shown else before


def _close(before: Block, block: Block) -> bool:
    """Whether the two belong together without a blank line."""
    return isinstance(before, Heading) or (isinstance(before, Paragraph) and isinstance(block, Listing) and block.tight)


def _block(block: Block, columns: bool) -> Iterator[Line]:
    if isinstance(block, Paragraph):
        yield from _broken(block.runs)
    elif isinstance(block, Heading):
        bold = tuple(
            run if run.style & Style.CODE else Run(run.text, run.style | Style.BOLD, run.url) for run in block.runs
        )
        yield from _broken(bold)
    elif isinstance(block, Code):
        if block.text.strip():
            yield Line(code=block)
    elif isinstance(block, Quote):
        for line in _blocks(block.blocks, columns, tight=False):
            yield Line(line.runs, line.code, line.quote + 1)
    elif isinstance(block, Listing):
        yield from _listing(block, columns)
    elif isinstance(block, Table):
        rows = table_lines(block, columns=columns)
        if columns and rows:
            yield Line(code=Code("\n".join(rows)))
        elif rows:
            yield from (Line((Run(row),)) for row in rows)
    else:
        yield Line((Run(RULE),))


def _listing(listing: Listing, columns: bool) -> Iterator[Line]:
    for at, item in enumerate(listing.items):
        if at and not listing.tight:
            yield Line()
        label = BULLET if listing.start is None else f"{listing.start + at}. "
        inside = list(_blocks(item, columns, listing.tight))
        if not inside or inside[0].code is not None or inside[0].quote:
            yield Line((Run(label.rstrip()),))
        else:
            first = inside.pop(0)
            yield Line((Run(label), *first.runs), first.code, first.quote)
        for line in inside:
            yield Line((Run(INDENT), *line.runs), line.code, line.quote) if line.runs else line


def _broken(runs: Runs) -> Iterator[Line]:
    """The runs, cut at their line breaks."""
    line: list[Run] = []
    for run in runs:
        if "\n" not in run.text:
            line.append(run)
            continue
        first, *rest = run.text.split("\n")
        if first:
            line.append(Run(first, run.style, run.url))
        for text in rest:
            yield Line(tuple(line))
            line = [Run(text, run.style, run.url)] if text else []
    yield Line(tuple(line))
