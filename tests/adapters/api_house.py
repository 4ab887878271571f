"""The API in front of a whole house, over real HTTP: a real ledger, an engine that says what it is told to."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from adapters.api.channel import ApiChannel
from adapters.api.following import LOOK_SECONDS, STREAMS
from adapters.api.settings import Settings
from core.config import ThrottleSettings
from core.http import Face, application
from tests.fakes import FakeClock, FakeEngine
from tests.rooms import Rooms, rooms

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
) -> AsyncIterator[tuple[Rooms, Http]]:
    channel = ApiChannel(
        "api",
        Settings.model_validate({"keys": "key-one, key-two"}),
        public_url="",
        clock=time.time,
        new_id=lambda: uuid.uuid4().hex,
        streams=streams,
        look_seconds=look_seconds,
    )
    async with rooms(path, engine=engine, channels=[channel], throttle=throttle, clock=clock) as house:
        face = Face(on=("api",), off={}, ledger=house.ledger, engine=engine, metrics=house.metrics, clock=house.clock)
        async with TestClient(TestServer(application([channel.routes(house.house)], face, 1 << 20))) as http:
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
