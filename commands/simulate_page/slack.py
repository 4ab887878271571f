"""Slack's simulator for the page: direct messages to one app, as each person sees them."""

from __future__ import annotations

import asyncio
import html
import secrets
from collections.abc import Mapping

from adapters.slack.simulator import Fault, SlackSimulator
from commands.simulate_page.side import FLOOD_SECONDS, SHOWN, Bubble
from core.config import ChannelSettings

_FAULTS = 1_000  # the simulator keeps that many for a method: filling its queue replaces what stood in it
_SENDS = ("chat.postMessage", "chat.update", "chat.startStream", "chat.appendStream", "chat.stopStream")


class SlackSide:
    """Direct messages to one app."""

    troubles: tuple[str, ...] = ("flood", "drop", "archive")
    acts: tuple[str, ...] = ()

    def __init__(self) -> None:
        self._token, self._secret = f"xoxb-{secrets.token_hex(16)}", secrets.token_hex(16)
        self._simulator = SlackSimulator(signing_secret=self._secret, token=self._token)
        self._flood_ends: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        await self._simulator.start()

    async def stop(self) -> None:
        if self._flood_ends is not None:
            self._flood_ends.cancel()
        await self._simulator.stop()

    def credentials(self, settings: ChannelSettings) -> Mapping[str, object]:
        return {"token": self._token, "signing_secret": self._secret, "api_base_url": self._simulator.base_url}

    def meet(self, address: str, paths: tuple[str, ...]) -> None:
        self._simulator.events_url = address + next((path for path in paths if path.endswith("/events")), paths[0])

    async def say(self, user: int, text: str, language: str) -> None:
        # Slack stores these three escaped: docs.slack.dev/messaging/formatting-message-text#escaping
        await self._simulator.user_says(_direct(user), html.escape(text, quote=False), user=f"U{user:010d}")

    async def act(self, user: int, name: str) -> None:
        return

    def seen(self, user: int) -> list[Bubble]:
        return [
            Bubble("bot", said.text, max(0, len(said.edits) - 1))
            if said.bot
            else Bubble("user", said.text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
            for said in self._simulator.workspace.messages(_direct(user))[-SHOWN:]
        ]

    def typing(self, user: int) -> bool:
        view = self._simulator.workspace.view
        working = (place for place, status in view.sessions.items() if status == "processing")
        return any(channel == _direct(user) for channel, _ in (*view.statuses, *working))

    def trouble(self, name: str, user: int) -> None:
        workspace = self._simulator.workspace
        if name == "drop" and self._flood_ends is None:
            workspace.fail("chat.postMessage", Fault(drop=True), times=_FAULTS)
            workspace.fail("chat.postMessage", Fault(), times=_FAULTS - 1)
        elif name == "flood" and self._flood_ends is None:
            self._fail(Fault(error="ratelimited", status=429, retry_after=FLOOD_SECONDS))
            self._flood_ends = asyncio.get_running_loop().call_later(FLOOD_SECONDS, self._flood_over)
        elif name == "archive":
            workspace.archived ^= {_direct(user)}

    def _fail(self, fault: Fault) -> None:
        for method in _SENDS:
            self._simulator.workspace.fail(method, fault, times=_FAULTS)

    def _flood_over(self) -> None:
        self._flood_ends = None
        self._fail(Fault())

    def active(self, user: int) -> list[str]:
        archived = _direct(user) in self._simulator.workspace.archived
        return ["flood"] * (self._flood_ends is not None) + ["archive"] * archived

    def counts(self) -> Mapping[str, int]:
        return dict(self._simulator.workspace.counts) | {"events": len(self._simulator.events)}


def _direct(user: int) -> str:
    return f"D{user:010d}"
