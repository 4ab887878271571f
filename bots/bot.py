"""Loads a bot's folder: the same files give the same bot, byte for byte, and every mistake is told with file and line.

Its instructions (prompts and sampling) are in bots/instructions.py, because an operator can change them by the console.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

from bots.instructions import Variables, prompts_of, read_prompts, sampling_of, spoken_in
from bots.source import PLACEHOLDER, Table, fill, parse, read, version
from core.errors import ConfigError
from core.recipe import Recipe
from core.types import COMMANDS, Bot, Prompt

KEYS = ("title", "default_language", "timezone", "variables", "sampling", "commands")
# What a bot says itself, each with what the house fills in when it is said.
PHRASES: Mapping[str, frozenset[str]] = {
    "apology_engine": frozenset(),
    "apology_empty": frozenset(),
    "apology_late": frozenset(),
    "busy": frozenset({"number"}),
    "cut_mark": frozenset(),
    "greeting": frozenset(),
    "help": frozenset(),
    "new_conversation": frozenset(),
    "stopped": frozenset(),
    "human_noted": frozenset(),
    "unreadable": frozenset(),
    "edited": frozenset({"before", "after"}),
    "brief": frozenset({"words"}),
    "go_on": frozenset(),
    "throttled": frozenset({"seconds"}),
    "throttled_tokens": frozenset({"seconds"}),
    "still_writing": frozenset(),
    "fetch_answer": frozenset(),
    "more_follows": frozenset(),
    "fetch_more": frozenset(),
    "all_fetched": frozenset(),
    "feedback_good": frozenset(),
    "feedback_bad": frozenset(),
    "suggested_title": frozenset(),
    "suggested_1": frozenset(),
    "suggested_2": frozenset(),
    "suggested_3": frozenset(),
    "chat_title": frozenset(),
    "chat_placeholder": frozenset(),
    "chat_send": frozenset(),
    "chat_greeting": frozenset(),
    "chat_connecting": frozenset(),
    "chat_offline": frozenset(),
    "chat_engine_loading": frozenset(),
    "chat_writing": frozenset(),
    "chat_too_long": frozenset({"limit"}),
    "chat_failed_send": frozenset(),
    "chat_retry": frozenset(),
}
RESERVED = frozenset({"title", "current_time"}).union(*PHRASES.values())
_LANGUAGE = re.compile(r"[a-z]{2,3}")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A bot as its folder describes it, and what is needed to make it anew of other instructions."""

    bot: Bot
    recipe: Recipe
    variables: Variables


def load_all(root: Path) -> dict[str, Loaded]:
    """Every bot below `root`, by name. Raises ConfigError with the mistakes of all of them."""
    folders = (
        sorted(path for path in root.iterdir() if path.is_dir() and path.name[0] not in "._") if root.is_dir() else []
    )
    bots, problems = {}, []
    for folder in folders:
        try:
            bots[folder.name] = read_folder(folder)
        except ConfigError as error:
            problems += error.problems
    if not folders:
        problems.append(f"{root.name}/: holds no bot; a bot is a folder with bot.toml, prompt.md and phrases.toml")
    if problems:
        raise ConfigError(problems)
    return bots


def load(folder: Path) -> Bot:
    """The bot that a folder describes; its name is the folder's. Raises ConfigError with every mistake in it."""
    return read_folder(folder).bot


def read_folder(folder: Path) -> Loaded:
    """The same, with what it was made of."""
    problems: list[str] = []
    if not _NAME.fullmatch(folder.name):
        problems.append(f"{folder.parent.name}/{folder.name}: name the folder with small letters, digits, - and _ only")
    sources = [read(folder, name, problems) for name in ("bot.toml", "phrases.toml")]
    settings, wording = (source and parse(source) for source in sources)
    if not settings or not wording:
        raise ConfigError(problems)  # the prompts cannot be judged without the names that bot.toml gives
    default = _default_language(settings)
    settings.known(KEYS, settings.values, (), "setting")
    title = _words(settings, ("title",), settings.values.get("title", ""), default)
    values = _variables(settings, default) | {"title": title}
    timezone, commands = _timezone(settings), _commands(settings)
    sampling = sampling_of(settings, settings.values.get("sampling", {}))
    written = read_prompts(folder, default, problems)
    prompts = prompts_of(written, values, default)
    phrases = _phrases(wording, default, prompts, values)
    made_of = version(folder, problems)
    if problems:
        raise ConfigError(problems)
    bot = Bot(
        name=folder.name,
        default_language=default,
        prompts=prompts,
        phrases=phrases,
        sampling=sampling,
        title=spoken_in(values, default, default)["title"],
        timezone=timezone,
        commands=commands,
        version=made_of,
    )
    return Loaded(bot, Recipe({language: source.text for language, source in written.items()}, sampling), values)


