"""Memory over very many messages: a crowd on every channel is answered, and what the house keeps of it is on disk."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import tempfile
import time
import uuid
from collections import Counter, deque
from contextlib import AsyncExitStack, closing
from pathlib import Path

import aiohttp

from adapters.web.client import View, WebClient
from bench.account import read_only
from bench.drivers import Api, Slack, Telegram, WeChat
from bench.measures import Row
from bench.stand import Gateway, engine, gateway

WARM_UP = 5_000  # messages until what is loaded at first use is there
OPEN = 256  # messages under way at most: people wait for their answers
ASKING = 48  # of them on channels whose requests take as long as the answer
PATIENCE = 120.0  # seconds for the last of them
SHARES = {"telegram": 0.85, "api": 0.09, "web": 0.02, "slack": 0.02, "wechat": 0.02}
REGULARS = 40  # people who write all the time, some over their limit
RECENT = 3_000  # people who may come back
WORDS = ("where", "is", "my", "order", "it", "was", "sent", "last", "week", "and", "has", "not", "arrived", "please")
CHINESE = "我的订单还没有到请帮我看看谢谢"
REPLY = "Thank you for asking. Your order left our house **yesterday** and is on its way; it arrives tomorrow."
SETTINGS = {
    # People have their usual limits here; only the platform's own are lifted.
    "FRONTDESK__THROTTLE__MESSAGES_PER_MINUTE": "20",
    "FRONTDESK__THROTTLE__BURST": "10",
    "FRONTDESK__THROTTLE__TOKENS_PER_DAY": "200000",
    "FRONTDESK__THROTTLE__REQUESTS_PER_MINUTE_PER_IP": "10",
    "FRONTDESK__SERVER__TRUSTED_PROXIES": '["127.0.0.1"]',  # so that callers have addresses of their own
    "FRONTDESK__CHANNELS__WEB__MESSAGES_PER_MINUTE_PER_IP": "100000",  # visitors have none
}
UNDER_WAY = (
    "SELECT (SELECT count(*) FROM inbox) + (SELECT count(*) FROM turns WHERE state = 'running')"
    " + (SELECT count(*) FROM deliveries WHERE state IN ('pending', 'sending') AND channel <> 'wechat')"
)


class Crowd:
    """People of every kind: who write once, often, too often, twice, in edits, who block the bot and come back."""

    def __init__(self, house: Gateway, telegram: Telegram, slack: Slack, wechat: WeChat, ledger: Path) -> None:
        self._house = house
        self._telegram = telegram
        self._slack = slack
        self._wechat = wechat
        self._ledger = read_only(ledger)
        self._http = aiohttp.ClientSession(headers={"Authorization": f"Bearer {Api.key}"})
        self._chance = random.Random(1)  # noqa: S311 - not for secrets
        self._recent: deque[tuple[int, int]] = deque(maxlen=RECENT)  # chat and update
        self._people = 10_000
        self._places = asyncio.Semaphore(ASKING)
        self.said: Counter[str] = Counter()  # by channel: what has to be in the ledger
        self.kinds: Counter[str] = Counter()

    async def close(self) -> None:
        self._ledger.close()
        await self._http.close()

    async def write(self, messages: int) -> None:
        """So many messages; returns when all have their ending."""
        async with asyncio.TaskGroup() as group:
            for number in range(messages):
                channel = self._chance.choices(list(SHARES), list(SHARES.values()))[0]
                self.said[channel] += 1
                if channel == "telegram":
                    self._on_telegram()
                else:
                    await self._places.acquire()
                    group.create_task(self._in_place(channel))
                if number % 32 == 0:
                    await self._until(OPEN, PATIENCE)
        await self._until(0, PATIENCE)

    async def _until(self, most: int, seconds: float) -> None:
        """Until no more than `most` are under way. Raises TimeoutError."""
        simulators = self._telegram.simulator.webhook, self._wechat
        async with asyncio.timeout(seconds):
            while True:
                (stored,) = self._ledger.execute(UNDER_WAY).fetchone()
                if simulators[0].pending + simulators[1].under_way() + int(stored) <= most:
                    return
                await asyncio.sleep(0.02)

    def _text(self) -> str:
        if self._chance.random() < 0.1:
            return CHINESE + str(self._chance.randrange(10_000))
        words = self._chance.choices(WORDS, k=self._chance.choice((3, 6, 6, 12, 12, 25, 120)))
        return " ".join(words) + f" {self._chance.randrange(10_000)}?"

    def _person(self) -> int:
        """Most write once; some come back; a few do nothing else."""
        draw = self._chance.random()
        if draw < 0.12:
            return 1 + int(REGULARS * self._chance.random() ** 2)
        if draw < 0.4 and self._recent:
            return self._chance.choice(self._recent)[0]
        self._people += 1
        return self._people

    def _on_telegram(self) -> None:
        simulator, draw, chat = self._telegram.simulator, self._chance.random(), self._person()
        if draw < 0.02 and self._recent:
            self._edit(self._recent[-1 - int(len(self._recent) * self._chance.random() ** 3)][1])
            return
        if draw < 0.06:
            command = self._chance.choice(("/start", "/help", "/new", "/stop"))
            self.kinds["commands"] += 1
            simulator.user_says(chat, command)
            return
        update = simulator.user_says(chat, self._text(), language=self._chance.choice(("en", "en", "de", "zh-hans")))
        self._recent.append((chat, update))
        if draw < 0.08:
            self.kinds["redelivered"] += 1
            simulator.webhook.again(self._recent[-1 - int(len(self._recent) * self._chance.random() ** 3)][1])
        elif draw < 0.09:
            self.kinds["left the chat"] += 1
            simulator.user_leaves(chat)
        elif draw < 0.1:
            self.kinds["blocked unheard"] += 1
            simulator.api.block(chat)

    def _edit(self, update: int) -> None:
        self.kinds["edits"] += 1
        original = self._telegram.simulator.webhook.sent(update)["message"]
        assert isinstance(original, dict)  # noqa: S101 - we wrote it
        edited = original | {"text": self._text(), "edit_date": int(time.time())}
        edited.pop("entities", None)
        self._telegram.simulator.push({"edited_message": edited})

    async def _in_place(self, channel: str) -> None:
        try:
            if channel == "api":
                await self._on_api()
            elif channel == "web":
                await self._on_web()
            else:
                self._people += 1
                await (self._slack if channel == "slack" else self._wechat).say(self._people, self._text())
        finally:
            self._places.release()

    async def _on_api(self) -> None:
        """A program asks, from an address of its own, and waits for the answer."""
        number = self._person()
        address = f"10.{self._chance.randrange(256)}.{self._chance.randrange(256)}.{self._chance.randrange(1, 255)}"
        headers = {"X-Forwarded-For": address}
        body = {"text": self._text(), "conversation": f"c{number}", "user": f"u{number}"}
        async with self._http.post(f"{self._house.address}/ask", json=body, headers=headers) as answer:
            if answer.status == 429:  # over the person's limit; it is in the ledger as that
                return
            answer.raise_for_status()
            task = (await answer.json())["task_id"]
        url = f"{self._house.address}/result/{task}"
        async with self._http.get(url, headers=headers, params={"wait": "20"}) as answer:
            answer.raise_for_status()

    async def _on_web(self) -> None:
        """A visitor opens the page, writes, reads the answer and closes it."""
        async with WebClient(self._house.address) as visitor:
            await visitor.open()
            status, _, _ = await visitor.post(self._text(), str(uuid.uuid4()))
            if status != 202:
                raise RuntimeError(f"a message was answered with HTTP {status}")
            view = View()
            async for event in visitor.events():
                view.apply(event)
                if any(bubble.role == "bot" and not bubble.growing for bubble in view.bubbles.values()):
                    return


async def soak(home: Path, messages: int = 100_000) -> list[Row]:
    """Resident memory idle, after a warm-up, and at ten moments after it when nothing is under way."""
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncExitStack() as stack:
            model = await stack.enter_async_context(engine(home, reply=REPLY, pieces="8"))
            telegram = await stack.enter_async_context(Telegram())
            slack = await stack.enter_async_context(Slack())
            wechat = await stack.enter_async_context(WeChat())
            settings = Api().settings() | telegram.settings() | slack.settings() | wechat.settings() | SETTINGS
            settings |= {"FRONTDESK__ENGINE__BASE_URL": model}
            house = await stack.enter_async_context(gateway(home, Path(folder), settings))
            for driver in (telegram, slack, wechat):
                driver.meet(house.address)
            crowd = Crowd(house, telegram, slack, wechat, Path(folder) / "bench.db")
            stack.push_async_callback(crowd.close)
            await asyncio.sleep(1.0)  # what starts in the background is part of idling
            idle, memory, began, cpu = house.memory_mib(), [], time.monotonic(), house.cpu_seconds()
            at = [WARM_UP, *(messages * tenth // 10 for tenth in range(1, 11) if messages * tenth // 10 > WARM_UP)]
            for before, moment in zip([0, *at], at, strict=False):
                await crowd.write(moment - before)
                await asyncio.sleep(1.0)  # as above
                memory.append(house.memory_mib())
            seconds, cpu = time.monotonic() - began, house.cpu_seconds() - cpu
        with closing(read_only(Path(folder) / "bench.db")) as ledger:
            endings = _endings(crowd, ledger)
    growth = (memory[-1] / memory[0] - 1) * 100
    course = ", ".join(f"{mib:.0f}" for mib in memory)
    return [
        Row(f"memory from {WARM_UP:,} to {messages:,} messages", f"{growth:+.1f} %", "<= 10 %", growth <= 10),
        Row("  idle", f"{idle:.0f} MiB", "", None),
        Row(f"  at {WARM_UP:,} and each tenth of the way", f"{course} MiB", "", None),
        Row("  gateway CPU per message meanwhile", f"{cpu / messages * 1000:.1f} ms", "", None),
        Row("  messages per second meanwhile", f"{messages / seconds:.0f}/s", "", None),
        *endings,
    ]


def _endings(crowd: Crowd, ledger: sqlite3.Connection) -> list[Row]:
    """What became of all that was said, by the ledger."""
    stored: Counter[str] = Counter()
    states: Counter[str] = Counter()
    for channel, state, count in ledger.execute("SELECT channel, state, count(*) FROM messages GROUP BY 1, 2"):
        stored[channel] += count
        states[state] += count
    parts = Counter(dict(ledger.execute("SELECT state, count(*) FROM deliveries GROUP BY 1").fetchall()))
    unsaid = sum(parts[state] for state in ("pending", "sending", "unclear"))
    left = sum(states[state] for state in ("waiting", "running", "set_aside"))
    return [
        Row(
            "messages written and in the ledger",
            f"{crowd.said.total():,} and {stored.total():,}",
            "the same",
            crowd.said == stored,
        ),
        Row("  of them with an ending", _listed(states), "all", not left),
        Row("  parts of replies", _listed(parts), "no other", not unsaid),
        Row("  among them on Telegram", _listed(crowd.kinds), "", None),
    ]


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.most_common())
