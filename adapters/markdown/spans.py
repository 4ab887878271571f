"""Styled runs as properly nested spans, which is what every markup is made of: no two spans ever overlap halfway."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from adapters.markdown.document import Run, Style

Mark = Style | str  # one style, or the address of a link


@dataclass(frozen=True, slots=True)
class Span:
    """What stands under one mark."""

    mark: Mark
    nodes: tuple[Node, ...]


Node = str | Span
Piece = tuple[str, tuple[Mark, ...]]
_OUTSIDE = (Style.BOLD, Style.ITALIC, Style.STRIKE)


def nest(runs: Iterable[Run]) -> tuple[Node, ...]:
    """The mark that reaches furthest is outside; a span never is empty, and at most five are inside each other."""
    return _nest([(run.text, _marks(run)) for run in runs])


def _marks(run: Run) -> tuple[Mark, ...]:
    """The outer ones first, for when they reach equally far: Slack has no styles inside a label."""
    if not run.style and not run.url:
        return ()
    outside: tuple[Mark, ...] = tuple(style for style in _OUTSIDE if style & run.style)
    return (*outside, *((run.url,) if run.url else ()), *((Style.CODE,) if Style.CODE & run.style else ()))


def _nest(pieces: Sequence[Piece]) -> tuple[Node, ...]:
    nodes: list[Node] = []
    at = 0
    while at < len(pieces):
        text, marks = pieces[at]
        if not marks:
            nodes.append(text)
            at += 1
            continue
        reaches = [_reach(pieces, at, mark) for mark in marks]
        end = max(reaches)
        outer = marks[reaches.index(end)]
        inner = [(text, tuple(mark for mark in marks if mark != outer)) for text, marks in pieces[at:end]]
        nodes.append(Span(outer, _nest(inner)))
        at = end
    return tuple(nodes)


def _reach(pieces: Sequence[Piece], at: int, mark: Mark) -> int:
    while at < len(pieces) and mark in pieces[at][1]:
        at += 1
    return at
