"""gpt-oss thinks in Harmony's channels: with the flagship's architecture, vocabulary and flags in real vLLM, nothing of
what it thinks and none of its marks reaches anybody, however its reply goes wrong.

The model is small and knows a few dialogues by heart (setup/tiny_gpt_oss.py). INNERMOST is in all of its thoughts.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from adapters.web.client import WebClient
from bench.drivers import Api, Driver, Telegram, Web
from core import vllm_plan
from core.client import OpenAIEngine
from core.config import EngineSettings
from core.engine import EngineRequest
from core.machine import Card, look
from core.types import Sampling
from tests.journey.gpt_oss_house import (
    BOT,
    BROKEN,
    CHINESE,
    ENDLESS,
    FINAL,
    KEY,
    LONG,
    PLAIN,
    SECRET,
    SORRY,
    TAPS,
    TEXT,
    console_cookie,
    house,
    overheard,
    told,
)
from tests.journey.test_engine import PATIENCE

pytestmark = pytest.mark.engine


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with Api() as built:
        yield built


def test_the_flags_are_the_flagships(gpt_oss_folder: Path) -> None:
    card = replace(look(), cards=(Card(80 * 1024, "a card"),))
    settings, hub = EngineSettings(), Path("/nowhere")
    small, flagship = (vllm_plan.read_model(source, hub) for source in (str(gpt_oss_folder), vllm_plan.FLAGSHIP))
    served, there, real = (
        {part for part in vllm_plan.plan(settings, machine, model).arguments if part.startswith("--")}
        for machine, model in ((replace(card, cards=()), small), (card, small), (card, flagship))
    )
    assert there == real
    assert "--reasoning-parser" in served
    assert served - real <= {"--dtype", "--enforce-eager", "--block-size", "--kv-cache-memory-bytes"}, "a CPU's"
    assert real - served <= {"--gpu-memory-utilization", "--max-num-batched-tokens"}, "a card's"


async def test_the_engine_thinks_and_the_client_keeps_it_apart(gpt_oss: str) -> None:
    engine = OpenAIEngine(gpt_oss)
    for question in FINAL:
        messages = ({"role": "system", "content": BOT.prompts["en"].system}, {"role": "user", "content": question})
        request = EngineRequest(messages, Sampling(temperature=0, max_tokens=256))
        deltas = [delta async for delta in engine.stream(request)]
        text, thought = ("".join(getattr(delta, name) for delta in deltas) for name in ("text", "reasoning"))
        assert text == TEXT[question], question
        assert (SECRET in thought) is ("cactus" not in question), question  # vLLM drops what has no channel
    await engine.close()


async def test_what_it_thinks_reaches_nobody(driver: Driver, gpt_oss: str, tmp_path: Path) -> None:
    async with house(gpt_oss, tmp_path, driver) as home:
        cookie = await console_cookie(home)
        async with overheard(home, f"{home.url}/console/api/live", cookie):
            for user, question in enumerate(FINAL, 1):
                await driver.say(user, question)
            await home.settled(len(FINAL))
            for user, answer in enumerate(FINAL.values(), 1):
                async with asyncio.timeout(PATIENCE):
                    while not (seen := driver.seen(user)):
                        await asyncio.sleep(0.05)
                    if seen[-1].startswith(TAPS):  # on WeChat what is late is fetched
                        await driver.say(user, "1")
                    while driver.seen(user)[-1] != answer:
                        await asyncio.sleep(0.05)
        home.heard.append(told(driver, len(FINAL)))
    home.heard_nothing()


async def test_the_web_chats_page_hears_nothing_of_it(gpt_oss: str, tmp_path: Path) -> None:
    async with Web() as driver, house(gpt_oss, tmp_path, driver) as home:
        for number, question in enumerate(FINAL, 1):
            heard = len(home.heard)
            async with WebClient(home.url) as page:
                await page.open()
                async with overheard(home, f"{home.url}/chat/events", page.headers()):
                    assert (await page.post(question, str(uuid.uuid4())))[0] == 202
                    await home.settled(number)
                    async with asyncio.timeout(PATIENCE):
                        while "event: reply" not in "".join(home.heard[heard:]):
                            await asyncio.sleep(0.02)
    home.heard_nothing()


async def test_a_task_hears_nothing_of_it(api: Api, gpt_oss: str, tmp_path: Path) -> None:
    async with house(gpt_oss, tmp_path, api) as home, aiohttp.ClientSession(headers=KEY) as http:
        tasks = []
        for question in FINAL:
            async with http.post(f"{home.url}/ask", json={"text": question}) as answer:
                tasks.append((await answer.json())["task_id"])
        for task, said in zip(tasks, FINAL.values(), strict=True):
            async with http.get(f"{home.url}/result/{task}", headers={"Accept": "text/event-stream"}) as answer:
                home.heard.append(await answer.text())
            async with http.get(f"{home.url}/result/{task}?wait=20") as answer:
                home.heard.append(await answer.text())
                assert (await answer.json())["answer"] == said
    home.heard_nothing()


async def test_a_completion_holds_nothing_of_it(api: Api, gpt_oss: str, tmp_path: Path) -> None:
    """Whole and streamed, and cut by max_tokens at every place: in a thought, in a header, in the answer."""
    cuts = [(question, most) for question in (PLAIN, CHINESE, BROKEN) for most in range(1, 31)]
    async with house(gpt_oss, tmp_path, api) as home, aiohttp.ClientSession(headers=KEY) as http:

        async def complete(question: str, most: int, stream: bool) -> tuple[str, str, str]:
            message = {"role": "user", "content": question}
            body = {"model": "support", "messages": [message], "max_tokens": most, "stream": stream}
            async with http.post(f"{home.url}/v1/chat/completions", json=body) as answer:
                assert answer.status == 200
                raw = await answer.text()
            return question, raw, said(raw)

        for stream in (False, True):
            whole = await asyncio.gather(*(complete(question, 256, stream) for question in FINAL))
            for question, raw, text in whole:
                home.heard.append(raw)
                assert text == TEXT[question]
            for question, raw, text in await asyncio.gather(*(complete(*cut, stream) for cut in cuts)):
                home.heard.append(raw)
                assert TEXT[question].startswith(text.rstrip("\ufffd"))
        # A turn, so that the ledger has one.
        await api.say(1, PLAIN)
        await answered(api)
        home.heard.append(repr(api.seen(1)))
    home.heard_nothing()


async def answered(api: Api) -> None:
    async with asyncio.timeout(PATIENCE):
        while api.seen(1) != [FINAL[PLAIN]]:
            await asyncio.sleep(0.02)


def said(raw: str) -> str:
    """The text of a completion, whole or as an event stream."""
    if not raw.startswith("data: "):
        return str(json.loads(raw)["choices"][0]["message"]["content"])
    events = [json.loads(line[6:]) for line in raw.splitlines() if line.startswith("data: {")]
    return "".join(event["choices"][0]["delta"].get("content", "") for event in events if event["choices"])


async def test_a_thought_too_long_is_tried_with_more_room_and_then_apologised_for(
    api: Api, gpt_oss: str, tmp_path: Path
) -> None:
    """12 tokens: less than any of these thoughts; four times as many: more than the Chinese, less than the longest."""
    async with house(gpt_oss, tmp_path, api, max_tokens=12) as home:
        for user, question in enumerate((CHINESE, LONG, ENDLESS), 1):
            await api.say(user, question)
            await home.settled(user)
        async with asyncio.timeout(PATIENCE):
            while api.under_way():
                await asyncio.sleep(0.02)
        assert [api.seen(user) for user in (1, 2, 3)] == [[FINAL[CHINESE]], [SORRY["en"]], [SORRY["en"]]]
        home.heard += map(repr, (api.seen(user) for user in (1, 2, 3)))
    failed = [line for line in (tmp_path / "gateway.log").read_text().splitlines() if "generation_failed" in line]
    assert [json.loads(line)["reason"] for line in failed] == ["length"] * 5
    home.heard_nothing()


async def test_stopped_while_it_thinks(gpt_oss: str, tmp_path: Path) -> None:
    """And the operator, who reads along, reads nothing of it."""
    async with Telegram() as telegram, house(gpt_oss, tmp_path, telegram) as home:
        await telegram.say(1, PLAIN)
        await home.settled(1)
        async with overheard(home, f"{home.url}/console/api/conversations/1/live", await console_cookie(home)):
            await telegram.say(1, ENDLESS)
            await home.running(1)
            await telegram.say(1, "/stop")
            await home.running(0)
            await home.settled(2)
            async with asyncio.timeout(PATIENCE):
                while telegram.seen(1) != [FINAL[PLAIN], BOT.phrase("stopped", "en")]:
                    await asyncio.sleep(0.02)
                while "event: changed" not in "".join(home.heard):
                    await asyncio.sleep(0.02)
        home.heard.append(told(telegram, 1))
    home.heard_nothing()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_caller_who_hangs_up_while_it_thinks_stops_it(
    api: Api, gpt_oss: str, tmp_path: Path, *, stream: bool
) -> None:
    body = {"model": "support", "messages": [{"role": "user", "content": ENDLESS}], "max_tokens": 4000}
    async with house(gpt_oss, tmp_path, api) as home:
        async with aiohttp.ClientSession(headers=KEY) as http:
            call = asyncio.create_task(http.post(f"{home.url}/v1/chat/completions", json=body | {"stream": stream}))
            await home.running(1)
            if stream:
                answer = await call
                home.heard.append((await answer.content.readany()).decode())
                answer.close()
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        began = asyncio.get_running_loop().time()
        await home.running(0)
        # Left to itself it would think on for a minute.
        assert asyncio.get_running_loop().time() - began < 10
        await api.say(1, PLAIN)
        await answered(api)
        home.heard.append(repr(api.seen(1)))
    home.heard_nothing()
