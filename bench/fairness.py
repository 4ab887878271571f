"""What a user who floods does to the others: reply latencies of many users with and without a flood, window by window.

The users are drawn as they come in life: a few write much, most write little (a long tail), at random moments
(Poisson). Each window has the same users and moments, once undisturbed and once beside each kind of flood, so that only
that differs.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import re
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from adapters.telegram.simulator import TelegramSimulator
from bench.measures import Row
from bench.stand import TELEGRAM_SECRET, TELEGRAM_TOKEN, Gateway, engine, gateway, percentile, urls

USERS = 200
PER_SECOND = 6.0  # messages of all users; the engine answers about 15 a second in its 16 places
SECONDS = 6.0  # of a window
FLOOD_MESSAGES, FLOOD_SECONDS = 100, 5.0
FLOODER = 999_999
WHOLE = re.compile(r"question-\d+-$")  # the engine's simulator says again what it was asked
# What `make run` has, but for the limit per address, which would stop the flood through the API at the door.
SETTINGS = {
    "FRONTDESK__ENGINE__MAX_CONCURRENCY": "16",
    "FRONTDESK__THROTTLE__REQUESTS_PER_MINUTE_PER_IP": "1000000",
}
LIMITS = {"FRONTDESK__THROTTLE__MESSAGES_PER_MINUTE": "20", "FRONTDESK__THROTTLE__BURST": "10"}


@dataclass(frozen=True, slots=True)
class Stand:
    """The running gateway and its platform."""

    house: Gateway
    platform: TelegramSimulator
    numbers: itertools.count[int]


Flood = Callable[[Stand], Coroutine[None, None, None]]


async def fairness(home: Path, rounds: int = 4) -> list[Row]:
    """Windows without and with a flood, in turn; the bar is on the median and on the 95th percentile."""
    rows = await _compare(home, rounds, _one_chat, LIMITS, "100 messages in 5 s into one chat, usual limits")
    rows += await _compare(home, rounds, _many_chats, {}, "100 conversations in 5 s, no limit per user")
    return rows


async def _compare(home: Path, rounds: int, flood: Flood, limits: dict[str, str], what: str) -> list[Row]:
    calm: list[float] = []
    disturbed: list[float] = []
    async with _stand(home, SETTINGS | limits) as stand:
        await _window(stand, -1, None)  # the first is not counted: everybody is new in it
        for number in range(rounds):
            for one in (None, flood) if number % 2 else (flood, None):
                (disturbed if one else calm).extend(await _window(stand, number, one))
    ratios = [percentile(disturbed, share) / percentile(calm, share) for share in (0.5, 0.95)]
    times = "; ".join(
        f"{percentile(values, 0.5):.2f} / {percentile(values, 0.95):.2f} s" for values in (calm, disturbed)
    )
    return [
        Row(
            f"others' reply latency beside {what}, over undisturbed, p50 / p95",
            f"{ratios[0]:.2f} / {ratios[1]:.2f} x ({len(calm)} replies; {times})",
            "<= 1.2 x",
            max(ratios) <= 1.2,
            max(ratios),
            1.2,
        )
    ]


@asynccontextmanager
async def _stand(home: Path, settings: dict[str, str]) -> AsyncIterator[Stand]:
    with tempfile.TemporaryDirectory() as folder:
        async with (
            engine(home, pieces="40", tokens_per_second="40", first_token_seconds="0.05") as model,
            TelegramSimulator(TELEGRAM_TOKEN) as platform,
            gateway(home, Path(folder), urls(model, platform.base_url) | settings) as house,
        ):
            platform.webhook.set(f"{house.address}/telegram", TELEGRAM_SECRET, frozenset(), 100)
            yield Stand(house, platform, itertools.count(1))


async def _window(stand: Stand, seed: int, flood: Flood | None) -> list[float]:
    """Seconds from each message to the whole reply to it."""
    chance = random.Random(seed)  # noqa: S311 - not for secrets
    weights = [rank**-0.5 for rank in range(1, USERS + 1)]  # the first writes 13 messages a minute, most less than one
    flooding = asyncio.create_task(flood(stand)) if flood is not None else None
    async with asyncio.TaskGroup() as group:
        waiting, at = [], 0.0
        while at < SECONDS:
            (user,) = chance.choices(range(1, USERS + 1), weights)
            waiting.append(group.create_task(_ask(stand, user, at)))
            at += chance.expovariate(PER_SECOND)
        if flooding is not None:
            await flooding
    return [task.result() for task in waiting]


async def _ask(stand: Stand, user: int, after: float) -> float:
    await asyncio.sleep(after)
    mark = f"question-{next(stand.numbers)}-"
    stand.platform.user_says(user, mark)

    def answered() -> float | None:
        for message in reversed(stand.platform.chats.read(user)):
            if message.by_bot and mark in message.text and WHOLE.search(message.text):
                return message.versions[-1].at
        return None

    asked = stand.platform.chats.read(user)[-1].versions[0].at
    await stand.platform.until(answered, seconds=120)
    return (answered() or 0.0) - asked


async def _one_chat(stand: Stand) -> None:
    for _ in range(FLOOD_MESSAGES):
        stand.platform.user_says(FLOODER, "flood")
        await asyncio.sleep(FLOOD_SECONDS / FLOOD_MESSAGES)


async def _many_chats(stand: Stand) -> None:
    headers = {"Authorization": "Bearer benchmark"}
    tasks = []
    async with aiohttp.ClientSession(stand.house.address, headers=headers) as http:
        for _ in range(FLOOD_MESSAGES):
            async with http.post("/ask", json={"text": "flood"}) as answer:
                answer.raise_for_status()
                tasks.append((await answer.json())["task_id"])
            await asyncio.sleep(FLOOD_SECONDS / FLOOD_MESSAGES)
        for task in tasks:  # the next window begins when this flood is over
            status = "waiting"
            while status in {"waiting", "running"}:
                async with http.get(f"/result/{task}?wait=30") as answer:
                    answer.raise_for_status()
                    status = (await answer.json())["status"]
