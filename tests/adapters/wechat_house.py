"""What the WeChat tests stand on: a gateway that keeps messages and parts, and a channel over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

from aiohttp import web

from adapters.wechat.channel import WeChat
from adapters.wechat.settings import Settings
from adapters.wechat.simulator import WeChatPlatform
from core.channel import Gateway
from core.errors import DeliveryError
from core.types import (
    Bot,
    ConversationKey,
    Delivery,
    Entry,
    InboundMessage,
    MessageState,
    Outcome,
    Receipt,
    ReplyKind,
)

TOKEN = "sample-token"
APP_ID = "wx0123456789abcdef"
SECRET = "sample-app-secret"
KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
USER = "oSampleCustomer000000000001"
PHRASES = {
    "still_writing": "我还在写回复。",
    "fetch_answer": "点这里查看回复",
    "more_follows": "（未完）",
    "fetch_more": "点这里看后面的内容",
    "all_fetched": "已经全部发给您了。",
}


class MemoryGateway:
    """Messages, parts and who took them: the part of the gateway that WeChat asks for.

    Its waits end by an answer, by their time, or by `give_up`.
    """

    def __init__(self) -> None:
        self.messages: dict[str, InboundMessage] = {}
        self.states: dict[str, MessageState] = {}
        self.received = 0  # deliveries, redeliveries included
        self.waits = 0
        self.language = ""  # of the last phrase
        self.left: list[str] = []
        self.accepts_as = MessageState.WAITING
        self.answers_at_once = ""  # what the house itself says to every new message
        self._parts: list[Delivery] = []
        self._taken: dict[int, str] = {}
        self._sending: set[int] = set()
        self._given_up = 0
        self._changed = asyncio.Condition()

    async def receive(self, message: InboundMessage) -> Receipt:
        duplicate = message.event_id in self.messages
        self.messages.setdefault(message.event_id, message)
        self.states.setdefault(message.event_id, self.accepts_as)
        self.received += 1
        if self.answers_at_once and not duplicate:
            self._reply(message, self.answers_at_once, kind=ReplyKind.NOTICE)
        await self._ring()
        return Receipt(1, self.states[message.event_id], duplicate)

    async def answered(self, conversation: ConversationKey, event_id: str, seconds: float) -> bool:
        self.waits += 1
        await self._ring()
        given_up = self._given_up
        try:
            async with asyncio.timeout(seconds):
                await self.until(lambda: self._settled(event_id) or self._given_up > given_up)
        except TimeoutError:
            return False
        return self._settled(event_id)

    async def outcome(self, channel: str, event_id: str) -> Outcome | None:
        state = self.states.get(event_id)
        message = self.messages.get(event_id)
        return Outcome(1, message.conversation, message.user_id, state) if message and state else None

    async def transcript(self, conversation: ConversationKey, limit: int) -> tuple[Entry, ...]:
        return tuple(
            Entry(f"m{number}", "user", message.text, 0.0, event_id=event_id, pending=not self._settled(event_id))
            for number, (event_id, message) in enumerate(self.messages.items())
            if message.conversation == conversation
        )[-limit:]

    async def waiting_parts(self, conversation: ConversationKey, reference: str) -> tuple[Delivery, ...]:
        own = [part for part in self._parts if part.conversation == conversation]
        mine = [part for part in own if self._taken.get(part.id) == reference]
        return tuple(mine or [part for part in own if part.id not in self._taken and part.id not in self._sending])

    async def hand_over(self, deliveries: Iterable[int], reference: str) -> frozenset[int]:
        fresh = frozenset(id for id in deliveries if self._taken.get(id, reference) == reference)
        self._taken |= dict.fromkeys(fresh - self._sending, reference)
        self._tried(fresh)
        return fresh

    async def carry(self, channel: WeChat) -> list[DeliveryError]:
        """Send what waits as the outbox does: in order, and nothing behind what was refused."""
        errors: list[DeliveryError] = []
        for part in [part for part in self._parts if part.id not in self._taken]:
            self._sending.add(part.id)
            self._tried([part.id])
            try:
                self._taken[part.id] = await channel.deliver(part)
            except DeliveryError as error:
                errors.append(error)
                break
            finally:
                self._sending.discard(part.id)
        return errors

    def _tried(self, ids: Iterable[int]) -> None:
        self._parts = [replace(part, attempts=part.attempts + (part.id in ids)) for part in self._parts]

    def phrase(self, bot: str, name: str, language: str, **values: str) -> str:
        self.language = language
        return PHRASES[name]

    def bot(self, name: str) -> Bot:
        return Bot(name, "zh", {}, {"zh": PHRASES}, commands={"/human": "human", "转人工": "human"})

    async def leave(self, conversation: ConversationKey) -> None:
        self.left.append(conversation.chat_id)
        self._parts = [part for part in self._parts if part.conversation != conversation or part.id in self._taken]

    async def commit(self, *texts: str, of: Iterable[str] = ()) -> None:
        """Answer the messages of these texts (or all) with one reply of these parts, as one turn does."""
        wanted = set(of) or {message.text for message in self.messages.values()}
        answered = [message for message in self.messages.values() if message.text in wanted]
        self._reply(answered[-1], *texts)
        self.states |= {message.event_id: MessageState.ANSWERED for message in answered}
        await self._ring()

    def _reply(self, message: InboundMessage, *texts: str, kind: ReplyKind = ReplyKind.ANSWER) -> None:
        self.states[message.event_id] = MessageState.ANSWERED
        for number, text in enumerate(texts, start=1):
            part = Delivery(
                id=len(self._parts) + 1,
                turn_id=1,
                conversation=message.conversation,
                address=message.address,
                text=text,
                kind=kind,
                part=number,
                parts=len(texts),
            )
            self._parts.append(part)

    async def give_up(self) -> None:
        """Let every wait now under way run out."""
        self._given_up += 1
        await self._ring()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something asked of the gateway makes it true."""
        async with self._changed:
            await self._changed.wait_for(condition)

    def _settled(self, event_id: str) -> bool:
        return self.states.get(event_id) in (MessageState.ANSWERED, MessageState.THROTTLED)

    async def _ring(self) -> None:
        async with self._changed:
            self._changed.notify_all()


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
    *, safe: bool = False, account_verified: bool = False, patience: float = 60.0, **values: Any
) -> AsyncIterator[House]:
    """A channel that serves and has started; `safe` speaks safe mode on both sides."""
    clock, key = Clock(), KEY if safe else ""
    async with WeChatPlatform(
        token=TOKEN,
        app_id=APP_ID,
        app_secret=SECRET,
        aes_key=key,
        verified=account_verified,
        patience=patience,
        clock=clock,
    ) as wechat:
        gateway = MemoryGateway()
        given = settings(wechat, **({"aes_key": key} if safe else {}), **values)
        channel = WeChat(
            "wechat", given, public_url="", clock=clock, timer=clock, timeout_seconds=0.3, probe_pause=0.01
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
