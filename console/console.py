"""The console as a whole: its routes, the link that lets the first person in, and what it does in the background."""

from __future__ import annotations

import asyncio
from functools import partial

import structlog
from aiohttp import web

from console.answers import Answers
from console.door import Door
from console.keys import Keys
from console.live import Live
from console.pages import Pages
from console.playground import Playground
from console.rooms import Rooms
from core.channel import Gateway
from core.config import ConsoleSettings
from core.errors import LedgerError
from core.ledger.console import TICKETS

TIDY_SECONDS = 3600.0
INDEX_SECONDS = 1.0  # until what was said can be found


class Console:
    """Built by main; nothing runs before `run`."""

    def __init__(self, settings: ConsoleSettings, rooms: Rooms, gateway: Gateway, *, secure: bool) -> None:
        self._rooms = rooms
        self._door = Door(
            settings,
            partial(gateway.keep, TICKETS),
            partial(gateway.kept, TICKETS),
            gateway.client_ip,
            rooms.clock,
            secure=secure,
        )
        self._live = Live(rooms, self._door)

    def routes(self) -> list[web.RouteDef]:
        answers = Answers(self._rooms, self._door, self._live)
        own = answers.routes(Pages())
        return [*own, *Keys(self._rooms, self._door).routes(), *Playground(self._rooms, self._door).routes()]

    def link(self) -> str | None:
        """The path that lets one person in; None where a password does."""
        return self._door.new_link()

    async def run(self) -> None:
        """Keep the search index up to date and forget old tickets, until cancelled."""
        tidied = 0.0
        try:
            while True:
                more = 0
                try:
                    more = await self._rooms.ledger.index()
                    if self._rooms.clock() - tidied > TIDY_SECONDS:
                        tidied = self._rooms.clock()
                        await self._rooms.ledger.forget_tickets(tidied)
                except LedgerError as error:
                    structlog.get_logger().error("index_waits", reason=str(error))
                if not more:
                    await asyncio.sleep(INDEX_SECONDS)
        finally:
            self._live.end()
