"""A house around the web chat: an in-memory gateway with the ledger's promises, served by real aiohttp on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import cast

from aiohttp import web

from adapters.web.channel import WebChannel
from adapters.web.client import Event, View, WebClient
from adapters.web.settings import Settings
from core.channel import EngineStatus, Gateway
from core.errors import LedgerError
from core.types import (
    Bot,
    ConversationKey,
    Delivery,
    Draft,
    Entry,
    InboundMessage,
    MessageState,
    Prompt,
    Receipt,
    ReplyKind,
)

NOW = 1_800_000_000.0
ENGLISH = {
    "chat_title": "Customer service",
    "chat_placeholder": "Write your message …",
    "chat_send": "Send",
    "chat_greeting": "Hello! What can I do for you?",
    "chat_connecting": "Connecting …",
    "chat_offline": "No connection. I'll keep trying.",
    "chat_engine_loading": "I'm just getting ready. Write to me already; I'll answer in a moment.",
    "chat_writing": "Writing …",
    "chat_too_long": "That message is too long (limit: {limit}). Please make it shorter.",
    "chat_failed_send": "Your message didn't get through.",
    "chat_retry": "Try again",
}
CHINESE = {
    "chat_title": "在线客服",
    "chat_placeholder": "请输入您的问题……",
    "chat_send": "发送",
    "chat_greeting": "您好！请问有什么可以帮您？",
    "chat_connecting": "正在连接……",
    "chat_offline": "网络断开了，正在重新连接。",
    "chat_engine_loading": "我正在准备。您可以先留言，我马上回答。",
    "chat_writing": "正在输入……",
    "chat_too_long": "这条消息太长了（最多{limit}个字），请缩短一些，或者分几次发送。",
    "chat_failed_send": "消息没有发出去。",
    "chat_retry": "重试",
}
BOT = Bot("support", "en", {"en": Prompt("")}, {"en": ENGLISH, "zh": CHINESE})


class House:
    """A gateway whose ledger is a list of bubbles; tests play the engine with `grow` and `answer`."""

    def __init__(self, bot: Bot = BOT) -> None:
        self._bot = bot
        self.received: list[InboundMessage] = []
        self.entries: dict[ConversationKey, list[Entry]] = {}
        self.status = EngineStatus(True, "ready")
        self.broken = False  # the ledger refuses
        self.gate = asyncio.Event()  # transcripts are read only while it is set
        self.gate.set()
        self.reading = asyncio.Event()  # set when somebody waits for a transcript
        self.ip = ""  # what client_ip answers instead of the peer
        self.accepted = asyncio.Event()

    async def receive(self, message: InboundMessage) -> Receipt:
        if self.broken:
            raise LedgerError("disk full")
        rows = self.entries.setdefault(message.conversation, [])
        for row in rows:
            if row.event_id == message.event_id:
                return Receipt(int(row.id[1:]), MessageState.WAITING, duplicate=True)
        self.received.append(message)
        number = len(self.received)
        rows.append(Entry(f"m{number}", "user", message.text, NOW, event_id=message.event_id, pending=True))
        self.accepted.set()
        return Receipt(number, MessageState.WAITING)

    async def transcript(self, conversation: ConversationKey, limit: int) -> tuple[Entry, ...]:
        rows = tuple(self.entries.get(conversation, ())[-limit:])
        self.reading.set()
        await self.gate.wait()
        if self.broken:
            raise LedgerError("disk full")
        return rows

    def commit(self, conversation: ConversationKey, turn_id: int, text: str, answers: Collection[str] = ()) -> None:
        """The turn is closed: the messages with these ids (none given: all so far) have their reply."""
        rows = [
            replace(row, pending=row.pending and bool(answers) and row.id not in answers)
            for row in self.entries.get(conversation, [])
        ]
        self.entries[conversation] = [*rows, Entry(f"t{turn_id}", "bot", text, NOW + 1, kind="answer")]

    def bots(self) -> tuple[str, ...]:
        return (self._bot.name,)

    def engine_model(self) -> str:
        return ""

    def engine_status(self) -> EngineStatus:
        return self.status

    def bot(self, name: str) -> Bot:
        assert name == self._bot.name
        return self._bot

    def phrase(self, bot: str, name: str, language: str, **values: str) -> str:
        return self.bot(bot).phrase(name, language, **values)

    def client_ip(self, request: web.Request) -> str:
        return self.ip or request.remote or ""


class Site:
    """The web chat, served; it can be stopped, started again on the same port, and lose its connections."""

    def __init__(
        self, house: House, settings: Settings | None = None, *, name: str = "web", public_url: str = ""
    ) -> None:
        self.house = house
        self.now = NOW
        self.set_by = 0.0  # seconds by which somebody has set the machine's clock
        self._made = (name, settings or Settings(), public_url)
        self.port = 0
        self.channel = self._build()
        self._runner: web.AppRunner | None = None

    def _build(self) -> WebChannel:
        name, settings, public_url = self._made
        clock, timer = lambda: self.now + self.set_by, lambda: self.now
        return WebChannel(name, settings, public_url=public_url, clock=clock, timer=timer, pulse_seconds=0.02)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Serve with a channel that knows nothing of before, as after a restart."""
        self.channel = self._build()
        app = web.Application()
        app.add_routes(self.channel.routes(cast("Gateway", self.house)))
        self._runner = web.AppRunner(app, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        await self.channel.start()

    async def stop(self) -> None:
        await self.channel.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def cut(self) -> None:
        """Every connection breaks."""
        assert self._runner is not None
        assert self._runner.server is not None
        for connection in list(self._runner.server.connections):
            if connection.transport is not None:
                connection.transport.abort()

    async def grow(self, conversation: ConversationKey, turn_id: int, text: str) -> None:
        assert await self.channel.preview(Draft(turn_id, conversation, {}, text)) == "web"

    async def answer(
        self, conversation: ConversationKey, turn_id: int, text: str, answers: Collection[str] = ()
    ) -> None:
        """Commit a reply and deliver it."""
        self.house.commit(conversation, turn_id, text, answers)
        await self.deliver(conversation, turn_id, text)

    async def deliver(
        self, conversation: ConversationKey, turn_id: int, text: str, *, part: int = 1, parts: int = 1
    ) -> None:
        delivery = Delivery(
            part, turn_id, conversation, {}, text, ReplyKind.ANSWER, part=part, parts=parts, reference="web"
        )
        assert await self.channel.deliver(delivery) == f"t{turn_id}"


@asynccontextmanager
async def served(house: House, settings: Settings | None = None, **made: str) -> AsyncIterator[Site]:
    site = Site(house, settings, **made)
    await site.start()
    try:
        yield site
    finally:
        await site.stop()


@asynccontextmanager
async def visitor(site: Site, *, cookie: str = "") -> AsyncIterator[WebClient]:
    """Somebody who has opened the page."""
    async with WebClient(site.url, path=site.channel.base, cookie=cookie) as client:
        await client.open()
        yield client


class Watcher:
    """One connection's events, read one at a time into a view."""

    def __init__(self, client: WebClient) -> None:
        self.view = View()
        self.seen: list[Event] = []
        self._events = client.events()

    async def next(self) -> Event:
        async with asyncio.timeout(10):
            event = await anext(self._events)
        self.view.apply(event)
        assert self.view.complete
        self.seen.append(event)
        return event

    async def until(self, name: str) -> Event:
        while (event := await self.next())[0] != name:
            pass
        return event

    async def close(self) -> None:
        await self._events.aclose()  # type: ignore[attr-defined]  # an async generator, seen as an iterator

    def texts(self) -> list[str]:
        return [bubble.text for bubble in self.view.bubbles.values()]


@asynccontextmanager
async def watching(client: WebClient) -> AsyncIterator[Watcher]:
    """An open page; its snapshot has come."""
    watcher = Watcher(client)
    try:
        assert (await watcher.next())[0] == "snapshot"
        yield watcher
    finally:
        await watcher.close()
