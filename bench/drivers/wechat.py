"""People who follow an official account on WeChat."""

from __future__ import annotations

import asyncio

from yarl import URL

from adapters.wechat.simulator import WeChatPlatform, sign
from bench.drivers.driver import RETRY_SECONDS, status


class WeChat:
    """An unverified account in safe mode: answers go into the platform's own requests."""

    kind = "wechat"
    token, app_id, key = "test-token", "wx0123456789abcdef", "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"

    def __init__(self) -> None:
        self.simulator = WeChatPlatform(token=self.token, app_id=self.app_id, aes_key=self.key)
        self._waiting: set[asyncio.Task[str]] = set()

    async def __aenter__(self) -> WeChat:
        await self.simulator.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._waiting:
            task.cancel()
        await asyncio.gather(*self._waiting, return_exceptions=True)
        await self.simulator.stop()

    def settings(self) -> dict[str, str]:
        return {
            "WECHAT_TOKEN": self.token,
            "WECHAT_AES_KEY": self.key,
            "FRONTDESK__CHANNELS__WECHAT__APP_ID": self.app_id,
            "FRONTDESK__CHANNELS__WECHAT__VERIFIED": "false",
            "FRONTDESK__CHANNELS__WECHAT__API_BASE_URL": self.simulator.base_url,
        }

    def meet(self, address: str) -> None:
        self.simulator.webhook = f"{address}/wechat"

    async def say(self, user: int, text: str, *, copies: int = 0) -> None:
        await self._reachable()  # three tries of a connection that is refused are over in no time
        delivered = len(self.simulator.deliveries)
        task = asyncio.create_task(self.simulator.user_says(f"o{user:027d}", text, duplicates=copies))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)
        while len(self.simulator.deliveries) <= delivered:  # noqa: ASYNC110 - the next turns of the loop begin it
            await asyncio.sleep(0)

    async def _reachable(self) -> None:
        address = URL(self.simulator.webhook)
        while True:
            try:
                _, writer = await asyncio.open_connection(address.host, address.port)
            except OSError:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                writer.close()
                return

    async def again(self, user: int) -> None:
        return

    def seen(self, user: int) -> list[str]:
        return self.simulator.answers(f"o{user:027d}")

    def under_way(self) -> int:
        return len(self._waiting)

    async def forged(self) -> int:
        return await status(self.simulator.webhook, b"<xml/>", {}, signature="0" * 40, timestamp="1", nonce="1")

    async def post(self, body: bytes) -> int:
        stamp, nonce, encrypted = "1790000000", "1", "not ours to decrypt"
        query = {"timestamp": stamp, "nonce": nonce, "encrypt_type": "aes", "signature": sign(self.token, stamp, nonce)}
        return await status(
            self.simulator.webhook, body, {}, **query, msg_signature=sign(self.token, stamp, nonce, encrypted)
        )
