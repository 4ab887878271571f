"""The API in front of a whole house, over real HTTP: a real ledger, an engine that says what it is told to."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from adapters.api.channel import ApiChannel
from adapters.api.following import LOOK_SECONDS, STREAMS
from adapters.api.posting import SECONDS
from adapters.api.settings import Settings
from core.config import DialogueSettings, ThrottleSettings
from core.http import Face, application
from tests.fakes import FakeClock, FakeEngine
from tests.rooms import AT_ONCE, Rooms, rooms
from tests.serving import HouseServer

KEY = {"Authorization": "Bearer key-one"}
OTHER = {"Authorization": "Bearer key-two"}
FREE = ThrottleSettings(messages_per_minute=600, burst=100, tokens_per_day=0, requests_per_minute_per_ip=1000)
Http = TestClient[web.Request, web.Application]


@asynccontextmanager
async def api(
    path: Path,
    engine: FakeEngine,
    throttle: ThrottleSettings = FREE,
    *,
    clock: FakeClock | None = None,
    streams: int = STREAMS,
    look_seconds: float = LOOK_SECONDS,
    callbacks: Mapping[str, object] | None = None,
    timer: Callable[[], float] = time.monotonic,
    callback_seconds: float = SECONDS,
    settings: DialogueSettings = AT_ONCE,
    concurrency: int = 16,
) -> AsyncIterator[tuple[Rooms, Http]]:
    channel = ApiChannel(
        "api",
        Settings.model_validate({"keys": "key-one, key-two", **(callbacks or {})}),
        public_url="",
        clock=clock or time.time,
        new_id=lambda: uuid.uuid4().hex,
        streams=streams,
        look_seconds=look_seconds,
        timer=timer,
        callback_seconds=callback_seconds,
    )
    async with rooms(
        path,
        engine=engine,
        channels=[channel],
        throttle=throttle,
        clock=clock,
        settings=settings,
        concurrency=concurrency,
    ) as house:
        face = Face(on=("api",), off={}, ledger=house.ledger, engine=engine, metrics=house.metrics, clock=house.clock)
        async with TestClient(HouseServer(application([channel.routes(house.house)], face, 1 << 20))) as http:
            yield house, http
            await channel.close()


async def ask(http: Http, text: str, **fields: str) -> str:
    answer = await http.post("/ask", json={"text": text, **fields}, headers=KEY)
    assert answer.status == 202
    task: str = (await answer.json())["task_id"]
    return task


async def result(http: Http, task: str, wait: str = "20") -> dict[str, object]:
    answer = await http.get(f"/result/{task}", params={"wait": wait}, headers=KEY)
    assert answer.status == 200
    body: dict[str, object] = await answer.json()
    return body


@dataclass(frozen=True, slots=True)
class Called:
    """A call-back as it came in."""

    path: str
    headers: Mapping[str, str]
    raw: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def body(self) -> dict[str, object]:
        body: dict[str, object] = orjson.loads(self.raw)
        return body

    @property
    def data(self) -> dict[str, object]:
        data = self.body["data"]
        assert isinstance(data, dict)
        return data

    def verifies(self, secret: str, raw: bytes | None = None, **changed: str) -> bool:
        """As www.standardwebhooks.com tells receivers to."""
        told = {name: changed.get(name, self.headers[f"webhook-{name}"]) for name in ("id", "timestamp", "signature")}
        signed = f"{told['id']}.{told['timestamp']}.".encode() + (self.raw if raw is None else raw)
        key = base64.b64decode(secret.removeprefix("whsec_"))
        right = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        return told["signature"] == f"v1,{right}"


Answer = int | tuple[int, Mapping[str, str]] | None | asyncio.Event  # None: hangs up; an event: waits for it


@dataclass
class Receiver:
    """Somebody's server on loopback: each call takes the next answer, or 200 when none is left."""

    port: int = 0
    calls: list[Called] = field(default_factory=list)
    answers: deque[Answer] = field(default_factory=deque)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, path: str = "/hook") -> str:
        return f"http://{self.host}{path}"

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Receiver]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._called)
        async with TestServer(app, host="127.0.0.1", port=self.port) as server:
            assert server.port is not None
            self.port = server.port
            yield self

    async def _called(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.calls.append(Called(request.path_qs, headers, await request.read()))
        answer = self.answers.popleft() if self.answers else 200
        if isinstance(answer, asyncio.Event):
            await answer.wait()
            answer = 200
        if answer is None:
            assert request.transport is not None
            request.transport.abort()
            answer = 200
        status, given = answer if isinstance(answer, tuple) else (answer, {})
        return web.Response(status=status, headers=given, text="x" * 100_000)
