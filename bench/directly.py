"""The whole path over calling vLLM directly: the same questions in turn, on each channel, at several numbers of users.

Directly, a client sends what the gateway would send and reads the stream. Through the path, a customer writes on the
channel's platform, simulated, and watches the reply grow. A published version of the bot keeps replies at 64 tokens, so
that a window has no long tail; what is compared is completion tokens a second, as the engine counts them. Both sides
compete with the engine for the same cores, as they do in a small business.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import aiohttp

from bench.drivers import DRIVERS
from bench.measures import Row
from bench.real_engine import vllm
from bench.sides import Side, Stand, completions, direct, path
from bench.stand import Gateway, gateway, percentile
from bots.bot import load

ROUNDS = 2
LONGEST = 64  # tokens
PASSWORD = "a benchmark's word"  # noqa: S105 - of the stand
SETTINGS = {
    "FRONTDESK__ENGINE__MAX_CONCURRENCY": "16",  # as many as vLLM takes at once on a CPU
    "FRONTDESK__DIALOGUE__MERGE_SECONDS": "0",  # the wait for the rest of a burst is no cost of the path
    "FRONTDESK__CHANNELS__WEB__STREAMS_PER_IP": "800",  # each visitor of the web chat leaves the page open
    "FRONTDESK_CONSOLE_PASSWORD": PASSWORD,
}


@dataclass(frozen=True, slots=True)
class Way:
    """A channel as it is measured."""

    name: str  # in the table
    grows: bool = True  # the platform shows the reply before it is whole
    users: tuple[int, ...] = (1, 16)
    seconds: float = 16.0  # of a window


WAYS: Mapping[str, Way] = {
    "telegram": Way("Telegram", users=(1, 8, 16, 32), seconds=25.0),
    "web": Way("web chat"),
    "slack": Way("Slack"),
    "wechat": Way("WeChat, passive replies", grows=False),
    "api": Way("API, /ask and /result", grows=False),
    "v1": Way("API, /v1 as a stream"),
}


async def directly(home: Path, channels: Sequence[str] = tuple(WAYS)) -> list[Row]:
    rows = []
    with vllm(home) as base_url:
        async with stand_of(home, base_url) as stand:
            await direct(stand, 4, 5.0)  # warm
            for channel in channels:
                way, ask = WAYS[channel], asking(stand, channel)
                await ask(2, 1.0)  # warm
                for users in way.users:
                    rows += await _compare(stand, way, ask, users)
    return rows


Ask = Callable[[int, float], Awaitable[Side]]  # users, seconds


def asking(stand: Stand, channel: str) -> Ask:
    return partial(completions, stand) if channel == "v1" else partial(path, stand, channel)


async def _compare(stand: Stand, way: Way, ask: Ask, users: int) -> list[Row]:
    straight, through, memory = Side(), Side(), 0.0
    both: tuple[tuple[Side, Ask], ...] = (straight, partial(direct, stand)), (through, ask)
    for number in range(ROUNDS):
        for side, way_of_asking in both[:: 1 if number % 2 == 0 else -1]:
            side.add(await way_of_asking(users, way.seconds))
        memory = max(memory, stand.house.memory_mib())
    ratio, each = through.rate / straight.rate, straight.tokens / straight.replies
    name = f"{way.name}, {users} user{'s' if users > 1 else ''}"
    rates = f"{through.rate / each:.2f} over {straight.rate / each:.2f} replies/s of {each:.0f} tokens"
    firsts = [percentile(side.firsts, 0.5) * 1000 for side in (through, straight)]
    cpu = through.cpu / through.replies * 1000
    rows = [
        Row(f"whole path over vLLM directly: {name}", f"{ratio:.3f} ({rates})", ">= 0.95", ratio >= 0.95, ratio, 0.95),
        Row(f"  first text there, first token directly, p50: {name}", f"{firsts[0]:.0f}, {firsts[1]:.0f} ms", "", None),
        Row(f"  gateway CPU per reply; memory: {name}", f"{cpu:.1f} ms; {memory:.0f} MiB", "", None),
    ]
    return rows if way.grows else [rows[0], rows[2]]


@asynccontextmanager
async def stand_of(home: Path, base_url: str) -> AsyncIterator[Stand]:
    bot = load(home / "bots" / "support")
    bot = replace(bot, sampling=replace(bot.sampling, max_tokens=LONGEST))
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncExitStack() as stack:
            http = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
            drivers = {kind: await stack.enter_async_context(build()) for kind, build in DRIVERS.items()}
            settings: dict[str, str] = SETTINGS | {"FRONTDESK__ENGINE__BASE_URL": base_url}
            for driver in drivers.values():
                settings |= driver.settings()
            house = await stack.enter_async_context(gateway(home, Path(folder), settings))
            for driver in drivers.values():
                driver.meet(house.address)
            async with http.get(f"{base_url}/models") as answer:
                model = (await answer.json())["data"][0]["id"]
            await _publish(http, house)
            yield Stand(base_url, model, house, drivers, http, Path(folder) / "bench.db", bot)


async def _publish(http: aiohttp.ClientSession, house: Gateway) -> None:
    """Shorter replies, as an operator would do it."""
    api = f"{house.address}/console/api"
    async with http.post(f"{api}/sign-in", json={"password": PASSWORD}) as answer:
        answer.raise_for_status()
        headers = {"X-CSRF-Token": (await answer.json())["csrf"]}
        headers["Cookie"] = f"frontdesk_console={answer.cookies['frontdesk_console'].value}"
    async with http.get(f"{api}/bots/support", headers=headers) as answer:
        recipe = (await answer.json())["recipe"]
    recipe["sampling"]["max_tokens"] = LONGEST
    async with http.post(f"{api}/bots/support/versions", json={**recipe, "base": 1}, headers=headers) as answer:
        answer.raise_for_status()
