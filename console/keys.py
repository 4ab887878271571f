"""The API's keys as an operator makes and revokes them: a secret is in one answer, which nobody keeps."""

from __future__ import annotations

from dataclasses import asdict, replace

from aiohttp import web

from console.asked import NewKey, Nothing, body
from console.door import Door, Guest
from console.replies import as_json, identity, missing, who
from console.rooms import Rooms
from core.errors import RequestError
from core.ledger.keys import flaw


class Keys:
    """The routes of the page of keys. Those of the settings are not in the ledger, so they are not listed."""

    def __init__(self, rooms: Rooms, door: Door) -> None:
        self._rooms = rooms
        self._door = door

    def routes(self) -> list[web.RouteDef]:
        api, inside, acting = "/console/api/keys", self._door.inside, self._door.acting
        return [
            web.get(api, inside(self._list)),
            web.post(api, acting(self._create)),
            web.post(f"{api}/{{id}}/revoke", acting(self._revoke)),
        ]

    async def _list(self, _: web.Request, __: Guest) -> web.StreamResponse:
        keys = await self._rooms.ledger.keys()
        keys.sort(key=lambda key: (key.revoked_at is not None, -key.id))  # those that open something first
        return as_json({"items": [asdict(key) for key in keys]})

    async def _create(self, request: web.Request, guest: Guest) -> web.StreamResponse:
        asked = body(NewKey, await request.read())
        bots, per_minute = list(dict.fromkeys(asked.bots)), asked.requests_per_minute
        if wrong := flaw(asked.name, bots, per_minute, tuple(self._rooms.bots)):
            raise RequestError(400, wrong)
        now = self._rooms.clock()
        key, secret = await self._rooms.ledger.create_key(asked.name.strip(), bots, per_minute, who(guest), now)
        return as_json({"key": asdict(key), "secret": secret})

    async def _revoke(self, request: web.Request, guest: Guest) -> web.StreamResponse:
        body(Nothing, await request.read())
        now = self._rooms.clock()
        key = await self._rooms.ledger.revoke_key(identity(request), who(guest), now)
        if key is None:
            raise missing("key that opens anything")
        return as_json({"key": asdict(replace(key, revoked_at=now))})
