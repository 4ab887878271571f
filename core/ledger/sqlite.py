"""The ledger on SQLite: WAL, synchronous=FULL, one writer with group commit, one reader; one gateway to a file.

The file is locked against a second gateway, because recovery after a crash assumes that the dead process was the only
one.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TypeVar

from sqlite_utils import Database

from core.audit import AuditEntry, plain
from core.errors import ConfigError, LedgerError
from core.killing import Passing, pass_by
from core.ledger import (
    Admission,
    Burst,
    Counts,
    Notice,
    chats,
    claims,
    facts,
    feedback,
    inbox,
    office,
    outbox,
    retention,
    turns,
    views,
)
from core.ledger.audit import Recorder
from core.ledger.damage import Damage, look
from core.ledger.file import is_foreign, lock
from core.ledger.schema import migrations
from core.ledger.writer import Connection, Reader, Writer, sqlite3
from core.masking import mask
from core.throttle import Rate
from core.types import (
    ConversationKey,
    Delivery,
    Entry,
    HistoryEntry,
    InboundMessage,
    JsonObject,
    MessageState,
    Outcome,
    Receipt,
    Reply,
    Turn,
)

FOREVER = float("inf")
WAL_BYTES = 16 << 20
T = TypeVar("T")


class SqliteLedger:
    """The ledger's port over one SQLite file. `masking`: the audit record is kept without what tells who somebody
    is."""

    def __init__(self, path: Path, passing: Passing = pass_by, *, masking: bool = True) -> None:
        self._record = self.audit = Recorder(mask if masking else plain)
        self._path = path
        self._passing = passing
        self._damage = Damage()
        self._writer: Writer | None = None
        self._reader: Reader | None = None
        self._browser: Reader | None = None
        self._lock: int | None = None

    async def open(self, now: float, repeatable: frozenset[str], repeats: int = 0) -> None:
        self._lock = lock(self._path)
        try:
            # It holds what customers said: ours alone. SQLite gives the files beside it the same rights.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            await self._prepare(now, repeatable, repeats)
        except (sqlite3.Error, LedgerError, OSError) as error:
            await self.close()
            problem = f"ledger.url: {self._path} cannot be used as the ledger ({error})"
            raise ConfigError([f"{problem}; name another file or restore a backup"]) from error

    async def _prepare(self, now: float, repeatable: frozenset[str], repeats: int) -> None:
        look(self._path)
        with closing(sqlite3.connect(self._path)) as connection:
            if is_foreign(Database(connection)):
                raise LedgerError("it belongs to another program")
        with closing(self._connect()) as connection:
            migrations().apply(Database(connection))
        self._writer = Writer(self._connect, self._passing, self._record.anew, self._damage.note)
        self._reader = Reader(partial(self._connect, read_only=True), self._damage.note)

        def recover(connection: Connection) -> None:
            turns.reclaim(connection, FOREVER)
            outbox.recover(connection, repeatable, repeats)
            retention.bring_back(connection, now)

        await self._writer.run(recover)

    async def close(self) -> None:
        if self._writer is not None:
            await self._writer.close()
        if self._reader is not None:
            await self._reader.close()
        if self._browser is not None:
            await self._browser.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _connect(self, *, read_only: bool = False) -> Connection:
        connection = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, timeout=10.0, cached_statements=256
        )
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        # What the -wal grew to behind a long reader (an export, a backup) is given back.
        connection.execute(f"PRAGMA journal_size_limit={WAL_BYTES}")
        connection.execute("PRAGMA foreign_keys=OFF")  # every row is written with its parent; checking costs 10 %
        connection.execute(f"PRAGMA query_only={int(read_only)}")
        return connection

    @property
    def _writing(self) -> Writer:
        self._damage.refuse()
        if self._writer is None:
            raise LedgerError("the ledger is not open")
        return self._writer

    @property
    def _reading(self) -> Reader:
        self._damage.refuse()
        if self._reader is None:
            raise LedgerError("the ledger is not open")
        return self._reader

    async def accept(
        self, message: InboundMessage, admission: Admission, burst: Burst, now: float, notice: Notice | None = None
    ) -> Receipt:
        return await self._writing.run(lambda c: inbox.accept(c, message, admission, burst, now, notice, self._record))

    async def withdraw(self, conversation: ConversationKey, now: float) -> None:
        await self._writing.run(lambda c: chats.withdraw(c, conversation.channel, conversation.chat_id))

    async def move(self, conversation: ConversationKey, chat_id: str) -> None:
        await self._writing.run(lambda c: chats.move(c, conversation.channel, conversation.chat_id, chat_id))

    async def claim(
        self, now: float, lease_seconds: float, merge_messages: int, limit: int, room: int = 0
    ) -> tuple[Turn, ...]:
        return await self._writing.run(lambda c: claims.claim_all(c, now, lease_seconds, merge_messages, limit, room))

    async def next_ready_at(self, after: float = 0.0) -> float | None:
        return await self._reading.run(lambda c: views.next_ready_at(c, after))

    async def renew(self, turns: Sequence[int], lease_until: float) -> None:
        rows = [(lease_until, turn) for turn in turns]
        await self._writing.run(
            lambda c: c.executemany("UPDATE turns SET lease_until = ? WHERE id = ? AND state = 'running'", rows)
        )

    async def reclaim(self, now: float) -> int:
        return await self._writing.run(lambda c: turns.reclaim(c, now))

    async def release(self, turn: Turn, ready_at: float, *, counted: bool, trouble: str = "") -> None:
        await self._writing.run(
            lambda c: turns.release(c, turn.id, turn.attempt, ready_at, counted=counted, trouble=trouble)
        )

    async def references(self, turn: Turn) -> frozenset[str]:
        return await self._reading.run(lambda c: turns.references(c, turn))

    async def behind(self, turn: Turn) -> bool:
        return await self._reading.run(lambda c: turns.behind(c, turn.id))

    async def previewed(self, turn: Turn, reference: str) -> None:
        await self._writing.run(lambda c: turns.previewed(c, turn, reference))

    async def commit(
        self,
        turn: Turn,
        reply: Reply,
        parts: Sequence[str],
        tokens: Rate | None,
        now: float,
        *,
        set_aside: bool = False,
    ) -> bool:
        return await self._writing.run(
            lambda c: turns.commit(c, turn, reply, parts, tokens, now, set_aside=set_aside, record=self._record)
        )

    async def recall(self, turn: Turn, limit: int) -> tuple[HistoryEntry, ...]:
        return await self._reading.run(lambda c: views.recall(c, turn.conversation_id, turn.history_from, limit))

    async def due(self, channel: str, now: float, limit: int) -> tuple[Delivery, ...]:
        return await self._writing.run(lambda c: outbox.due(c, channel, now, limit))

    async def begin(self, delivery: int) -> None:
        await self._writing.run(lambda c: outbox.begin(c, delivery))

    async def next_due_at(self, channel: str) -> float | None:
        return await self._reading.run(lambda c: outbox.next_due_at(c, channel))

    async def sent(self, delivery: int, reference: str, now: float) -> bool:
        return await self._writing.run(lambda c: outbox.sent(c, delivery, reference, now))

    async def postpone(self, delivery: int, due_at: float, reason: str) -> None:
        await self._writing.run(lambda c: outbox.postpone(c, delivery, due_at, reason))

    async def fail(self, delivery: int, reason: str) -> None:
        await self._writing.run(lambda c: outbox.fail(c, delivery, reason))

    async def doubt(self, delivery: int, reason: str, repeats: int = 0, again_at: float = 0.0) -> bool:
        return await self._writing.run(lambda c: outbox.doubt(c, delivery, reason, repeats, again_at))

    async def waiting_parts(self, conversation: ConversationKey, taken_by: str) -> tuple[Delivery, ...]:
        return await self._reading.run(lambda c: outbox.waiting_parts(c, conversation, taken_by))

    async def hand_over(self, deliveries: Iterable[int], taken_by: str, now: float) -> frozenset[int]:
        wanted = tuple(deliveries)
        return await self._writing.run(lambda c: outbox.hand_over(c, wanted, taken_by, now))

    async def outcome(self, channel: str, event_id: str) -> Outcome | None:
        return await self._reading.run(lambda c: views.outcome(c, channel, event_id))

    async def state(self, channel: str, event_id: str) -> MessageState | None:
        return await self._reading.run(lambda c: views.state(c, channel, event_id))

    async def transcript(self, conversation: ConversationKey, limit: int) -> tuple[Entry, ...]:
        return await self._reading.run(lambda c: views.transcript(c, conversation, limit))

    async def feedback(self, conversation: ConversationKey, turn: int, user_id: str, vote: str, now: float) -> bool:
        return await self._writing.run(lambda c: feedback.vote(c, conversation, turn, user_id, vote, now, self._record))

    async def keep(self, channel: str, name: str, value: JsonObject | None) -> None:
        await self._writing.run(lambda c: facts.keep(c, channel, name, value))

    async def kept(self, channel: str, name: str) -> JsonObject | None:
        return await self._reading.run(lambda c: facts.kept(c, channel, name))

    async def forget(self, messages_before: float, audit_before: float, now: float, limit: int) -> int:
        count = await self._writing.run(
            lambda c: retention.forget(c, messages_before, audit_before, now, limit, self._record)
        )
        if not count:
            users = await self._reading.run(lambda c: retention.idle_users(c, limit))
            await self._writing.run(lambda c: retention.forget_users(c, users))
        return count

    async def record(self, entry: AuditEntry, now: float) -> None:
        await self._writing.run(lambda c: self._record(c, entry, now))

    async def counts(self) -> Counts:
        return await self._reading.run(views.counts)

    async def browse(self, function: Callable[[Connection], T]) -> T:
        """Read on a connection beside the gateway's own, which waits for nobody's page."""
        if self._browser is None:
            self._browser = Reader(partial(self._connect, read_only=True), self._damage.note)
        return await self._browser.run(function)

    async def write(self, function: Callable[[Connection], T]) -> T:
        """Change something in a transaction of the writer's."""
        return await self._writing.run(function)

    async def apart(self, function: Callable[[Connection], T]) -> T:
        """Change much, on a connection as an operator's command has one."""

        def run() -> T:
            with office.opened(self._path) as connection:
                return function(connection)

        return await asyncio.to_thread(run)

    async def check(self) -> str:
        try:
            # Writes a page though the value stays the same, so that a full disk shows.
            await self._writing.run(lambda c: c.execute("PRAGMA user_version = 1"))
            await self._reading.run(lambda c: c.execute("SELECT 1").fetchone())
        except LedgerError as error:
            return str(error)
        return ""
