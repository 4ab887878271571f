"""The API's keys in SQL: a key is shown once, and only its digest is kept, among the facts of the channel it opens.

A key is 32 random bytes, so that its plain SHA-256 cannot be turned back, and looking one up by it tells nothing.
"""

from __future__ import annotations

import hashlib
import secrets
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from core.ledger import facts
from core.ledger.turns import json_object
from core.ledger.writer import Connection
from core.types import JsonObject

CHANNEL = "api"  # whose facts they are
PREFIX = "fd_"  # so that a scanner for leaked secrets knows one
NAME = "key-"  # and the digest: the fact's name
NAME_CHARACTERS = 100
LEAST, MOST = 0.001, 1_000_000  # requests a minute; fewer than one a day is no rate


@dataclass(frozen=True, slots=True)
class Key:
    """What may be done with a key; `bots` empty: all of them, and the raw model."""

    id: int
    name: str
    bots: tuple[str, ...] = ()
    requests_per_minute: float | None = None  # None: only the limit per address counts
    created_at: float = 0.0
    revoked_at: float | None = None
    fingerprint: str = ""  # names the key in the audit record, and in the ids of its callers' users


def flaw(name: str, bots: Sequence[str], per_minute: float | None, there: Collection[str]) -> str:
    """What keeps such a key from being made, as a sentence; "" when nothing does. `there`: the bots of the house."""
    # What moves a terminal's cursor does not belong into a list that is printed there.
    if not 0 < len(name.strip()) <= NAME_CHARACTERS or any(unicodedata.category(one) in {"Cc", "Cs"} for one in name):
        return f"name: 1 to {NAME_CHARACTERS} characters in one line are needed."
    if unknown := [bot for bot in bots if bot not in there]:
        return f"bots: there is no {', '.join(unknown)}; there are {', '.join(there)}."
    if per_minute is not None and not LEAST <= per_minute <= MOST:
        return f"requests a minute: a number from {LEAST} to {MOST} is needed."
    return ""


def digest(key: str) -> str:
    return hashlib.sha256(key.strip().encode("utf-8", "surrogateescape")).hexdigest()


def fingerprint(key: str) -> str:
    """16 hex digits that tell keys apart and open nothing."""
    return digest(key)[:16]


def fact_name(key: str) -> str:
    """Under which name what is known of a key is kept."""
    return NAME + digest(key)


def create(
    connection: Connection, channel: str, name: str, bots: Sequence[str], per_minute: float | None, now: float
) -> tuple[Key, str]:
    """A new key, and its secret, which nobody can read again. Inside the caller's transaction."""
    secret = PREFIX + secrets.token_urlsafe(32)
    number = max((key.id for key in listed(connection, channel)), default=0) + 1
    key = Key(number, name, tuple(bots), per_minute, now, fingerprint=fingerprint(secret))
    facts.keep(connection, channel, fact_name(secret), _fact(key))
    return key, secret


def listed(connection: Connection, channel: str) -> list[Key]:
    """All keys there ever were, oldest first."""
    rows = connection.execute(
        "SELECT value FROM facts WHERE channel = ? AND name >= ? AND name < ?", (channel, NAME, NAME[:-1] + ".")
    )
    return sorted((known(json_object(value)) for (value,) in rows.fetchall()), key=lambda key: key.id)


def revoke(connection: Connection, channel: str, number: int, now: float) -> Key | None:
    """The key opens nothing any more; None if there is no such key, or it did not before."""
    rows = connection.execute("SELECT name, value FROM facts WHERE channel = ?", (channel,)).fetchall()
    for name, value in rows:
        if not name.startswith(NAME):
            continue
        key = known(json_object(value))
        if key.id == number and key.revoked_at is None:
            facts.keep(connection, channel, name, {**_fact(key), "revoked_at": now})
            return key
    return None


def known(fact: JsonObject) -> Key:
    """A key from what is kept of it."""
    bots, rate, revoked = fact.get("bots"), fact.get("requests_per_minute"), fact.get("revoked_at")
    return Key(
        id=int(str(fact.get("id", 0))),
        name=str(fact.get("name", "")),
        bots=tuple(map(str, bots)) if isinstance(bots, list) else (),
        requests_per_minute=float(rate) if isinstance(rate, int | float) else None,
        created_at=float(str(fact.get("created_at", 0.0))),
        revoked_at=float(revoked) if isinstance(revoked, int | float) else None,
        fingerprint=str(fact.get("fingerprint", "")),
    )


def _fact(key: Key) -> JsonObject:
    return {
        "id": key.id,
        "name": key.name,
        "bots": list(key.bots),
        "requests_per_minute": key.requests_per_minute,
        "created_at": key.created_at,
        "revoked_at": key.revoked_at,
        "fingerprint": key.fingerprint,
    }