def _default_language(table: Table) -> str:
    value = table.values.get("default_language")
    if isinstance(value, str) and _LANGUAGE.fullmatch(value):
        return value
    table.problem(("default_language",), 'default_language must be the language of prompt.md, such as "en" or "zh"')
    return "en"


def _words(table: Table, path: tuple[str, ...], value: object, default: str) -> dict[str, str]:
    """A text, or one for each language, by language; a text for all of them stands under the default one."""
    words = value if isinstance(value, dict) else {default: value}
    where = ".".join(path)
    if default not in words:
        table.problem(path, f'{where} lacks the default language; add {default} = "..."')
    for language, text in words.items():
        if not isinstance(text, str):
            table.problem(
                (*path, language), f'{where} must be a text in quotes, or {{ {default} = "...", zh = "..." }}'
            )
        elif not _LANGUAGE.fullmatch(language):
            table.problem((*path, language), f'{where}: {language} is no language; write two letters, such as "en"')
        elif PLACEHOLDER.search(text):
            table.problem((*path, language), f"{where} is put into other texts, so it may not hold {{...}} itself")
    return {language: text for language, text in words.items() if isinstance(text, str)}


def _variables(table: Table, default: str) -> dict[str, dict[str, str]]:
    values = table.values.get("variables", {})
    if not isinstance(values, dict):
        table.problem(("variables",), "variables must be a part of its own: a line [variables], and names below it")
        return {}
    for name in values:
        if not PLACEHOLDER.fullmatch(f"{{{name}}}"):
            table.problem(("variables", name), f"{name} cannot be used in a text; use small letters, digits and _ only")
        elif name in RESERVED:
            table.problem(("variables", name), f"{name} is filled in by Frontdesk; choose another name")
    return {name: _words(table, ("variables", name), value, default) for name, value in values.items()}


def _timezone(table: Table) -> str:
    value = table.values.get("timezone", "")
    try:
        if not isinstance(value, str):
            raise ValueError("not a text")
        if value:
            ZoneInfo(value)
    except (KeyError, ValueError, OSError):  # not found, no proper name, or a folder of the database such as "Asia"
        table.problem(
            ("timezone",),
            'timezone must be a name such as "Asia/Shanghai" or "Europe/Berlin", or "" for the machine\'s',
        )
        return ""
    return value


def _commands(table: Table) -> dict[str, str]:
    """Each wording of a command, in small letters, and the command; "/name" always works."""
    values = table.values.get("commands", {})
    wordings = {f"/{name}": name for name in COMMANDS}
    if not isinstance(values, dict):
        table.problem(("commands",), "commands must be a part of its own: a line [commands], and commands below it")
        return wordings
    table.known(tuple(sorted(COMMANDS)), values, ("commands",), "command")
    for name, texts in values.items():
        if not isinstance(texts, list) or not all(isinstance(text, str) and text.strip() for text in texts):
            table.problem(("commands", name), f'{name} must be a list of texts, such as ["human", "转人工"]')
        elif name in COMMANDS:
            wordings |= {text.strip().casefold(): name for text in texts}
    return wordings


def _phrases(
    table: Table, default: str, prompts: Mapping[str, Prompt], values: Mapping[str, Mapping[str, str]]
) -> dict[str, dict[str, str]]:
    phrases = {}
    for language in sorted(prompts.keys() | {default}):
        if language not in table.values:
            table.problem(
                (), f"lacks the language of a prompt; add a part [{language}] with the same names as the others"
            )
    for language, words in table.values.items():
        if not _LANGUAGE.fullmatch(language) or not isinstance(words, dict):
            table.problem((language,), f"{language} stands outside a language; put it below a line such as [{default}]")
            continue
        table.known(tuple(PHRASES), words, (language,), "phrase")
        if missing := [name for name in PHRASES if name not in words]:
            table.problem(
                (language,), f'[{language}] lacks {", ".join(missing)}; add them, such as {missing[0]} = "..."'
            )
        spoken = spoken_in(values, language, default)
        phrases[language] = {
            name: _phrase(table, (language, name), text, spoken) for name, text in words.items() if name in PHRASES
        }
    return phrases


def _phrase(table: Table, path: tuple[str, str], text: object, values: Mapping[str, str]) -> str:
    if not isinstance(text, str) or not text.strip():
        table.problem(path, f"{path[1]} must be a text in quotes, and not empty")
        return ""
    return fill(table.source, text, table.lines.get(path, 1), values, PHRASES[path[1]])
