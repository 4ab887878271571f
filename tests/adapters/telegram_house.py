"""What the Telegram tests stand on: a gateway that keeps what it receives, and a channel served over real HTTP."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import aiohttp
from aiohttp import web
from aiohttp.test_utils import unused_port
from aiohttp.typedefs import Handler

from adapters.telegram.bot_api import Entity
from adapters.telegram.channel import SECRET_HEADER, TelegramChannel, as_it_is
from adapters.telegram.settings import Settings
from adapters.telegram.simulator import TelegramSimulator
from core.channel import EngineStatus, Gateway
from core.errors import LedgerError
from core.types import (
    Bot,
    ConversationKey,
    Delivery,
    Delta,
    Draft,
    Entry,
    InboundMessage,
    JsonObject,
    MessageState,
    Outcome,
    Receipt,
    ReplyKind,
    Sampling,
)
from tests.serving import HouseServer

TOKEN = "6000001:AAsampleTOKENsample"
SECRET = "sample-secret"
CUSTOMER = 7_000_001
GROUP = -1_001_234_567_890
HELLO = {
    "update_id": 1,
    "message": {"message_id": 1, "from": {"id": 7}, "chat": {"id": 7, "type": "private"}, "text": "Hello"},
}


@dataclass
class KeepingGateway:
    """Keeps messages in a list; `broken` makes it refuse as a full disk would."""

    received: list[InboundMessage] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    moves: list[tuple[str, str]] = field(default_factory=list)
    begun: list[int] = field(default_factory=list)  # deliveries that a crash would leave unclear
    broken: int = 0
    forgetful: bool = False  # nothing can be recorded as begun

    async def receive(self, message: InboundMessage) -> Receipt:
        if self.broken:
            self.broken -= 1
            raise LedgerError("disk full")
        duplicate = any(message.event_id == other.event_id for other in self.received)
        self.received.append(message)
        return Receipt(len(self.received), MessageState.WAITING, duplicate)

    async def stop(self, conversation: ConversationKey) -> bool:
        self.stopped.append(str(conversation))
        return True

    async def leave(self, conversation: ConversationKey) -> None:
        self.left.append(str(conversation))

    async def sending(self, delivery: Delivery) -> None:
        if self.forgetful:
            raise LedgerError("disk full")
        self.begun.append(delivery.id)

    async def move(self, conversation: ConversationKey, chat_id: str) -> None:
        if self.broken:
            self.broken -= 1
            raise LedgerError("disk full")
        self.moves.append((str(conversation), chat_id))

    async def feedback(self, conversation: ConversationKey, turn_id: int, user_id: str, vote: str) -> bool:
        return False

    async def keep(self, channel: str, name: str, value: JsonObject | None) -> None:
        """Nothing of Telegram's is kept."""

    async def kept(self, channel: str, name: str) -> JsonObject | None:
        return None

    async def answered(self, conversation: ConversationKey, event_id: str, seconds: float) -> bool:
        return False

    async def outcome(self, channel: str, event_id: str) -> Outcome | None:
        return None

    async def transcript(self, conversation: ConversationKey, limit: int) -> tuple[Entry, ...]:
        return ()

    async def waiting_parts(self, conversation: ConversationKey, reference: str) -> tuple[Delivery, ...]:
        return ()

    async def hand_over(self, deliveries: Iterable[int], reference: str) -> frozenset[int]:
        return frozenset()

    async def converse(
        self, bot: str, messages: Sequence[Mapping[str, str]], sampling: Sampling, request_id: str, key: str
    ) -> AsyncGenerator[Delta, None]:
        yield Delta(finish="stop")

    def bots(self) -> tuple[str, ...]:
        return ("support",)

    def engine_model(self) -> str:
        return ""

    def admit(self, request: web.Request) -> None:
        """Everybody may."""

    def engine_status(self) -> EngineStatus:
        return EngineStatus(True, "ready")

    def bot(self, name: str) -> Bot:
        return Bot(name, "en", {}, {}, commands={"/help": "help", "help me": "help"})

    def phrase(self, bot: str, name: str, language: str, **values: str) -> str:
        return name

    def client_ip(self, request: web.Request) -> str:
        return "127.0.0.1"


