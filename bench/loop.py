"""How long one callback holds the gateway's event loop, and with it everybody: by webhooks, and by growing replies.

Held against CPU time, because the load source and the engine run on the same cores (bench/watched.py).
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from adapters.telegram.simulator import TelegramSimulator
from bench.drivers import DRIVERS, Driver
from bench.measures import DELTAS, Row, post_updates
from bench.stand import TELEGRAM_TOKEN, engine, urls
from bench.watched import LONG, Phase
from bench.watching import watched
from core.engine_simulator import EngineSimulator
from core.simulated_reply import Behaviour, Fault

PER_SECOND = 2_000.0
NAMED = 8  # of what held the loop too long, in the table
PATIENCE = 120.0
LOOK_SECONDS = 0.05
SETTINGS = {"FRONTDESK__CHANNELS__WEB__STREAMS_PER_IP": "800"}  # all pages are open on this machine


async def loop(home: Path, messages: int = 20_000, users: int = 200, rounds: int = 3) -> list[Row]:
    """Under 2,000 webhooks a second while the engine is loading; then with users of all channels who read growing
    replies."""
    rows = _rows(f"{PER_SECOND:,.0f} webhooks/s", await _webhooks(home, messages))
    phase = await growing(home, users, rounds)
    return rows + _rows(f"{users} users of all channels, replies of {DELTAS} deltas", phase)


def _rows(load: str, phase: Phase) -> list[Row]:
    measured = f"{phase.worst * 1000:.1f} / {phase.p999 * 1000:.2f} ms; {phase.long} of {phase.callbacks:,} over 5 ms"
    by_clock = f"{phase.wall_worst * 1000:.1f} ms; {phase.wall_long} over 5 ms"
    collected = f"{phase.collections}; {phase.collecting_worst * 1000:.1f} ms"
    return [
        Row(
            f"event loop held by one callback, {load}, worst / p99.9",
            measured,
            "none over 5 ms",
            phase.worst <= LONG,
        ),
        Row("  by the clock, other processes on the cores counted in: worst", by_clock, "", None),
        Row("  garbage collections; the longest, by the clock", collected, "", None),
        *(
            Row(
                f"  {held.what}: {held.where}",
                f"{held.count} x, worst {held.worst * 1000:.1f} ms, of it garbage {held.collecting * 1000:.1f} ms",
                "",
                None,
            )
            for held in phase.held[:NAMED]
        ),
    ]


async def _webhooks(home: Path, messages: int) -> Phase:
    with tempfile.TemporaryDirectory() as folder:
        async with (
            EngineSimulator(behaviour=Behaviour(fault=Fault.LOADING)) as model,
            TelegramSimulator(TELEGRAM_TOKEN) as platform,
            watched(home, Path(folder), urls(model.base_url, platform.base_url)) as watch,
        ):
            await post_updates(watch.house, 1_000, 64, first=1)
            await watch.phase()
            await post_updates(watch.house, messages, 64, first=100_001, per_second=PER_SECOND)
            return await watch.phase()


async def growing(home: Path, users: int, rounds: int) -> Phase:
    """As many users on each channel; each round's questions are written at once, and followed by the next when all are
    answered. The first round is not counted: what is loaded at first use is loaded then."""
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncExitStack() as stack:
            model = await stack.enter_async_context(
                engine(home, pieces=str(DELTAS), tokens_per_second="20", first_token_seconds="0.1")
            )
            drivers = [await stack.enter_async_context(build()) for build in DRIVERS.values()]
            settings: dict[str, str] = SETTINGS | {"FRONTDESK__ENGINE__BASE_URL": model}
            for driver in drivers:
                settings |= driver.settings()
            watch = await stack.enter_async_context(watched(home, Path(folder), settings))
            for driver in drivers:
                driver.meet(watch.house.address)
            people = {driver: range(1, users // len(drivers) + 1) for driver in drivers}
            await _round(people, 0)
            await watch.phase()
            for number in range(1, rounds + 1):
                await _round(people, number)
            return await watch.phase()


async def _round(people: Mapping[Driver, range], number: int) -> None:
    asked = [(driver, user, f"question-{number}-{user}-") for driver, users in people.items() for user in users]
    await asyncio.gather(*(driver.say(user, mark) for driver, user, mark in asked))
    async with asyncio.timeout(PATIENCE):
        while asked:
            await asyncio.sleep(LOOK_SECONDS)
            asked = [one for one in asked if one[2] not in "".join(one[0].seen(one[1]))]
