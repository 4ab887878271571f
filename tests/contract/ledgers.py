"""The stores under contract: one class for each implementation of the ledger's port, and a short way to drive any."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol

from core.ledger import Admission, Burst, Ledger
from core.ledger.sqlite import SqliteLedger
from core.throttle import Rate
from core.types import ConversationKey, Delivery, InboundMessage, Receipt, Reply, ReplyKind, Turn, Usage
from tests.fakes import FakeClock
from tests.ledger_file import begun

GENEROUS = Admission(Rate.per_minute(60, 1000), None, lambda refusal: f"Too many {refusal.reason}.")
SEALS = ("personal", "salt")
AT_ONCE = Burst(wait_seconds=0.0, cap_seconds=0.0, messages=20)


class Store(Protocol):
    """One place on disk (or on a server) that outlives the ledgers opened on it."""

    def ledger(self) -> Ledger:
        """A ledger on it, not open yet."""

    def begin(self) -> None:
        """Before an open: make it as the first start leaves it, where that saves time."""

    def audit(self) -> list[tuple[str, str, str]]:
        """Action, subject and what is told of it, of every audit row, oldest first; without seals and salts."""


class SqliteStore:
    """A SQLite file."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ledger.db"

    def ledger(self) -> Ledger:
        return SqliteLedger(self.path)

    def begin(self) -> None:
        begun(self.path)

    def audit(self) -> list[tuple[str, str, str]]:
        with closing(sqlite3.connect(self.path)) as connection:
            rows = connection.execute("SELECT action, subject, detail, personal FROM audit ORDER BY id").fetchall()
        told = [
            (action, subject, json.loads(detail) | json.loads(part or "{}")) for action, subject, detail, part in rows
        ]
        return [
            (action, subject, json.dumps({name: value for name, value in parts.items() if name not in SEALS}))
            for action, subject, parts in told
        ]


# Further implementations join here; every contract test then runs on them too.
STORES: dict[str, Callable[[Path], Store]] = {"sqlite": SqliteStore}


def key(chat: str = "chat", channel: str = "web") -> ConversationKey:
    return ConversationKey(channel, "support", chat)


class Book:
    """An open ledger, its clock, and defaults for what a test does not care about."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = FakeClock()
        self.ledger = store.ledger()
        self._events = 0

    async def open(self, repeatable: Sequence[str] = (), repeats: int = 0) -> None:
        self.store.begin()
        await self.ledger.open(self.clock(), frozenset(repeatable), repeats)

    async def reopen(self, repeatable: Sequence[str] = (), repeats: int = 0) -> None:
        """What a crash leaves behind: nothing that was under way is handed back or closed."""
        await self.ledger.close()
        self.ledger = self.store.ledger()
        await self.open(repeatable, repeats)

    def message(
        self,
        text: str = "Hello",
        *,
        chat: str = "chat",
        user: str = "user",
        channel: str = "web",
        event: str = "",
        merge: bool = True,
    ) -> InboundMessage:
        self._events += 1
        return InboundMessage(
            event_id=event or f"event-{self._events}",
            conversation=key(chat, channel),
            user_id=user,
            text=text,
            address={"to": chat, "event": self._events},
            merge=merge,
        )

    async def accept(
        self, message: InboundMessage | str, admission: Admission = GENEROUS, burst: Burst = AT_ONCE
    ) -> Receipt:
        if isinstance(message, str):
            message = self.message(message)
        return await self.ledger.accept(message, admission, burst, self.clock())

    async def claim(self, merge_messages: int = 20) -> Turn | None:
        claimed = await self.ledger.claim(self.clock(), 60.0, merge_messages, 1)
        return claimed[0] if claimed else None

    async def take(self) -> Turn:
        """Claim where something must be ready."""
        turn = await self.claim()
        assert turn is not None
        return turn

    async def commit(
        self, turn: Turn, text: str = "Answer", parts: Sequence[str] | None = None, tokens: Rate | None = None
    ) -> None:
        reply = self.reply(turn, text)
        await self.ledger.commit(turn, reply, [text] if parts is None else parts, tokens, self.clock())

    @staticmethod
    def reply(turn: Turn, text: str, *, cut: bool = False) -> Reply:
        """An answer of the model's."""
        return Reply(
            text=text,
            cut=cut,
            user_text=f"<{turn.text}>",
            model_text=text,
            language="en",
            model="test-model",
            usage=Usage(30, 12, 8),
        )

    async def apologise(self, turn: Turn, text: str = "Sorry") -> None:
        reply = Reply(text=text, kind=ReplyKind.APOLOGY, reason="test")
        await self.ledger.commit(turn, reply, [text], None, self.clock())

    async def answer(self, text: str = "Answer", *, chat: str = "chat", parts: Sequence[str] | None = None) -> Turn:
        """A whole turn: accept, claim, commit."""
        await self.accept(self.message(chat=chat))
        turn = await self.take()
        await self.commit(turn, text, parts)
        return turn

    async def due(self, channel: str = "web", limit: int = 50) -> tuple[Delivery, ...]:
        return await self.ledger.due(channel, self.clock(), limit)

    async def send(self) -> list[str]:
        """Send what is due until nothing is; returns the texts in the order of sending."""
        texts: list[str] = []
        while batch := await self.due():
            for delivery in batch:
                texts.append(delivery.text)
                await self.ledger.sent(delivery.id, f"sent-{delivery.id}", self.clock())
        return texts
