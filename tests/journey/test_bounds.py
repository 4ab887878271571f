"""Every map is bounded: after very many people nothing in the house has grown with them but what names its limit."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import logging
import sys
import types
import uuid
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import main
from adapters.web.client import View, WebClient
from bench.account import read_only
from bench.drivers import DRIVERS, Driver, Telegram
from bench.soak import UNDER_WAY
from bench.stand import SETTINGS
from commands.reading import read
from core.engine_simulator import EngineSimulator
from core.simulated_reply import Behaviour

FEW, MANY = 40, 160  # people on each channel before the first look, and between the two
AT_ONCE = 16  # of them
GROWING = Behaviour(reply=lambda _: "Certainly, it is on its way.", pieces=4, tokens_per_second=30.0)
ROOMS = ("core", "adapters", "bots", "console", "commands", "main")
STAND_INS = ("simulat", "adapters.web.client")
# Neither a part of the house nor a way into one.
BEYOND = (
    types.ModuleType,
    types.CodeType,
    types.BuiltinFunctionType,
    asyncio.AbstractEventLoop,
    contextvars.Context,
    logging.Handler,
)
# What may grow with the people, and how far: maps in which the oldest make room for the newest.
BOUNDS: Mapping[str, Callable[[Any], int]] = {
    "adapters.slack.incoming.Incoming._chats": lambda _: 2_000,
    "adapters.telegram.recent.Bounded._values": lambda bounded: bounded._most,  # 2_000, of turns that are shown 10_000
    "adapters.wechat.passive.PassiveReplies._trials": lambda _: 10_000,
    "core.growing.GrowingReplies._left": lambda _: 2_000,
    "core.growing.GrowingReplies._stopped": lambda _: 2_000,
}
MOST = 10_000  # no bound is larger

pytestmark = pytest.mark.process  # as long as one


@dataclass(slots=True)
class Look:
    """What can be reached from the house: each container with its size and the way to it, how many of each kind of
    thing there are, and apart from those the maps of BOUNDS, by their way."""

    containers: dict[int, tuple[object, int, str]] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)
    bounded: dict[str, tuple[str, dict[object, object], int]] = field(default_factory=dict)  # name, map, bound


def look(*roots: tuple[str, object]) -> Look:
    """Everything, the shortest way first."""
    gc.collect()
    found, seen, queue = Look(), {id(value) for _, value in roots}, deque(roots)
    while queue:
        way, thing = queue.popleft()
        kind = f"{type(thing).__module__}.{type(thing).__qualname__}"
        found.kinds[kind] += 1
        if isinstance(thing, dict | list | set | frozenset | deque):
            found.containers[id(thing)] = thing, len(thing), way
        for name, part in parts(thing):
            if (bound := BOUNDS.get(kind + name)) and isinstance(part, dict):
                found.bounded[way + name] = kind + name, part, bound(thing)
            elif id(part) not in seen and not isinstance(part, BEYOND) and (gc.is_tracked(part) or part == {}):
                seen.add(id(part))
                queue.append((way + name, part))
    return found


def parts(thing: object) -> Iterator[tuple[str, object]]:
    """What a thing holds, each with how one would write it."""
    if isinstance(thing, dict):
        for key, value in thing.items():
            yield "<key>", key
            yield f"[{key!r:.60}]", value
    elif isinstance(thing, list | tuple | set | frozenset | deque):
        yield from (("[]", value) for value in thing)
    elif isinstance(thing, type):
        if thing.__module__.split(".")[0] in ROOMS:
            yield from ((f".{name}", value) for name, value in vars(thing).items())
    elif isinstance(thing, types.FunctionType):
        yield from (("<closure>", cell) for cell in thing.__closure__ or ())
        yield from (("<default>", value) for value in thing.__defaults__ or ())
    else:
        named = dict(attributes(thing))
        yield from ((f".{name}", value) for name, value in named.items())
        apart = {id(getattr(thing, "__dict__", None)), id(type(thing)), *map(id, named.values())}
        yield from ((f"<{type(one).__name__}>", one) for one in gc.get_referents(thing) if id(one) not in apart)


def attributes(thing: object) -> Iterator[tuple[str, object]]:
    yield from getattr(thing, "__dict__", {}).items()
    for kind in type(thing).__mro__:
        for name, member in vars(kind).items():
            if isinstance(member, types.MemberDescriptorType) and hasattr(thing, name):
                yield name, getattr(thing, name)


def grown(before: Look, after: Look, people: int) -> list[str]:
    """What has become larger by half of these people or more."""
    ways = {way: size for _, size, way in before.containers.values()}
    found = []
    for identity, (_, size, way) in after.containers.items():
        known = before.containers.get(identity)
        earlier = known[1] if known else ways.get(way, 0)
        if size - earlier >= people / 2:
            found.append(f"{way}: {earlier} -> {size}")
    kinds = [kind for kind, count in (after.kinds - before.kinds).items() if count >= people / 2]
    return found + [f"{kind}: {before.kinds[kind]} -> {after.kinds[kind]} of them" for kind in kinds]


def caches() -> dict[int, tuple[str, int]]:
    """The unbounded caches of functions, anybody's: name and size."""
    found = {}
    for thing in gc.get_objects():
        if isinstance(thing, type(functools.lru_cache(lambda: None))) and thing.cache_parameters()["maxsize"] is None:
            found[id(thing)] = f"{thing.__module__}.{thing.__qualname__}", thing.cache_info().currsize
    return found


