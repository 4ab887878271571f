"""The ledger as an operator reads it: conversations by what was said, when, and how it went; nothing here changes it.

Lists are walked from the newest message backwards and stop when they are full, so that a page costs what it shows and
not what is stored; only a filter that hardly anything passes walks far.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from core.ledger import search
from core.ledger.writer import Connection

Item = dict[str, object]  # a JSON object
HITS = 2_000  # messages, and as many turns, that one search looks at
PULSE = 200  # messages, and as many turns, among which a change is looked for
LAST_TEXT = 160  # characters
FAILED = "SELECT 1 FROM deliveries d WHERE d.conversation_id = ? AND d.state IN ('failed', 'unclear') LIMIT 1"
FOREVER = float("inf")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a list is to hold. Empty values want anything; times are of messages, in epoch seconds."""

    search: str = ""
    channel: str = ""
    bot: str = ""
    state: str = ""  # of the newest message; or "human", or "failed" (a delivery)
    since: float = 0.0
    until: float = FOREVER
    before: int = 2**62  # messages: where the page before ended
    limit: int = 50
    ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """Items as JSON objects, and where the next page begins; None when this was the last."""

    items: Sequence[Item]
    next: int | float | None = None


@dataclass(slots=True)
class _Hits:
    """What a search found, by conversation."""

    excerpts: dict[int, str] = field(default_factory=dict)


def conversations(connection: Connection, wanted: Wanted) -> Page:
    """The conversations that are wanted, the one with the newest message first."""
    hits = _hits(connection, wanted.search) if wanted.search.strip() else None
    items: list[Item] = []
    last = 0
    for conversation, message in _walk(connection, wanted, hits):
        if len(items) == wanted.limit:
            return Page(items, last)
        item = _item(connection, conversation, message)
        if not _fits(connection, wanted, item):
            continue
        item["excerpt"] = hits.excerpts.get(conversation) if hits else None
        items.append(item)
        last = message
    return Page(items)


def _walk(connection: Connection, wanted: Wanted, hits: _Hits | None) -> Iterator[tuple[int, int]]:
    """Each conversation once, with its newest message, in falling order of those messages."""
    if wanted.ids or hits is not None:
        rows = [
            (conversation, newest)
            for conversation in (wanted.ids or (hits.excerpts if hits else ()))
            if (newest := _newest(connection, conversation)) is not None and newest < wanted.before
        ]
        yield from sorted(rows, key=lambda row: row[1], reverse=True)
        return
    seen: set[int] = set()
    rows = connection.execute(
        "SELECT conversation_id, id FROM messages WHERE id < ? ORDER BY id DESC", (wanted.before,)
    )
    for conversation, message in rows:
        if conversation not in seen:
            seen.add(conversation)
            if _newest(connection, conversation) == message:  # else it was on an earlier page
                yield conversation, message


def _newest(connection: Connection, conversation: int) -> int | None:
    newest: int | None = connection.execute(
        "SELECT max(id) FROM messages WHERE conversation_id = ?", (conversation,)
    ).fetchone()[0]
    return newest


def _item(connection: Connection, conversation: int, message: int) -> Item:
    channel, bot, chat, thread, human_at = connection.execute(
        "SELECT channel, bot, chat_id, thread_id, human_at FROM conversations WHERE id = ?", (conversation,)
    ).fetchone()
    text, at, state, user, speaker = connection.execute(
        "SELECT m.text, m.accepted_at, m.state, u.user_id, m.speaker FROM messages m JOIN users u ON u.id = m.user"
        " WHERE m.id = ?",
        (message,),
    ).fetchone()
    (count,) = connection.execute("SELECT count(*) FROM messages WHERE conversation_id = ?", (conversation,)).fetchone()
    said = connection.execute(
        "SELECT text, committed_at FROM turns WHERE conversation_id = ? AND state = 'done' ORDER BY id DESC LIMIT 1",
        (conversation,),
    ).fetchone()
    by_bot = said is not None and said[1] >= at
    return {
        "id": conversation,
        "channel": channel,
        "bot": bot,
        "chat": chat,
        "thread": thread,
        "user": user,
        "name": speaker,
        "messages": count,
        "last_at": said[1] if by_bot else at,
        "last_text": (said[0] if by_bot else text)[:LAST_TEXT],
        "last_role": "bot" if by_bot else "user",
        "state": state,
        "human_at": human_at,
    }


def _fits(connection: Connection, wanted: Wanted, item: Mapping[str, object]) -> bool:
    if (wanted.channel and item["channel"] != wanted.channel) or (wanted.bot and item["bot"] != wanted.bot):
        return False
    if wanted.state == "human":
        if item["human_at"] is None:
            return False
    elif wanted.state == "failed":
        if not connection.execute(FAILED, (item["id"],)).fetchone():
            return False
    elif wanted.state and item["state"] != wanted.state:
        return False
    if not wanted.since and wanted.until == FOREVER:
        return True
    within = "SELECT 1 FROM messages WHERE conversation_id = ? AND accepted_at >= ? AND accepted_at < ? LIMIT 1"
    return bool(connection.execute(within, (item["id"], wanted.since, wanted.until)).fetchone())


