"""Full-text search over what was said, in words and in Chinese characters; the index follows what is stored.

SQLite's FTS5 splits text at spaces, and Chinese has none: each character of a script without spaces becomes a word, and
what is searched for a phrase of them. Indexing is done a little at a time, off the way that a message takes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from core.ledger.writer import Connection

START, END = "\x01", "\x02"  # around what was found, in an excerpt
EXCERPT = 160  # characters
# Han, kana, and the scripts of Thailand, Laos, Myanmar and Cambodia.
UNSPACED = re.compile(
    "[\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3038-\u303b\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U0003fffd\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]"
)
WORD = re.compile(r"[^\W_]+")
QUERY_WORDS = 12


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def spaced(text: str) -> str:
    """The text as it is indexed."""
    return UNSPACED.sub(lambda found: f" {found.group()} ", _plain(text))


def query(wanted: str) -> str:
    """An FTS5 query for all words of what a person typed, the beginnings of words included; "" when it has none."""
    phrases = []
    for word in wanted.split():
        parts = WORD.findall(spaced(word))
        if parts:
            # A quoted phrase takes no operators; the last word may go on.
            phrases.append(f'"{" ".join(parts)}"' + ("" if UNSPACED.fullmatch(parts[-1]) else " *"))
    return " AND ".join(phrases[:QUERY_WORDS])


def excerpt(text: str, wanted: str) -> str:
    """About EXCERPT characters around the first hit, all hits between START and END."""
    text = text.replace(START, "").replace(END, "")
    words = sorted({word for word in wanted.split() if WORD.search(word)}, key=len, reverse=True)[:QUERY_WORDS]
    if not words:
        return text[:EXCERPT]
    hits = re.compile("|".join(re.escape(word) for word in words), re.IGNORECASE)
    first = hits.search(text)
    begin = max(0, (first.start() if first else 0) - EXCERPT // 4)
    piece = text[begin : begin + EXCERPT]
    marked = hits.sub(lambda hit: f"{START}{hit.group()}{END}", piece)
    return f"{'…' if begin else ''}{marked}{'…' if begin + EXCERPT < len(text) else ''}"


# Messages and turns share the index: a message has an even row, a turn an odd one.


def _message_row(message: int) -> int:
    return message * 2


def _turn_row(turn: int) -> int:
    return turn * 2 + 1


def found(connection: Connection, wanted: str, limit: int) -> tuple[list[int], list[int]]:
    """Messages and turns that match, the newest `limit` of each, newest first."""
    match = query(wanted)
    if not match:
        return [], []
    of_kind = "SELECT rowid / 2 FROM found WHERE found MATCH ? AND rowid % 2 = ? ORDER BY rowid DESC LIMIT ?"
    messages, turns = (connection.execute(of_kind, (match, kind, limit)).fetchall() for kind in (0, 1))
    return [message for (message,) in messages], [turn for (turn,) in turns]


def index(connection: Connection, limit: int) -> int:
    """Index up to `limit` messages, and as many turns, that are not yet; how many that were."""
    messages_to, turns_to = connection.execute("SELECT messages, turns FROM found_to").fetchone()
    messages = connection.execute(
        "SELECT id, text FROM messages WHERE id > ? ORDER BY id LIMIT ?", (messages_to, limit)
    ).fetchall()
    turns = connection.execute(
        "SELECT id, text, state FROM turns WHERE id > ? ORDER BY id LIMIT ?", (turns_to, limit)
    ).fetchall()
    _write(connection, [(_message_row(message), text) for message, text in messages])
    _write(connection, [(_turn_row(turn), text) for turn, text, state in turns if state == "done"])
    # A turn that runs is looked at again when it has ended.
    connection.executemany(
        "INSERT OR IGNORE INTO found_later (id) VALUES (?)",
        [(_turn_row(turn),) for turn, _, state in turns if state in {"running", "waiting"}],
    )
    if messages or turns:  # else nothing is written, and nothing has to reach the disk
        connection.execute(
            "UPDATE found_to SET messages = ?, turns = ?",
            (messages[-1][0] if messages else messages_to, turns[-1][0] if turns else turns_to),
        )
    return len(messages) + len(turns) + _index_later(connection, limit)


def _index_later(connection: Connection, limit: int) -> int:
    rows = connection.execute(
        "SELECT l.id, coalesce(t.text, m.text, ''), coalesce(t.state, 'done') FROM found_later l"
        " LEFT JOIN turns t ON l.id % 2 = 1 AND t.id = l.id / 2"
        " LEFT JOIN messages m ON l.id % 2 = 0 AND m.id = l.id / 2"
        " WHERE coalesce(t.state, 'done') NOT IN ('running', 'waiting') LIMIT ?",
        (limit,),
    ).fetchall()
    remove_rows(connection, [row for row, _, _ in rows])
    _write(connection, [(row, text) for row, text, state in rows if state == "done"])
    connection.executemany("DELETE FROM found_later WHERE id = ?", [(row,) for row, _, _ in rows])
    return len(rows)


def _write(connection: Connection, rows: Iterable[tuple[int, str]]) -> None:
    connection.executemany(
        "INSERT INTO found (rowid, words) VALUES (?, ?)", [(row, spaced(text)) for row, text in rows if text]
    )


def changed(connection: Connection, message: int) -> None:
    """The text of a message is another one now."""
    connection.execute("INSERT OR IGNORE INTO found_later (id) VALUES (?)", (_message_row(message),))


def remove(connection: Connection, messages: Iterable[int], turns: Iterable[int]) -> None:
    """These messages and turns are found no more."""
    remove_rows(connection, [*map(_message_row, messages), *map(_turn_row, turns)])


def remove_rows(connection: Connection, rows: Iterable[int]) -> None:
    connection.executemany("DELETE FROM found WHERE rowid = ?", [(row,) for row in rows])


def leave_no_copy(connection: Connection) -> None:
    """Words that were removed stay in older parts of the index until those are merged: merge all."""
    connection.execute("INSERT INTO found (found) VALUES ('optimize')")
