"""What reaches a platform's user when the platform makes it hard: measured where others in the field lose text.

The gateway is the real process, the platforms are their simulators; every figure is what stands on the user's screen.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from adapters.telegram.simulator import flood
from bench.drivers import Driver, Telegram, WeChat
from bench.measures import Row
from bench.stand import gateway
from core.engine_simulator import EngineSimulator
from core.simulated_reply import Behaviour

PATIENCE = 60.0
DELAYS = (3.0, 6.0, 8.0, 14.0)  # seconds until the engine answers


def words(characters: int) -> str:
    """A text of so many characters in which a gap would show."""
    return "".join(f"w{number:04d} " for number in range(characters // 6 + 1))[:characters]


@asynccontextmanager
async def _house(home: Path, driver: Driver, engine: EngineSimulator) -> AsyncIterator[None]:
    with tempfile.TemporaryDirectory() as folder:
        async with engine, driver:
            settings = driver.settings() | {"FRONTDESK__ENGINE__BASE_URL": engine.base_url}
            async with gateway(home, Path(folder), settings) as house:
                driver.meet(house.address)
                yield


async def _until(holds: Callable[[], bool], seconds: float = PATIENCE) -> None:
    try:
        async with asyncio.timeout(seconds):
            while not holds():  # noqa: ASYNC110 - a person looks at a screen
                await asyncio.sleep(0.05)
    except TimeoutError:
        return  # the figure then says what is missing


def _delivered(driver: Driver, text: str) -> int:
    """How many characters of the text stand there, from its beginning, in order."""
    seen, found = "".join(driver.seen(1)), 0
    for word in re.findall(r"\S+\s*", text):
        at = seen.find(word.strip())
        if at < 0:
            break
        seen, found = seen[at:], found + len(word)
    return found


async def telegram(home: Path) -> list[Row]:
    """A 429 in the middle of a growing answer of 1,000 characters; an answer of 6,000."""
    driver, short, long = Telegram(), words(1000), words(6000)
    engine = EngineSimulator(behaviour=Behaviour(reply=lambda _: short, tokens_per_second=10.0))
    async with _house(home, driver, engine):
        await driver.say(1, "A short answer, please.")
        await _until(lambda: driver.simulator.counts["editMessageText"] >= 1)
        driver.simulator.fail("editMessageText", flood(2))
        await _until(lambda: _delivered(driver, short) >= len(short))
        under_flood, early = _delivered(driver, short), driver.simulator.early
    driver, engine = Telegram(), EngineSimulator(behaviour=Behaviour(reply=lambda _: long, tokens_per_second=200.0))
    async with _house(home, driver, engine):
        await driver.say(1, "A long answer, please.")
        await _until(lambda: _delivered(driver, long) >= len(long))
        whole = _delivered(driver, long)
    return [
        Row(
            "Telegram, 1,000 characters under one 429: delivered",
            f"{under_flood} ({early} calls before its retry_after was over)",
            "1,000",
            under_flood == 1000 and not early,
        ),
        Row("Telegram, an answer of 6,000 characters: delivered", str(whole), "6,000", whole == 6000),
    ]


async def wechat(home: Path) -> list[Row]:
    """An account that is not verified, in real time: answers after 3, 6, 8 and 14 s; one of 3,000 bytes by taps."""
    driver, text = WeChat(), words(3000)
    engine = EngineSimulator()
    engine.script.extend(Behaviour(reply=lambda _: "Blue.", first_token_seconds=delay) for delay in DELAYS)
    async with _house(home, driver, engine):
        for user in range(1, len(DELAYS) + 1):
            await driver.say(user, "What colour?")
            await engine.called(user)
        await asyncio.sleep(16.0)  # WeChat's three tries are over
        arrived = sum("Blue." in "".join(driver.seen(user)) for user in range(1, len(DELAYS) + 1))
    driver, engine = WeChat(), EngineSimulator(behaviour=Behaviour(reply=lambda _: text))
    async with _house(home, driver, engine):
        await driver.say(1, "A long answer, please.")
        for parts in range(1, 4):
            await _until(lambda parts=parts: len(driver.seen(1)) >= parts, 20.0)  # type: ignore[misc]
            if _delivered(driver, text) < len(text):
                await driver.say(1, "继续")
        whole = _delivered(driver, text)
    return [
        Row("WeChat, not verified, answers after 3, 6, 8, 14 s: arrive", f"{arrived} of 4", "4 of 4", arrived == 4),
        Row("WeChat, not verified, an answer of 3,000 bytes, by taps", str(whole), "3,000", whole == 3000),
    ]
