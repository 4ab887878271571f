"""`main.py simulate`: anybody can talk to a channel without an account, and nothing of the operator's is touched."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from playwright.async_api import expect

from bench.stand import SETTINGS
from core.engine_simulator import EngineSimulator
from core.simulated_reply import Behaviour
from tests.browser import chromium, visit

HOME = Path(__file__).resolve().parent.parent.parent
PATIENCE = 30.0
PLATFORMS = ("telegram", "slack", "wechat")
# What a real account needs and a public address: none of it may be used.
REAL = {
    "TELEGRAM_BOT_TOKEN": "7:real",
    "SLACK_BOT_TOKEN": "xoxb-real",
    "SLACK_SIGNING_SECRET": "real",
    "WECHAT_TOKEN": "real",
    "FRONTDESK__CHANNELS__WECHAT__APP_ID": "wx1111111111111111",
    "FRONTDESK__SERVER__PUBLIC_URL": "https://bot.example.com",
}


class Page:
    """The page's own HTTP API."""

    def __init__(self, url: str, http: aiohttp.ClientSession, process: asyncio.subprocess.Process) -> None:
        self.url = url
        self._http = http
        self.process = process

    async def post(self, path: str, body: Mapping[str, object], headers: Mapping[str, str] | None = None) -> int:
        async with self._http.post(f"{self.url}/{path}", json=body, headers=headers) as answer:
            return answer.status

    async def state(self, user: int = 1) -> dict[str, Any]:
        async with self._http.get(f"{self.url}/state", params={"user": str(user)}) as answer:
            found: dict[str, Any] = await answer.json()
            return found

    async def until(self, reached: Callable[[dict[str, Any]], object], user: int = 1) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            while not reached(state := await self.state(user)):
                await asyncio.sleep(0.02)
        return state


def said(state: dict[str, Any], by: str = "bot") -> list[str]:
    return [bubble["text"] for bubble in state["bubbles"] if bubble["by"] == by]


def counted(number: int, state: dict[str, Any]) -> bool:
    return len(said(state)) == number


async def start(folder: Path, engine: str, *words: str) -> asyncio.subprocess.Process:
    variables = {key: value for key, value in os.environ.items() if not key.startswith("FRONTDESK")}
    channels = {key for key in SETTINGS if "CHANNELS" in key}
    variables |= {key: value for key, value in SETTINGS.items() if key not in channels} | REAL
    variables |= {"FRONTDESK__ENGINE__BASE_URL": engine, "FRONTDESK__LEDGER__URL": f"sqlite:///{folder / 'own.db'}"}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(HOME / "main.py"),
        "simulate",
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=variables,
    )


@asynccontextmanager
async def simulated(folder: Path, engine: str, platform: str) -> AsyncIterator[Page]:
    """The command until Ctrl-C, which must end it cleanly."""
    process = await start(folder, engine, platform)
    assert process.stdout is not None
    printed = ""
    try:
        async with asyncio.timeout(PATIENCE):
            while "Open http" not in printed:
                line = (await process.stdout.readline()).decode()
                assert line, printed
                printed += line
        url = printed.partition("Open ")[2].split()[0].rstrip("/")
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE)) as http:
            yield Page(url, http, process)
    finally:
        process.send_signal(signal.SIGINT)
        rest, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    # What the operator would be warned of is told here too, but nothing has crashed.
    assert process.returncode == 0
    assert not [word for word in ("Traceback", "crashed", '"error"') if word in rest.decode()]


@pytest.mark.process
@pytest.mark.parametrize("platform", PLATFORMS)
async def test_a_channel_answers_with_no_account(platform: str, tmp_path: Path) -> None:
    async with EngineSimulator() as engine:
        for _ in range(2):  # the second time is a fresh start too
            async with simulated(tmp_path, engine.base_url, platform) as page:
                assert await page.post("say", {"user": 2, "text": "Is <b> & co. open?", "language": "en"}) == 202
                state = await page.until(lambda state: said(state) and not state["under_way"], user=2)
                assert said(state, "user") == ["Is <b> & co. open?"]
                assert len(said(state)) == 1 and not said(state, "platform")
                assert said(await page.state(1)) == []
    assert not (tmp_path / "own.db").exists(), "the operator's ledger"


@pytest.mark.process
async def test_what_goes_wrong_is_seen_and_ends(tmp_path: Path) -> None:
    async with EngineSimulator() as engine, simulated(tmp_path, engine.base_url, "telegram") as page:
        assert await page.post("trouble", {"user": 1, "name": "block"}) == 200
        assert (await page.state(1))["active"] == ["block"]
        assert (await page.state(2))["active"] == []
        assert await page.post("say", {"user": 1, "text": "Hello?"}) == 409
        assert await page.post("trouble", {"user": 1, "name": "block"}) == 200
        assert await page.post("trouble", {"user": 1, "name": "flood"}) == 200
        assert await page.post("say", {"user": 1, "text": "Hello?"}) == 202
        state = await page.until(lambda state: state["counts"].get("sendMessage"))
        assert (said(state), state["active"]) == ([], ["flood"])
        assert len(said(await page.until(said))) == 1
        assert await page.post("trouble", {"user": 1, "name": "lose"}) == 400


