"""The whole path over calling vLLM directly: the same questions, alternating, at several numbers of users.

Directly, a client sends what the gateway would send and reads the stream. Through the path, a customer writes on
Telegram and watches the reply grow. A published version of the bot keeps replies at 64 tokens, so that a window has no
long tail; what is compared is completion tokens a second, as the engine counts them. Both sides compete with the engine
for the same cores, as they do in a small business.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp

from adapters.telegram.simulator import TelegramSimulator
from bench.account import read_only
from bench.measures import Row
from bench.real_engine import vllm
from bench.stand import TELEGRAM_SECRET, TELEGRAM_TOKEN, Gateway, gateway, percentile, urls
from bots.bot import load
from core.completions import request_body
from core.engine import EngineRequest
from core.prompt import note
from core.types import Bot

USERS = (1, 8, 16, 32)
SECONDS = 25.0  # of a window
ROUNDS = 2
WORDS = ("my parcel", "the blue kettle", "a refund", "your hours", "the invoice", "a broken lid", "delivery", "a gift")
PATIENCE = 180.0
LOOK_SECONDS = 0.02
FIRST_CHAT = 1_000_000
ARRIVED = """
SELECT d.sent_at, c.chat_id FROM deliveries d JOIN conversations c ON c.id = d.conversation_id
WHERE d.sent_at > ? AND d.state = 'sent' AND d.part = d.parts
"""
TOKENS = """
SELECT coalesce(sum(t.completion_tokens), 0) FROM turns t JOIN conversations c ON c.id = t.conversation_id
WHERE CAST(c.chat_id AS INTEGER) > CAST(? AS INTEGER)
"""
LONGEST = 64  # tokens
PASSWORD = "a benchmark's word"  # noqa: S105 - of the stand
SETTINGS = {
    "FRONTDESK__ENGINE__MAX_CONCURRENCY": "16",  # as many as vLLM takes at once on a CPU
    "FRONTDESK__DIALOGUE__MERGE_SECONDS": "0",  # the wait for the rest of a burst is no cost of the path
    "FRONTDESK_CONSOLE_PASSWORD": PASSWORD,
}


@dataclass
class Side:
    """What one way of asking came to."""

    tokens: int = 0
    replies: int = 0
    seconds: float = 0.0
    firsts: list[float] = field(default_factory=list)
    cpu: float = 0.0  # seconds of the gateway's

    @property
    def rate(self) -> float:
        """Completion tokens a second."""
        return self.tokens / self.seconds


@dataclass
class Stand:
    """One engine, reached both ways."""

    engine: str
    model: str
    house: Gateway
    platform: TelegramSimulator
    http: aiohttp.ClientSession
    database: Path
    bot: Bot
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))


async def directly(home: Path) -> list[Row]:
    rows = []
    with vllm(home) as base_url:
        async with _stand(home, base_url) as stand:
            await _direct(stand, 4, 5.0)  # warm
            await _path(stand, 4, 5.0)
            for users in USERS:
                rows += await _compare(stand, users)
    return rows


async def _compare(stand: Stand, users: int) -> list[Row]:
    direct, path = Side(), Side()
    memory = 0.0
    for number in range(ROUNDS):
        for side, ask in ((direct, _direct), (path, _path))[:: 1 if number % 2 == 0 else -1]:
            _add(side, await ask(stand, users, SECONDS))
        memory = max(memory, stand.house.memory_mib())
    cpu = path.cpu / path.replies * 1000
    ratio = path.rate / direct.rate
    each = direct.tokens / direct.replies
    name = f"{users} user{'s' if users > 1 else ''}"
    more = f"{path.rate / each:.2f} over {direct.rate / each:.2f} replies/s of {each:.0f} tokens"
    firsts = [percentile(side.firsts, 0.5) * 1000 for side in (path, direct)]
    return [
        Row(
            f"throughput of the whole path over vLLM called directly, {name}",
            f"{ratio:.3f} ({more})",
            ">= 0.95",
            ratio >= 0.95,
            ratio,
            0.95,
        ),
        Row(
            f"  first text on Telegram, first token directly, {name}, p50",
            f"{firsts[0]:.0f}, {firsts[1]:.0f} ms",
            "",
            None,
        ),
        Row(f"  gateway CPU per reply; memory, {name}", f"{cpu:.1f} ms; {memory:.0f} MiB", "", None),
    ]


def _add(side: Side, other: Side) -> None:
    side.tokens, side.replies = side.tokens + other.tokens, side.replies + other.replies
    side.seconds, side.firsts = side.seconds + other.seconds, side.firsts + other.firsts
    side.cpu += other.cpu


def _question(number: int) -> str:
    return f"I have a question about {WORDS[number % len(WORDS)]}. My number is {number}. What should I do?"


# --- straight to the engine -------------------------------------------------------------------------------------------


async def _direct(stand: Stand, users: int, seconds: float) -> Side:
    """So many clients, each asking again as soon as it is answered; what is being answered at the end counts in full,
    and so does its time."""
    side, began = Side(), time.monotonic()

    async def client() -> None:
        while time.monotonic() - began < seconds:
            tokens, first = await _completion(stand, next(stand.numbers))
            side.tokens, side.replies = side.tokens + tokens, side.replies + 1
            side.firsts.append(first)

    await asyncio.gather(*(client() for _ in range(users)))
    side.seconds = time.monotonic() - began
    return side


async def _completion(stand: Stand, number: int) -> tuple[int, float]:
    """What the gateway would send for that question: tokens of the reply, seconds to its first text."""
    bot = stand.bot
    head = note(bot, "en", time.time())
    messages = (
        {"role": "system", "content": bot.prompts["en"].system},
        {"role": "user", "content": f"{head}\n{_question(number)}"},
    )
    body = request_body(EngineRequest(messages, bot.sampling), stand.model)
    began, first, tokens = time.monotonic(), 0.0, 0
    headers = {"Content-Type": "application/json"}
    async with stand.http.post(f"{stand.engine}/chat/completions", data=body, headers=headers) as answer:
        answer.raise_for_status()
        async for line in answer.content:
            if not line.startswith(b"data: {"):
                continue
            chunk: dict[str, Any] = json.loads(line[6:])
            if not first and chunk["choices"] and chunk["choices"][0]["delta"].get("content"):
                first = time.monotonic() - began
            if chunk.get("usage"):
                tokens = chunk["usage"]["completion_tokens"]
    return tokens, first


# --- through the gateway ----------------------------------------------------------------------------------------------


async def _path(stand: Stand, users: int, seconds: float) -> Side:
    """So many customers, each a new one for each question, who read the reply as it grows."""
    side, began, first = Side(), time.monotonic(), next(stand.numbers)
    arrived: dict[int, asyncio.Event] = {}

    async def customer() -> None:
        while time.monotonic() - began < seconds:
            number = next(stand.numbers)
            chat, said = FIRST_CHAT + number, time.monotonic()
            arrived[chat] = asyncio.Event()
            stand.platform.user_says(chat, _question(number))
            await asyncio.wait_for(arrived[chat].wait(), PATIENCE)
            shown = [message for message in stand.platform.chats.read(chat) if message.by_bot]
            side.firsts.append(shown[0].versions[0].at - said)
            side.replies += 1

    watching, cpu = asyncio.create_task(_watch(stand.database, arrived)), stand.house.cpu_seconds()
    try:
        await asyncio.gather(*(customer() for _ in range(users)))
    finally:
        watching.cancel()
    side.seconds, side.cpu = time.monotonic() - began, stand.house.cpu_seconds() - cpu
    with closing(read_only(stand.database)) as ledger:
        (side.tokens,) = ledger.execute(TOKENS, (str(FIRST_CHAT + first),)).fetchone()
    return side


async def _watch(database: Path, arrived: dict[int, asyncio.Event]) -> None:
    """Tell each customer when the last part of the reply has arrived; a person sees it, a program asks the ledger."""
    last = 0.0
    with closing(read_only(database)) as ledger:
        while True:
            for sent_at, chat in ledger.execute(ARRIVED, (last - 1.0,)).fetchall():
                last = max(last, sent_at)
                if int(chat) in arrived:
                    arrived[int(chat)].set()
            await asyncio.sleep(LOOK_SECONDS)


@asynccontextmanager
async def _stand(home: Path, base_url: str) -> AsyncIterator[Stand]:
    bot = load(home / "bots" / "support")
    bot = replace(bot, sampling=replace(bot.sampling, max_tokens=LONGEST))
    with tempfile.TemporaryDirectory() as folder:
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
            TelegramSimulator(TELEGRAM_TOKEN) as platform,
            gateway(home, Path(folder), urls(base_url, platform.base_url) | SETTINGS) as house,
        ):
            platform.webhook.set(f"{house.address}/telegram", TELEGRAM_SECRET, frozenset(), 100)
            async with http.get(f"{base_url}/models") as answer:
                model = (await answer.json())["data"][0]["id"]
            await _publish(http, house)
            yield Stand(base_url, model, house, platform, http, Path(folder) / "bench.db", bot)


async def _publish(http: aiohttp.ClientSession, house: Gateway) -> None:
    """Shorter replies, as an operator would do it."""
    api = f"{house.address}/console/api"
    async with http.post(f"{api}/sign-in", json={"password": PASSWORD}) as answer:
        answer.raise_for_status()
        headers = {"X-CSRF-Token": (await answer.json())["csrf"]}
        headers["Cookie"] = f"frontdesk_console={answer.cookies['frontdesk_console'].value}"
    async with http.get(f"{api}/bots/support", headers=headers) as answer:
        recipe = (await answer.json())["recipe"]
    recipe["sampling"]["max_tokens"] = LONGEST
    async with http.post(f"{api}/bots/support/versions", json={**recipe, "base": 1}, headers=headers) as answer:
        answer.raise_for_status()
