"""The proof: people of every channel write to a gateway that is killed again and again; every message is accounted for.

The gateway is the real process; engine and platforms are simulators with faults of their own. What people see at the
end is held against the ledger. The chance is drawn from a seed; which instruction a kill hits is not.
"""

from __future__ import annotations

import asyncio
import random
import re
import resource
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from adapters.slack.simulator import Fault as SlackFault
from adapters.telegram.simulator import Fault as TelegramFault
from adapters.telegram.simulator import flood
from bench.account import Account, account_of, open_work
from bench.drivers import DRIVERS, Driver, Slack, Telegram
from bench.stand import Gateway, NotStartedError, free_port, gateway
from core.engine_simulator import EngineSimulator
from core.killing import KILL_AT, SLOW_AT
from core.simulated_reply import Behaviour

CHANNELS = tuple(DRIVERS)
TURNS = 3  # messages of each person
LOOK_SECONDS = 0.2
SECONDS_OF_A_LIFE = 1.5  # about; people write as long as there are kills
LEASE_SECONDS = 1.5
UNLIMITED = resource.RLIM_INFINITY


@dataclass(frozen=True, slots=True)
class Trial:
    """How much of what happens; `kill_at` names the point of core/killing.py at which the gateway kills itself."""

    messages: int = 150
    kills: int = 8
    seed: int = 1
    kill_at: str = ""
    faults: bool = True
    channels: tuple[str, ...] = CHANNELS
    words: int = 60  # of an answer to one message; 900 make a second part
    patience: float = 120.0  # seconds for all to be answered after the last kill


def reply(words: str, body: Mapping[str, object]) -> str:
    """Names the questions it answers; a lost, doubled or torn part would show."""
    messages = body["messages"]
    content = str(messages[-1]["content"]) if isinstance(messages, list) else ""
    return "\n\n".join(f"[{mark} {words} end {mark}]" for mark in re.findall(r"q\d+-\d+;", content)) or "[none]"


