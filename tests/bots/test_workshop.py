"""A bot made anew of instructions that an operator wrote: as its folder would make it, and with every mistake named."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import bots.bot
from bots.bot import load, load_all
from bots.workshop import Workshop
from core.errors import ConfigError
from core.recipe import Recipe
from core.types import Sampling

ROOT = Path(bots.bot.__file__).parent


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "support", tmp_path / "bots" / "support")
    return tmp_path / "bots" / "support"


def workshop(folder: Path) -> Workshop:
    return Workshop(load_all(folder.parent))


def brief(recipe: Recipe) -> Recipe:
    return replace(recipe, prompts={**recipe.prompts, "en": recipe.prompts["en"].replace("Be warm", "Be brief")})


def problems(shop: Workshop, recipe: Recipe) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        shop.make("support", recipe)
    return caught.value.problems


def test_what_the_files_say_makes_the_files_bot(folder: Path) -> None:
    shop = workshop(folder)
    assert shop.make("support", shop.recipe("support")) == load(folder)
    assert shop.recipe("support").prompts["en"] == (folder / "prompt.md").read_text(encoding="utf-8")


def test_other_words_make_the_bot_that_files_with_these_words_would(folder: Path) -> None:
    shop = workshop(folder)
    wanted = replace(brief(shop.recipe("support")), sampling=Sampling(0.7, 0.8, 99, ("END",), 0.1))
    made = shop.make("support", wanted)
    for name, old, new in (
        ("prompt.md", "Be warm", "Be brief"),
        ("bot.toml", "temperature = 0.3", "temperature = 0.7"),
        ("bot.toml", "top_p = 0.9", "top_p = 0.8"),
        ("bot.toml", "max_tokens = 512", "max_tokens = 99"),
        ("bot.toml", "stop = []", 'stop = ["END"]'),
        ("bot.toml", "frequency_penalty = 0.5", "frequency_penalty = 0.1"),
    ):
        path = folder / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")
    assert made == replace(load(folder), version=made.version)
    assert made.version != shop.make("support", brief(shop.recipe("support"))).version


def test_the_same_words_on_other_files_are_another_version(folder: Path) -> None:
    shop = workshop(folder)
    before = shop.make("support", brief(shop.recipe("support")))
    phrases = folder / "phrases.toml"
    phrases.write_text(phrases.read_text(encoding="utf-8").replace("Hello, and welcome", "Welcome"), encoding="utf-8")
    after = workshop(folder).make("support", brief(shop.recipe("support")))
    assert before.version != after.version


def test_files_that_change_meanwhile_are_not_read_before_the_next_start(folder: Path) -> None:
    shop = workshop(folder)
    before = shop.make("support", brief(shop.recipe("support")))
    (folder / "prompt.zh.md").write_text("别的", encoding="utf-8")
    (folder / "bot.toml").unlink()
    assert shop.make("support", brief(shop.recipe("support"))) == before


def test_every_mistake_is_named_where_it_stands(folder: Path) -> None:
    shop = workshop(folder)
    wrong = Recipe(
        {"en": "One\n{nothing}", "zh": "\n--- each turn ---\n{curent_time}"}, Sampling(9, 0, 0, ("a",) * 5, 3)
    )
    found = problems(shop, wrong)
    assert [problem.split(": ")[0] for problem in found] == [
        "prompt.md:2",
        "prompt.zh.md:3",
        "prompt.zh.md:1",
        *["bot.toml:1"] * 5,
    ]
    assert problems(shop, Recipe({"en": "One"}, Sampling())) == problems(
        shop, Recipe({"en": "One", "zh": "一", "de": "Eins"}, Sampling())
    )


def test_the_variables_are_told_in_each_language(folder: Path) -> None:
    told = workshop(folder).variables("support")
    assert told["en"] == {"company_name": "our company", "title": "Customer service"}
    assert told["zh"] == {"company_name": "本公司", "title": "在线客服"}
