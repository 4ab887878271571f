"""Where a text may be cut: where a reader would pause, and never inside a link, a piece of code or a character."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import accumulate

from adapters.markdown.document import Run, Runs, Style, join, plain_text

_PAUSES = tuple(
    re.compile(pattern)
    for pattern in (r"\n", r"[.!?。！？…]+[\"'”’）)]*(?=\s|[^\x00-\x7f])\s*", r"[,;:，；：、]\s*", r"\s+")
)


def piece(runs: Iterable[Run], start: int, end: int) -> Runs:
    """The runs from one character up to another."""
    cut, at = [], 0
    for run in runs:
        if at >= end:
            break
        behind = at + len(run.text)
        if start <= at and behind <= end:
            cut.append(run)
        elif behind > start:
            cut.append(replace(run, text=run.text[max(0, start - at) : end - at]))
        at = behind
    return join(cut)


def pause_at(runs: Sequence[Run], longest: int) -> int:
    """Where to cut, at `longest` or before, so that a reader would pause there and nothing is torn."""
    text = plain_text(runs)
    if longest >= len(text):
        return len(text)
    ends = list(accumulate(len(run.text) for run in runs))
    # What stays in one piece, as far as the part could reach.
    whole = [
        (end - len(run.text), end)
        for run, end in zip(runs, ends, strict=True)
        if longest // 2 < end and end - len(run.text) < longest and (run.url or run.style & Style.CODE)
    ]
    # A pause in the first half would leave a part that is needlessly short.
    for pause in _PAUSES:
        for end in reversed([match.end() for match in pause.finditer(text, longest // 2, longest)]):
            at = bisect_left(whole, (end, 0)) - 1  # the last one that begins before it
            if end and not (at >= 0 and end < whole[at][1]):
                return end
    torn = [start for start, stop in whole if 0 < start < longest < stop]
    return torn[0] if torn else whole_character(text, longest)


def whole_character(text: str, end: int) -> int:
    """Not between a character and what combines with it."""
    at = end
    while 1 < at < len(text) and (unicodedata.category(text[at]) in {"Mn", "Me", "Cf"} or text[at - 1] == "\u200d"):
        at -= 1
    return at if at > 1 else end
