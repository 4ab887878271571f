"""The gateway before a gpt-oss that thinks aloud: what is asked and answered, and all that anybody could overhear."""

from __future__ import annotations

import asyncio
import re
import shutil
import sqlite3
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from bench.drivers import Api, Driver, Slack, Telegram
from bench.stand import Gateway, gateway
from bots.bot import load
from tests.journey.test_engine import HOME, PATIENCE, metric, wait_ready

SECRET = "INNERMOST"
MARK = re.compile(r"<\|[a-z]+\|>")
BOT = load(HOME / "bots" / "support")
TAPS = tuple(BOT.phrase("still_writing", language) for language in ("en", "zh"))
SORRY = {language: BOT.phrase("apology_empty", language) for language in ("en", "zh")}
FINAL = {
    "Hello! My parcel has not arrived yet.": "Hello! Tell me your order number, please.",
    "我的快递还没有到，请帮我查一下。": "您好，非常抱歉！请提供订单号，我马上查询物流。",
    "Where is my umbrella?": "I am sorry. What stands on your receipt?",
    "Please find my guitar.": SORRY["en"],  # a call of a tool that nobody offers
    "I want to return the pumpkin, please.": "Your refund is under way.",  # two channels in one header
    "Can I buy a cactus on Sunday?": "We open at nine.",  # a thought without a header
    "Please repair my tractor soon.": SORRY["en"],  # thinks, and says nothing
}
ENDLESS = "Where is my dolphin?"  # thinks until it is stopped
TEXT = {question: "" if answer in SORRY.values() else answer for question, answer in FINAL.items()}  # the model's own
PLAIN, CHINESE, LONG = list(FINAL)[:3]
BROKEN = list(FINAL)[4]
KEY = {"Authorization": f"Bearer {Api.key}"}
CONSOLE = {"FRONTDESK_CONSOLE_PASSWORD": "an operator's word"}


@dataclass
class House:
    """A gateway before that vLLM, and all that was overheard."""

    gateway: Gateway
    engine: str
    folder: Path
    heard: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.gateway.address

    async def settled(self, turns: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while await metric(self.gateway, "frontdesk_turns_answered_total") < turns or await metric(
                self.gateway, "frontdesk_deliveries_pending"
            ):
                await asyncio.sleep(0.05)

    async def running(self, count: int) -> None:
        """Until the engine is writing so many replies."""
        async with asyncio.timeout(PATIENCE), aiohttp.ClientSession() as http:
            while True:
                async with http.get(f"{self.engine.removesuffix('/v1')}/metrics") as answer:
                    text = await answer.text()
                found = re.findall(r"^vllm:num_requests_(?:running|waiting)\{.*\} (\S+)$", text, re.MULTILINE)
                assert found
                if sum(map(float, found)) == count:
                    return
                await asyncio.sleep(0.02)

    def heard_nothing(self) -> None:
        """Nobody was told, and nothing was kept. Call it when the gateway is closed."""
        assert self.heard
        for text in (*self.heard, *kept(self.folder)):
            assert SECRET.lower() not in text.lower()
            assert not MARK.search(text), MARK.findall(text)


def kept(folder: Path) -> Iterator[str]:
    """The log and the ledger: its bytes, each row of each table, and the words of its search index."""
    log = (folder / "gateway.log").read_text()
    assert '"answered"' in log
    yield log
    for file in folder.glob("bench.db*"):
        yield file.read_bytes().decode("latin-1")
    with closing(sqlite3.connect(folder / "bench.db")) as ledger:
        tables = [name for (name,) in ledger.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        assert {"turns", "history", "deliveries", "audit"} <= set(tables)
        for table in tables:
            yield from (repr(row) for row in ledger.execute(f'SELECT * FROM "{table}"'))


def told(driver: Driver, users: int) -> str:
    """All that the platform was told, each growing text of it where one is kept, and what stands there at the end."""
    calls: Iterable[object] = ()
    match driver:
        case Telegram():
            calls = driver.simulator.calls
        case Slack():
            calls = driver.simulator.workspace.calls
    return repr((list(calls), [driver.seen(user + 1) for user in range(users)]))


@asynccontextmanager
async def house(engine: str, folder: Path, driver: Driver, *, max_tokens: int = 512) -> AsyncIterator[House]:
    """The gateway from a copy of its rooms, because its bot says the likeliest words, and so many of them."""
    home = folder / "home"
    for room in ("adapters", "bots", "commands", "console", "core", "setup"):
        shutil.copytree(HOME / room, home / room, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("main.py", "config.toml"):
        shutil.copy(HOME / file, home / file)
    about = home / "bots" / "support" / "bot.toml"
    text = about.read_text()
    for name, value in (("temperature", 0), ("frequency_penalty", 0), ("max_tokens", max_tokens)):
        text, found = re.subn(rf"^{name} = \S+", f"{name} = {value}", text, flags=re.MULTILINE)
        assert found == 1
    about.write_text(text)
    settings = driver.settings() | CONSOLE | {"FRONTDESK__ENGINE__BASE_URL": engine}
    async with gateway(home, folder, settings) as process:
        driver.meet(process.address)
        await wait_ready(process)
        yield House(process, engine, folder)


@asynccontextmanager
async def overheard(house: House, url: str, headers: Mapping[str, str]) -> AsyncIterator[None]:
    """Follow an event stream as long as this is open, to its last byte."""

    async def listen(http: aiohttp.ClientSession, connected: asyncio.Event) -> None:
        async with http.get(url, headers={**headers, "Accept": "text/event-stream"}) as answer:
            assert answer.status == 200
            connected.set()
            async for chunk in answer.content.iter_any():
                house.heard.append(chunk.decode(errors="replace"))

    connected = asyncio.Event()
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        listening = asyncio.create_task(listen(http, connected))
        async with asyncio.timeout(PATIENCE):
            await connected.wait()
        yield
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def console_cookie(house: House) -> dict[str, str]:
    body = {"password": CONSOLE["FRONTDESK_CONSOLE_PASSWORD"]}
    async with aiohttp.ClientSession() as http, http.post(f"{house.url}/console/api/sign-in", json=body) as answer:
        answer.raise_for_status()
        return {"Cookie": f"frontdesk_console={answer.cookies['frontdesk_console'].value}"}
