"""Conversations as files: JSON for programs, Markdown for people, CSV for Excel (UTF-8, and no cell is a formula)."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from core.cells import defused

TYPES = {"json": "application/json", "csv": "text/csv", "markdown": "text/markdown"}
ENDINGS = {"json": "json", "csv": "csv", "markdown": "md"}
COLUMNS = (
    "conversation",
    "channel",
    "bot",
    "chat",
    "thread",
    "at",
    "who",
    "text",
    "state",
    "kind",
    "model",
    "mark",
    "note",
)

Item = Mapping[str, object]
Whole = tuple[Item, Sequence[Item]]  # a conversation and its entries, oldest first


async def lines(form: str, conversations: AsyncIterator[Whole]) -> AsyncIterator[bytes]:
    """The file, a piece for each conversation; `form` is one of TYPES."""
    begin, piece, between, end = _FORMS[form]
    yield begin.encode()
    first = True
    async for conversation, entries in conversations:
        yield (("" if first else between) + piece(conversation, entries)).encode("utf-8", "replace")
        first = False
    yield end.encode()


def _json(conversation: Item, entries: Sequence[Item]) -> str:
    return json.dumps({**conversation, "entries": list(entries)}, ensure_ascii=False)


def _csv(conversation: Item, entries: Sequence[Item]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\r\n")
    for entry in entries:
        writer.writerow([defused(str(value)) for value in _row(conversation, entry)])
    return file.getvalue()


def _row(conversation: Item, entry: Item) -> list[object]:
    by_bot = entry["kind"] == "turn"
    return [
        *(conversation[name] for name in ("id", "channel", "bot", "chat", "thread")),
        _time(entry["at"]),
        "bot" if by_bot else entry.get("speaker") or "customer",
        entry["text"],
        entry.get("state", ""),
        entry.get("turn_kind", ""),
        *(entry.get(name, "") for name in ("model", "mark", "note")),
    ]


def _markdown(conversation: Item, entries: Sequence[Item]) -> str:
    told = [f"## {conversation['channel']} {conversation['chat']} ({conversation['bot']})", ""]
    for entry in entries:
        who = "Bot" if entry["kind"] == "turn" else entry.get("speaker") or "Customer"
        told += [f"**{who}**, {_time(entry['at'])}", ""]
        # Quoted, so that nothing in it is a heading or a rule of this file.
        told += [f"> {line}" for line in str(entry["text"]).splitlines() or [""]]
        told.append("")
    return "\n".join(told)


def _time(at: object) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(float(at))) if isinstance(at, int | float) else ""


_Form = tuple[str, Callable[[Item, Sequence[Item]], str], str, str]
_FORMS: Mapping[str, _Form] = {
    "json": ("[", _json, ",\n", "]\n"),
    "csv": ("\ufeff" + ",".join(COLUMNS) + "\r\n", _csv, "", ""),
    "markdown": ("# Conversations (times in UTC)\n\n", _markdown, "\n", ""),
}
