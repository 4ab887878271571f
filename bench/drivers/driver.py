"""What every platform's users can do, and what their drivers share."""

from __future__ import annotations

import io
from typing import Protocol

import aiohttp

RETRY_SECONDS = 0.1  # between two tries to reach a gateway that is not there


class Driver(Protocol):
    """A platform's users, by number."""

    kind: str

    async def __aenter__(self) -> Driver: ...

    async def __aexit__(self, *_: object) -> None: ...

    def settings(self) -> dict[str, str]:
        """Environment variables that turn the channel on and point it at the simulator."""

    def meet(self, address: str) -> None:
        """Where the gateway is now."""

    async def say(self, user: int, text: str, *, copies: int = 0) -> None:
        """A user writes, and the platform delivers it that many times more; returns when it is on its way. A gateway
        that is not there is tried again until it is."""

    async def again(self, user: int) -> None:
        """The platform delivers that user's last message once more, if it is one that does so after an answer."""

    def seen(self, user: int) -> list[str]:
        """What the bot has said to a user and stands there now, oldest first."""

    def under_way(self) -> int:
        """Messages of users that the gateway has not taken yet."""

    async def forged(self) -> int:
        """The status of a delivery that somebody else made up."""

    async def post(self, body: bytes) -> int:
        """The status of a delivery with any body, properly signed."""


async def status(url: str, body: bytes, headers: dict[str, str], **query: str) -> int:
    """The status with which a delivery is answered."""
    timeout = aiohttp.ClientTimeout(total=30)
    async with (
        aiohttp.ClientSession(timeout=timeout) as http,
        http.post(url, data=io.BytesIO(body), headers=headers, params=query) as answer,
    ):
        return answer.status


def taken(status: int) -> bool:
    """Whether a message is on disk; 503 is to be tried again, anything else is a fault of ours."""
    if status not in {202, 503}:
        raise RuntimeError(f"a message was answered with HTTP {status}")
    return status == 202
