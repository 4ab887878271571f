"""The web chat: a customer sees the ledger's transcript plus the newest draft, on every page, after a reload too."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from aiohttp import web

from adapters.web.convert import TEXT_LIMIT
from adapters.web.front import Front, Terms
from adapters.web.page import Page
from adapters.web.settings import Settings
from adapters.web.streams import Board
from core.channel import Finding, Gateway, Traits
from core.errors import ConfigError
from core.throttle import IpThrottle
from core.types import Delivery, Draft, Turn

TAKEN = ("static", "messages", "events")  # paths below /chat that the section "web" serves
PULSE_SECONDS = 1.0
PREVIEW_SECONDS = 0.08  # a draft is drawn anew for each; more often than twelve times a second nobody sees


def build(name: str, settings: Settings, *, public_url: str) -> WebChannel:
    """The channel of one section. Raises ConfigError for a name that is a path of the page already."""
    if name in TAKEN:
        raise ConfigError(
            [f"channels.{name}: /chat/{name} belongs to the web chat itself; give the section another name"]
        )
    return WebChannel(name, settings, public_url=public_url, clock=time.time)


class WebChannel:
    """Serves the page and its API under /chat (a section of another name: /chat/<name>)."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        *,
        public_url: str,
        clock: Callable[[], float],
        timer: Callable[[], float] = time.monotonic,
        pulse_seconds: float = PULSE_SECONDS,
    ) -> None:
        self.name = name
        # No platform stands behind it: nothing limits a text, and a bubble that comes twice is the same bubble.
        self.traits = Traits(text_limit=1_000_000, preview_seconds=PREVIEW_SECONDS, repeatable=True, parallel=32)
        self.base = "/chat" if name == "web" else f"/chat/{name}"
        self._settings = settings
        self._public_url = public_url
        self._clock = clock
        self._timer = timer  # for limits: somebody who sets the clock must shut nobody out
        self._pulse_seconds = pulse_seconds
        self._board = Board(
            streams=settings.streams, per_ip=settings.streams_per_ip, per_visitor=settings.streams_per_visitor
        )
        self._front: Front | None = None

    def routes(self, gateway: Gateway) -> Iterable[web.RouteDef]:
        """The page, its files, `POST messages` and `GET events`. Reads the page's files."""
        terms = Terms(
            name=self.name,
            bot=self._settings.bot,
            base=self.base,
            public_url=self._public_url,
            text_limit=TEXT_LIMIT,
            pulse_seconds=self._pulse_seconds,
            keepalive_seconds=self._settings.keepalive_seconds,
        )
        self._front = Front(
            terms,
            gateway,
            page=Page(self.base, frame_ancestors=self._settings.frame_ancestors),
            board=self._board,
            throttle=IpThrottle(self._settings.messages_per_minute_per_ip),
            clock=self._clock,
            timer=self._timer,
        )
        return self._front.routes()

    async def start(self) -> None:
        """Nothing to open: the pages come to us."""

    async def close(self) -> None:
        """End every event stream; the pages reconnect on their own."""
        if self._front is not None:
            await self._front.close()

    async def preview(self, draft: Draft) -> str | None:
        """Show the draft on the open pages, and keep it for one that opens before the reply is whole."""
        self._board.grow(draft.conversation, draft.turn_id, draft.text)
        return "web"

    async def find(self, turn: Turn, known: frozenset[str]) -> str | None:
        return None  # a page shows what the ledger has, under the turn's own number

    async def deliver(self, delivery: Delivery) -> str:
        """Show the committed reply. Cannot fail: a page that is not open finds the reply in the transcript."""
        if delivery.part == delivery.parts:
            self._board.settle(delivery.conversation, delivery.turn_id)
            if self._front is not None and self._board.watched(delivery.conversation):
                await self._front.show(delivery)
        return f"t{delivery.turn_id}"

    async def check(self) -> list[Finding]:
        """Where the page is, and whether its cookie travels protected."""
        address = (self._public_url or "the server's address") + self.base
        if self._public_url.startswith("http://"):
            remedy = "serve it over https (a reverse proxy) and set server.public_url to that address"
            return [Finding(self.name, False, f"{address}: cookies and messages travel unencrypted", remedy)]
        return [Finding(self.name, True, address)]
