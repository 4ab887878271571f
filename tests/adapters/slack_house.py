"""A Slack channel between a small gateway and the simulated workspace, all on loopback, for the tests beside it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Self, cast

from aiohttp import web

from adapters.slack.api import SlackApi
from adapters.slack.channel import SlackChannel
from adapters.slack.settings import Streaming
from adapters.slack.simulator import SlackSimulator
from core.channel import Gateway
from core.errors import LedgerError
from core.types import ConversationKey, Delivery, Draft, InboundMessage, MessageState, Receipt, ReplyKind

TOKEN = "xoxb-sample-token"
SECRET = "sample-signing-secret"
THREAD = "1790000000.000100"
SAMPLES = Path(__file__).parents[2] / "adapters" / "slack" / "samples"


def samples(kind: str) -> list[dict[str, Any]]:
    """The samples that have a field of that name."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(SAMPLES.glob("*.json"))]
    return [sample for sample in found if kind in sample]


class KeepingGateway:
    """Keeps messages under their unique key; can be held back, and can fail."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], InboundMessage] = {}
        self.calls = 0
        self.failures = 0  # the next so many calls fail
        self.stopped: list[ConversationKey] = []
        self.writing: set[ConversationKey] = set()  # conversations with a reply to stop
        self.left: list[ConversationKey] = []
        self.entered = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def receive(self, message: InboundMessage) -> Receipt:
        self.calls += 1
        self.entered.set()
        await self.gate.wait()
        if self.failures:
            self.failures -= 1
            raise LedgerError("the disk is full")
        key = (message.conversation.channel, message.event_id)
        duplicate = key in self.kept
        self.kept.setdefault(key, message)
        return Receipt(message_id=len(self.kept), state=MessageState.WAITING, duplicate=duplicate)

    async def stop(self, conversation: ConversationKey) -> bool:
        self.stopped.append(conversation)
        return conversation in self.writing

    async def leave(self, conversation: ConversationKey) -> None:
        self.left.append(conversation)

    def phrase(self, bot: str, name: str, language: str) -> str:
        return f"{bot} {name} {language}"

    @property
    def texts(self) -> list[str]:
        return [message.text for message in self.kept.values()]


@web.middleware
async def ledger_errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """As the server of the house answers them."""
    try:
        return await handler(request)
    except LedgerError:
        return web.Response(status=503)


class House:
    """`async with House() as house`: the channel's routes are served and the simulator points at them."""

    def __init__(
        self,
        *,
        name: str = "slack",
        clock: Callable[[], float] = time.time,
        timeout_seconds: float = 5.0,
        acknowledge_seconds: float = 3.0,
        limits: Mapping[str, int] | None = None,
        scopes: str = "app_mentions:read,chat:write,im:history",
        base_url: str = "",
        public_url: str = "https://bot.example.com",
        retry_seconds: float = 0.01,
        streaming: Streaming = "edit",
        stream_seconds: float = 300.0,
    ) -> None:
        self.name = name
        self.gateway = KeepingGateway()
        self.simulator = SlackSimulator(
            signing_secret=SECRET,
            token=TOKEN,
            pace=0.0,
            acknowledge_seconds=acknowledge_seconds,
            limits=limits,
            scopes=scopes,
            clock=clock,
            stream_seconds=stream_seconds,
        )
        self.workspace = self.simulator.workspace
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._base_url = base_url
        self._public_url = public_url
        self._retry_seconds = retry_seconds
        self._streaming = streaming

    def open(self, token: str = TOKEN) -> SlackChannel:
        """A channel as `build` makes it, with the times of a test."""
        base_url = self._base_url or self.simulator.base_url
        return SlackChannel(
            name=self.name,
            bot="support",
            api=SlackApi(token=token, base_url=base_url, timeout_seconds=self._timeout_seconds),
            signing_secret=SECRET,
            public_url=self._public_url,
            clock=self._clock,
            retry_seconds=self._retry_seconds,
            streaming=self._streaming,
        )

    async def __aenter__(self) -> Self:
        await self.simulator.start()
        self.channel = self.open()
        app = web.Application(middlewares=[ledger_errors])
        # The channel needs no more of the gateway than this; anything else it asked for would fail here.
        app.add_routes(self.channel.routes(cast("Gateway", self.gateway)))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.simulator.events_url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/{self.name}/events"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.channel.close()
        await self._runner.cleanup()
        await self.simulator.stop()


def draft(text: str, reference: str = "", *, turn_id: int = 1, chat: str = "C1", thread: str = THREAD) -> Draft:
    key = ConversationKey("slack", "support", chat, thread)
    return Draft(turn_id, key, {"channel": chat, "thread_ts": thread}, text, reference)


def delivery(text: str, reference: str = "", *, turn_id: int = 1, chat: str = "C1", thread: str = THREAD) -> Delivery:
    key = ConversationKey("slack", "support", chat, thread)
    address = {"channel": chat, "thread_ts": thread}
    return Delivery(1, turn_id, key, address, text, ReplyKind.ANSWER, reference=reference)


async def ready(house: House, channel: str = "C1") -> None:
    """A person has written in the channel, so that it exists."""
    await house.simulator.user_says(channel, "hello", dm=False)
