"""The real vllm-router, started as docs/operating.md says, between two simulated engines and the house."""

from __future__ import annotations

import asyncio
import re
import shlex
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from bench.drivers import Driver, Telegram
from bench.stand import Gateway, free_port, gateway
from core import leash
from core.engine_simulator import EngineSimulator
from core.simulated_reply import Behaviour

HOME = Path(__file__).resolve().parents[2]
PATIENCE = 30.0
# The documented command but for these times: here nobody waits 15 s until an engine is missed.
QUICK = ("--cb-timeout-duration-secs", "1", "--health-check-interval-secs", "1")
ENGINE_KEY = "key-of-the-engines"


def documented() -> list[str]:
    """The options of the command that operators are told to use."""
    manual = (HOME / "docs" / "operating.md").read_text()
    command = re.search(r"^vllm-router (?:.*\\\n)*.*$", manual, re.MULTILINE)
    assert command, "docs/operating.md shows how the router is started"
    return shlex.split(command[0].replace("\\\n", " "))[1:]


@dataclass(frozen=True, slots=True)
class Router:
    """A running one: its address as engine.base_url, and its own numbers."""

    base_url: str
    metrics_url: str


@asynccontextmanager
async def router(program: Path, folder: Path, *engines: str, port: int = 0) -> AsyncIterator[Router]:
    """vllm-router before these engines (base_urls). It ends with us, however we end: it runs on a leash."""
    port, metrics = port or free_port(), free_port()
    workers = ["--worker-urls", *(engine.removesuffix("/v1") for engine in engines)]
    words = [*documented(), *QUICK, *workers, "--port", str(port), "--prometheus-port", str(metrics)]
    holder = [sys.executable, "-I", "-S", leash.__file__, "5", str(folder / "leash")]
    log = folder / "router.log"
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *holder, str(program), *words, stdin=asyncio.subprocess.PIPE, stdout=output, stderr=output
        )
    try:
        while not await ready(f"http://127.0.0.1:{port}/readiness"):
            assert process.returncode is None, log.read_text()
        yield Router(f"http://127.0.0.1:{port}/v1", f"http://127.0.0.1:{metrics}/metrics")
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await asyncio.wait_for(process.wait(), PATIENCE)


async def ready(url: str) -> bool:
    """Whether it says so; asked no more often than it makes sense."""
    await asyncio.sleep(0.05)
    try:
        async with aiohttp.ClientSession() as http, http.get(url) as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


async def until_ready(house: Gateway, *, yes: bool = True) -> None:
    async with asyncio.timeout(PATIENCE):
        while await ready(f"{house.address}/readyz") is not yes:
            pass


@dataclass(frozen=True, slots=True)
class Stand:
    """Two engines, each saying its own name, the router before them, and the house before that."""

    one: EngineSimulator
    two: EngineSimulator
    router: Router
    house: Gateway

    def named(self, said: str) -> tuple[EngineSimulator, EngineSimulator]:
        """The engine that said this, and the other."""
        return (self.one, self.two) if said == "I am one." else (self.two, self.one)


@asynccontextmanager
async def engines() -> AsyncIterator[tuple[EngineSimulator, EngineSimulator]]:
    async with (
        EngineSimulator(behaviour=Behaviour(reply=lambda _: "I am one."), api_key=ENGINE_KEY) as one,
        EngineSimulator(behaviour=Behaviour(reply=lambda _: "I am two."), api_key=ENGINE_KEY) as two,
    ):
        yield one, two


def settings_for(driver: Driver, base_url: str) -> dict[str, str]:
    return driver.settings() | {
        "FRONTDESK__ENGINE__BASE_URL": base_url,
        "FRONTDESK_ENGINE_API_KEY": ENGINE_KEY,
        "FRONTDESK_ENGINE_CACHE_SALT": "x" * 32,
        "FRONTDESK__ENGINE__PRIORITY": "true",
    }


@asynccontextmanager
async def stand(program: Path, folder: Path, driver: Driver) -> AsyncIterator[Stand]:
    async with (
        engines() as (one, two),
        router(program, folder, one.base_url, two.base_url) as front,
        gateway(HOME, folder, settings_for(driver, front.base_url)) as house,
    ):
        driver.meet(house.address)
        await until_ready(house)
        yield Stand(one, two, front, house)


async def answered(telegram: Telegram, count: int, *users: int) -> None:
    """Until each of them has so many whole answers."""

    def all_have() -> bool:
        seen = [telegram.seen(user) for user in users]
        return all(len(texts) == count and set(texts) <= {"I am one.", "I am two."} for texts in seen)

    await telegram.simulator.until(all_have, seconds=PATIENCE)


async def aborted(it: Stand) -> None:
    """Until the engine of the newest call knows that nobody wants it any more."""
    engine = max((it.one, it.two), key=lambda engine: engine.calls[-1].at if engine.calls else 0.0)
    async with asyncio.timeout(PATIENCE):
        await engine.aborted(engine.calls[-1].request_id)
