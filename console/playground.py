"""The playground: try a bot with other instructions, publish them as its new version, compare, and go back."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import asdict, replace

from aiohttp import web

from console.asked import Draft, Publish, Restore, Try, body
from console.door import Door, Guest
from console.live import HEADERS, frame
from console.replies import as_json, missing, who
from console.rooms import Rooms
from core.audit import rehearsal_entry
from core.errors import ConfigError, EngineError, EngineRefused, RequestError
from core.http import while_heard
from core.language import detect
from core.ledger.versions import Version
from core.prompt import note
from core.recipe import Recipe, compare
from core.rehearsal import Rehearsed, Scene
from core.types import Bot, Delta, Prompt, Usage

AT_ONCE = 8  # replies being written: customers need the engine, too
RAW = "-"  # stands in the address for the engine's model without a bot


class Playground:
    """Its routes. Whoever may come in sees the versions; operators try and publish."""

    def __init__(self, rooms: Rooms, door: Door) -> None:
        self._rooms = rooms
        self._versions = rooms.versions
        self._door = door
        self._running = 0

    def routes(self) -> list[web.RouteDef]:
        api, inside, acting = "/console/api/bots", self._door.inside, self._door.acting
        return [
            web.get(api, inside(self._bots)),
            web.get(f"{api}/{{bot}}", inside(self._bot)),
            web.get(f"{api}/{{bot}}/versions/{{number}}", inside(self._version)),
            web.post(f"{api}/{{bot}}/draft", acting(self._draft)),
            web.post(f"{api}/{{bot}}/try", acting(self._try)),
            web.post(f"{api}/{{bot}}/versions", acting(self._publish)),
            web.post(f"{api}/{{bot}}/restore", acting(self._restore)),
        ]

    async def _bots(self, _: web.Request, __: Guest) -> web.StreamResponse:
        bots = [{"name": bot.name, "title": bot.title} for bot in self._rooms.bots.values()]
        return as_json({"items": bots, "models": list(self._rooms.engine.models)})

    async def _bot(self, request: web.Request, _: Guest) -> web.StreamResponse:
        return await self._told(self._named(request))

    async def _told(self, bot: Bot) -> web.Response:
        versions = await self._versions.listed(bot.name)
        return as_json(
            {
                "name": bot.name,
                "title": bot.title,
                "default_language": bot.default_language,
                "variables": self._versions.variables(bot.name),
                "filled": self._filled(bot),
                "recipe": versions[0].recipe.as_json(),
                "versions": [_listed(version) for version in versions],
            }
        )

    async def _version(self, request: web.Request, _: Guest) -> web.StreamResponse:
        """One version, and what it changed: `against` another one, or the one before it."""
        bot, number = self._named(request), _number(request.match_info["number"])
        version = await self._versions.one(bot.name, number)
        against = _number(request.query.get("against", "")) or number - 1
        other = await self._versions.one(bot.name, against)
        if version is None or (other is None and "against" in request.query):
            raise missing("version")
        before = other.recipe if other else Recipe({}, version.recipe.sampling)
        told = {**_listed(version), "recipe": version.recipe.as_json()}
        return as_json(told | {"against": against, "difference": compare(before, version.recipe)})

    async def _draft(self, request: web.Request, _: Guest) -> web.StreamResponse:
        """What is wrong with instructions that nobody has published, how they read, and what they would change."""
        bot, recipe = self._named(request), body(Draft, await request.read()).recipe()
        newest = await self._versions.newest(bot.name)
        told: dict[str, object] = {"base": newest.number, "difference": compare(newest.recipe, recipe)}
        try:
            return as_json(told | {"problems": [], "filled": self._filled(self._versions.make(bot.name, recipe))})
        except ConfigError as error:
            return as_json(told | {"problems": error.problems, "filled": {}})

    async def _publish(self, request: web.Request, guest: Guest) -> web.StreamResponse:
        bot, asked = self._named(request), body(Publish, await request.read())
        await self._made(bot.name, asked.recipe(), asked.base, guest, asked.note)
        return await self._told(self._named(request))

    async def _restore(self, request: web.Request, guest: Guest) -> web.StreamResponse:
        """What was live once is so again, as a new version."""
        bot, asked = self._named(request), body(Restore, await request.read())
        version = await self._versions.one(bot.name, asked.number)
        if version is None:
            raise missing("version")
        await self._made(bot.name, version.recipe, asked.base, guest, "", restores=version.number)
        return await self._told(self._named(request))

    async def _made(
        self, bot: str, recipe: Recipe, base: int, guest: Guest, why: str, restores: int | None = None
    ) -> None:
        try:
            await self._versions.publish(bot, recipe, base=base, who=who(guest), note=why, restores=restores)
        except ConfigError as error:
            raise RequestError(400, "; ".join(error.problems), code="unfit") from error

    # --- a try ------------------------------------------------------------------------------------------------------

    async def _try(self, request: web.Request, guest: Guest) -> web.StreamResponse:
        """An answer as an event stream: `delta` (text), then `done`, or `failed` (code, message)."""
        asked = body(Try, await request.read())
        bot = self._raw(asked) if request.match_info["bot"] == RAW else self._tried(request, asked)
        if asked.model and asked.model not in self._rooms.engine.models:
            raise missing("model")
        if self._running >= AT_ONCE:
            raise RequestError(429, "Too many tries are being answered.", code="too_many_tries_running", retry_after=2)
        scene = Scene(asked.said, asked.text, asked.language)
        name = f"try-{uuid.uuid4().hex[:16]}"
        rehearsed = self._rooms.rehearsal.begin(bot, scene, asked.model, name)
        self._running += 1
        try:
            return await self._answered(request, guest, bot, name, rehearsed)
        finally:
            self._running -= 1

    def _tried(self, request: web.Request, asked: Try) -> Bot:
        try:
            return self._versions.make(self._named(request).name, asked.recipe())
        except ConfigError as error:
            raise RequestError(400, "; ".join(error.problems), code="unfit") from error

    @staticmethod
    def _raw(asked: Try) -> Bot:
        language = asked.language or detect(asked.text)
        system = next(iter(asked.prompts.values()), "").strip()
        return Bot("", language, {language: Prompt(system, "")}, {}, asked.sampling.drawn())

    async def _answered(
        self, request: web.Request, guest: Guest, bot: Bot, name: str, rehearsed: Rehearsed
    ) -> web.StreamResponse:
        clock, began = self._rooms.clock, self._rooms.clock()
        first, end, ending = None, Delta(), "aborted"
        response = web.StreamResponse(headers=HEADERS)
        try:
            await response.prepare(request)
            async with while_heard(request), aclosing(rehearsed.deltas) as deltas:
                async for delta in deltas:
                    end = replace(delta, text="", usage=delta.usage or end.usage, model=delta.model or end.model)
                    if delta.text:
                        first = clock() - began if first is None else first
                        await response.write(frame("delta", {"text": delta.text}))
            ending = end.finish or "stop"
            told = {"user_text": rehearsed.user_text, "language": rehearsed.language, "finish": ending}
            spent = {"first_text_seconds": first, "seconds": clock() - began, "model": end.model}
            await response.write(frame("done", told | spent | asdict(end.usage or Usage())))
        except EngineError as error:
            ending = type(error).__name__
            words = str(error) if isinstance(error, EngineRefused) else "The model cannot answer now."
            await response.write(frame("failed", {"code": ending, "message": words}))
        finally:
            usage = end.usage or Usage()
            entry = rehearsal_entry(name, who(guest), bot, end.model, rehearsed.sampling, usage, ending)
            await self._rooms.ledger.record(entry, clock())
        return response

    def _named(self, request: web.Request) -> Bot:
        bot = self._rooms.bots.get(request.match_info["bot"])
        if bot is None:
            raise missing("bot")
        return bot

    def _filled(self, bot: Bot) -> Mapping[str, object]:
        now = self._rooms.clock()
        return {
            language: {"system": prompt.system, "note": note(bot, language, now)}
            for language, prompt in bot.prompts.items()
        }


def _listed(version: Version) -> dict[str, object]:
    return {
        "number": version.number,
        "at": version.at,
        "who": version.who,
        "note": version.note,
        "version": version.version,
        "restores": version.restores,
    }


def _number(text: str) -> int:
    """0 for what is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
