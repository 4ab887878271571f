"""The API channel: a task is on disk before it is acknowledged; a completion streams from the engine to the caller.

Answers are read from the ledger by whoever asks, and posted to those who asked with a callback_url.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable, Iterable

import orjson
from aiohttp import web

from adapters.api.callbacks import Callbacks
from adapters.api.completions import Completions
from adapters.api.description import describe
from adapters.api.door import Door
from adapters.api.following import LOOK_SECONDS, STREAMS, Board, Following
from adapters.api.posting import SECONDS, Poster
from adapters.api.receivers import Receivers
from adapters.api.routes import operations
from adapters.api.settings import Settings, api_keys, callback_key
from adapters.api.tasks import Tasks
from core.channel import Finding, Gateway, Traits
from core.types import Delivery, Draft, Turn

UNLIMITED = 10_000_000  # characters; a caller of an API wants the answer in one piece
PREVIEW_SECONDS = 0.1  # ten pieces a second, to those who follow; programs read them, too


def build(name: str, settings: Settings, *, public_url: str) -> ApiChannel:
    return ApiChannel(name, settings, public_url=public_url, clock=time.time, new_id=lambda: uuid.uuid4().hex)


class ApiChannel:
    """Built once from the section `[api]`."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        *,
        public_url: str,
        clock: Callable[[], float],
        new_id: Callable[[], str],
        streams: int = STREAMS,
        look_seconds: float = LOOK_SECONDS,
        timer: Callable[[], float] = time.monotonic,
        callback_seconds: float = SECONDS,
    ) -> None:
        self._name = name
        self._bot = settings.bot
        self._public_url = public_url
        self._board = Board(streams)
        self._look_seconds = look_seconds
        self._clock = clock
        self._new_id = new_id
        poster = Poster(callback_key(settings), clock=clock, timer=timer, seconds=callback_seconds)
        self._callbacks = Callbacks(name, Receivers(settings.callback_hosts), poster, clock)
        self._gateway: Gateway | None = None
        self._keys = {hashlib.sha256(key.encode()).digest() for key in api_keys(settings)}

    @property
    def name(self) -> str:
        return self._name

    @property
    def traits(self) -> Traits:
        # A call-back that comes twice has the same id, so that it counts once.
        return Traits(text_limit=UNLIMITED, preview_seconds=PREVIEW_SECONDS, repeatable=True, parallel=32)

    def routes(self, gateway: Gateway) -> Iterable[web.RouteDef]:
        self._gateway = gateway
        door = Door(self._name, self._keys, gateway, self._clock)
        following = Following(self._name, gateway, self._board, self._look_seconds)
        tasks = Tasks(self._name, self._bot, gateway, following, self._callbacks, self._new_id)
        table = operations(tasks, Completions(gateway, self._clock, self._new_id))
        description = orjson.dumps(describe(table, self._public_url))

        async def openapi(_: web.Request) -> web.Response:
            return web.Response(body=description, content_type="application/json")

        serve = {"GET": web.get, "POST": web.post}
        own = [serve[one.method](one.path, door.before(one.endpoint, counted=one.counted)) for one in table]
        return [*own, web.get("/openapi.json", openapi)]

    async def start(self) -> None:
        """Nothing to open: the first call-back opens what it needs."""

    async def close(self) -> None:
        """End the open streams, and the connections to receivers."""
        self._board.close()
        await self._callbacks.close()

    async def preview(self, draft: Draft) -> str | None:
        """Tell those who follow. It never counts as shown: a stream can say that another text stands in its place."""
        self._board.grow(draft.conversation, draft.text)
        return None

    async def find(self, turn: Turn, known: frozenset[str]) -> str | None:
        return None  # nothing is shown before it is whole

    async def deliver(self, delivery: Delivery) -> str:
        """The committed turn is what `/result` reads: it has arrived, but for those who want it posted."""
        if self._gateway is not None and delivery.part == delivery.parts:
            await self._callbacks.tell(delivery, self._gateway)
        return f"turn-{delivery.turn_id}"

    async def check(self) -> list[Finding]:
        return [
            Finding(self._name, True, f"{len(self._keys)} keys in the settings; `main.py keys list` shows the others")
        ]
