"""Telegram's simulator for the page: private chats with one bot, as each person sees them."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping
from itertools import islice

from adapters.telegram.simulator import Fault, TelegramSimulator, flood
from commands.simulate_page.side import FLOOD_SECONDS, SHOWN, USERS, Bubble
from core.config import ChannelSettings

TYPING_SECONDS = 5.0  # core.telegram.org/bots/api#sendchataction
_FAULTS = 10_000  # the simulator keeps that many for a method: filling its queue replaces what stood in it
_SENDS = ("sendMessage", "editMessageText", "sendMessageDraft", "sendRichMessage", "sendRichMessageDraft")


class TelegramSide:
    """Private chats with one bot."""

    troubles: tuple[str, ...] = ("flood", "drop", "block")
    acts: tuple[str, ...] = ()

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._token, self._secret = f"6000001:{secrets.token_hex(16)}", secrets.token_hex(16)
        self._simulator = TelegramSimulator(self._token, pace=1.0, clock=clock)
        self._clock = clock
        self._chats = {user: 7_000_000 + user for user in range(1, USERS + 1)}
        self._typing: dict[int, float] = {}  # user -> until when
        self._looked = 0
        self._flood_ends: asyncio.TimerHandle | None = None
        self._blocked: set[int] = set()

    async def start(self) -> None:
        await self._simulator.start()

    async def stop(self) -> None:
        if self._flood_ends is not None:
            self._flood_ends.cancel()
        await self._simulator.stop()

    def credentials(self, settings: ChannelSettings) -> Mapping[str, object]:
        return {"token": self._token, "secret": self._secret, "api_base_url": self._simulator.base_url}

    def meet(self, address: str, paths: tuple[str, ...]) -> None:
        self._simulator.webhook.set(address + paths[0], self._secret, frozenset(), 40)

    async def say(self, user: int, text: str, language: str) -> None:
        self._simulator.user_says(self._chats[user], text, language=language)

    async def act(self, user: int, name: str) -> None:
        return

    def seen(self, user: int) -> list[Bubble]:
        chat = self._chats[user]
        bubbles = [
            Bubble("bot" if said.by_bot else "user", said.text, len(said.versions) - 1)
            for said in self._simulator.chats.read(chat)[-SHOWN:]
        ]
        draft = self._simulator.drafts.read(chat)
        return [*bubbles, Bubble("bot", draft.text)][-SHOWN:] if draft is not None and draft.text else bubbles

    def typing(self, user: int) -> bool:
        calls = sum(self._simulator.counts.values())
        fresh = list(islice(reversed(self._simulator.calls), calls - self._looked))
        self._looked = calls
        users = {str(chat): one for one, chat in self._chats.items()}
        for call in reversed(fresh):
            asked = users.get(str(call.parameters.get("chat_id", "")), 0)
            if call.method.lower() == "sendchataction" and asked:
                self._typing[asked] = self._clock() + TYPING_SECONDS
            else:
                self._typing.pop(asked, None)
        return self._typing.get(user, 0.0) > self._clock()

    def trouble(self, name: str, user: int) -> None:
        if name == "drop" and self._flood_ends is None:
            self._simulator.fail("sendMessage", Fault(drop=True), times=_FAULTS)
            self._simulator.fail("sendMessage", Fault(), times=_FAULTS - 1)
        elif name == "flood" and self._flood_ends is None:
            self._fail(flood(FLOOD_SECONDS))
            self._flood_ends = asyncio.get_running_loop().call_later(FLOOD_SECONDS, self._flood_over)
        elif name == "block" and user in self._blocked:
            self._blocked.discard(user)
            self._chats[user] += 10  # the simulated block is for good: they come back as somebody new
        elif name == "block":
            self._blocked.add(user)
            self._simulator.user_leaves(self._chats[user])

    def _fail(self, fault: Fault) -> None:
        for method in _SENDS:
            self._simulator.fail(method, fault, times=_FAULTS)

    def _flood_over(self) -> None:
        self._flood_ends = None
        self._fail(Fault())

    def active(self, user: int) -> list[str]:
        return ["flood"] * (self._flood_ends is not None) + ["block"] * (user in self._blocked)

    def counts(self) -> Mapping[str, int]:
        return dict(self._simulator.counts) | {"updates accepted": self._simulator.webhook.accepted}
