"""The part of the gateway that WeChat asks for, in memory: messages, parts and who took them, facts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace

from adapters.wechat.channel import WeChat
from core.errors import DeliveryError, LedgerError
from core.types import (
    Bot,
    ConversationKey,
    Delivery,
    Entry,
    InboundMessage,
    JsonObject,
    MessageState,
    Outcome,
    Receipt,
    ReplyKind,
)

PHRASES = {
    "still_writing": "我还在写回复。",
    "fetch_answer": "点这里查看回复",
    "more_follows": "（未完）",
    "fetch_more": "点这里看后面的内容",
    "all_fetched": "已经全部发给您了。",
}
GO_ON = {"zh": "请接着说。", "en": "Please go on."}


class MemoryGateway:
    """Messages, parts and who took them: the part of the gateway that WeChat asks for.

    Its waits end by an answer, by their time, or by `give_up`.
    """

    def __init__(self) -> None:
        self.messages: dict[str, InboundMessage] = {}
        self.states: dict[str, MessageState] = {}
        self.received = 0  # deliveries, redeliveries included
        self.waits = 0
        self.patience = 0.0  # seconds of the newest wait
        self.language = ""  # of the last phrase
        self.left: list[str] = []
        self.begun: list[int] = []  # deliveries that a crash would leave unclear
        self.accepts_as = MessageState.WAITING
        self.answers_at_once = ""  # what the house itself says to every new message
        self._parts: list[Delivery] = []
        self._taken: dict[int, str] = {}
        self._sending: set[int] = set()
        self._given_up = 0
        self._bubbles: list[tuple[ConversationKey, Entry]] = []  # what the bot said
        self.facts: dict[tuple[str, str], JsonObject] = {}
        self.fails = False  # the ledger cannot keep or tell a fact
        self._changed = asyncio.Condition()

    async def receive(self, message: InboundMessage) -> Receipt:
        await asyncio.sleep(0)  # as a ledger's thread: others go on meanwhile
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
        self.patience = seconds
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
        await asyncio.sleep(0)
        said = [
            Entry(f"m{number}", "user", message.text, 0.0, event_id=event_id, pending=not self._settled(event_id))
            for number, (event_id, message) in enumerate(self.messages.items())
            if message.conversation == conversation
        ]
        bubbles = [entry for key, entry in self._bubbles if key == conversation]
        return (*said, *bubbles)[-limit:]

    async def waiting_parts(self, conversation: ConversationKey, reference: str) -> tuple[Delivery, ...]:
        await asyncio.sleep(0)
        own = [part for part in self._parts if part.conversation == conversation]
        mine = [part for part in own if self._taken.get(part.id) == reference]
        return tuple(mine or [part for part in own if part.id not in self._taken and part.id not in self._sending])

    async def hand_over(self, deliveries: Iterable[int], reference: str) -> frozenset[int]:
        fresh = frozenset(id for id in deliveries if self._taken.get(id, reference) == reference)
        self._taken |= dict.fromkeys(fresh - self._sending, reference)
        self._tried(fresh)
        return fresh

    async def sending(self, delivery: Delivery) -> None:
        self.begun.append(delivery.id)

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
        return GO_ON[language] if name == "go_on" else PHRASES[name]

    async def keep(self, channel: str, name: str, value: JsonObject | None) -> None:
        if self.fails:
            raise LedgerError("no room left")
        self.facts.pop((channel, name), None)
        if value is not None:
            self.facts[channel, name] = value

    async def kept(self, channel: str, name: str) -> JsonObject | None:
        if self.fails:
            raise LedgerError("no room left")
        return self.facts.get((channel, name))

    def bot(self, name: str) -> Bot:
        return Bot(name, "zh", {}, {"zh": PHRASES}, commands={"/human": "human", "转人工": "human"})

    async def leave(self, conversation: ConversationKey) -> None:
        self.left.append(conversation.chat_id)
        self._parts = [part for part in self._parts if part.conversation != conversation or part.id in self._taken]

    async def commit(
        self, *texts: str, of: Iterable[str] = (), cut: bool = False, kind: ReplyKind = ReplyKind.ANSWER
    ) -> None:
        """Answer the messages of these texts (or all) with one reply of these parts, as one turn does."""
        wanted = set(of) or {message.text for message in self.messages.values()}
        answered = [message for message in self.messages.values() if message.text in wanted]
        self._reply(answered[-1], *texts, cut=cut, kind=kind)
        self.states |= {message.event_id: MessageState.ANSWERED for message in answered}
        await self._ring()

    def _reply(
        self, message: InboundMessage, *texts: str, kind: ReplyKind = ReplyKind.ANSWER, cut: bool = False
    ) -> None:
        bubble = Entry(f"t{len(self._bubbles)}", "bot", "".join(texts), 0.0, kind=kind, cut=cut)
        self._bubbles.append((message.conversation, bubble))
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
                cut=cut,
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
