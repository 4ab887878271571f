"""Visitors of the web chat."""

from __future__ import annotations

import asyncio
import uuid

import aiohttp

from adapters.web.client import View, WebClient
from bench.drivers.driver import RETRY_SECONDS, status, taken


class Web:
    """Visitors of the web chat, each with a page open."""

    kind = "web"

    def __init__(self) -> None:
        self.address = ""
        self._visitors: dict[int, tuple[WebClient, View, asyncio.Task[None]]] = {}
        self._last: dict[int, tuple[str, str]] = {}

    async def __aenter__(self) -> Web:
        return self

    async def __aexit__(self, *_: object) -> None:
        for client, _view, following in self._visitors.values():
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await client.__aexit__(None, None, None)

    def settings(self) -> dict[str, str]:
        return {"FRONTDESK__CHANNELS__WEB__MESSAGES_PER_MINUTE_PER_IP": "100000"}

    def meet(self, address: str) -> None:
        self.address = address
        for client, _view, _task in self._visitors.values():
            client.url = f"{address}/chat"

    async def say(self, user: int, text: str, *, copies: int = 0) -> None:
        if user not in self._visitors:
            await self._visit(user)
        self._last[user] = (text, str(uuid.uuid4()))
        for _ in range(1 + copies):
            await self.again(user)

    async def _visit(self, user: int) -> None:
        view, client = View(), await WebClient(self.address).__aenter__()
        while True:
            client.url = f"{self.address}/chat"  # a gateway that starts again may be elsewhere
            try:
                await client.open()
                break
            except (aiohttp.ClientError, TimeoutError):
                await asyncio.sleep(RETRY_SECONDS)
        self._visitors[user] = client, view, asyncio.create_task(self._follow(client, view))

    async def again(self, user: int) -> None:
        text, message_id = self._last[user]
        while True:  # as the page does, under the same id
            try:
                answered, _, _ = await self._visitors[user][0].post(text, message_id)
                if taken(answered):
                    return
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(RETRY_SECONDS)

    @staticmethod
    async def _follow(client: WebClient, view: View) -> None:
        async for event in client.follow(pauses=(0.05, 0.2)):
            view.apply(event)

    def seen(self, user: int) -> list[str]:
        if user not in self._visitors:
            return []
        return [bubble.text for bubble in self._visitors[user][1].bubbles.values() if bubble.role == "bot"]

    def under_way(self) -> int:
        return 0  # `say` waits

    async def forged(self) -> int:
        headers = {"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"}
        return await status(f"{self.address}/chat/messages", b'{"id": "x", "text": "x"}', headers)

    async def post(self, body: bytes) -> int:
        return await status(f"{self.address}/chat/messages", body, {"Content-Type": "application/json"})
