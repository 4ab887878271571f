"""What the WeChat tests stand on: a channel over real HTTP between WeChat and a gateway in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

from aiohttp import web

from adapters.wechat.channel import WeChat
from adapters.wechat.settings import Settings
from adapters.wechat.simulated_api import Fault
from adapters.wechat.simulated_push import Form, Mode
from adapters.wechat.simulator import WeChatPlatform
from core.channel import Gateway
from core.types import JsonObject
from tests.adapters.wechat_gateway import GO_ON, PHRASES, MemoryGateway

__all__ = [
    "APP_ID",
    "GO_ON",
    "KEY",
    "PHRASES",
    "SECRET",
    "TOKEN",
    "USER",
    "Clock",
    "House",
    "MemoryGateway",
    "house",
]

TOKEN = "sample-token"
APP_ID = "wx0123456789abcdef"
SECRET = "sample-app-secret"
KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
USER = "oSampleCustomer000000000001"


@dataclass
class Clock:
    """Seconds that pass only when told to."""

    now: float = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class House:
    """A running channel, its gateway and WeChat's side."""

    channel: WeChat
    gateway: MemoryGateway
    wechat: WeChatPlatform
    clock: Clock

    @property
    def url(self) -> str:
        return self.wechat.webhook

    async def says(self, text: str, message_id: str = "") -> asyncio.Task[str]:
        """The user writes; returns when the channel waits for the answer."""
        waits = self.gateway.waits
        task = asyncio.create_task(self.wechat.user_says(USER, text, message_id=message_id))
        await self.gateway.until(lambda: self.gateway.waits > waits)
        return task

    async def next_try(self, message_id: str) -> None:
        """WeChat loses patience and delivers the message again; returns when the channel waits for the answer."""
        waits = self.gateway.waits
        self.wechat.hang_up(message_id)
        await self.gateway.until(lambda: self.gateway.waits > waits)


def settings(wechat: WeChatPlatform, **values: Any) -> Settings:
    given = {"token": TOKEN, "app_id": APP_ID, "api_base_url": wechat.base_url}
    # Nothing here waits for time to pass unless a test says so.
    return Settings.model_validate(given | {"answer_seconds": 60, "hold_seconds": 60} | values)


@asynccontextmanager
async def house(
    *,
    safe: bool = False,
    wechat_mode: Mode | None = None,
    form: Form = "xml",
    account_verified: bool = False,
    patience: float = 60.0,
    public_url: str = "",
    pause: float = 0.01,
    again: float = 3600.0,
    faults: Iterable[Fault] = (),
    ledger_fails: bool = False,
    facts: Mapping[tuple[str, str], JsonObject] | None = None,
    **values: Any,
) -> AsyncIterator[House]:
    """A channel that serves and has started; `safe` speaks safe mode on both sides, unless WeChat's is another;
    `facts` were kept before.

    `pause` and `again` are between two probes of the account, `faults` are of WeChat's API from the start on."""
    clock, key = Clock(), KEY if safe else ""
    async with WeChatPlatform(
        token=TOKEN,
        app_id=APP_ID,
        app_secret=SECRET,
        aes_key=key,
        mode=wechat_mode,
        form=form,
        verified=account_verified,
        patience=patience,
        clock=clock,
    ) as wechat:
        gateway = MemoryGateway()
        gateway.facts |= facts or {}
        gateway.fails = ledger_fails
        wechat.api.faults.extend(faults)
        given = settings(wechat, **({"aes_key": key} if safe else {}), **values)
        channel = WeChat(
            "wechat",
            given,
            public_url=public_url,
            clock=clock,
            timer=clock,
            timeout_seconds=0.3,
            probe_pause=pause,
            probe_again=again,
        )
        app = web.Application()
        app.add_routes(channel.routes(cast("Gateway", gateway)))
        # As main.py serves; aiohttp's TestServer would cancel what runs for a closed connection.
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        wechat.webhook = f"http://127.0.0.1:{runner.addresses[0][1]}/wechat"
        await channel.start()
        try:
            async with asyncio.timeout(30):  # what never comes fails the test, it does not hang it
                yield House(channel, gateway, wechat, clock)
        finally:
            await gateway.give_up()
            await channel.close()
            await runner.cleanup()