def _hits(connection: Connection, wanted: str) -> _Hits:
    messages, turns = search.found(connection, wanted, HITS)
    hits = _Hits()
    for table, numbers in (("messages", messages), ("turns", turns)):
        for number in numbers:
            row = connection.execute(
                f"SELECT conversation_id, text FROM {table} WHERE id = ?",  # noqa: S608 - of two names
                (number,),
            ).fetchone()
            if row and row[0] not in hits.excerpts:
                hits.excerpts[row[0]] = search.excerpt(row[1], wanted)
    return hits


# One conversation


def conversation(connection: Connection, number: int) -> Item | None:
    """Who speaks where; None if there is no such conversation."""
    row = connection.execute(
        "SELECT id, channel, bot, chat_id, thread_id, created_at, language, human_at FROM conversations WHERE id = ?",
        (number,),
    ).fetchone()
    if row is None:
        return None
    users = connection.execute(
        "SELECT id, user_id, blocked FROM users WHERE id IN (SELECT user FROM messages WHERE conversation_id = ?)",
        (number,),
    ).fetchall()
    names = ("id", "channel", "bot", "chat", "thread", "created_at", "language", "human_at")
    return dict(zip(names, row, strict=True)) | {
        "users": [{"id": user, "user": name, "blocked": bool(blocked)} for user, name, blocked in users]
    }


def entries(connection: Connection, number: int, before: float, limit: int) -> Page:
    """The newest `limit` messages and turns of a conversation that are older than `before`, oldest first; a few more
    where those of the same moment would be torn apart, since the next page begins before it."""
    messages = connection.execute(
        "SELECT 'message' AS kind, id, accepted_at AS at, text, state, user, speaker, language FROM messages"
        " WHERE conversation_id = ? AND accepted_at < ? ORDER BY id DESC LIMIT ?",
        (number, before, limit + 1),
    )
    found = [_named(messages, row) for row in messages.fetchall()]
    turns = connection.execute(
        "SELECT 'turn' AS kind, id, committed_at AS at, text, kind AS turn_kind, cut, reason, model, prompt_tokens,"
        " completion_tokens, cached_tokens, first_text_seconds, committed_at - coalesce((SELECT min(accepted_at)"
        " FROM messages m WHERE m.turn_id = turns.id), started_at) AS seconds, feedback, mark,"
        " note FROM turns WHERE conversation_id = ? AND state = 'done' AND committed_at < ? ORDER BY id DESC LIMIT ?",
        (number, before, limit + 1),
    )
    for row in turns.fetchall():
        turn = _named(turns, row)
        found.append(turn | {"cut": bool(turn["cut"]), "deliveries": _deliveries(connection, row[1])})
    found.sort(key=lambda entry: (entry["at"], entry["kind"] == "turn", entry["id"]))
    first = max(0, len(found) - limit)
    while first and found[first - 1]["at"] == found[first]["at"]:
        first -= 1
    return Page(found[first:], found[first]["at"] if first else None)  # type: ignore[arg-type]


def _deliveries(connection: Connection, turn: int) -> list[Item]:
    rows = connection.execute(
        "SELECT id, state, reason, part, parts FROM deliveries WHERE turn_id = ? ORDER BY part", (turn,)
    )
    return [_named(rows, row) for row in rows.fetchall()]


def _named(rows: Connection, row: Sequence[object]) -> Item:
    return {column[0]: value for column, value in zip(rows.description, row, strict=True)}


def mark(connection: Connection, turn: int, mark: str, note: str) -> bool:
    """Keep an operator's opinion of a reply; False if there is no such reply."""
    changed = connection.execute(
        "UPDATE turns SET mark = ?, note = ? WHERE id = ? AND state = 'done'", (mark, note, turn)
    ).rowcount
    return bool(changed)


def pulse(connection: Connection) -> dict[int, str]:
    """The conversations of the newest messages and turns, each with what would differ if something had happened."""
    states: dict[int, str] = {}
    for table, state in (("messages", "state"), ("turns", "state || mark || feedback")):
        rows = connection.execute(
            f"SELECT conversation_id, id, {state} FROM {table} ORDER BY id DESC LIMIT {PULSE}"  # noqa: S608 - constants
        )
        for conversation, number, now in rows:
            states[conversation] = f"{states.get(conversation, '')} {number}{now}"
    return states


def pulse_of(connection: Connection, number: int) -> str:
    """What differs when something happened in that conversation."""
    queries = (
        "SELECT group_concat(id || state) FROM (SELECT id, state FROM messages WHERE conversation_id = ?"
        " ORDER BY id DESC LIMIT 20)",
        "SELECT group_concat(id || state || mark || feedback || note) FROM (SELECT * FROM turns"
        " WHERE conversation_id = ? ORDER BY id DESC LIMIT 20)",
        "SELECT group_concat(d.id || d.state) FROM (SELECT id FROM turns WHERE conversation_id = ?"
        " ORDER BY id DESC LIMIT 5) t JOIN deliveries d ON d.turn_id = t.id",
    )
    return " ".join(str(connection.execute(query, (number,)).fetchone()[0]) for query in queries)
