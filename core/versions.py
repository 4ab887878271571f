"""The bots as they answer now, and all that each has been: a version that an operator publishes is live at once.

A bot has two places where its instructions can be changed: its files, which are read at the start, and the console.
The last change wins, wherever it was made, and both are versions: nothing that was said once is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, MutableMapping
from typing import Protocol

import structlog

from core.errors import ConfigError, RequestError
from core.ledger.versions import Version, VersionBook
from core.recipe import Recipe
from core.types import Bot

FILES = "files"  # who made a version: somebody who edited the bot's folder


class Workshop(Protocol):
    """Who makes bots (bots/workshop.py)."""

    def recipe(self, bot: str) -> Recipe:
        """What the bot's files say."""

    def variables(self, bot: str) -> Mapping[str, Mapping[str, str]]:
        """language -> name -> what is filled in for {name}."""

    def make(self, bot: str, recipe: Recipe) -> Bot:
        """The bot with these instructions. Raises ConfigError with every mistake in them."""


class Versions:
    """`live` is what all rooms look into: a bot that is published is put there. Whoever answers takes a bot once for
    each answer, so that none is made of two versions."""

    def __init__(
        self, live: MutableMapping[str, Bot], workshop: Workshop, book: VersionBook, clock: Callable[[], float]
    ) -> None:
        self._live = live
        self._workshop = workshop
        self._book = book
        self._clock = clock
        self._publishing = asyncio.Lock()

    async def adopt(self) -> None:
        """At the start, before anybody is answered: make the newest version of each bot live."""
        for bot in self._live:
            await self._adopt(bot)

    async def _adopt(self, bot: str) -> None:
        written, newest = self._workshop.recipe(bot), await self._book.newest(bot)
        if newest is not None:
            if newest.recipe.digest == written.digest:
                return  # live already
            if newest.files == written.digest:  # the files are as they were when it was published
                try:
                    self._live[bot] = self._workshop.make(bot, newest.recipe)
                except ConfigError as error:
                    # It names a variable, say, that somebody took out of bot.toml.
                    structlog.get_logger().error(
                        "version_unusable", bot=bot, version=newest.number, problems=error.problems
                    )
                else:
                    return
        await self._add(bot, self._live[bot], written, newest.number if newest else 0, FILES, "", None)

    def variables(self, bot: str) -> Mapping[str, Mapping[str, str]]:
        return self._workshop.variables(bot)

    def make(self, bot: str, recipe: Recipe) -> Bot:
        """The bot with these instructions, for a try. Raises ConfigError with every mistake in them."""
        return self._workshop.make(bot, recipe)

    async def newest(self, bot: str) -> Version:
        """The one that is live."""
        version = await self._book.newest(bot)
        if version is None:
            raise RuntimeError(f"{bot} was not adopted at the start")
        return version

    async def listed(self, bot: str) -> list[Version]:
        """All of them, newest first."""
        return await self._book.listed(bot)

    async def one(self, bot: str, number: int) -> Version | None:
        return await self._book.one(bot, number)

    async def publish(
        self, bot: str, recipe: Recipe, *, base: int, who: str, note: str = "", restores: int | None = None
    ) -> Version:
        """Keep it as the newest version, and let it answer from now on; what is being written is finished as it was
        begun. Raises ConfigError with every mistake in it, RequestError 409 when `base` is not the newest version any
        more or nothing is different."""
        async with self._publishing:
            made = self._workshop.make(bot, recipe)
            newest = await self.newest(bot)
            if newest.number != base:
                words = f"Version {newest.number} was published meanwhile, by {newest.who}."
                raise RequestError(409, words, code="published_meanwhile")
            if newest.recipe.digest == recipe.digest:
                raise RequestError(409, "That is what is live now.", code="nothing_changed")
            version = await self._add(bot, made, recipe, base, who, note, restores)
            self._live[bot] = made
            return version

    async def _add(
        self, bot: str, made: Bot, recipe: Recipe, base: int, who: str, note: str, restores: int | None
    ) -> Version:
        files = self._workshop.recipe(bot).digest
        version = Version(bot, base + 1, self._clock(), who, note, made.version, restores, files, recipe)
        await self._book.add(version)
        return version
