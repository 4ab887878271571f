"""The simulator's page and its small HTTP API: loopback only, for this machine's own browser, everything bounded.

GET /state?user=1 gives what that user sees; POST /say {"user", "text", "language"} writes; POST /act {"user",
"name"} does something else in that user's name, and POST /trouble {"user", "name"} lets something go wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import aiohttp
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import BaseModel, Field, ValidationError

from commands.simulate_page.side import FLOOD_SECONDS, USERS, Side

FILES = {"/": ("page.html", "text/html"), "/page.js": ("page.js", "text/javascript")} | {
    "/page.css": ("page.css", "text/css")
}
UNDER_WAY = 30  # messages that the platform is not done with
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
User = Annotated[int, Field(ge=1, le=USERS)]


class Said(BaseModel):
    """The body of /say; Telegram's limit for a user's message holds for all."""

    user: User
    text: Annotated[str, Field(min_length=1, max_length=4096)]
    language: Annotated[str, Field(pattern=r"^[a-z]{2,3}$")] = "en"


class Named(BaseModel):
    """The body of /act and /trouble."""

    user: User
    name: str


class PageServer:
    """One page over one side; use it with `async with`."""

    def __init__(self, side: Side, *, platform: str, title: str) -> None:
        self._side = side
        self._about: dict[str, object] = {"platform": platform, "title": title, "seconds": FLOOD_SECONDS}
        self._about |= {"acts": side.acts, "troubles": side.troubles}
        self._log = structlog.get_logger().bind(platform=platform)
        self._tasks: set[asyncio.Task[None]] = set()
        self._watching: asyncio.Task[None] | None = None
        self._engine_ready = False
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def __aenter__(self) -> PageServer:
        app = web.Application(client_max_size=64 * 1024, middlewares=[self._guard])
        app.add_routes([web.get(path, self._file) for path in FILES])
        app.add_routes([web.get("/favicon.ico", self._nothing), web.get("/state", self._state)])
        app.add_routes([web.post("/say", self._say), web.post("/act", self._act), web.post("/trouble", self._trouble)])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [*self._tasks, *([self._watching] if self._watching else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()

    def watch(self, address: str) -> None:
        """Ask the house every second whether its engine is ready."""
        self._watching = asyncio.create_task(self._watch(f"{address}/readyz"))

    async def _watch(self, address: str) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
            while True:
                try:
                    async with http.get(address) as answer:
                        self._engine_ready = bool((await answer.json())["engine"]["ready"])
                except (aiohttp.ClientError, TimeoutError, ValueError, KeyError):
                    self._engine_ready = False
                await asyncio.sleep(1.0)

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        # Another site's page must neither read this one (a name that resolves to loopback) nor write to it.
        port = self.url.rpartition(":")[2]
        own = {f"127.0.0.1:{port}", f"localhost:{port}"}
        origin = request.headers.get("Origin", "").removeprefix("http://")
        if request.host not in own or (origin and origin not in own):
            raise web.HTTPForbidden(text="open the address that the simulator printed")
        if request.method == "POST" and request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType(text="JSON only")
        response = await handler(request)
        response.headers.update(HEADERS)
        return response

    async def _file(self, request: web.Request) -> web.Response:
        name, content_type = FILES[request.path]
        body = (Path(__file__).parent / name).read_bytes()
        return web.Response(body=body, content_type=content_type, charset="utf-8")

    async def _nothing(self, _: web.Request) -> web.Response:
        return web.Response(status=204)

    async def _state(self, request: web.Request) -> web.Response:
        number = request.query.get("user", "1")
        user = int(number) if number in {str(one) for one in range(1, USERS + 1)} else 1
        seen = {one: self._side.seen(one) for one in range(1, USERS + 1)}
        state = self._about | {
            "bubbles": [asdict(bubble) for bubble in seen[user]],
            "sizes": [sum(bubble.by != "user" for bubble in chat) for chat in seen.values()],
            "typing": self._side.typing(user),
            "active": self._side.active(user),
            "counts": self._side.counts(),
            "under_way": len(self._tasks),
            "engine_ready": self._engine_ready,
        }
        return web.json_response(state)

    async def _say(self, request: web.Request) -> web.Response:
        try:
            said = Said.model_validate_json(await request.read())
        except ValidationError as error:
            raise web.HTTPBadRequest(text="not a message") from error
        if not said.text.strip() or "block" in self._side.active(said.user):
            raise web.HTTPConflict(text="the platform does not let this through")
        return self._begin(self._side.say(said.user, said.text, said.language))

    async def _act(self, request: web.Request) -> web.Response:
        act = await _named(request, self._side.acts)
        return self._begin(self._side.act(act.user, act.name))

    def _begin(self, doing: Coroutine[None, None, None]) -> web.Response:
        if len(self._tasks) >= UNDER_WAY:
            doing.close()
            raise web.HTTPTooManyRequests(text="too much is under way")
        task = asyncio.create_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._said)
        return web.json_response({}, status=202)

    def _said(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.error("simulator_crashed", exc_info=error)

    async def _trouble(self, request: web.Request) -> web.Response:
        trouble = await _named(request, self._side.troubles)
        self._side.trouble(trouble.name, trouble.user)
        return web.json_response({})


async def _named(request: web.Request, known: tuple[str, ...]) -> Named:
    try:
        named = Named.model_validate_json(await request.read())
    except ValidationError as error:
        raise web.HTTPBadRequest(text="a user and a name are wanted") from error
    if named.name not in known:
        raise web.HTTPBadRequest(text="this platform knows no such thing")
    return named
