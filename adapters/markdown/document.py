"""What a Markdown text says, without its marks: blocks of styled runs, frozen, the same for every platform.

Text in a run is what a reader sees: entities are resolved, escapes are gone, a line break is "\\n". A run never is
empty, and neighbours with the same style and address are one run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Flag, auto

SAFE_SCHEMES = ("http:", "https:", "mailto:", "tg:")  # an address of any other kind stays text, as it was written


class Style(Flag):
    """How a run looks. CODE is alone: what is code is neither bold nor italic, on every platform here."""

    PLAIN = 0
    BOLD = auto()
    ITALIC = auto()
    STRIKE = auto()
    CODE = auto()


@dataclass(frozen=True, slots=True)
class Run:
    """Text of one look; `url` is "" or an encoded address with one of SAFE_SCHEMES."""

    text: str
    style: Style = Style.PLAIN
    url: str = ""


Runs = tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Lines of text."""

    runs: Runs


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of level 1 to 6."""

    level: int
    runs: Runs


@dataclass(frozen=True, slots=True)
class Code:
    """A fenced block: its lines without the last line break, and its language ("" when not named)."""

    text: str
    language: str = ""


@dataclass(frozen=True, slots=True)
class Quote:
    """Quoted blocks."""

    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Listing:
    """A list; `start` is the first number, None for bullets; tight items stand without blank lines."""

    items: tuple[tuple[Block, ...], ...]
    start: int | None = None
    tight: bool = True


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells, the header first; every row has as many cells as the header. Alignment: "left", "center", "right"
    or ""."""

    rows: tuple[tuple[Runs, ...], ...]
    aligns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """A line across."""


Block = Paragraph | Heading | Code | Quote | Listing | Table | Rule


@dataclass(frozen=True, slots=True)
class Document:
    """A whole text."""

    blocks: tuple[Block, ...]


def join(runs: Iterable[Run]) -> Runs:
    """The same runs with equal neighbours merged, empty ones dropped, and no white space at either end."""
    merged: list[tuple[list[str], Style, str]] = []
    for run in runs:
        if not run.text:
            continue
        if merged and merged[-1][1:] == (run.style, run.url):
            merged[-1][0].append(run.text)
        else:
            merged.append(([run.text], run.style, run.url))
    joined = [Run("".join(texts), style, url) for texts, style, url in merged]
    while joined and not (text := joined[0].text.lstrip()):
        joined.pop(0)
    if joined:
        joined[0] = Run(text, joined[0].style, joined[0].url)
    while joined and not (text := joined[-1].text.rstrip()):
        joined.pop()
    if joined:
        joined[-1] = Run(text, joined[-1].style, joined[-1].url)
    return tuple(joined)


def plain_text(runs: Iterable[Run]) -> str:
    """What the runs say."""
    return "".join(run.text for run in runs)


def texts(blocks: Iterable[Block]) -> Iterator[str]:
    """Every visible text of the blocks, in order."""
    for block in blocks:
        if isinstance(block, Paragraph | Heading):
            yield plain_text(block.runs)
        elif isinstance(block, Code):
            yield block.text
        elif isinstance(block, Quote):
            yield from texts(block.blocks)
        elif isinstance(block, Listing):
            for item in block.items:
                yield from texts(item)
        elif isinstance(block, Table):
            yield from (plain_text(cell) for row in block.rows for cell in row)
