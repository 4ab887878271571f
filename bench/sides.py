"""The two ways of asking the engine that are compared: straight to it, and as a user of a channel of the gateway."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from bench.account import read_only
from bench.drivers import Api, Driver
from bench.stand import Gateway
from core.completions import request_body
from core.engine import EngineRequest
from core.prompt import note
from core.types import Bot

WORDS = ("my parcel", "the blue kettle", "a refund", "your hours", "the invoice", "a broken lid", "delivery", "a gift")
PATIENCE = 180.0
LOOK_SECONDS = 0.01  # between two looks of those who wait for the first text
ASK_SECONDS = 0.02  # between two looks into the ledger; each costs time that the engine could have had
NUMBER = re.compile(r"My number is (\d+)")
ARRIVED = """
SELECT d.sent_at, m.text FROM deliveries d JOIN messages m ON m.turn_id = d.turn_id
WHERE d.turn_id > ? AND d.sent_at > ? AND d.state = 'sent' AND d.part = d.parts
"""
NEWEST = "SELECT coalesce(max(id), 0) FROM turns"
TOKENS = "SELECT coalesce(sum(completion_tokens), 0) FROM turns WHERE id > ?"


@dataclass
class Side:
    """What one way of asking came to."""

    tokens: int = 0
    replies: int = 0
    seconds: float = 0.0
    firsts: list[float] = field(default_factory=list)  # seconds to the first text
    cpu: float = 0.0  # seconds of the gateway's

    @property
    def rate(self) -> float:
        """Completion tokens a second."""
        return self.tokens / self.seconds

    def add(self, other: Side) -> None:
        """Another window of the same."""
        self.tokens, self.replies = self.tokens + other.tokens, self.replies + other.replies
        self.seconds, self.firsts = self.seconds + other.seconds, self.firsts + other.firsts
        self.cpu += other.cpu


@dataclass
class Stand:
    """One engine, reached both ways."""

    engine: str  # its base_url
    model: str
    house: Gateway
    drivers: Mapping[str, Driver]
    http: aiohttp.ClientSession
    database: Path
    bot: Bot
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))


def _question(number: int) -> str:
    return f"I have a question about {WORDS[number % len(WORDS)]}. My number is {number}. What should I do?"


# --- a program that reads a stream ------------------------------------------------------------------------------------


async def direct(stand: Stand, users: int, seconds: float) -> Side:
    """So many clients of the engine, each asking again as soon as it is answered; what is being answered at the end
    counts in full, and so does its time."""
    return await _stream(stand, users, seconds, stand.engine, "")


async def completions(stand: Stand, users: int, seconds: float) -> Side:
    """The same of the gateway's /v1, with the bot as the model."""
    cpu = stand.house.cpu_seconds()
    side = await _stream(stand, users, seconds, f"{stand.house.address}/v1", Api.key)
    side.cpu = stand.house.cpu_seconds() - cpu
    return side


async def _stream(stand: Stand, users: int, seconds: float, base_url: str, key: str) -> Side:
    side, began = Side(), time.monotonic()
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})

    async def client() -> None:
        while time.monotonic() - began < seconds:
            body = _body(stand, next(stand.numbers), through=bool(key))
            asked, first = time.monotonic(), 0.0
            async with stand.http.post(f"{base_url}/chat/completions", data=body, headers=headers) as answer:
                answer.raise_for_status()
                async for line in answer.content:
                    if not line.startswith(b"data: {"):
                        continue
                    chunk: dict[str, Any] = json.loads(line[6:])
                    if not first and chunk["choices"] and chunk["choices"][0]["delta"].get("content"):
                        first = time.monotonic() - asked
                    if chunk.get("usage"):
                        side.tokens += chunk["usage"]["completion_tokens"]
            side.replies += 1
            side.firsts.append(first)

    await asyncio.gather(*(client() for _ in range(users)))
    side.seconds = time.monotonic() - began
    return side


def _body(stand: Stand, number: int, *, through: bool) -> bytes:
    """What the gateway would send for that question, or be asked so that it sends the same."""
    bot = stand.bot
    system = {"role": "system", "content": bot.prompts["en"].system}
    asked = {"role": "user", "content": f"{note(bot, 'en', time.time())}\n{_question(number)}"}
    if through:
        return request_body(EngineRequest((asked,), bot.sampling), bot.name)
    return request_body(EngineRequest((system, asked), bot.sampling), stand.model)


# --- a user of a channel ----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Asked:
    """A question on its way; `whole` is set when the last part of the reply has arrived."""

    said: float
    first: float = 0.0
    sent: bool = False  # as the ledger has it
    whole: asyncio.Event = field(default_factory=asyncio.Event)


async def path(stand: Stand, channel: str, users: int, seconds: float) -> Side:
    """So many customers, each a new one for each question, who read the reply as it grows."""
    side, began, driver = Side(), time.monotonic(), stand.drivers[channel]
    asked: dict[int, _Asked] = {}

    async def customer() -> None:
        while time.monotonic() - began < seconds:
            number = next(stand.numbers)
            one = asked[number] = _Asked(time.monotonic())
            await driver.say(number, _question(number))
            await asyncio.wait_for(one.whole.wait(), PATIENCE)
            side.firsts.append(one.first - one.said)
            side.replies += 1
            del asked[number]

    with closing(read_only(stand.database)) as ledger:
        (before,) = ledger.execute(NEWEST).fetchone()
    cpu = stand.house.cpu_seconds()
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(_watch(stand.database, before, driver, asked))
        await asyncio.gather(*(customer() for _ in range(users)))
        watching.cancel()
    side.seconds, side.cpu = time.monotonic() - began, stand.house.cpu_seconds() - cpu
    with closing(read_only(stand.database)) as ledger:
        (side.tokens,) = ledger.execute(TOKENS, (before,)).fetchone()
    return side


async def _watch(database: Path, before: int, driver: Driver, asked: Mapping[int, _Asked]) -> None:
    """Tell each customer when the first text and the last part of the reply have arrived: a person sees both; a program
    sees that there is text, and asks the ledger whether it is all."""
    last, ask_at = 0.0, 0.0
    with closing(read_only(database)) as ledger:
        while True:
            now = time.monotonic()
            for number, one in asked.items():
                if not one.first and any(driver.seen(number)):
                    one.first = now
                if one.sent and one.first:
                    one.whole.set()
            if now >= ask_at:
                ask_at = now + ASK_SECONDS
                for sent_at, text in ledger.execute(ARRIVED, (before, last - 1.0)).fetchall():
                    last = max(last, sent_at)
                    found = NUMBER.search(text)
                    if found and int(found[1]) in asked:
                        asked[int(found[1])].sent = True
            await asyncio.sleep(ASK_SECONDS if all(one.first for one in asked.values()) else LOOK_SECONDS)