@pytest.mark.process
@pytest.mark.parametrize("platform", ["telegram", "slack"])
async def test_a_lost_receipt_leaves_the_answer_once(platform: str, tmp_path: Path) -> None:
    async with EngineSimulator() as engine, simulated(tmp_path, engine.base_url, platform) as page:
        assert await page.post("trouble", {"user": 1, "name": "drop"}) == 200
        for number in (1, 2):
            # What the house itself says is not shown growing: the receipt that is lost is the answer's.
            assert await page.post("say", {"user": 1, "text": "/help"}) == 202
            state = await page.until(partial(counted, number))
            assert state["active"] == []


@pytest.mark.process
async def test_a_lost_wechat_reply_is_given_again_and_a_picture_is_answered(tmp_path: Path) -> None:
    async with EngineSimulator() as engine, simulated(tmp_path, engine.base_url, "wechat") as page:
        assert await page.post("trouble", {"user": 1, "name": "lose"}) == 200
        assert await page.post("say", {"user": 1, "text": "Hello?"}) == 202
        state = await page.until(lambda state: said(state) and not state["under_way"])
        assert state["counts"]["deliveries"] >= 2 and len(said(state)) == 1
        assert await page.post("act", {"user": 3, "name": "picture"}) == 202
        state = await page.until(lambda state: said(state) and not state["under_way"], user=3)
        assert said(state, "user") == ["[image]"] and len(said(state)) == 1
        assert await page.post("act", {"user": 3, "name": "tap"}) == 202  # there is nothing to tap
        assert await page.post("act", {"user": 3, "name": "fly"}) == 400


@pytest.mark.process
async def test_only_this_page_may_ask(tmp_path: Path) -> None:
    async with EngineSimulator() as engine, simulated(tmp_path, engine.base_url, "slack") as page:
        body: dict[str, object] = {"user": 1, "text": "Hello"}
        assert await page.post("say", body, {"Origin": "https://elsewhere.example"}) == 403
        assert await page.post("say", body, {"Host": "elsewhere.example"}) == 403
        assert await page.post("say", body, {"Content-Type": "text/plain"}) == 415
        wrongs: tuple[dict[str, object], ...] = (
            {"user": 4},
            {"user": 0},
            {"text": ""},
            {"text": "x" * 4097},
            {"language": "<b>"},
        )
        for wrong in wrongs:
            assert await page.post("say", body | wrong) == 400
        assert await page.post("say", body | {"text": "  "}) == 409
        assert said(await page.state(), "user") == []
        second = await start(tmp_path, engine.base_url, "slack")
        printed, _ = await asyncio.wait_for(second.communicate(), PATIENCE)
        assert second.returncode == 2 and b"already" in printed


@pytest.mark.process
@pytest.mark.parametrize("words", [(), ("phone",), ("web",), ("slack", "wechat")], ids=" ".join)
async def test_another_name_gets_the_usage(words: tuple[str, ...], tmp_path: Path) -> None:
    process = await start(tmp_path, "http://127.0.0.1:9/v1", *words)
    printed, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert process.returncode == 2
    assert printed.decode() == "usage: main.py simulate slack|telegram|wechat\n"


@pytest.mark.process
@pytest.mark.browser
async def test_a_visitor_types_and_sees_the_reply_grow(tmp_path: Path) -> None:
    async with (
        EngineSimulator(behaviour=Behaviour(tokens_per_second=15.0)) as engine,
        simulated(tmp_path, engine.base_url, "telegram") as simulator,
        chromium() as browser,
        visit(browser, f"{simulator.url}/") as (page, record),
    ):
        await page.get_by_role("button", name="Customer 2").click()
        await page.get_by_role("textbox").fill("<img src=x> Hello")
        await page.keyboard.press("Enter")
        await expect(page.locator(".line.user .text")).to_have_text("<img src=x> Hello")
        await expect(page.locator(".line.bot .text")).not_to_be_empty()
        await expect(page.locator(".edits")).to_be_visible()
        answer = said(await simulator.until(lambda state: said(state) and said(state)[0].endswith("Hello"), user=2))[0]
        await expect(page.locator(".line.bot .text")).to_have_text(answer, use_inner_text=True)
        await page.get_by_role("button", name="Customer 1").click()
        await expect(page.locator(".line")).to_have_count(0)
        assert record.errors == []
        assert record.hosts == {urlsplit(simulator.url).netloc}
