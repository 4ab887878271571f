"""What a channel remembers of its platform in SQL: one JSON object under each name, the newest one counts."""

from __future__ import annotations

import orjson

from core.ledger.turns import json_object
from core.ledger.writer import Connection
from core.types import JsonObject


def keep(connection: Connection, channel: str, name: str, value: JsonObject | None) -> None:
    if value is None:
        connection.execute("DELETE FROM facts WHERE channel = ? AND name = ?", (channel, name))
        return
    connection.execute(
        "INSERT INTO facts (channel, name, value) VALUES (?, ?, ?)"
        " ON CONFLICT (channel, name) DO UPDATE SET value = excluded.value",
        (channel, name, orjson.dumps(dict(value)).decode()),
    )


def kept(connection: Connection, channel: str, name: str) -> JsonObject | None:
    row = connection.execute("SELECT value FROM facts WHERE channel = ? AND name = ?", (channel, name)).fetchone()
    return json_object(row[0]) if row else None


def forget_ended(connection: Connection, channel: str, now: float) -> None:
    """Forget those that say themselves until when they hold, and do no more."""
    connection.execute("DELETE FROM facts WHERE channel = ? AND json_extract(value, '$.until') <= ?", (channel, now))