class Proof:
    """One trial, in a folder of its own."""

    def __init__(self, home: Path, folder: Path, trial: Trial) -> None:
        self._home = home
        self._folder = folder
        self._trial = trial
        self._chance = random.Random(trial.seed)  # noqa: S311 - not for secrets
        self._drivers: dict[str, Driver] = {}
        self._words = " ".join(["word"] * trial.words)
        self._engine = EngineSimulator(
            behaviour=Behaviour(
                reply=partial(reply, self._words), pieces=8, tokens_per_second=30.0, first_token_seconds=0.05
            )
        )
        self._settings: dict[str, str] = {
            "FRONTDESK__SERVER__PORT": str(free_port()),
            "FRONTDESK__DIALOGUE__LEASE_SECONDS": str(LEASE_SECONDS),
        }
        self._said: dict[tuple[str, int], list[str]] = {}
        self._open = asyncio.Event()  # the gateway was there once, so the platforms know its address
        self.kills = 0

    async def run(self) -> dict[str, Account]:
        """Let it all happen; the account of each channel."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._engine)
            self._settings["FRONTDESK__ENGINE__BASE_URL"] = self._engine.base_url
            for name in self._trial.channels:
                self._drivers[name] = await stack.enter_async_context(DRIVERS[name]())
                self._settings |= self._drivers[name].settings()
            people = asyncio.create_task(self._people())
            try:
                await self._lives(people)
                async with self._alive():
                    await asyncio.wait_for(people, self._trial.patience)
                    await self._settle()
            finally:
                people.cancel()
                await asyncio.gather(people, return_exceptions=True)
            return {
                name: account_of(name, driver, self._said, self._words, self._database)
                for name, driver in self._drivers.items()
            }

    # --- what people do ---------------------------------------------------------------------------------------------

    async def _people(self) -> None:
        each = max(1, self._trial.messages // (TURNS * len(self._drivers)))
        async with asyncio.TaskGroup() as group:
            for name, driver in self._drivers.items():
                for user in range(1, each + 1):
                    group.create_task(self._person(name, driver, user, random.Random(self._chance.random())))  # noqa: S311

    async def _person(self, name: str, driver: Driver, user: int, chance: random.Random) -> None:
        said = self._said.setdefault((name, user), [])
        await self._open.wait()
        await asyncio.sleep(chance.uniform(0, SECONDS_OF_A_LIFE * self._trial.kills))
        for turn in range(1, TURNS + 1):
            mark = f"q{user}-{turn};"
            said.append(mark)
            await driver.say(user, f"{mark} where is my order?", copies=chance.choice((0, 0, 0, 1, 2)))
            if chance.random() < 0.5:  # waits for the answer, but not for ever
                await self._wait(driver, user, mark, chance.uniform(0.5, 3.0))
            if chance.random() < 0.3:
                await driver.again(user)

    @staticmethod
    async def _wait(driver: Driver, user: int, mark: str, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while f"end {mark}" not in "".join(driver.seen(user)):  # noqa: ASYNC110 - a person looks at a screen
                    await asyncio.sleep(0.05)
        except TimeoutError:
            return

    # --- what goes wrong --------------------------------------------------------------------------------------------

    async def _lives(self, people: asyncio.Task[None]) -> None:
        """One life of the gateway after the other, each ended by kill -9."""
        while self.kills < self._trial.kills and not (people.done() and self._trial.kill_at):
            try:
                async with self._alive(self._trial.kill_at) as house:
                    if self._trial.kill_at:
                        await self._death(house, people)
                    else:
                        await self._trouble(house)
                    self.kills += not self._trial.kill_at or house.process.returncode is not None
                    await house.kill()
            except NotStartedError as error:
                if error.status != -signal.SIGKILL:
                    raise
                self.kills += 1  # at the kill point, before it answered anybody

    async def _death(self, house: Gateway, people: asyncio.Task[None]) -> None:
        """Until it has come to its kill point, or nobody has anything to say that could bring it there."""
        death = asyncio.create_task(house.process.wait())
        await asyncio.wait({death, people}, timeout=self._trial.patience, return_when=asyncio.FIRST_COMPLETED)
        death.cancel()

    async def _trouble(self, house: Gateway) -> None:
        """About a second of one life."""
        if self._trial.faults:
            self._platforms_fail()
            if self._chance.random() < 0.3:
                await self._engine_dies()
            if self._chance.random() < 0.3:
                await self._disk_is_full(house)
            if self._chance.random() < 0.2:
                await self._process_is_suspended(house)
        await asyncio.sleep(self._chance.uniform(0.1, 1.5))

    def _platforms_fail(self) -> None:
        for driver in self._drivers.values():
            if isinstance(driver, Telegram):
                driver.simulator.fail("sendMessage", flood(1))
                driver.simulator.fail("editMessageText", TelegramFault(drop=True))
                driver.simulator.fail("sendMessage", TelegramFault(drop=True))
            elif isinstance(driver, Slack):
                driver.simulator.workspace.fail("chat.update", SlackFault(status=429, retry_after=1))
                driver.simulator.workspace.fail("chat.update", SlackFault(drop=True))
                driver.simulator.workspace.fail("chat.postMessage", SlackFault(drop=True))

    async def _engine_dies(self) -> None:
        port = self._engine.port
        await self._engine.stop()
        await asyncio.sleep(self._chance.uniform(0.1, 0.5))
        await self._engine.start(port=port)

    async def _disk_is_full(self, house: Gateway) -> None:
        """No file of the gateway's can grow for a while."""
        wal = self._database.with_name(self._database.name + "-wal")
        size = max(path.stat().st_size for path in (self._database, wal) if path.exists())
        resource.prlimit(house.process.pid, resource.RLIMIT_FSIZE, (size, UNLIMITED))
        await asyncio.sleep(self._chance.uniform(0.1, 0.4))
        resource.prlimit(house.process.pid, resource.RLIMIT_FSIZE, (UNLIMITED, UNLIMITED))

    async def _process_is_suspended(self, house: Gateway) -> None:
        """A laptop that sleeps, a virtual machine that is moved: all leases run out meanwhile."""
        house.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(LEASE_SECONDS + self._chance.uniform(0.2, 1.0))
        house.process.send_signal(signal.SIGCONT)
        await asyncio.sleep(self._chance.uniform(0.1, 0.5))  # for what it then does with them

    @asynccontextmanager
    async def _alive(self, kill_at: str = "") -> AsyncIterator[Gateway]:
        settings = self._settings | ({KILL_AT: kill_at} if kill_at else {})
        if self._trial.faults and self._chance.random() < 0.3:
            settings[SLOW_AT] = f"syncing:{self._chance.uniform(0.05, 0.3):.2f}"  # a disk that is slow in this life
        async with gateway(self._home, self._folder, settings) as house:
            for driver in self._drivers.values():
                driver.meet(house.address)
            self._open.set()
            yield house

    # --- what is found ----------------------------------------------------------------------------------------------

    @property
    def _database(self) -> Path:
        return self._folder / "bench.db"

    async def _settle(self) -> None:
        """Until nothing waits and nothing is on its way, or for as long as our patience lasts; on WeChat people ask for
        what waits for them."""
        looks = int(self._trial.patience / LOOK_SECONDS)
        for _ in range(looks):
            waiting, pulled, pending = await asyncio.to_thread(open_work, self._database)
            under_way = sum(driver.under_way() for driver in self._drivers.values())
            if not (waiting or pulled or pending or under_way):
                return
            for chat in pulled:
                await self._drivers["wechat"].say(int(chat.lstrip("o")), "继续")
            await asyncio.sleep(LOOK_SECONDS)
