"""What the simulator's own tests stand on: a call as any client makes it, and a webhook that answers as told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import orjson
from aiohttp import web
from aiohttp.test_utils import TestServer

from adapters.telegram.simulator import TelegramSimulator
from tests.adapters.telegram_house import TOKEN


async def call(telegram: TelegramSimulator, method: str, *, token: str = TOKEN, **form: object) -> dict[str, object]:
    """The answer to a form."""
    url = f"{telegram.base_url}/bot{token}/{method}"
    async with aiohttp.ClientSession() as http, http.post(url, data=form) as response:
        body = orjson.loads(await response.read())
        assert isinstance(body, dict)
        assert body["ok"] or body["error_code"] == response.status
        return body


class Listener:
    """A webhook that answers as told and notes what came, and how many were under way at once per chat."""

    def __init__(self) -> None:
        self.answers: list[web.Response] = []
        self.seen: list[tuple[int, str]] = []
        self.together = 0
        self.under_way: set[int] = set()
        self.overlaps = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def receive(self, request: web.Request) -> web.Response:
        update = orjson.loads(await request.read())
        message = update.get("message") or update["callback_query"] | {"chat": update["callback_query"]["from"]}
        chat_id = message["chat"]["id"]
        self.overlaps += chat_id in self.under_way
        self.under_way.add(chat_id)
        self.together = max(self.together, len(self.under_way))
        self.seen.append((chat_id, message.get("text", "")))
        await self.gate.wait()
        self.under_way.discard(chat_id)
        return self.answers.pop(0) if self.answers else web.Response()


@asynccontextmanager
async def listening(*, lifetime: float = 86_400.0) -> AsyncIterator[tuple[TelegramSimulator, Listener]]:
    """A simulator whose webhook is a listener."""
    listener = Listener()
    app = web.Application()
    app.add_routes([web.post("/hook", listener.receive)])
    async with TestServer(app) as server, TelegramSimulator(TOKEN, lifetime=lifetime) as telegram:
        assert (await call(telegram, "setWebhook", url=str(server.make_url("/hook"))))["ok"]
        yield telegram, listener
