"""The measurements of design bars, one function each; each returns rows of (what, measured, bar, met)."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from adapters.telegram.simulator import TelegramSimulator
from bench.stand import TELEGRAM_SECRET, TELEGRAM_TOKEN, Gateway, engine, gateway, percentile, urls
from core.engine_simulator import EngineSimulator
from core.simulated_reply import Behaviour, Fault

DELTAS = 40


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `met` is None where there is no bar; what is a ratio is drawn, against its `limit`."""

    what: str
    measured: str
    bar: str
    met: bool | None
    ratio: float | None = None
    limit: float | None = None


async def start(home: Path, runs: int = 5) -> list[Row]:
    """Process start to the first accepted request, and memory when idle, with every channel on."""
    seconds, memory = [], 0.0
    async with EngineSimulator() as model, TelegramSimulator(TELEGRAM_TOKEN) as platform:
        for _ in range(runs):
            with tempfile.TemporaryDirectory() as folder:
                async with gateway(home, Path(folder), urls(model.base_url, platform.base_url)) as house:
                    seconds.append(house.started_seconds)
                    await asyncio.sleep(1.0)  # what starts in the background is part of idling
                    memory = max(memory, house.memory_mib())
    worst = max(seconds)
    return [
        Row(
            "start to accepting, worst of 5",
            f"{worst:.2f} s (median {percentile(seconds, 0.5):.2f})",
            "<= 1.5 s",
            worst <= 1.5,
        ),
        Row("memory when idle, all channels on", f"{memory:.0f} MiB", "<= 120 MiB", memory <= 120),
    ]


async def accepting(home: Path, messages: int = 10_000, connections: int = 64) -> list[Row]:
    """Webhooks made durable while the engine is loading, so that nothing else runs beside."""
    async with (
        EngineSimulator(behaviour=Behaviour(fault=Fault.LOADING)) as model,
        TelegramSimulator(TELEGRAM_TOKEN) as platform,
    ):
        with tempfile.TemporaryDirectory() as folder:
            async with gateway(home, Path(folder), urls(model.base_url, platform.base_url)) as house:
                await post_updates(house, 1_000, connections, first=1)
                before, began = house.cpu_seconds(), time.monotonic()
                latencies = await post_updates(house, messages, connections, first=100_001)
                seconds, cpu = time.monotonic() - began, house.cpu_seconds() - before
                steady = await post_updates(house, messages, connections, first=200_001, per_second=2_000.0)
    p50, p99, rate = percentile(latencies, 0.5) * 1000, percentile(latencies, 0.99) * 1000, messages / seconds
    even50, even99 = percentile(steady, 0.5) * 1000, percentile(steady, 0.99) * 1000
    bar = "p99 <= 20 ms"
    return [
        Row("webhook accepted, p50 / p99 at 64 connections, flat out", f"{p50:.1f} / {p99:.1f} ms", bar, p99 <= 20),
        Row("  the same at 2,000 a second", f"{even50:.1f} / {even99:.1f} ms", bar, even99 <= 20),
        Row("webhooks accepted per second, load source beside it", f"{rate:.0f}/s", ">= 2,000/s", rate >= 2000),
        Row("gateway CPU per accepted webhook", f"{cpu / messages * 1e6:.0f} us", "", None),
    ]


