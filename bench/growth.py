"""What a message costs does not follow the messages stored, nor those that wait: ledgers of three sizes, side by side.

The ledgers have the project's own schema, and rows as conversations leave them; the same messages go to a gateway on
each, in turns, so that whatever else the machine does hits all of them.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from adapters.telegram import simulated_updates
from adapters.telegram.simulator import TelegramSimulator
from bench.account import read_only
from bench.measures import Row
from bench.soak import REPLY, UNDER_WAY
from bench.stand import TELEGRAM_SECRET, TELEGRAM_TOKEN, Gateway, engine, gateway, percentile, urls
from core.ledger.sqlite import SqliteLedger

SIZES = (1_000, 100_000, 1_000_000)  # messages stored
EACH = 4  # messages of a stored conversation, all answered
KNOWN = 100  # of a round's messages come from people with a stored conversation; the others are new
ROUND = 300
PER_SECOND = 150.0
LINE = 10_000  # conversations that wait
STRETCH = 1_500  # of them, answered before and after it
PATIENCE = 120.0
IDLE_SHARE = 0.1  # of a core
FIRST_CHAT, FIRST_UPDATE = 10_000_000, 100_000_000
TEXT = "Where is my order? It was sent last week and has not arrived. Its number is "

# `number` counts the messages; those of a conversation lie as far apart as there are conversations. Its `owner` is the
# conversation and the user, who have the same number.
NUMBERS = """
CREATE TEMP TABLE number AS WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < :messages - 1)
SELECT i, 1 + i % :conversations AS owner, :first_chat + 1 + i % :conversations AS chat FROM n
"""
SAID = (
    """
INSERT INTO conversations (id, channel, bot, chat_id, thread_id, language, prompt_tokens, created_at)
SELECT owner, 'telegram', 'support', chat, '', 'en', :tokens, :at FROM number WHERE i < :conversations
""",
    """
INSERT INTO users (id, channel, user_id, served_at, messages_arrival, tokens_arrival)
SELECT owner, 'telegram', chat, :at, :at, :at FROM number WHERE i < :conversations
""",
    """
INSERT INTO messages (id, channel, event_id, conversation_id, user, text, language, address, sent_at, accepted_at,
    state, turn_id, source_id)
SELECT i + 1, 'telegram', :first_update + i, owner, owner, :text || i, 'en',
    json_object('chat_id', chat, 'chat_type', 'private', 'message_id', i), :at, :at,
    :state, CASE :state WHEN 'waiting' THEN NULL ELSE i + 1 END, chat || ':' || i FROM number
""",
    """
INSERT INTO audit (at, action, subject, detail)
SELECT :at, 'message', 'message/' || (i + 1), json_object('conversation', 'telegram/support/' || chat, 'user', chat,
    'event', i, 'state', 'waiting', 'text_sha256', hex(randomblob(32))) FROM number
""",
)
ANSWERED = (
    """
INSERT INTO turns (id, conversation_id, user, state, attempt, lease_until, started_at, committed_at, kind, text, model,
    prompt_tokens, completion_tokens, first_text_seconds)
SELECT i + 1, owner, owner, 'done', 1, :at, :at, :at, 'answer', :reply, 'simulated', :tokens, 24, 0.4 FROM number
""",
    """
INSERT INTO history (conversation_id, turn_id, role, text)
SELECT owner, i + 1, role, iif(role = 'user', :text || i, :reply)
FROM number CROSS JOIN (SELECT 'user' AS role UNION ALL SELECT 'assistant')
""",
    """
INSERT INTO deliveries (turn_id, conversation_id, channel, part, parts, text, kind, address, state, reference,
    attempts, due_at, sent_at, begun)
SELECT i + 1, owner, 'telegram', 1, 1, :reply, 'answer',
    json_object('chat_id', chat, 'chat_type', 'private', 'message_id', i), 'sent', chat || ':' || i, 1, :at, :at, 1
FROM number
""",
    """
INSERT INTO audit (at, action, subject, detail)
SELECT :at, 'reply', 'turn/' || (i + 1), json_object('conversation', 'telegram/support/' || chat, 'messages',
    json_array(i + 1), 'kind', 'answer', 'model', 'simulated', 'prompt_tokens', :tokens, 'completion_tokens', 24,
    'text_sha256', hex(randomblob(32))) FROM number
