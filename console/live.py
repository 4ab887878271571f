"""What changes while an operator looks: a growing reply, and which conversations to fetch again; as event streams.

The ledger is looked at a few times a second for as long as a page is open; so what other processes do is seen, too.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping

from aiohttp import web

from console.door import Door
from console.rooms import Rooms
from core.errors import RequestError

GROWING_SECONDS = 0.2
LOOK_SECONDS = 0.6
TICKET_SECONDS = 2.0  # between two looks whether who reads is still signed in; and before anything is said
QUIET_SECONDS = 15.0  # until a comment keeps the connection alive
STREAMS = 100  # open at the same time
HEADERS = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class Live:
    """Open event streams, bounded."""

    def __init__(self, rooms: Rooms, door: Door) -> None:
        self._rooms = rooms
        self._door = door
        self._open = 0
        self._ending = asyncio.Event()

    def end(self) -> None:
        """The house closes: pages come back by themselves."""
        self._ending.set()

    async def all_conversations(self, request: web.Request) -> web.StreamResponse:
        """Which conversations have something new."""
        return await self._stream(request, self._changes())

    async def one_conversation(self, request: web.Request, number: int) -> web.StreamResponse:
        """The growing reply, and when to fetch the rest again."""
        return await self._stream(request, self._conversation(number))

    async def _changes(self) -> AsyncIterator[bytes | None]:
        seen = await self._rooms.ledger.pulse()
        while True:
            await self._pause(LOOK_SECONDS)
            now = await self._rooms.ledger.pulse()
            changed = sorted({number for number, state in now.items() if seen.get(number) != state})
            seen = now
            yield frame("changed", {"conversations": changed}) if changed else None

    async def _conversation(self, number: int) -> AsyncIterator[bytes | None]:
        shown: tuple[int, str] | None = None
        seen = await self._rooms.ledger.pulse_of(number)
        looked = self._rooms.clock()
        while True:
            growing = self._rooms.growing(number)
            if growing is not None and growing != shown:
                yield frame("growing", {"turn": growing[0], "text": growing[1]})
            ended, shown = shown is not None and growing is None, growing
            if ended or self._rooms.clock() - looked >= LOOK_SECONDS:
                looked = self._rooms.clock()
                now = await self._rooms.ledger.pulse_of(number)
                if now != seen:
                    seen = now
                    yield frame("changed", {})
            yield None
            await self._pause(GROWING_SECONDS)

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._ending.wait(), seconds)
        except TimeoutError:
            return

    async def _stream(self, request: web.Request, frames: AsyncIterator[bytes | None]) -> web.StreamResponse:
        if self._open >= STREAMS:
            raise RequestError(429, "Too many pages are open.", code="too_many_streams", retry_after=5)
        self._open += 1
        try:
            response = web.StreamResponse(headers=HEADERS)
            await response.prepare(request)
            await response.write(b": open\n\n")
            await self._write(request, response, frames)
            return response
        finally:
            self._open -= 1

    async def _write(
        self, request: web.Request, response: web.StreamResponse, frames: AsyncIterator[bytes | None]
    ) -> None:
        clock = self._rooms.clock
        said = looked = clock()
        async for data in frames:
            if self._ending.is_set():
                return
            if clock() - looked >= TICKET_SECONDS or data:
                looked = clock()
                if not await self._door.still_in(request):
                    return
            if data is None and clock() - said < QUIET_SECONDS:
                continue
            try:
                await response.write(data or b": still here\n\n")
            except ConnectionResetError:
                return  # the page was closed
            said = clock()


def frame(event: str, data: Mapping[str, object]) -> bytes:
    return f"event: {event}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode("utf-8", "replace")