async def post_updates(
    house: Gateway, messages: int, connections: int, first: int, per_second: float = 0.0
) -> list[float]:
    """Post updates of different users over keep-alive connections, evenly or as fast as they are answered (0); seconds
    each took."""
    numbers = iter(range(first, first + messages))
    latencies: list[float] = []
    place, started = urlsplit(house.address), time.monotonic()

    async def client() -> None:
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        for number in numbers:
            if per_second:
                await asyncio.sleep(started + (number - first) / per_second - time.monotonic())
            body = json.dumps(_update(number)).encode()
            head = (
                f"POST /telegram HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Type: application/json\r\n"
                f"X-Telegram-Bot-Api-Secret-Token: {TELEGRAM_SECRET}\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            began = time.monotonic()
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            latencies.append(time.monotonic() - began)
            if not answer.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(answer.decode())
            length = int(answer.lower().partition(b"content-length:")[2].split()[0])
            await reader.readexactly(length)
        writer.close()

    await asyncio.gather(*(client() for _ in range(connections)))
    return latencies


def _update(number: int) -> dict[str, object]:
    person = {"id": number, "is_bot": False, "first_name": "Customer", "language_code": "en"}
    chat = {"id": number, "type": "private"}
    message = {"message_id": 1, "from": person, "chat": chat, "date": int(time.time()), "text": "Where is my order?"}
    return {"update_id": number, "message": message}


async def first_text(home: Path, users: int, rounds: int) -> list[Row]:
    """The customer's first text on the platform, minus the engine's first token for it."""
    behaviour = Behaviour(pieces=DELTAS, tokens_per_second=40.0, first_token_seconds=0.05)
    added: list[float] = []
    async with EngineSimulator(behaviour=behaviour) as model, TelegramSimulator(TELEGRAM_TOKEN) as platform:
        with tempfile.TemporaryDirectory() as folder:
            async with gateway(home, Path(folder), urls(model.base_url, platform.base_url)) as house:
                platform.webhook.set(f"{house.address}/telegram", TELEGRAM_SECRET, frozenset(), 100)
                for number in range(rounds):
                    added += await _round(model, platform, users, number)
    p50, p95 = percentile(added, 0.5) * 1000, percentile(added, 0.95) * 1000
    bar = 20 if users == 1 else 50
    what = f"first text on Telegram over the engine's first token, {users} user{'s' if users > 1 else ''}, p50 / p95"
    return [Row(what, f"{p50:.1f} / {p95:.1f} ms ({len(added)} replies)", f"p95 <= {bar} ms", p95 <= bar)]


async def _round(model: EngineSimulator, platform: TelegramSimulator, users: int, number: int) -> list[float]:
    marks = {}
    for user in range(1, users + 1):
        marks[1000 + user] = f"question-{number}-{user}-"
        platform.user_says(1000 + user, marks[1000 + user])
    await platform.until(
        lambda: all("".join(platform.bot_texts(chat)[-1:]).endswith(mark) for chat, mark in marks.items()), seconds=60
    )
    calls = {str(call.body["messages"][-1]["content"]): call.request_id for call in model.calls}  # type: ignore[index]
    times = []
    for chat, mark in marks.items():
        request = next(identity for text, identity in calls.items() if mark in text)
        shown = [message for message in platform.chats.read(chat) if message.by_bot][-1].versions[0].at
        times.append(shown - model.first_tokens[request])
    return times


async def cost(home: Path, users: int = 200, rounds: int = 3) -> list[Row]:
    """Gateway CPU for one answered message of 40 deltas, shown growing on Telegram."""
    with tempfile.TemporaryDirectory() as folder:
        async with (
            engine(home, pieces=str(DELTAS), tokens_per_second="20", first_token_seconds="0.1") as model,
            TelegramSimulator(TELEGRAM_TOKEN) as platform,
            gateway(home, Path(folder), urls(model, platform.base_url)) as house,
        ):
            platform.webhook.set(f"{house.address}/telegram", TELEGRAM_SECRET, frozenset(), 100)
            before, began = house.cpu_seconds(), time.monotonic()
            for number in range(rounds):
                for user in range(users):
                    platform.user_says(1000 + user, f"question-{number}-{user}-")
                await platform.until(partial(_answered, platform, users, number), seconds=120)
            seconds, cpu = time.monotonic() - began, house.cpu_seconds() - before
            calls = sum(platform.counts[name] for name in ("sendMessage", "editMessageText"))
    each = cpu / (users * rounds) * 1000
    return [
        Row(
            f"gateway CPU per answered message ({DELTAS} deltas, growing, {users} users)",
            f"{each:.1f} ms",
            "<= 5 ms",
            each <= 5,
        ),
        Row("  of it: calls to the platform per message", f"{calls / users / rounds:.1f}", "", None),
        Row("  replies per second meanwhile", f"{users * rounds / seconds:.1f}/s", "", None),
    ]


def _answered(platform: TelegramSimulator, users: int, number: int) -> bool:
    for user in range(users):
        texts = platform.bot_texts(1000 + user)
        if len(texts) <= number or not texts[number].endswith(f"question-{number}-{user}-"):
            return False
    return True