""",
)
IN_LINE = (
    """
INSERT INTO inbox (conversation_id, user, served_at, message_id, first_at, ready_at)
SELECT owner, owner, :at, i + 1, :at, :at FROM number
""",
)


async def prefill(ledger: Path, messages: int, *, waiting: bool = False) -> None:
    """Store so many: answered, EACH to a conversation, or `waiting`, each in one of its own."""
    store = SqliteLedger(ledger)
    await store.open(time.time(), frozenset())
    await store.close()
    values = {
        "messages": messages,
        "conversations": messages if waiting else messages // EACH,
        "state": "waiting" if waiting else "answered",
        "first_chat": FIRST_CHAT,
        "first_update": FIRST_UPDATE,
        "text": TEXT,
        "tokens": 0 if waiting else 400,
        "at": time.time() - 60.0,
        "reply": REPLY,
    }
    await asyncio.to_thread(_fill, ledger, values, (*SAID, *(IN_LINE if waiting else ANSWERED)))


def _fill(ledger: Path, values: Mapping[str, object], statements: tuple[str, ...]) -> None:
    with closing(sqlite3.connect(ledger, isolation_level=None)) as connection:
        for pragma in ("journal_mode = DELETE", "synchronous = OFF", "cache_size = -1000000", "temp_store = MEMORY"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN")
        for statement in (NUMBERS, *statements):
            connection.execute(statement, values)
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")  # as a gateway leaves it
    with ledger.open("rb") as file:
        os.fsync(file.fileno())  # or the start that is measured waits for it


@dataclass(slots=True)
class Side:
    """A gateway on a ledger of one size, and what was measured there."""

    stored: int
    house: Gateway
    ledger: sqlite3.Connection
    cpu: list[float] = field(default_factory=list)  # seconds of each round
    latencies: list[float] = field(default_factory=list)  # seconds of each accepted message

    async def round(self, http: aiohttp.ClientSession, number: int) -> None:
        """The same messages at every size; returns when all are answered, and counts what it cost."""
        before, began = self.house.cpu_seconds(), time.monotonic()
        async with asyncio.TaskGroup() as group:
            for place in range(ROUND):
                await asyncio.sleep(began + place / PER_SECOND - time.monotonic())
                group.create_task(self._post(http, number * ROUND + place, self._chat(number, place)))
        await self.until_quiet()
        self.cpu.append(self.house.cpu_seconds() - before)

    def _chat(self, number: int, place: int) -> int:
        """Known people are spread over the whole ledger, and write equally often at every size."""
        if place % (ROUND // KNOWN):
            return FIRST_CHAT * 2 + number * ROUND + place
        known = SIZES[0] // EACH
        return FIRST_CHAT + 1 + (number * KNOWN + place // (ROUND // KNOWN)) % known * (self.stored // EACH // known)

    async def _post(self, http: aiohttp.ClientSession, number: int, chat: int) -> None:
        said = simulated_updates.message(number + 1, chat, {"id": chat, "type": "private"}, TEXT, language="en")
        update, headers = FIRST_UPDATE * 2 + number, {"X-Telegram-Bot-Api-Secret-Token": TELEGRAM_SECRET}
        began = time.monotonic()
        async with http.post(
            f"{self.house.address}/telegram", json={"update_id": update, **said}, headers=headers
        ) as answer:
            answer.raise_for_status()
        self.latencies.append(time.monotonic() - began)

    async def until_quiet(self) -> None:
        """Until nothing is under way. Raises TimeoutError."""
        async with asyncio.timeout(PATIENCE):
            while self.ledger.execute(UNDER_WAY).fetchone()[0]:  # noqa: ASYNC110 - another process answers
                await asyncio.sleep(0.02)

    async def until_idle(self) -> None:
        """Until nothing is done in the background, either: the search index takes up what was stored without it."""
        async with asyncio.timeout(PATIENCE):
            before = -1.0
            while (now := self.house.cpu_seconds()) - before > IDLE_SHARE:
                before = now
                await asyncio.sleep(1.0)

    @property
    def accepting(self) -> str:
        return f"{percentile(self.latencies, 0.5) * 1000:.1f} / {percentile(self.latencies, 0.99) * 1000:.1f} ms"


@asynccontextmanager
async def _side(home: Path, folder: Path, model: str, stored: int, *, waiting: bool = False) -> AsyncIterator[Side]:
    await prefill(folder / "bench.db", stored, waiting=waiting)
    async with (
        TelegramSimulator(TELEGRAM_TOKEN) as platform,
        gateway(home, folder, urls(model, platform.base_url)) as house,
    ):
        with closing(read_only(folder / "bench.db")) as ledger:
            yield Side(stored, house, ledger)


async def growth(home: Path, rounds: int = 12) -> list[Row]:
    """Gateway CPU for an answered message, and the time to accept it, with few and with many messages stored."""
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncExitStack() as stack:
            model = await stack.enter_async_context(engine(home, reply=REPLY, pieces="8"))
            http = await stack.enter_async_context(aiohttp.ClientSession())
            sides = [
                await stack.enter_async_context(_side(home, Path(folder) / f"{size}", model, size)) for size in SIZES
            ]
            for side in sides:
                await side.until_idle()
            for number in range(rounds + 1):
                for side in sides if number % 2 else reversed(sides):
                    await side.round(http, number)
            for side in sides:
                del side.cpu[0], side.latencies[:ROUND]  # what is loaded at first use
    small, middle, large = sides
    each = " / ".join(f"{statistics.median(side.cpu) / ROUND * 1000:.2f}" for side in sides)
    ratio, halfway = _ratio(large, small), _ratio(middle, small)
    started, first = large.house.started_seconds, small.house.started_seconds
    return [
        Row(
            f"cost of a turn with {large.stored:,} stored messages over {small.stored:,}",
            f"{ratio:.2f}",
            "<= 1.2",
            ratio <= 1.2,
        ),
        Row(f"  with {middle.stored:,} over {small.stored:,}", f"{halfway:.2f}", "", None),
        Row("  gateway CPU per answered message at the three sizes, median", f"{each} ms", "", None),
        *(
            Row(f"  webhook accepted with {side.stored:,} stored, p50 / p99", side.accepting, "", None)
            for side in sides
        ),
        Row(
            f"start to accepting with {large.stored:,} stored messages",
            f"{started:.2f} s ({first:.2f} with {small.stored:,})",
            "<= 1.5 s",
            started <= 1.5,
        ),
    ]


def _ratio(large: Side, small: Side) -> float:
    """The median of the rounds, each against its neighbour."""
    return statistics.median(much / little for much, little in zip(large.cpu, small.cpu, strict=True))


async def line(home: Path, behind: int = LINE, stretch: int = STRETCH) -> list[Row]:
    """Gateway CPU for an answered message while many others wait, and at the end of the same line."""
    with tempfile.TemporaryDirectory() as folder:
        async with engine(home, reply=REPLY, pieces="8") as model:
            total = behind + 2 * stretch
            async with _side(home, Path(folder) / "line", model, total, waiting=True) as side:
                course = [(total, side.house.cpu_seconds())]  # waiting or being answered, and CPU until then
                while course[-1][0]:
                    await asyncio.sleep(0.02)
                    (left,) = side.ledger.execute(
                        "SELECT (SELECT count(*) FROM inbox) + (SELECT count(*) FROM turns WHERE state = 'running')"
                    ).fetchone()
                    course.append((left, side.house.cpu_seconds()))
    early, late = _cost(course, behind + stretch, behind), _cost(course, stretch, 0)
    return [
        Row(
            f"gateway CPU per answered message, {behind:,} conversations waiting behind",
            f"{early * 1000:.2f} ms",
            "",
            None,
        ),
        Row("  the last of the same line", f"{late * 1000:.2f} ms", "", None),
    ]


def _cost(course: list[tuple[int, float]], first: int, last: int) -> float:
    """CPU seconds for each message between two lengths of the line."""
    stretch = [moment for moment in course if last <= moment[0] <= first]
    return (stretch[-1][1] - stretch[0][1]) / (stretch[0][0] - stretch[-1][0])
