"""The console as a whole: its routes, the link that lets the first person in, and what it does in the background."""

from __future__ import annotations

import asyncio
from functools import partial

import structlog
from aiohttp import web

from console.answers import Answers
from console.door import NAME, Door
from console.live import Live
from console.pages import Pages
from console.rooms import Rooms
from core.channel import Gateway
from core.config import ConsoleSettings
from core.errors import LedgerError

INDEX_SECONDS = 1.0  # until what was said can be found


class Console:
    """Built by main; nothing runs before `run`."""

    def __init__(self, settings: ConsoleSettings, rooms: Rooms, gateway: Gateway, *, secure: bool) -> None:
        self._rooms = rooms
        self._door = Door(
            settings,
            partial(gateway.keep, NAME),
            partial(gateway.kept, NAME),
            gateway.client_ip,
            rooms.clock,
            secure=secure,
        )
        self._live = Live(rooms, self._door)

    def routes(self) -> list[web.RouteDef]:
        return Answers(self._rooms, self._door, self._live).routes(Pages())

    def link(self) -> str | None:
        """The path that lets one person in; None where a password does."""
        return self._door.new_link()

    async def run(self) -> None:
        """Keep the search index up to date, until cancelled."""
        try:
            while True:
                more = 0
                try:
                    more = await self._rooms.ledger.index()
                except LedgerError as error:
                    structlog.get_logger().error("index_waits", reason=str(error))
                if not more:
                    await asyncio.sleep(INDEX_SECONDS)
        finally:
            self._live.end()