class Everybody:
    """The people of all channels, each a few words and then away."""

    def __init__(self, address: str, drivers: dict[str, Driver]) -> None:
        self._address = address
        self._drivers = drivers
        self._places = asyncio.Semaphore(AT_ONCE)

    async def write(self, first: int, count: int) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(first, first + count):
                group.create_task(self._visit())
                for driver in self._drivers.values():
                    group.create_task(self._say(driver, number))

    async def _say(self, driver: Driver, user: int) -> None:
        async with self._places:
            await driver.say(user, f"Where is my order {user}?")
            await until(lambda: driver.seen(user))
            if isinstance(driver, Telegram):
                await self._carry_on(driver, 1000 + user)

    async def _carry_on(self, telegram: Telegram, chat: int) -> None:
        """Stop, begin anew, change one's words, block the bot: each is remembered for a while."""
        simulator = telegram.simulator
        said = simulator.user_says(chat, "And my other order?")
        for command in ("/stop", "/new"):
            simulator.user_says(chat, command)
        original = simulator.webhook.sent(said)["message"]
        assert isinstance(original, dict)
        simulator.push({"edited_message": original | {"text": "And the other one?", "edit_date": original["date"]}})
        simulator.user_leaves(chat)
        await until(lambda: simulator.webhook.pending == 0)

    async def _visit(self) -> None:
        async with self._places, WebClient(self._address) as visitor:
            await visitor.open()
            status, _, _ = await visitor.post("Where is my order?", str(uuid.uuid4()))
            assert status == 202
            view = View()
            async for event in visitor.events():
                view.apply(event)
                if any(bubble.role == "bot" and not bubble.growing for bubble in view.bubbles.values()):
                    return


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.01)


@dataclass(slots=True)
class Opened:
    """A house in this process, with people around it."""

    built: main.Built
    everybody: Everybody
    ledger: Path
    drivers: dict[str, Driver]

    def look(self) -> Look:
        modules = [(name, vars(module)) for name, module in list(sys.modules.items()) if is_ours(name)]
        return look(("house", self.built), *modules)

    async def settle(self) -> None:
        """Until nothing is under way."""
        with closing(read_only(self.ledger)) as ledger:
            await until(lambda: not any(driver.under_way() for driver in self.drivers.values()))
            await until(lambda: ledger.execute(UNDER_WAY).fetchone()[0] == 0)


def is_ours(module: str) -> bool:
    return module.split(".", maxsplit=1)[0] in ROOMS and not any(word in module for word in STAND_INS)


@asynccontextmanager
async def opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Opened]:
    """All of it, as `run` builds and serves it."""
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(EngineSimulator(behaviour=GROWING))
        drivers = {kind: await stack.enter_async_context(build()) for kind, build in DRIVERS.items() if kind != "web"}
        settings = dict(SETTINGS) | {"FRONTDESK__CHANNELS__WEB__MESSAGES_PER_MINUTE_PER_IP": "100000"}
        for driver in drivers.values():
            settings |= driver.settings()
        settings |= {
            "FRONTDESK__ENGINE__BASE_URL": engine.base_url,
            "FRONTDESK__LEDGER__URL": f"sqlite:///{folder / 'house.db'}",
            "FRONTDESK__DIALOGUE__MERGE_SECONDS": "0",
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        config, stop = folder / "config.toml", asyncio.Event()
        config.write_text("")
        address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(main.serve(read(config, ()), stop, lambda at, _: address.set_result(at)))
        stack.push_async_callback(asyncio.wait_for, serving, 30)
        stack.callback(stop.set)
        await address
        gc.unfreeze()  # these tests go on in this process
        for driver in drivers.values():
            driver.meet(address.result())
        frame = serving.get_coro().cr_frame  # type: ignore[union-attr]
        yield Opened(frame.f_locals["built"], Everybody(address.result(), drivers), folder / "house.db", drivers)


async def test_nothing_grows_with_the_people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path, monkeypatch) as house:
        await house.everybody.write(1, FEW)
        await house.settle()
        before, cached = house.look(), caches()
        await house.everybody.write(1 + FEW, MANY)
        await house.settle()
        after, cached_later = house.look(), caches()
        assert not grown(before, after, MANY)
        assert not [name for key, (name, size) in cached_later.items() if size - cached.get(key, ("", 0))[1] > MANY / 2]

        assert {name for name, _, _ in after.bounded.values()} == BOUNDS.keys()
        for way, (_, values, bound) in after.bounded.items():
            assert bound <= MOST, way
            fill(values, bound)
        await house.everybody.write(1 + FEW + MANY, FEW)
        await house.settle()
        assert {
            way: len(values) - bound for way, (_, values, bound) in house.look().bounded.items() if len(values) > bound
        } == {}


def fill(values: dict[object, object], bound: int) -> None:
    """As if so many others had been there."""
    value = next(iter(values.values()), None)
    values.update((f"somebody {number}", value) for number in range(bound - len(values)))
