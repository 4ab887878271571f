"""Cuts a text into parts that a platform takes, each within its limit; the parts joined are the text, to the character.

The limit is counted in the platform's own unit (UTF-16 units, characters, bytes), which a `measure` function tells.
"""

from __future__ import annotations

import re
from collections.abc import Callable

# Where a reader would pause, best first: after a paragraph, a line, a sentence, a clause, a word.
PAUSES = tuple(
    re.compile(pattern)
    for pattern in (r"\n\s*\n\s*", r"\n\s*", r"[.!?。！？…]+[\"'”’）)]*\s*", r"[,;:，；：、]\s*", r"\s+")
)
JOINERS = ("\u200d", "\ufe0f", "\ufe0e")


def split(text: str, limit: int, measure: Callable[[str], int] = len) -> list[str]:
    """At least one part; no part is empty unless `text` is. `limit` must hold any single character."""
    parts = []
    rest = text
    while measure(rest) > limit:
        end = _end(rest, _longest(rest, limit, measure))
        parts.append(rest[:end])
        rest = rest[end:]
    if rest or not parts:
        parts.append(rest)
    return parts


def clip(text: str, limit: int, measure: Callable[[str], int] = len, mark: str = "…") -> str:
    """The text, or as much of its beginning as fits together with `mark`."""
    if measure(text) <= limit:
        return text
    return text[: _longest(text, limit - measure(mark), measure)] + mark


def _longest(text: str, limit: int, measure: Callable[[str], int]) -> int:
    low, high = 1, min(len(text), limit)
    while low < high:
        middle = (low + high + 1) // 2
        if measure(text[:middle]) <= limit:
            low = middle
        else:
            high = middle - 1
    return low


def _end(text: str, longest: int) -> int:
    # A pause in the first half would leave a part that is needlessly short.
    for pause in PAUSES:
        ends = [match.end() for match in pause.finditer(text, longest // 2, longest)]
        if ends:
            return ends[-1]
    end = longest
    while end > 1 and (text[end] in JOINERS or text[end - 1] == "\u200d"):
        end -= 1
    return end if end > 1 else longest
