"""The port a platform fills, and the port it is given: a channel knows its platform, the gateway knows the rest.

A channel verifies before it parses, parses before it receives, and decides nothing about content.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from core.throttle import Allowance
from core.types import (
    Bot,
    ConversationKey,
    Delivery,
    Delta,
    Draft,
    Entry,
    InboundMessage,
    JsonObject,
    Outcome,
    Receipt,
    Sampling,
    Turn,
)

ALLOWANCE = web.RequestKey("allowance", Allowance)  # what `Gateway.admit` leaves on a request


@dataclass(frozen=True, slots=True)
class Traits:
    """What a channel can do; the core plans with it and never asks for its name."""

    text_limit: int  # the longest text of one delivery, in the unit of `measure`
    measure: Callable[[str], int] = len
    split: Callable[[str], list[str]] | None = None  # where parts depend on markup; otherwise by limit and measure
    preview_seconds: float | None = None  # least pause between two previews of one reply; None: shows no growing text
    pull: bool = False  # deliveries are taken by the platform's own requests, not sent by us
    repeatable: bool = False  # delivering a part twice shows it once, or it is looked for before it is sent again
    parallel: int = 8  # deliveries to different conversations on their way at the same time
    answer_seconds: float | None = None  # a reply later than that after its message reaches nobody by itself


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `main.py check`."""

    subject: str
    ok: bool
    detail: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """What a customer may know of the engine."""

    ready: bool
    state: str  # one of core.engine.EngineState's values
    detail: str = ""


class Gateway(Protocol):
    """What a channel may ask of the house."""

    async def receive(self, message: InboundMessage) -> Receipt:
        """Put a message on disk under its unique key; it is durable when this returns. Raises LedgerError."""

    async def answered(self, conversation: ConversationKey, event_id: str, seconds: float) -> bool:
        """Wait until that message has its recorded outcome; False when `seconds` passed first."""

    async def outcome(self, channel: str, event_id: str) -> Outcome | None:
        """What became of the message with that event id; None if it was never accepted."""

    async def transcript(self, conversation: ConversationKey, limit: int) -> tuple[Entry, ...]:
        """The newest `limit` bubbles of a conversation, oldest first."""

    async def waiting_parts(self, conversation: ConversationKey, reference: str) -> tuple[Delivery, ...]:
        """For pull channels: the parts already handed over under `reference`, or else those waiting, oldest first."""

    async def sending(self, delivery: Delivery) -> None:
        """To be called right before a send that a repeat would show twice: from then on a crash leaves it `unclear`;
        before, it is simply sent after the next start. Raises LedgerError, and then nothing may be sent."""

    async def hand_over(self, deliveries: Iterable[int], reference: str) -> frozenset[int]:
        """For pull channels: mark these parts as sent under `reference`; returns those that are now its own,
        whether they were waiting or it had them already."""

    async def stop(self, conversation: ConversationKey) -> bool:
        """End the reply being written; what stands there stays. False when none is."""

    async def leave(self, conversation: ConversationKey) -> None:
        """The chat is gone (the user blocked us, left, deleted it), with all its threads: write and send nothing more
        there. Raises LedgerError."""

    async def move(self, conversation: ConversationKey, chat_id: str) -> None:
        """The platform gave the chat another id: its conversations, in all threads, go on under it. Raises
        LedgerError."""

    async def feedback(self, conversation: ConversationKey, turn_id: int, user_id: str, vote: str) -> bool:
        """What a user thinks of an answer: "good", "bad", or "" to take it back; the newest vote counts. False when
        that conversation has no such answer. Raises LedgerError."""

    async def keep(self, channel: str, name: str, value: JsonObject | None) -> None:
        """Remember a fact of a channel's own (what its platform said of the account) beyond a restart; None forgets it.
        Raises LedgerError."""

    async def kept(self, channel: str, name: str) -> JsonObject | None:
        """What was kept under that name; None if nothing was. Raises LedgerError."""

    def converse(
        self, bot: str, messages: Sequence[Mapping[str, str]], sampling: Sampling, request_id: str, key: str
    ) -> AsyncGenerator[Delta, None]:
        """Stream one reply outside any conversation: the bot's instructions (none for bot ""), then `messages`. `key`
        is a fingerprint of the key it was asked with. Raises EngineError. Its use is recorded, its text is not."""

    def bots(self) -> tuple[str, ...]:
        """The names of the loaded bots."""

    def engine_model(self) -> str:
        """The served model's name; "" before it is known."""

    def admit(self, request: web.Request) -> None:
        """The limit per IP address (throttle.requests_per_minute_per_ip); what is left of it then stands in
        `request[ALLOWANCE]`. Raises RequestError 429."""

    def engine_status(self) -> EngineStatus:
        """Whether the engine can answer now."""

    def bot(self, name: str) -> Bot:
        """A loaded bot."""

    def phrase(self, bot: str, name: str, language: str, **values: str) -> str:
        """What a bot itself says, in the user's language."""

    def client_ip(self, request: web.Request) -> str:
        """The caller's address; behind a proxy only as far as server.trusted_proxies says so."""


class Channel(Protocol):
    """A platform. Raises DeliveryError only; the SDK's own exceptions never leave its folder."""

    @property
    def name(self) -> str:
        """The section's name in config.toml."""

    @property
    def traits(self) -> Traits:
        """What it can do, as known now."""

    def routes(self, gateway: Gateway) -> Iterable[web.RouteDef]:
        """Its webhooks and pages. Called once, before `start`."""

    async def start(self) -> None:
        """Open connections and register the webhook. Runs while the server accepts already; must not raise on a network
        failure (log it), since the other channels should run."""

    async def close(self) -> None:
        """Close what `start` opened."""

    async def preview(self, draft: Draft) -> str | None:
        """Show the text so far; returns the platform's reference of what it shows, None if nothing was shown."""

    async def find(self, turn: Turn, known: frozenset[str]) -> str | None:
        """The reference of what an attempt that died may have shown of its reply to this turn, so that the reply goes
        on in it; None if there is no such message, or no way to look. `known` are the references of that conversation
        that belong to something else. Raises DeliveryError."""

    async def deliver(self, delivery: Delivery) -> str:
        """Send one part for good, into `delivery.reference` where there is one; returns the reference of what it
        sent. Calls `Gateway.sending` before a send that a repeat would show twice. With `delivery.doubts`, a channel
        that can looks first whether it is there already."""

    async def check(self) -> list[Finding]:
        """Try the credentials against the platform, for `main.py check`."""
