"""Several simulated engines on loopback and the fleet of them: what the tests of a fleet stand on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass

from core.client import OpenAIEngine
from core.engine import Engine, EngineRequest
from core.engine_simulator import EngineSimulator
from core.fleet import Fleet, ranked
from core.simulated_reply import Behaviour
from core.types import Sampling


def ask(session: str, *, request: str = "") -> EngineRequest:
    return EngineRequest(({"role": "user", "content": "Hello"},), Sampling(), request, session)


async def say(engine: Engine, request: EngineRequest) -> str:
    async with aclosing(engine.stream(request)) as deltas:
        return "".join([delta.text async for delta in deltas])


@dataclass
class Stand:
    """Simulated engines on loopback, each saying its own name, and the fleet of them."""

    servers: Mapping[str, EngineSimulator]
    fleet: Fleet

    def home(self, session: str) -> str:
        """Whose that conversation is while all are there."""
        return ranked(self.servers, session)[0]

    def sessions(self, name: str, count: int) -> list[str]:
        """So many of its conversations."""
        own = (f"session-{number}" for number in range(10_000) if self.home(f"session-{number}") == name)
        return [next(own) for _ in range(count)]

    async def back(self, name: str) -> None:
        """Start it again, and wait until the fleet has found that out by itself."""
        await self.servers[name].start()
        everybody = f"{len(self.servers)} of {len(self.servers)} ready"
        async with asyncio.timeout(10):
            while self.fleet.detail != everybody:
                await asyncio.sleep(0.002)


@asynccontextmanager
async def stand(*names: str, ready: bool = True) -> AsyncIterator[Stand]:
    async with AsyncExitStack() as stack:
        servers, clients = {}, {}
        for name in names:
            behaviour = Behaviour(reply=lambda _, name=name: f"I am {name}.")  # type: ignore[misc]
            servers[name] = await stack.enter_async_context(EngineSimulator(behaviour=behaviour))
            clients[name] = OpenAIEngine(servers[name].base_url, pauses=(0.001, 0.02))
        fleet = Fleet(clients)
        stack.push_async_callback(fleet.close)
        if ready:
            await fleet.wait_ready()
            await fleet.look()
        yield Stand(servers, fleet)
