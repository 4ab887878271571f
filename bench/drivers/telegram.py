"""People who write to a bot on Telegram."""

from __future__ import annotations

from adapters.telegram.simulator import TelegramSimulator
from bench.drivers.driver import status


class Telegram:
    """Private chats."""

    kind = "telegram"
    token, secret = "6000001:test-token", "test-secret"

    def __init__(self) -> None:
        self.simulator = TelegramSimulator(self.token, pace=0.02)
        self.url = ""
        self._last: dict[int, int] = {}

    async def __aenter__(self) -> Telegram:
        await self.simulator.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.simulator.stop()

    def settings(self) -> dict[str, str]:
        return {
            "TELEGRAM_BOT_TOKEN": self.token,
            "TELEGRAM_WEBHOOK_SECRET": self.secret,
            "FRONTDESK__CHANNELS__TELEGRAM__API_BASE_URL": self.simulator.base_url,
        }

    def meet(self, address: str) -> None:
        self.url = f"{address}/telegram"
        self.simulator.webhook.set(self.url, self.secret, frozenset(), 100)

    async def say(self, user: int, text: str, *, copies: int = 0) -> None:
        self._last[user] = self.simulator.user_says(1000 + user, text)
        for _ in range(copies):
            await self.again(user)

    async def again(self, user: int) -> None:
        self.simulator.webhook.again(self._last[user])

    def seen(self, user: int) -> list[str]:
        return self.simulator.bot_texts(1000 + user)

    def under_way(self) -> int:
        return self.simulator.webhook.pending

    async def forged(self) -> int:
        return await status(self.url, b'{"update_id": 1}', {"X-Telegram-Bot-Api-Secret-Token": "guessed"})

    async def post(self, body: bytes) -> int:
        headers = {"X-Telegram-Bot-Api-Secret-Token": self.secret, "Content-Type": "application/json"}
        return await status(self.url, body, headers)
