"""The API channel: a task is on disk before it is acknowledged; a completion streams from the engine to the caller.

Every route needs a Bearer key, compared in constant time; a closed connection stops the generation in the engine.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable, Iterable

from aiohttp import web

from adapters.api.front import Front
from adapters.api.settings import Settings, api_keys
from core.channel import Finding, Gateway, Traits
from core.types import Delivery, Draft

UNLIMITED = 10_000_000  # characters; a caller of an API wants the answer in one piece


def build(name: str, settings: Settings, *, public_url: str) -> ApiChannel:
    return ApiChannel(name, settings, clock=time.time, new_id=lambda: uuid.uuid4().hex)


class ApiChannel:
    """Answers are read from the ledger by whoever asks; nothing is pushed."""

    def __init__(self, name: str, settings: Settings, *, clock: Callable[[], float], new_id: Callable[[], str]) -> None:
        self._name = name
        self._bot = settings.bot
        self._clock = clock
        self._new_id = new_id
        # Digests, so that comparing takes the same time for keys of any length.
        self._keys = {hashlib.sha256(key.encode()).digest() for key in api_keys(settings)}

    @property
    def name(self) -> str:
        return self._name

    @property
    def traits(self) -> Traits:
        return Traits(text_limit=UNLIMITED, repeatable=True)

    def routes(self, gateway: Gateway) -> Iterable[web.RouteDef]:
        front = Front(self._name, self._bot, self._keys, gateway, self._clock, self._new_id)
        return [
            web.post("/ask", front.ask),
            web.get("/result/{task_id}", front.result),
            web.post("/v1/chat/completions", front.complete),
            web.get("/v1/models", front.models),
        ]

    async def start(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def preview(self, draft: Draft) -> str | None:
        return None

    async def deliver(self, delivery: Delivery) -> str:
        """The committed turn is what `/result` reads: it has arrived."""
        return f"turn-{delivery.turn_id}"

    async def check(self) -> list[Finding]:
        return [Finding(self._name, True, f"{len(self._keys)} keys")]