@dataclass
class Clock:
    """Seconds that pass only when told to; `hurried`: a pause lets its own seconds pass."""

    now: float = 1000.0
    hurried: bool = False
    pauses: list[float] = field(default_factory=list)
    waiting: list[tuple[float, asyncio.Event]] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if self.hurried:
            self.now += seconds
            return
        passed = asyncio.Event()
        self.waiting.append((self.now + seconds, passed))
        await passed.wait()

    def advance(self, seconds: float) -> None:
        """Time passes, and whoever paused so long goes on."""
        self.now += seconds
        for until, passed in self.waiting:
            if until <= self.now:
                passed.set()
        self.waiting = [one for one in self.waiting if one[0] > self.now]


@dataclass
class House:
    """A running channel, its gateway, Telegram's side, and the pauses that were asked for."""

    channel: TelegramChannel
    gateway: KeepingGateway
    telegram: TelegramSimulator
    url: str
    clock: Clock


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except LedgerError:
        return web.Response(status=503)


def samples(kind: str) -> list[dict[str, Any]]:
    """The adapter's own samples: "in" or "out"."""
    folder = Path(__file__).parents[2] / "adapters" / "telegram" / "samples"
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob(f"{kind}_*.json"))]


def settings(telegram: TelegramSimulator, **values: object) -> Settings:
    given = {"token": TOKEN, "secret": SECRET, "api_base_url": telegram.base_url, "timeout_seconds": 0.5}
    return Settings.model_validate(given | values)


@asynccontextmanager
async def house(
    *,
    name: str = "telegram",
    public: bool = True,
    render: Callable[[str], tuple[str, Sequence[Entity]]] = as_it_is,
    now: Callable[[], float] = time.time,
    **values: object,
) -> AsyncIterator[House]:
    """A channel that serves and has started; with `public`, it has registered its webhook too."""
    gateway, clock = KeepingGateway(), Clock()
    async with TelegramSimulator(str(values.get("token", TOKEN)), clock=clock, now=now) as telegram:
        port = unused_port()
        url = f"http://127.0.0.1:{port}"
        channel = TelegramChannel(
            name,
            settings(telegram, **values),
            public_url=url if public else "",
            clock=clock,
            pause=clock.pause,
            now=now,
            render=render,
        )
        app = web.Application(middlewares=[_errors], client_max_size=64 * 1024)
        app.add_routes(channel.routes(cast("Gateway", gateway)))
        async with HouseServer(app, port=port):
            await channel.start()
            if public:
                await telegram.until(lambda: telegram.webhook.url)
            try:
                yield House(channel, gateway, telegram, f"{url}/{name}", clock)
            finally:
                await channel.close()


def draft(text: str, reference: str = "", *, turn: int = 1, chat: int = CUSTOMER, quoted: int = 0) -> Draft:
    """A preview of a turn in a private chat, or in a group when the chat's number is negative."""
    key = ConversationKey("telegram", "support", str(chat))
    return Draft(turn, key, address(chat, quoted), text, reference)


def delivery(
    text: str, reference: str = "", *, turn: int = 1, chat: int = CUSTOMER, quoted: int = 0, part: int = 1
) -> Delivery:
    key = ConversationKey("telegram", "support", str(chat))
    return Delivery(1, turn, key, address(chat, quoted), text, ReplyKind.ANSWER, part, part, reference)


def address(chat: int, quoted: int) -> dict[str, object]:
    return {"chat_id": chat, "chat_type": "private" if chat > 0 else "supergroup", "message_id": quoted}


async def post(home: House, body: bytes, secret: str | None = SECRET) -> int:
    """The status of a delivery to the webhook."""
    headers = {} if secret is None else {SECRET_HEADER: secret}
    async with aiohttp.ClientSession() as http, http.post(home.url, data=body, headers=headers) as response:
        return response.status
