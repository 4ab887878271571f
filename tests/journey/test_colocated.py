"""The colocated engine dies in the middle of a reply, then the gateway: all is answered once, and nothing is left."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import aiohttp
import psutil
import pytest
from playwright.async_api import expect

from bench.drivers import Telegram
from bench.stand import Gateway, gateway
from tests.browser import chromium, visit
from tests.journey.test_engine import HOME, metric, wait_ready

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("engine_environment")]

STORY = "Please tell me a long story about a parcel that travels around the world, with all its stations."
PATIENCE = 180.0
WAITING = (5, 6, 7)


def engine_processes(house: Gateway) -> list[psutil.Process]:
    """vLLM and all its children, oldest first."""
    children = psutil.Process(house.process.pid).children(recursive=True)
    return [child for child in children if "vllm" in " ".join(_words(child)) or "VLLM" in child.name()]


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


async def growing(telegram: Telegram, user: int) -> None:
    """Until that user's last reply has begun to show."""
    before = len(telegram.seen(user))
    async with asyncio.timeout(PATIENCE):
        while len(telegram.seen(user)) == before:
            await asyncio.sleep(0.02)


async def settled(house: Gateway, turns: int) -> None:
    """Until that many turns are committed and nothing is on its way."""
    async with asyncio.timeout(PATIENCE):
        while await metric(house, "frontdesk_turns_answered_total") < turns or await metric(
            house, "frontdesk_deliveries_pending"
        ):
            await asyncio.sleep(0.1)


@pytest.mark.browser
async def test_from_the_first_start_through_two_deaths(tmp_path: Path) -> None:
    """One long way, because each start of the real engine costs half a minute."""
    async with Telegram() as telegram, chromium() as browser:
        settings = telegram.settings() | {"FRONTDESK__ENGINE__MODE": "vllm", "FRONTDESK__ENGINE__BASE_URL": ""}
        async with gateway(HOME, tmp_path, settings) as house:
            telegram.meet(house.address)
            address = house.address
            async with visit(browser, f"{address}/chat") as (page, _):
                # While the model is loading: messages are taken, and the page says so.
                await expect(page.get_by_text("getting ready")).to_be_visible(timeout=20_000)
                await page.get_by_role("textbox").fill("Hello, who are you?")
                await page.keyboard.press("Enter")
                await telegram.say(1, "Hello!")
                async with aiohttp.ClientSession() as http, http.get(f"{address}/readyz") as answer:
                    assert answer.status == 503
                    assert (await answer.json())["engine"]["state"] == "starting"
                await wait_ready(house)
                await settled(house, 2)
                await expect(page.locator(".bubble .text")).to_have_count(3, timeout=20_000)
                assert len(telegram.seen(1)) == 1
                said = await page.locator(".bubble .text").all_inner_texts()
                await page.reload()
                await expect(page.locator(".bubble .text")).to_have_text(said, use_inner_text=True)

                # The engine dies in the middle of a reply: what was shown stands, marked; the engine comes back, and
                # answers those whose reply had not begun.
                await telegram.say(2, STORY)
                await growing(telegram, 2)
                for user in WAITING:
                    await telegram.say(user, f"Where is my parcel {user}00?")
                victims = engine_processes(house)
                assert victims
                for victim in victims:
                    victim.send_signal(signal.SIGKILL)
                await settled(house, 3 + len(WAITING))
                assert [len(telegram.seen(user)) for user in (2, *WAITING)] == [1, 1, 1, 1]
                await telegram.say(3, "Are you back?")
                await settled(house, 4 + len(WAITING))
                assert len(telegram.seen(3)) == 1
                # Both lives of the engine are there to be read, and nothing of what people wrote.
                kept = (tmp_path / "engine.log").read_text()
                assert kept.count("Application startup complete") == 2
                assert "parcel" not in kept.casefold()

                # The gateway dies in the middle of a reply: no process of the engine outlives it.
                await telegram.say(4, STORY)
                await growing(telegram, 4)
                orphans = engine_processes(house)
                await house.kill()
                gone, alive = await asyncio.to_thread(psutil.wait_procs, orphans, 30)
                assert gone and not alive

                port = address.rpartition(":")[2]
                async with gateway(HOME, tmp_path, settings | {"FRONTDESK__SERVER__PORT": port}) as second:
                    await telegram.again(4)  # the platform may deliver it once more
                    await settled(second, 1)
                    assert len(telegram.seen(4)) == 1
                    await expect(page.locator(".bubble .text")).to_have_text(said, use_inner_text=True, timeout=20_000)
