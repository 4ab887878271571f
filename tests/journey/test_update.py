"""Frontdesk and its engine are updated while people write: one stops as it is told, another starts on its ledger."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from bench.drivers import Driver
from bench.stand import free_port, gateway
from bots.bot import load
from core.engine_simulator import EngineSimulator
from core.simulated_reply import Behaviour
from tests.journey.test_engine import HOME

PATIENCE = 60.0
BEFORE, DURING, AFTER = range(1, 7), range(7, 13), range(13, 19)

pytestmark = pytest.mark.process


async def test_an_update_while_people_write_costs_nobody_an_answer(driver: Driver, tmp_path: Path) -> None:
    # WeChat alone tries three times at the most, and gives up what nobody took.
    during = range(0) if driver.kind == "wechat" else DURING
    everybody = (*BEFORE, *during, *AFTER)
    tap = load(HOME / "bots" / "support").phrase("still_writing", "en")
    async with EngineSimulator(behaviour=Behaviour(tokens_per_second=40.0)) as engine:
        settings = driver.settings() | {
            "FRONTDESK__ENGINE__BASE_URL": engine.base_url,
            "FRONTDESK__SERVER__PORT": str(free_port()),
        }
        writing: list[asyncio.Task[None]] = []

        def write(users: range) -> None:
            writing.extend(asyncio.create_task(driver.say(user, f"words of {user}.")) for user in users)

        async with gateway(HOME, tmp_path, settings) as old:
            driver.meet(old.address)
            write(BEFORE)
            async with asyncio.timeout(PATIENCE):
                await engine.called(len(BEFORE))
            old.process.send_signal(signal.SIGTERM)
            write(during)
            assert await asyncio.wait_for(old.process.wait(), PATIENCE) == 0
        await engine.stop()
        async with gateway(HOME, tmp_path, settings):
            write(AFTER)
            await asyncio.wait_for(asyncio.gather(*writing), PATIENCE)
            await engine.start()
            async with asyncio.timeout(PATIENCE):
                while waiting := [user for user in everybody if answers(driver, user) == 0]:
                    for user in waiting:
                        if "".join(driver.seen(user)[-1:]).startswith(tap):  # on WeChat what is late is fetched
                            await driver.say(user, "1")
                    await asyncio.sleep(0.02)
        for user in everybody:
            assert answers(driver, user) == 1
            assert all(text.startswith(tap) for text in driver.seen(user)[:-1])


def answers(driver: Driver, user: int) -> int:
    return sum(text.endswith(f"words of {user}.") for text in driver.seen(user))
