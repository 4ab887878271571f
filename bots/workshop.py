"""Makes a bot anew of instructions that an operator wrote, as its folder was when the house was opened."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, replace

from bots.bot import Loaded
from bots.instructions import prompts_of, sampling_of, spoken_in
from bots.source import Source, Table
from core.errors import ConfigError
from core.recipe import Recipe
from core.types import Bot


class Workshop:
    """A `core.versions.Workshop`. Files that change meanwhile are read at the next start."""

    def __init__(self, loaded: Mapping[str, Loaded]) -> None:
        self._loaded = loaded

    def recipe(self, bot: str) -> Recipe:
        """What the bot's files say."""
        return self._loaded[bot].recipe

    def variables(self, bot: str) -> Mapping[str, Mapping[str, str]]:
        """language -> name -> what is filled in for {name}."""
        loaded = self._loaded[bot]
        default = loaded.bot.default_language
        return {language: spoken_in(loaded.variables, language, default) for language in loaded.recipe.prompts}

    def make(self, bot: str, recipe: Recipe) -> Bot:
        """The bot with these instructions. Raises ConfigError with every mistake in them, as `prompt.md:3: ...`."""
        loaded = self._loaded[bot]
        if recipe.digest == loaded.recipe.digest:
            return loaded.bot
        problems: list[str] = []
        default, languages = loaded.bot.default_language, loaded.recipe.prompts
        if recipe.prompts.keys() != languages.keys():
            raise ConfigError([f"{bot} speaks {', '.join(languages)}: a prompt is needed for each, and for no other"])
        sources = {
            language: Source("prompt.md" if language == default else f"prompt.{language}.md", text, problems)
            for language, text in recipe.prompts.items()
        }
        prompts = prompts_of(sources, loaded.variables, default)
        values = {**asdict(recipe.sampling), "stop": list(recipe.sampling.stop)}
        sampling = sampling_of(Table(Source("bot.toml", "", problems), {}, {}), values)
        if problems:
            raise ConfigError(problems)
        version = hashlib.sha256(f"{loaded.bot.version} {recipe.digest}".encode()).hexdigest()[:12]
        return replace(loaded.bot, prompts=prompts, sampling=sampling, version=version)
