"""A gateway that stands still for longer than its leases - a laptop that sleeps, a machine that is moved - and goes on.

Every message has one answer on its platform's screen, whole and in order, and the limits are what they were.
"""

from __future__ import annotations

import asyncio
import re
import signal
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from bench.drivers import DRIVERS, Api, Driver, Telegram
from bench.stand import gateway
from core.engine_simulator import EngineSimulator
from core.simulated_reply import Behaviour

HOME = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.process
LEASE_SECONDS = 1.0
USERS = 3  # on each platform
PATIENCE = 60.0
WORDS = " ".join(["word"] * 60)


def reply(body: Mapping[str, object]) -> str:
    """Names the questions it answers; what is torn or there twice would show."""
    messages = body["messages"]
    assert isinstance(messages, list)
    marks = re.findall(r"q\d+-\d+;", str(messages[-1]["content"]))
    return "".join(f"[{mark} {WORDS} end {mark}]" for mark in marks) or "[none]"


def answers(driver: Driver, user: int) -> list[str]:
    """The questions that stand answered there, each checked to be whole."""
    seen = " ".join(" ".join(driver.seen(user)).split())
    marks = re.findall(r"end (q\d+-\d+;)\]", seen)
    for mark in marks:
        assert f"[{mark} {WORDS} end {mark}]" in seen, seen
    return marks


async def stand_still(process: asyncio.subprocess.Process) -> None:
    """For longer than two leases: nobody renews them, and everybody else goes on."""
    process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(2.5 * LEASE_SECONDS)
    process.send_signal(signal.SIGCONT)


async def settled(ledger: Path, drivers: Mapping[str, Driver]) -> None:
    """Until nothing waits, is being answered or is on its way."""
    async with asyncio.timeout(PATIENCE):
        while any(driver.under_way() for driver in drivers.values()) or _open_work(ledger):
            await asyncio.sleep(0.05)


def _open_work(ledger: Path) -> int:
    with closing(sqlite3.connect(f"{ledger.as_uri()}?mode=ro", uri=True)) as connection:
        (messages,) = connection.execute(
            "SELECT count(*) FROM messages WHERE state IN ('waiting', 'running')"
        ).fetchone()
        (deliveries,) = connection.execute(
            "SELECT count(*) FROM deliveries WHERE state IN ('pending', 'sending') AND channel <> 'wechat'"
        ).fetchone()
    return int(messages) + int(deliveries)


@pytest.mark.parametrize("pieces", [40, 1], ids=["growing", "at_once"])
async def test_every_message_has_one_answer_after_it(tmp_path: Path, pieces: int) -> None:
    behaviour = Behaviour(reply=reply, pieces=pieces, tokens_per_second=20.0, first_token_seconds=0.3)
    drivers = {kind: build() for kind, build in DRIVERS.items()}
    async with EngineSimulator(behaviour=behaviour) as engine:
        await _stand_still_in_the_middle(tmp_path, engine, drivers)
    for driver in drivers.values():
        for user in range(1, USERS + 1):
            assert answers(driver, user) == [f"q{user}-1;", f"q{user}-2;"], driver.kind
            assert len([text for text in driver.seen(user) if text]) == 2, driver.seen(user)


async def _stand_still_in_the_middle(folder: Path, engine: EngineSimulator, drivers: Mapping[str, Driver]) -> None:
    settings = {
        "FRONTDESK__DIALOGUE__LEASE_SECONDS": str(LEASE_SECONDS),
        "FRONTDESK__ENGINE__BASE_URL": engine.base_url,
    }
    for driver in drivers.values():
        await driver.__aenter__()
        settings |= driver.settings()
    try:
        async with gateway(HOME, folder, settings) as house:
            for driver in drivers.values():
                driver.meet(house.address)
            for turn in (1, 2):
                for driver in drivers.values():
                    for user in range(1, USERS + 1):
                        await driver.say(user, f"q{user}-{turn}; where is my order?")
                await asyncio.wait_for(engine.called(turn * USERS * len(drivers)), PATIENCE)
                await stand_still(house.process)
                await settled(folder / "bench.db", drivers)
            for driver in drivers.values():
                async with asyncio.timeout(PATIENCE):
                    while any(len(answers(driver, user)) < 2 for user in range(1, USERS + 1)):
                        await asyncio.sleep(0.02)
    finally:
        for driver in drivers.values():
            await driver.__aexit__(None, None, None)


async def test_a_limit_that_was_reached_is_over_when_its_time_has_passed_and_not_before(tmp_path: Path) -> None:
    """Standing still is time that passes: it gives back what that much time gives, and no more."""
    async with EngineSimulator() as engine, Telegram() as telegram, Api() as api:
        settings = telegram.settings() | api.settings()
        settings |= {
            "FRONTDESK__ENGINE__BASE_URL": engine.base_url,
            "FRONTDESK__DIALOGUE__LEASE_SECONDS": str(LEASE_SECONDS),
            "FRONTDESK__THROTTLE__MESSAGES_PER_MINUTE": "1",
            "FRONTDESK__THROTTLE__BURST": "2",
        }
        async with gateway(HOME, tmp_path, settings) as house:
            telegram.meet(house.address)
            for number in range(4):
                await telegram.say(1, f"message {number}")
            await settled(tmp_path / "bench.db", {"telegram": telegram})
            await stand_still(house.process)
            await telegram.say(1, "message 4")
            await telegram.say(2, "message 5")
            await settled(tmp_path / "bench.db", {"telegram": telegram})
        with closing(sqlite3.connect(tmp_path / "bench.db")) as connection:
            states = dict(connection.execute("SELECT text, state FROM messages").fetchall())
    throttled = [f"message {number}" for number in (2, 3, 4)]
    assert {text for text, state in states.items() if state == "throttled"} == set(throttled)
    assert {text for text, state in states.items() if state == "answered"} == {"message 0", "message 1", "message 5"}
