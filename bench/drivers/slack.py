"""People who write to an app on Slack."""

from __future__ import annotations

import asyncio

from adapters.slack.simulator import Event, SlackSimulator
from bench.drivers.driver import RETRY_SECONDS, status


class Slack:
    """Direct messages."""

    kind = "slack"
    token, secret = "xoxb-test-token", "test-signing-secret"

    def __init__(self) -> None:
        self.simulator = SlackSimulator(signing_secret=self.secret, token=self.token, pace=0.001)
        self._last: dict[int, Event] = {}

    async def __aenter__(self) -> Slack:
        await self.simulator.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.simulator.stop()

    def settings(self) -> dict[str, str]:
        return {
            "SLACK_BOT_TOKEN": self.token,
            "SLACK_SIGNING_SECRET": self.secret,
            "FRONTDESK__CHANNELS__SLACK__API_BASE_URL": self.simulator.base_url,
        }

    def meet(self, address: str) -> None:
        self.simulator.events_url = f"{address}/slack/events"

    async def say(self, user: int, text: str, *, copies: int = 0) -> None:
        said = await self.simulator.user_says(self._channel(user), text, user=f"U{user:010d}")
        self._last[user] = said.events[0]
        while not said.accepted:  # as with Slack's delayed events, which come again for a day
            await asyncio.sleep(RETRY_SECONDS)
            await self.again(user)
        for _ in range(copies):
            await self.again(user)

    async def again(self, user: int) -> None:
        await self.simulator.redeliver(self._last[user], 1)

    def seen(self, user: int) -> list[str]:
        return [message.text for message in self.simulator.workspace.replies(self._channel(user))]

    def under_way(self) -> int:
        return 0  # `say` waits

    async def forged(self) -> int:
        headers = {"X-Slack-Signature": "v0=" + "0" * 64}
        return (await self.simulator.post(b'{"type": "event_callback"}', headers=headers))[0]

    async def post(self, body: bytes) -> int:
        return await status(self.simulator.events_url, body, self.simulator.sign(body))

    @staticmethod
    def _channel(user: int) -> str:
        return f"D{user:010d}"
