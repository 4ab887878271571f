"""The console's answers, as JSON: each is given only to who came in by the door, each change only to an operator.

Texts are given as they are: pages show them as text.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import asdict, replace

from aiohttp import web

from console.asked import Block, Erase, Limits, Mark, Nothing, Retry, SignIn, body, number, wanted, whole
from console.door import Door, Guest
from console.export import ENDINGS, TYPES, Whole, lines
from console.live import Live
from console.pages import Pages
from console.replies import NO_STORE, as_json, identity, missing, there, who
from console.rooms import Rooms
from core.engine import EngineState
from core.errors import RequestError

ENTRIES = 100
EXPORTED = 10_000  # conversations of one file
EXPORTED_ENTRIES = 5_000  # of one conversation
HOURS = {1: 60.0, 24: 900.0}  # -> seconds of one step


class Answers:
    """The routes of the console."""

    def __init__(self, rooms: Rooms, door: Door, live: Live) -> None:
        self._rooms = rooms
        self._ledger = rooms.ledger
        self._door = door
        self._live = live

    def routes(self, pages: Pages) -> list[web.RouteDef]:
        api, inside, acting = "/console/api", self._door.inside, self._door.acting
        return [
            web.get("/console", pages.index),
            web.get("/console/static/{name:.+}", pages.file),
            web.get("/console/enter", self._door.enter),
            web.post(f"{api}/sign-in", self._sign_in),
            web.post(f"{api}/sign-out", inside(self._sign_out)),
            web.get(f"{api}/me", inside(self._me)),
            web.get(f"{api}/conversations", inside(self._conversations)),
            web.get(f"{api}/conversations/{{id}}", inside(self._conversation)),
            web.get(f"{api}/conversations/{{id}}/live", inside(self._grows)),
            web.get(f"{api}/live", inside(self._changes)),
            web.post(f"{api}/turns/{{id}}/mark", acting(self._mark)),
            web.get(f"{api}/export", inside(self._export)),
            web.get(f"{api}/health", inside(self._health)),
            web.get(f"{api}/stuck", inside(self._stuck)),
            web.post(f"{api}/retry", acting(self._retry)),
            web.get(f"{api}/users", inside(self._users)),
            web.get(f"{api}/users/{{id}}", inside(self._user)),
            web.post(f"{api}/users/{{id}}/limits", acting(self._limits)),
            web.post(f"{api}/users/{{id}}/block", acting(self._block)),
            web.post(f"{api}/users/{{id}}/erase", acting(self._erase)),
            web.get("/console/{page:(?!api/|static/).+}", pages.index),
        ]

    # --- coming and going -------------------------------------------------------------------------------------------

    async def _sign_in(self, request: web.Request) -> web.StreamResponse:
        return await self._door.sign_in(request, body(SignIn, await request.read()).password)

    async def _sign_out(self, request: web.Request, _: Guest) -> web.StreamResponse:
        body(Nothing, await request.read())
        return await self._door.sign_out(request)

    async def _me(self, _: web.Request, guest: Guest) -> web.StreamResponse:
        rooms = self._rooms
        channels = [{"name": name, "on": True} for name in rooms.on] + [
            {"name": name, "on": False} for name in rooms.off
        ]
        return as_json(
            {
                "role": guest.role,
                "csrf": guest.csrf,
                "name": guest.role,
                "bots": list(rooms.bots),
                "channels": channels,
                "model": rooms.engine.model,
            }
        )

    # --- conversations ----------------------------------------------------------------------------------------------

    async def _conversations(self, request: web.Request, _: Guest) -> web.StreamResponse:
        page = await self._ledger.conversations(wanted(request.query))
        return as_json({"items": list(page.items), "next": None if page.next is None else str(page.next)})

    async def _conversation(self, request: web.Request, _: Guest) -> web.StreamResponse:
        conversation = there(await self._ledger.conversation(identity(request)), "conversation")
        before = number(request.query, "before", float("inf"))
        page = await self._ledger.entries(identity(request), before, whole(request.query, "limit", ENTRIES, 500))
        entries = list(page.items)
        growing = self._rooms.growing(identity(request))
        if growing is not None and before == float("inf"):
            entries.append({"kind": "growing", "id": growing[0], "at": self._rooms.clock(), "text": growing[1]})
        following = None if page.next is None else repr(page.next)
        return as_json({"conversation": conversation, "entries": entries, "next": following})

    async def _grows(self, request: web.Request, _: Guest) -> web.StreamResponse:
        there(await self._ledger.conversation(identity(request)), "conversation")
        return await self._live.one_conversation(request, identity(request))

    async def _changes(self, request: web.Request, _: Guest) -> web.StreamResponse:
        return await self._live.all_conversations(request)

    async def _mark(self, request: web.Request, guest: Guest) -> web.StreamResponse:
        asked = body(Mark, await request.read())
        if not await self._ledger.mark(identity(request), asked.mark, asked.note, who(guest), self._rooms.clock()):
            raise missing("reply")
        return as_json({"mark": asked.mark, "note": asked.note})

    async def _export(self, request: web.Request, guest: Guest) -> web.StreamResponse:
        form = request.query.get("format", "json")
        if form not in TYPES:
            raise RequestError(400, f"format: one of {', '.join(TYPES)} is needed.")
        page = await self._ledger.conversations(replace(wanted(request.query), limit=EXPORTED))
        numbers = [int(str(item["id"])) for item in page.items]
        await self._ledger.exported(form, len(numbers), who(guest), self._rooms.clock())
        day = time.strftime("%Y-%m-%d", time.gmtime(self._rooms.clock()))
        name = f'attachment; filename="conversations-{day}.{ENDINGS[form]}"'
        content_type = f"{TYPES[form]}; charset=utf-8"
        response = web.StreamResponse(headers={**NO_STORE, "Content-Disposition": name, "Content-Type": content_type})
        await response.prepare(request)
        async for piece in lines(form, self._whole(numbers)):
            await response.write(piece)
        return response

    async def _whole(self, numbers: list[int]) -> AsyncIterator[Whole]:
        for one in numbers:
            conversation = await self._ledger.conversation(one)
            if conversation is not None:  # it may be forgotten meanwhile
                page = await self._ledger.entries(one, float("inf"), EXPORTED_ENTRIES)
                yield conversation, page.items

    # --- health -----------------------------------------------------------------------------------------------------

    async def _health(self, request: web.Request, _: Guest) -> web.StreamResponse:
        hours = whole(request.query, "hours", 1, 24)
        if hours not in HOURS:
            raise RequestError(400, "hours: 1 or 24 is needed.")
        rooms, step = self._rooms, HOURS[hours]
        now = rooms.clock()
        until = (now // step + 1) * step
        engine = rooms.engine
        report: dict[str, object] = {
            "now": now,
            "counts": asdict(await rooms.counts()),
            "engine": {
                "ready": engine.state is EngineState.READY,
                "state": engine.state.value,
                "model": engine.model,
                "detail": engine.detail,
            },
            "engines": [asdict(standing) for standing in await rooms.engines()],
            "channels": [
                *({"name": name, "on": True, "detail": ""} for name in rooms.on),
                *({"name": name, "on": False, "detail": detail} for name, detail in rooms.off.items()),
            ],
        }
        return as_json(report | await self._ledger.series(until - hours * 3600, until, step))

    async def _stuck(self, _: web.Request, __: Guest) -> web.StreamResponse:
        return as_json({"items": [asdict(stuck) for stuck in await self._ledger.stuck()]})

    async def _retry(self, request: web.Request, guest: Guest) -> web.StreamResponse:
        asked = body(Retry, await request.read())
        names = None if asked.failed else asked.ids
        done = await self._ledger.retry(names, who(guest), self._rooms.clock())
        self._rooms.look_again()
        return as_json({"retried": done})

    # --- users ------------------------------------------------------------------------------------------------------

    async def _users(self, request: web.Request, _: Guest) -> web.StreamResponse:
        query = request.query
        page = await self._ledger.users(
            query.get("search", "")[:200],
            query.get("channel", ""),
            whole(query, "before", 2**62),
            whole(query, "limit", 50, 200),
        )
        return as_json({"items": list(page.items), "next": None if page.next is None else str(page.next)})

    async def _user(self, request: web.Request, _: Guest) -> web.StreamResponse:
        return await self._told(identity(request))

    async def _told(self, user: int) -> web.Response:
        found = there(await self._ledger.user(user, self._rooms.clock()), "user")
        throttle = self._rooms.throttle
        defaults = {
            "messages_per_minute": throttle.messages_per_minute,
            "burst": throttle.burst,
            "tokens_per_day": throttle.tokens_per_day,
        }
        return as_json({**found, "defaults": defaults})

    async def _limits(self, request: web.Request, guest: Guest) -> web.StreamResponse:
        asked = body(Limits, await request.read())
        per_minute, per_day = asked.messages_per_minute, asked.tokens_per_day
        await self._ledger.limit(identity(request), per_minute, per_day, who(guest), self._rooms.clock())
        return await self._told(identity(request))

    async def _block(self, request: web.Request, guest: Guest) -> web.StreamResponse:
        blocked = body(Block, await request.read()).blocked
        await self._ledger.block(identity(request), who(guest), self._rooms.clock(), blocked=blocked)
        return await self._told(identity(request))

    async def _erase(self, request: web.Request, guest: Guest) -> web.StreamResponse:
        asked, now = body(Erase, await request.read()), self._rooms.clock()
        found = there(await self._ledger.user(identity(request), now), "user")
        channel, user = str(found["channel"]), str(found["user"])
        if asked.confirm != f"{channel}:{user}":
            raise RequestError(409, f"Type {channel}:{user} to erase this user.", code="not_confirmed")
        await self._ledger.erase(channel, user, who(guest), now)
        self._rooms.look_again()
        return web.Response(status=204)
