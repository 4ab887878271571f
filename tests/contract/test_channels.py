"""What every channel keeps, over real HTTP, through the whole house as a process of its own and a simulated engine."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from bench.drivers import DRIVERS, Driver
from bench.stand import Gateway, gateway
from core.engine_simulator import EngineSimulator
from core.simulated_reply import Behaviour
from tests.contract.conftest import HOME

pytestmark = pytest.mark.process
PATIENCE = 60.0
GARBAGE = (
    b"",
    b"{",
    b"[]",
    b"null",
    b"\xff\xfe",
    b'{"update_id": "x"}',
    b"<xml>",
    b"<xml></xml>",
    b'{"id": [], "text": {}}',
    b'{"event": 1, "type": "event_callback"}',
)


def reply(body: Mapping[str, object]) -> str:
    """Names the questions it answers, and is long enough that a lost or doubled part would show."""
    messages = body["messages"]
    assert isinstance(messages, list)
    marks = re.findall(r"q\d+-\d+;", str(messages[-1]["content"]))
    return "".join(f"[{mark} {' '.join(['word'] * 60)} end {mark}]" for mark in marks) or "[none]"


def whole(text: str) -> list[str]:
    """The questions that a text answers, each checked to be whole."""
    marks = re.findall(r"\[(q\d+-\d+;)", text)
    for mark in marks:
        assert f"[{mark} {' '.join(['word'] * 60)} end {mark}]" in text, text
    return marks


@pytest.fixture
async def engine() -> AsyncIterator[EngineSimulator]:
    behaviour = Behaviour(reply=reply, tokens_per_second=200.0, first_token_seconds=0.02)
    async with EngineSimulator(behaviour=behaviour) as simulator:
        yield simulator


async def until(driver: Driver, user: int, count: int) -> list[str]:
    """The questions answered to a user, once there are that many."""
    async with asyncio.timeout(PATIENCE):
        while len(answered(driver, user)) < count:
            await asyncio.sleep(0.02)
    return answered(driver, user)


def answered(driver: Driver, user: int) -> list[str]:
    return re.findall(r"end (q\d+-\d+;)\]", "".join(driver.seen(user)))


def test_there_is_a_driver_for_every_adapter() -> None:
    folders = {path.parent.name for path in (HOME / "adapters").glob("*/channel.py")}
    assert set(DRIVERS) == folders


@pytest.mark.usefixtures("house")
async def test_a_message_is_answered_whole(driver: Driver) -> None:
    await driver.say(1, "q1-1; where is my order?")
    await until(driver, 1, 1)
    assert whole("".join(driver.seen(1))) == ["q1-1;"]


@pytest.mark.usefixtures("house")
async def test_three_deliveries_are_one_reply(driver: Driver, engine: EngineSimulator) -> None:
    await driver.say(1, "q1-1; hello", copies=2)
    await until(driver, 1, 1)
    await driver.again(1)
    await driver.say(1, "q1-2; and now?")
    assert await until(driver, 1, 2) == ["q1-1;", "q1-2;"]
    assert len(engine.calls) == 2


@pytest.mark.usefixtures("house")
async def test_a_forged_delivery_is_refused(driver: Driver, engine: EngineSimulator) -> None:
    assert await driver.forged() in {401, 403}
    assert not engine.calls


@pytest.mark.usefixtures("house")
async def test_garbage_is_an_answer_and_never_a_crash(driver: Driver) -> None:
    for body in GARBAGE:
        assert await driver.post(body) < 500, body


async def test_a_body_without_end_is_refused_or_dropped(driver: Driver, house: Gateway) -> None:
    before = house.memory_mib()
    assert await driver.post(b"x" * (8 << 20)) in {200, 400, 401, 413}
    assert house.memory_mib() - before < 8


@pytest.mark.usefixtures("house")
async def test_fifty_users_with_three_messages_each_are_answered_once_in_order(driver: Driver) -> None:
    """Half of the users wait for each answer, half write all three at once."""

    async def user(number: int) -> None:
        marks = [f"q{number}-{turn};" for turn in (1, 2, 3)]
        for turn, mark in enumerate(marks, 1):
            await driver.say(number, mark)
            if number % 2:
                await until(driver, number, turn)
        assert await until(driver, number, 3) == marks
        assert whole("".join(driver.seen(number))) == marks

    async with asyncio.TaskGroup() as group:
        for number in range(50):
            group.create_task(user(number))
    for number in range(50):
        assert len(answered(driver, number)) == 3, "nothing came twice afterwards"


async def test_a_killed_gateway_answers_everything_once_after_its_restart(
    driver: Driver, engine: EngineSimulator, tmp_path: Path
) -> None:
    """kill -9 in the middle of eight replies."""
    engine.behaviour = Behaviour(reply=reply, tokens_per_second=20.0, first_token_seconds=0.1)
    settings = driver.settings() | {"FRONTDESK__ENGINE__BASE_URL": engine.base_url}
    async with gateway(HOME, tmp_path, settings) as first:
        driver.meet(first.address)
        for user in range(8):
            await driver.say(user, f"q{user}-1; hello")
        async with asyncio.timeout(PATIENCE):
            while len(engine.first_tokens) < 8:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)  # previews are on their way; any moment will do
        await first.kill()
    engine.behaviour = Behaviour(reply=reply)
    port = first.address.rpartition(":")[2]
    async with gateway(HOME, tmp_path, settings | {"FRONTDESK__SERVER__PORT": port}) as second:
        driver.meet(second.address)
        for user in range(8):
            await driver.again(user)
            if driver.kind == "wechat":  # the request that would have carried it died: the user asks for it
                await driver.say(user, "继续")
        for user in range(8):
            assert await until(driver, user, 1) == [f"q{user}-1;"]
            assert len([text for text in driver.seen(user) if text]) == 1, driver.seen(user)
