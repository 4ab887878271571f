"""What channels may ask of the house: a message is on disk before `receive` returns, and every wait ends.

It fills the Gateway port of core/channel.py.
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace

import structlog
from aiohttp import web

from core.audit import completion_entry
from core.channel import ALLOWANCE, EngineStatus
from core.config import DialogueSettings, ThrottleSettings
from core.dialogue import Dialogue
from core.engine import Engine, EngineState
from core.errors import RequestError
from core.killing import Passing, pass_by
from core.language import detect, primary
from core.ledger import Admission, Burst, Ledger, Notice, Refusal
from core.metrics import Metrics
from core.throttle import IpThrottle, Rate
from core.types import (
    Bot,
    ConversationKey,
    Delivery,
    Delta,
    Entry,
    InboundMessage,
    JsonObject,
    MessageState,
    Outcome,
    Receipt,
    Sampling,
    Usage,
)

OPEN = (MessageState.WAITING, MessageState.RUNNING)
NOTICES = {  # command -> the phrase that answers it
    "start": "greeting",
    "help": "help",
    "new": "new_conversation",
    "stop": "stopped",
    "human": "human_noted",
}
ENDING = frozenset({"stop", "new"})  # the reply being written is not wanted any more
UNREADABLE_QUIET_SECONDS = 20.0  # an album is one message to the person who sends it


class Bell:
    """Wakes those who wait for something to happen in a conversation; holds nothing when nobody waits."""

    def __init__(self) -> None:
        self._waiters: dict[ConversationKey, set[asyncio.Event]] = {}

    def ring(self, conversation: ConversationKey) -> None:
        for event in self._waiters.get(conversation, ()):
            event.set()

    def listen(self, conversation: ConversationKey) -> asyncio.Event:
        event = asyncio.Event()
        self._waiters.setdefault(conversation, set()).add(event)
        return event

    def leave(self, conversation: ConversationKey, event: asyncio.Event) -> None:
        waiters = self._waiters[conversation]
        waiters.discard(event)
        if not waiters:
            del self._waiters[conversation]


class House:
    """The gateway between the channels and the rooms behind them."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        engine: Engine,
        dialogue: Dialogue,
        bots: Mapping[str, Bot],
        throttle: ThrottleSettings,
        settings: DialogueSettings,
        trusted_proxies: Sequence[str],
        metrics: Metrics,
        wake: Callable[[str, float], None],
        bell: Bell,
        clock: Callable[[], float],
        passing: Passing = pass_by,
    ) -> None:
        self._passing = passing
        self._ledger = ledger
        self._engine = engine
        self._dialogue = dialogue
        self._bots = bots
        self._messages = Rate.per_minute(throttle.messages_per_minute, throttle.burst)
        self._tokens = Rate.per_day(throttle.tokens_per_day) if throttle.tokens_per_day else None
        self._per_ip = IpThrottle(throttle.requests_per_minute_per_ip)
        self._burst = Burst(settings.merge_seconds, settings.merge_cap_seconds, settings.merge_messages)
        self._busy_after = settings.busy_after
        self._proxies = tuple(ipaddress.ip_network(network, strict=False) for network in trusted_proxies)
        self._metrics = metrics
        self._wake = wake
        self._bell = bell
        self._clock = clock
        self._log = structlog.get_logger()

    async def receive(self, message: InboundMessage) -> Receipt:
        started = self._clock()
        if not message.command:
            message = replace(message, command=self._bots[message.conversation.bot].command(message.text))
        channel = message.conversation.channel
        notice = self._notice(message)
        receipt = await self._ledger.accept(message, self._admission(message), self._burst, started, notice)
        self._passing("accepted")
        if message.command in ENDING and not receipt.duplicate:  # a redelivery must not end a later reply
            self._dialogue.stop(message.conversation, started)
        if receipt.duplicate:
            self._metrics.duplicates.labels(channel).inc()
        else:
            self._metrics.accepted.labels(channel).inc()
            if receipt.state is MessageState.THROTTLED:
                self._metrics.throttled.labels(channel).inc()
            if receipt.state is MessageState.WAITING:
                self._wake(channel, self._burst.wait_seconds if message.merge else 0.0)
            else:
                self._bell.ring(message.conversation)
                self._wake(channel, 0.0)
        if message.command == "human" and not receipt.duplicate:
            self._log.warning("human_wanted", channel=channel, message=receipt.message_id)
        self._log.info(
            "received",
            channel=channel,
            message=receipt.message_id,
            state=receipt.state.value,
            duplicate=receipt.duplicate,
            ms=round((self._clock() - started) * 1000, 1),
        )
        return receipt

    def _admission(self, message: InboundMessage) -> Admission:
        def notice(refusal: Refusal) -> str:
            phrase = "throttled" if refusal.reason == "messages" else "throttled_tokens"
            language = detect(message.text, message.language)
            seconds = str(max(1, round(refusal.seconds)))
            return self.phrase(message.conversation.bot, phrase, language, seconds=seconds)

        def changed(before: str, after: str) -> str:
            language = detect(after, message.language)
            return self.phrase(message.conversation.bot, "edited", language, before=before, after=after)

        def busy(before: int) -> str:
            language = detect(message.text, message.language)
            return self.phrase(message.conversation.bot, "busy", language, number=str(before))

        version = self._bots[message.conversation.bot].version
        return Admission(
            self._messages,
            self._tokens,
            notice,
            changed=changed,
            busy_after=self._busy_after,
            busy=busy,
            version=version,
        )

    def _notice(self, message: InboundMessage) -> Notice | None:
        """What the house itself answers: to a command, and to what the bot cannot read."""
        name = NOTICES.get(message.command)
        if name is None and not message.unreadable:
            return None
        reason = name or "unreadable"
        language = detect(message.text, message.language) if not message.command else primary(message.language)
        text = self.phrase(message.conversation.bot, reason, language)
        quiet = 0.0 if message.command else UNREADABLE_QUIET_SECONDS
        asked = {command: message.command == command for command in ("new", "human", "stop")}
        return Notice(text, reason, quiet, fresh=asked["new"], human=asked["human"], stop=asked["stop"])

    async def stop(self, conversation: ConversationKey) -> bool:
        return self._dialogue.stop(conversation, self._clock())

    async def leave(self, conversation: ConversationKey) -> None:
        now = self._clock()
        # Withdrawn first: what a turn that ends finds waiting would be its next one.
        await self._ledger.withdraw(conversation, now)
        self._dialogue.leave(conversation, now)

    async def move(self, conversation: ConversationKey, chat_id: str) -> None:
        await self._ledger.move(conversation, chat_id)
        self._dialogue.move(conversation, chat_id)

    async def feedback(self, conversation: ConversationKey, turn_id: int, user_id: str, vote: str) -> bool:
        stored = await self._ledger.feedback(conversation, turn_id, user_id, vote, self._clock())
        self._log.info("feedback", channel=conversation.channel, turn=turn_id, vote=vote, stored=stored)
        return stored

    async def keep(self, channel: str, name: str, value: JsonObject | None) -> None:
        await self._ledger.keep(channel, name, value)

    async def kept(self, channel: str, name: str) -> JsonObject | None:
        return await self._ledger.kept(channel, name)

    async def answered(self, conversation: ConversationKey, event_id: str, seconds: float) -> bool:
        event = self._bell.listen(conversation)
        try:
            async with asyncio.timeout(seconds):
                while True:
                    event.clear()
                    state = await self._ledger.state(conversation.channel, event_id)
                    if state is not None and state not in OPEN:
                        return True
                    await event.wait()
        except TimeoutError:
            return False
        finally:
            self._bell.leave(conversation, event)

    async def outcome(self, channel: str, event_id: str) -> Outcome | None:
        return await self._ledger.outcome(channel, event_id)

    async def transcript(self, conversation: ConversationKey, limit: int) -> tuple[Entry, ...]:
        return await self._ledger.transcript(conversation, limit)

    async def waiting_parts(self, conversation: ConversationKey, reference: str) -> tuple[Delivery, ...]:
        return await self._ledger.waiting_parts(conversation, reference)

    async def sending(self, delivery: Delivery) -> None:
        await self._ledger.begin(delivery.id)
        self._passing("sending")

    async def hand_over(self, deliveries: Iterable[int], reference: str) -> frozenset[int]:
        handed_over = await self._ledger.hand_over(deliveries, reference, self._clock())
        self._passing("handed_over")
        return handed_over

    async def converse(
        self, bot: str, messages: Sequence[Mapping[str, str]], sampling: Sampling, request_id: str, key: str
    ) -> AsyncGenerator[Delta, None]:
        usage, model, ending = Usage(), "", "aborted"
        version = self._bots[bot].version if bot else ""  # another one may be published before it ends
        try:
            async with aclosing(self._dialogue.converse(bot, messages, sampling, request_id)) as deltas:
                async for delta in deltas:
                    usage, model, ending = delta.usage or usage, delta.model or model, delta.finish or ending
                    yield delta
        finally:
            entry = completion_entry(request_id, key, bot, version, model, sampling, usage, ending)
            await self._ledger.record(entry, self._clock())

    def bots(self) -> tuple[str, ...]:
        return tuple(self._bots)

    def engine_model(self) -> str:
        return self._engine.model

    def admit(self, request: web.Request) -> None:
        ip, now = self.client_ip(request), self._clock()
        seconds = self._per_ip.admit(ip, now)
        request[ALLOWANCE] = self._per_ip.left(ip, now)
        if seconds:
            message = f"Too many requests from this address; try again in {math.ceil(seconds)} seconds."
            raise RequestError(429, message, code="rate_limit_exceeded", retry_after=seconds)

    def engine_status(self) -> EngineStatus:
        return EngineStatus(self._engine.state is EngineState.READY, self._engine.state.value, self._engine.detail)

    def bot(self, name: str) -> Bot:
        return self._bots[name]

    def phrase(self, bot: str, name: str, language: str, **values: str) -> str:
        return self._bots[bot].phrase(name, language, **values)

    def client_ip(self, request: web.Request) -> str:
        """The peer, or the nearest address in X-Forwarded-For that is not a trusted proxy: all before it may be
        forged."""
        peer = request.remote or ""
        chain = [hop.strip() for header in request.headers.getall("X-Forwarded-For", []) for hop in header.split(",")]
        while chain and self._is_proxy(peer):
            hop = chain.pop()
            if not _is_address(hop):
                break
            peer = hop
        return peer

    def _is_proxy(self, address: str) -> bool:
        return _is_address(address) and any(ipaddress.ip_address(address) in network for network in self._proxies)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
