"""The rooms behind the channels, built on a real SQLite file with a fake engine: what most tests of core stand on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from core.channel import Channel
from core.config import DialogueSettings, ThrottleSettings
from core.dialogue import Dialogue
from core.gateway import Bell, House
from core.ledger import Counts
from core.ledger.sqlite import SqliteLedger
from core.metrics import Metrics
from core.runtime import Runtime
from core.throttle import Rate
from core.types import ConversationKey, InboundMessage, Receipt
from tests.fakes import CollectingChannel, FakeClock, FakeEngine, make_bot
from tests.ledger_file import begun

AT_ONCE = DialogueSettings(merge_seconds=0, merge_cap_seconds=0)
GENEROUS = ThrottleSettings(messages_per_minute=6000, burst=1000, tokens_per_day=0, requests_per_minute_per_ip=10)


@dataclass
class Rooms:
    """One house, its parts within reach."""

    ledger: SqliteLedger
    engine: FakeEngine
    channels: Mapping[str, Channel]
    dialogue: Dialogue
    runtime: Runtime
    house: House
    metrics: Metrics
    clock: FakeClock
    count: int = field(default=0)

    @property
    def channel(self) -> CollectingChannel:
        channel = next(iter(self.channels.values()))
        assert isinstance(channel, CollectingChannel)
        return channel

    def conversation(self, chat: str = "chat") -> ConversationKey:
        return ConversationKey(next(iter(self.channels)), "support", chat)

    async def say(
        self, text: str, *, chat: str = "chat", user: str = "", event: str = "", language: str = ""
    ) -> Receipt:
        self.count += 1
        message = InboundMessage(
            event or f"event-{self.count}", self.conversation(chat), user or chat, text, {"chat": chat}, language
        )
        return await self.house.receive(message)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Let the workers go on until something holds."""
        async with asyncio.timeout(10):
            while not holds():
                await asyncio.sleep(0.002)  # a spinning loop would keep the interpreter from the ledger's threads

    def metrics_text(self) -> str:
        return self.metrics.render(Counts(0, 0, None, 0, 0), self.engine.state, self.clock()).decode()

    def seen(self, chat: str = "chat") -> list[str]:
        return self.channel.screen(self.conversation(chat))


@asynccontextmanager
async def rooms(
    path: Path,
    *,
    engine: FakeEngine | None = None,
    channels: Sequence[Channel] = (),
    settings: DialogueSettings = AT_ONCE,
    throttle: ThrottleSettings = GENEROUS,
    proxies: Sequence[str] = (),
    clock: FakeClock | None = None,
    wall: FakeClock | None = None,
    concurrency: int = 16,
    drain_seconds: float = 5.0,
) -> AsyncIterator[Rooms]:
    """Open, start, and at the end drain and close."""
    clock, engine, bell, metrics = clock or FakeClock(), engine or FakeEngine(), Bell(), Metrics()
    named: dict[str, Channel] = {channel.name: channel for channel in channels or (CollectingChannel(),)}
    bots = {"support": make_bot()}
    ledger = SqliteLedger(begun(path / "ledger.db"))
    await ledger.open(clock(), frozenset())
    tokens = Rate.per_day(throttle.tokens_per_day) if throttle.tokens_per_day else None
    dialogue = Dialogue(engine, ledger, bots, settings, tokens, clock)
    runtime = Runtime(
        ledger=ledger,
        engine=engine,
        dialogue=dialogue,
        channels=named,
        settings=settings,
        concurrency=concurrency,
        metrics=metrics,
        bell=bell,
        clock=clock,
        wall=wall or clock,
    )
    house = House(
        ledger=ledger,
        engine=engine,
        dialogue=dialogue,
        bots=bots,
        throttle=throttle,
        settings=settings,
        trusted_proxies=proxies,
        metrics=metrics,
        wake=runtime.wake,
        bell=bell,
        clock=clock,
    )
    runtime.start()
    try:
        yield Rooms(ledger, engine, named, dialogue, runtime, house, metrics, clock)
    finally:
        await runtime.drain(drain_seconds)
        await ledger.close()
