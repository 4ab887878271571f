"""WeChat's simulator for the page: followers of one official account, as each of them sees it."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping

from adapters.wechat.simulator import WeChatPlatform
from commands.simulate_page.side import SHOWN, Bubble, By
from core.config import ChannelSettings


class WeChatSide:
    """Followers of one account in safe mode; verified if the settings say so."""

    troubles: tuple[str, ...] = ("lose",)
    acts: tuple[str, ...] = ("follow", "picture", "tap")

    def __init__(self) -> None:
        self._token, self._app_secret = secrets.token_hex(8), secrets.token_hex(16)
        self._app_id = "wx0123456789abcdef"
        self._key = base64.b64encode(secrets.token_bytes(32)).decode().rstrip("=")
        self._simulator = WeChatPlatform(
            token=self._token, app_id=self._app_id, app_secret=self._app_secret, aes_key=self._key
        )

    async def start(self) -> None:
        await self._simulator.start()

    async def stop(self) -> None:
        await self._simulator.stop()

    def credentials(self, settings: ChannelSettings) -> Mapping[str, object]:
        self._simulator.api.verified = getattr(settings, "verified", "") == "true"
        known: dict[str, object] = {"token": self._token, "app_id": self._app_id, "app_secret": self._app_secret}
        return known | {"aes_key": self._key, "api_base_url": self._simulator.base_url}

    def meet(self, address: str, paths: tuple[str, ...]) -> None:
        self._simulator.webhook = address + paths[0]

    async def say(self, user: int, text: str, language: str) -> None:
        await self._simulator.user_says(_openid(user), text)

    async def act(self, user: int, name: str) -> None:
        if name == "follow":
            await self._simulator.event(_openid(user), "subscribe", EventKey="")
        elif name == "picture":
            picture = {"PicUrl": "http://127.0.0.1:9/picture.jpg", "MediaId": "picture"}
            await self._simulator.user_sends(_openid(user), "image", **picture)
        elif name == "tap":
            try:
                await self._simulator.user_taps(_openid(user))
            except LookupError:
                return  # Something without a link came meanwhile.

    def seen(self, user: int) -> list[Bubble]:
        names: Mapping[str, By] = {"user": "user", "account": "bot"}
        chat = self._simulator.chat(_openid(user))[-SHOWN:]
        return [Bubble(names.get(said.by, "platform"), said.text) for said in chat]

    def typing(self, user: int) -> bool:
        return self._simulator.api.windows.is_typing(_openid(user))

    def trouble(self, name: str, user: int) -> None:
        self._simulator.lost_replies = 1

    def active(self, user: int) -> list[str]:
        return ["lose"] * bool(self._simulator.lost_replies)

    def counts(self) -> Mapping[str, int]:
        platform = self._simulator
        counted = {"deliveries": len(platform.deliveries), "API calls": len(platform.api.calls)}
        return counted | {"malformed replies": len(platform.malformed)}


def _openid(user: int) -> str:
    return f"o{user:027d}"
