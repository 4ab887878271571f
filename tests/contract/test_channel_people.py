"""What people find on every channel alike: commands, a stop that reaches the engine, answers of any length and markup.

Over real HTTP, through the whole house as a process of its own, with a simulated engine.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from functools import partial

import pytest

from bench.drivers import Driver
from bots.bot import load
from core.engine_simulator import EngineSimulator
from core.simulated_reply import Behaviour
from tests.contract.conftest import HOME

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("house")]
PATIENCE = 60.0
STORY = " ".join(f"w{number}" for number in range(1200))  # about 6,000 characters
PHRASES = load(HOME / "bots" / "support").phrases
QUICK = Behaviour(reply=lambda _: "Certainly.", tokens_per_second=500.0, first_token_seconds=0.01)
SLOW = Behaviour(reply=lambda _: STORY, tokens_per_second=4.0, first_token_seconds=0.01)


@pytest.fixture
async def engine() -> AsyncIterator[EngineSimulator]:
    async with EngineSimulator(behaviour=QUICK) as simulator:
        yield simulator


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():
            await asyncio.sleep(0.02)


def said(driver: Driver) -> str:
    return "\n".join(driver.seen(1))


def says(driver: Driver, phrase: str) -> bool:
    """Whether the bot's own words were said, in the language that the channel takes its user to speak."""
    return any(words[phrase] in said(driver) for words in PHRASES.values())


def _shown(driver: Driver, count: int) -> bool:
    return len(driver.seen(1)) >= count


async def test_commands_are_answered_by_the_house_and_not_by_the_model(driver: Driver, engine: EngineSimulator) -> None:
    for command, phrase in (("/help", "help"), ("/human", "human_noted"), ("/new", "new_conversation")):
        await driver.say(1, command)
        await until(partial(says, driver, phrase))
    assert not engine.calls


async def test_a_stop_reaches_the_engine_and_keeps_what_stands(driver: Driver, engine: EngineSimulator) -> None:
    engine.behaviour = SLOW
    await driver.say(1, "Tell me a story")
    await until(lambda: engine.first_tokens)
    await driver.say(1, "/stop")
    await until(lambda: engine.aborts)
    await until(lambda: says(driver, "stopped") and "w0" in said(driver))
    engine.behaviour = QUICK
    await driver.say(1, "Are you there?")
    await until(lambda: "Certainly." in said(driver))


async def test_a_new_conversation_knows_nothing_of_the_old_one(driver: Driver, engine: EngineSimulator) -> None:
    await driver.say(1, "My name is Blue")
    await until(lambda: "Certainly." in said(driver))
    await driver.say(1, "/new")
    await until(lambda: says(driver, "new_conversation"))
    await driver.say(1, "What is my name?")
    await until(lambda: len(engine.calls) == 2)
    assert "Blue" in str(engine.calls[0].body)
    assert "Blue" not in str(engine.calls[1].body)


async def test_a_long_answer_is_whole(driver: Driver, engine: EngineSimulator) -> None:
    engine.behaviour = Behaviour(reply=lambda _: STORY, tokens_per_second=100_000.0)
    await driver.say(1, "Tell me a story")

    parts = 0
    while driver.kind == "wechat" and "w1199" not in said(driver):  # a long answer is fetched part by part there
        parts += 1
        await until(partial(_shown, driver, parts))
        await driver.say(1, "继续")
    await until(lambda: re.findall(r"w\d+", said(driver)) == STORY.split())


async def test_what_a_model_writes_is_shown_and_is_nothing_else(driver: Driver, engine: EngineSimulator) -> None:
    text = "**Dear** <name>, your <order-id>: <!channel> <@U0000000001> [here](javascript:alert(1)) `<b>` 5 > 3 & done"
    engine.behaviour = Behaviour(reply=lambda _: text, tokens_per_second=100_000.0)
    await driver.say(1, "Where is it?")
    await until(lambda: "done" in said(driver))
    seen = said(driver).replace("\u200b", "")
    for words in ("<name>", "<order-id>", "<!channel>", "5 > 3 & done", "<b>"):
        assert words in seen, seen
