"""Reads one field of an update at a time, whatever stands there: nothing here raises on any JSON."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

Json = Mapping[str, Any]

_NAME_LIMIT = 64
_DEPTH = 40  # Telegram nests at most 16 blocks, each a list in an object
_SAYING = ("summary", "text", "items", "cells", "blocks")  # where a rich message's objects keep what they say
_UNSEEN = frozenset({"Cc", "Cs", "Zl", "Zp"})
# Marks that turn the direction of what follows: in a name they could rearrange the words of others.
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def object_of(value: object) -> Json:
    """An object; {} for anything else."""
    return value if isinstance(value, dict) else {}


def number_of(value: object) -> int | None:
    """A whole number that fits the ledger; Telegram's ids have at most 52 bits."""
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63 else None


def text_of(message: Json) -> str:
    """What a message says: its text, its caption, or what its rich message says; "" without."""
    value = message.get("text") or message.get("caption")
    if isinstance(value, str):
        return value
    blocks = object_of(message.get("rich_message")).get("blocks")
    return "\n".join(_said(blocks, _DEPTH)) if isinstance(blocks, list) else ""


def _said(value: object, depth: int) -> list[str]:
    """A line for each text in the blocks of a rich message: core.telegram.org/bots/api#richblock and #richtext."""
    if depth == 0:
        return []
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        if any(isinstance(piece, str) for piece in value):  # of one line
            return ["".join(line for piece in value for line in _said(piece, depth - 1))]
        return [line for piece in value for line in _said(piece, depth - 1)]
    named = object_of(value)
    return [line for name in _SAYING if name in named for line in _said(named[name], depth - 1)]


def name_of(person: Json) -> str:
    """How a user or chat is called, in one line of at most 64 characters: names, title, @username, or ""."""
    named = [person[key] for key in ("first_name", "last_name") if isinstance(person.get(key), str)]
    if not (name := line_of(" ".join(named))):
        title, username = person.get("title"), person.get("username")
        name = (
            line_of(title) if isinstance(title, str) else f"@{line_of(username)}" if isinstance(username, str) else ""
        )
    return name[:_NAME_LIMIT].rstrip()


def line_of(text: str) -> str:
    """The text in one line, without control characters."""
    seen = (" " if unicodedata.category(letter) in _UNSEEN else letter for letter in text if letter not in _TURNING)
    return " ".join("".join(seen).split())
