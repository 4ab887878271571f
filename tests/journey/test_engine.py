"""The main job with real parts: a signed webhook in, the real vLLM behind, the growing answer out, on every channel."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

import aiohttp
import pytest

from bench.drivers import DRIVERS, Driver
from bench.stand import Gateway, gateway
from bots.bot import load
from core.types import Bot

HOME = Path(__file__).resolve().parent.parent.parent
PATIENCE = 120.0
QUESTION = "Hello! My parcel has not arrived yet. What do you need from me?"

pytestmark = pytest.mark.engine


@pytest.fixture
def bot() -> Bot:
    return load(HOME / "bots" / "support")


async def wait_ready(house: Gateway) -> None:
    async with asyncio.timeout(PATIENCE), aiohttp.ClientSession() as http:
        while True:
            async with http.get(f"{house.address}/readyz") as answer:
                if answer.status == 200:
                    return
            await asyncio.sleep(0.05)


async def metric(house: Gateway, line: str) -> float:
    """The value of one line of /metrics."""
    async with aiohttp.ClientSession() as http, http.get(f"{house.address}/metrics") as answer:
        text = await answer.text()
    return sum(float(found.rpartition(" ")[2]) for found in text.splitlines() if found.startswith(line))


async def test_a_question_is_answered_by_the_model(driver: Driver, bot: Bot, vllm: str, tmp_path: Path) -> None:
    settings = driver.settings() | {"FRONTDESK__ENGINE__BASE_URL": vllm}
    async with gateway(HOME, tmp_path, settings) as house:
        driver.meet(house.address)
        await wait_ready(house)
        await driver.say(1, QUESTION)
        async with asyncio.timeout(PATIENCE):
            while await metric(house, "frontdesk_turns_answered_total") < 1:
                await asyncio.sleep(0.05)
            while not (seen := driver.seen(1)):
                await asyncio.sleep(0.05)
            if seen[0].startswith(bot.phrase("still_writing", "en")):  # a reply too slow for the platform's own tries
                await driver.say(1, "1")
                while len(seen := driver.seen(1)) < 2:
                    await asyncio.sleep(0.05)
            while await metric(house, "frontdesk_deliveries_pending"):
                await asyncio.sleep(0.05)
        apologies = {bot.phrase(name, "en") for name in ("apology_engine", "apology_empty")}
        assert driver.seen(1)[-1].strip()
        assert not apologies & set(driver.seen(1))
        assert await metric(house, 'frontdesk_turns_answered_total{channel="' + driver.kind + '",kind="answer"}') == 1
        assert await metric(house, "frontdesk_first_text_seconds_count") == 1


async def test_the_second_question_finds_the_first_in_the_prefix_cache(vllm: str, tmp_path: Path) -> None:
    driver = DRIVERS["api"]()
    settings = driver.settings() | {"FRONTDESK__ENGINE__BASE_URL": vllm}
    headers = {"Authorization": "Bearer test-key"}
    async with gateway(HOME, tmp_path, settings) as house, aiohttp.ClientSession(headers=headers) as http:
        await wait_ready(house)
        usages = []
        for text in ("What is your name?", "Do you sell shoes?", "And hats?"):
            async with http.post(f"{house.address}/ask", json={"text": text, "conversation": "c"}) as answer:
                task = (await answer.json())["task_id"]
            async with http.get(f"{house.address}/result/{task}?wait=60") as answer:
                usages.append((await answer.json())["usage"])
    for before, now in pairwise(usages):
        cached = now["prompt_tokens_details"]["cached_tokens"]
        # All of the earlier prompt but the last, unfinished block of the cache.
        assert cached >= before["prompt_tokens"] - 32, usages


async def test_a_completion_streams_from_the_model(vllm: str, tmp_path: Path) -> None:
    driver = DRIVERS["api"]()
    settings = driver.settings() | {"FRONTDESK__ENGINE__BASE_URL": vllm}
    body = {"model": "support", "stream": True, "max_tokens": 24, "messages": [{"role": "user", "content": QUESTION}]}
    async with gateway(HOME, tmp_path, settings) as house:
        await wait_ready(house)
        async with (
            aiohttp.ClientSession(headers={"Authorization": "Bearer test-key"}) as http,
            http.post(f"{house.address}/v1/chat/completions", json=body) as answer,
        ):
            assert answer.status == 200
            chunks = [line async for line in answer.content if line.startswith(b"data: ")]
    assert chunks[-1] == b"data: [DONE]\n"
    assert len(chunks) > 5
