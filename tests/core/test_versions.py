"""A bot's versions: the last change wins wherever it was made, each is kept, and a published one is live at once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from core.errors import ConfigError, RequestError
from core.ledger import audit, office
from core.ledger.sqlite import SqliteLedger
from core.ledger.versions import VersionBook
from core.recipe import Recipe, compare, recipe_of
from core.types import Bot, Prompt, Sampling
from core.versions import Versions
from tests.contract.ledgers import Book
from tests.fakes import make_bot

KETTLE = Recipe({"en": "You sell kettles."}, Sampling())


def changed(recipe: Recipe, text: str) -> Recipe:
    return replace(recipe, prompts={"en": text})


class Shop:
    """A workshop whose files are a recipe; "{" in a prompt is a mistake."""

    def __init__(self, written: Recipe = KETTLE) -> None:
        self.written = written

    def recipe(self, bot: str) -> Recipe:
        return self.written

    def variables(self, bot: str) -> Mapping[str, Mapping[str, str]]:
        return {"en": {}}

    def make(self, bot: str, recipe: Recipe) -> Bot:
        if "{" in recipe.prompts["en"]:
            raise ConfigError(["prompt.md:1: nothing is known as that"])
        prompts = {"en": Prompt(recipe.prompts["en"], "")}
        return replace(make_bot(bot), prompts=prompts, sampling=recipe.sampling, version=recipe.digest)


async def opened(book: Book, shop: Shop) -> tuple[Versions, dict[str, Bot]]:
    """What a start makes of the ledger and the files."""
    assert isinstance(book.ledger, SqliteLedger)
    live = {"support": shop.make("support", shop.written)}
    versions = Versions(live, shop, VersionBook(book.ledger), book.clock)
    await versions.adopt()
    return versions, live


def said(live: Mapping[str, Bot]) -> str:
    return live["support"].prompts["en"].system


async def told(versions: Versions) -> list[tuple[int, str, int | None]]:
    return [(one.number, one.who, one.restores) for one in reversed(await versions.listed("support"))]


async def test_the_first_start_keeps_what_the_files_say_and_the_next_adds_nothing(book: Book) -> None:
    for _ in range(2):
        versions, live = await opened(book, Shop())
        assert await told(versions) == [(1, "files", None)]
        assert said(live) == "You sell kettles."


async def test_a_published_version_is_live_at_once_and_after_a_restart(book: Book) -> None:
    versions, live = await opened(book, Shop())
    version = await versions.publish(
        "support", changed(KETTLE, "Be brief."), base=1, who="console/operator", note="tone"
    )
    assert said(live) == "Be brief."
    assert live["support"].version == version.version
    _, live = await opened(book, Shop())
    assert said(live) == "Be brief."


async def test_files_that_were_edited_since_win_and_what_was_published_is_kept(book: Book) -> None:
    versions, live = await opened(book, Shop())
    await versions.publish("support", changed(KETTLE, "Be brief."), base=1, who="console/operator")
    versions, live = await opened(book, Shop(changed(KETTLE, "You sell pots.")))
    assert said(live) == "You sell pots."
    assert await told(versions) == [(1, "files", None), (2, "console/operator", None), (3, "files", None)]
    kept = await versions.one("support", 2)
    assert kept is not None
    assert kept.recipe.prompts == {"en": "Be brief."}


async def test_files_that_say_what_was_published_add_nothing(book: Book) -> None:
    versions, _ = await opened(book, Shop())
    await versions.publish("support", changed(KETTLE, "Be brief."), base=1, who="console/operator")
    for ending in ("", "\n", "\r\n"):
        versions, live = await opened(book, Shop(changed(KETTLE, f"Be brief.{ending}")))
        assert [number for number, *_ in await told(versions)] == [1, 2]
    assert said(live).strip() == "Be brief."


async def test_a_version_that_fits_the_files_no_more_gives_way_to_them(book: Book) -> None:
    shop = Shop()
    versions, _ = await opened(book, shop)
    await versions.publish("support", changed(KETTLE, "Be brief."), base=1, who="console/operator")

    class Without(Shop):
        def make(self, bot: str, recipe: Recipe) -> Bot:
            if recipe != self.written:
                raise ConfigError(["prompt.md:1: nothing is known as {hours}"])
            return super().make(bot, recipe)

    versions, live = await opened(book, Without())
    assert said(live) == "You sell kettles."
    assert [number for number, *_ in await told(versions)] == [1, 2, 3]


async def test_one_of_two_who_publish_at_the_same_moment_is_told(book: Book) -> None:
    versions, live = await opened(book, Shop())
    both = [versions.publish("support", changed(KETTLE, text), base=1, who="console/operator") for text in ("A.", "B.")]
    first, second = await asyncio.gather(*both, return_exceptions=True)
    assert not isinstance(first, BaseException)
    assert isinstance(second, RequestError)
    assert (second.status, second.code) == (409, "published_meanwhile")
    assert said(live) == "A."
    with pytest.raises(RequestError, match="live now"):
        await versions.publish("support", changed(KETTLE, "A.\n"), base=2, who="console/operator")
    assert [number for number, *_ in await told(versions)] == [1, 2]


async def test_mistakes_are_refused_and_nothing_changes(book: Book) -> None:
    versions, live = await opened(book, Shop())
    with pytest.raises(ConfigError, match="nothing is known"):
        await versions.publish("support", changed(KETTLE, "Say {this}"), base=1, who="console/operator")
    assert said(live) == "You sell kettles."
    assert await told(versions) == [(1, "files", None)]


async def test_each_version_is_in_the_audit_record_without_its_text(book: Book, tmp_path: Path) -> None:
    versions, _ = await opened(book, Shop())
    await versions.publish("support", changed(KETTLE, "Be brief."), base=1, who="console/operator")
    await versions.publish("support", KETTLE, base=2, who="console/operator", restores=1)
    with office.opened(tmp_path / "ledger.db") as connection:
        rows = [row for row in audit.rows(connection) if row.action == "version"]
    details = [orjson.loads(row.detail) for row in rows]
    assert {row.subject for row in rows} == {"bot/support"}
    assert [(detail["who"], detail["number"], detail["restores"]) for detail in details] == [
        ("files", 1, None),
        ("console/operator", 2, None),
        ("console/operator", 3, 1),
    ]
    assert details[0]["recipe"] == details[2]["recipe"] == KETTLE.digest
    assert not any("brief" in row.detail for row in rows)


def test_a_recipe_comes_back_from_its_json_and_its_digest_is_of_what_matters() -> None:
    recipe = Recipe({"en": "One\nTwo", "zh": "一"}, Sampling(0.5, 1, 100, ("END",), 0))
    again = recipe_of(orjson.loads(orjson.dumps(recipe.as_json())))
    assert again == recipe
    assert Recipe({"zh": "一\n", "en": "One\r\nTwo\n"}, Sampling(0.5, 1.0, 100, ("END",), 0.0)).digest == recipe.digest
    others = [
        replace(recipe, sampling=replace(recipe.sampling, stop=())),
        replace(recipe, sampling=replace(recipe.sampling, temperature=0.6)),
        replace(recipe, prompts={"en": "One\nTwo", "zh": "二"}),
        replace(recipe, prompts={"en": "One\n\nTwo", "zh": "一"}),
    ]
    assert len({recipe.digest, *(other.digest for other in others)}) == 5


def test_a_comparison_names_what_is_new_and_what_is_gone() -> None:
    old = Recipe({"en": "A\nB\nC", "zh": "一"}, Sampling(temperature=0.3))
    new = Recipe({"en": "A\nX\nC\nD\n", "zh": "一\n"}, Sampling(temperature=0.9))
    assert compare(old, new) == {
        "prompts": {"en": [("same", "A"), ("gone", "B"), ("new", "X"), ("same", "C"), ("new", "D")]},
        "sampling": {"temperature": [0.3, 0.9]},
    }
    assert compare(new, new) == {"prompts": {}, "sampling": {}}
