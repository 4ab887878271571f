"""What an operator can change of a bot, as it is written: its prompts and its sampling. Pure values."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Literal, NamedTuple

import orjson

from core.types import JsonObject, Sampling


@dataclass(frozen=True, slots=True)
class Recipe:
    """`prompts` by language, as in the files prompt.md and prompt.<language>.md: with {placeholders}, and with the line
    that parts what is always the same from what changes each turn."""

    prompts: Mapping[str, str]
    sampling: Sampling

    @property
    def digest(self) -> str:
        """12 hex digits; the same for the same recipe, whatever ends its lines and files."""
        prompts = {language: _plain(text) for language, text in self.prompts.items()}
        sampling = {
            name: float(value) if isinstance(value, int) else value for name, value in asdict(self.sampling).items()
        }
        told = orjson.dumps([prompts, sampling], option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(told).hexdigest()[:12]

    def as_json(self) -> JsonObject:
        return {"prompts": dict(self.prompts), "sampling": asdict(self.sampling)}


class Line(NamedTuple):
    """A line of a comparison."""

    kind: Literal["same", "gone", "new"]
    text: str


def recipe_of(value: JsonObject) -> Recipe:
    """From `as_json`. Raises TypeError or KeyError for anything else."""
    prompts, sampling = value["prompts"], value["sampling"]
    if not isinstance(prompts, Mapping) or not isinstance(sampling, Mapping):
        raise TypeError("a recipe has prompts and sampling")
    drawn = {**sampling, "stop": tuple(sampling["stop"])}
    return Recipe({str(language): str(text) for language, text in prompts.items()}, Sampling(**drawn))


def compare(old: Recipe, new: Recipe) -> JsonObject:
    """`prompts`: for each language whose text differs, its lines as [kind, text]; `sampling`: name -> [old, new]."""
    prompts = {}
    for language in sorted(old.prompts.keys() | new.prompts.keys()):
        before, after = (_plain(recipe.prompts.get(language, "")) for recipe in (old, new))
        if before != after:
            prompts[language] = list(_lines(before.split("\n"), after.split("\n")))
    was, is_now = asdict(old.sampling), asdict(new.sampling)
    return {
        "prompts": prompts,
        "sampling": {name: [was[name], is_now[name]] for name in was if was[name] != is_now[name]},
    }


def _lines(before: list[str], after: list[str]) -> Iterator[Line]:
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    for tag, start, end, new_start, new_end in matcher.get_opcodes():
        if tag == "equal":
            yield from (Line("same", text) for text in before[start:end])
        else:
            yield from (Line("gone", text) for text in before[start:end])
            yield from (Line("new", text) for text in after[new_start:new_end])


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")
