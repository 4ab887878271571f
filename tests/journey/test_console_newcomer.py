"""Somebody who has never seen the console, in a browser and nowhere else: finds a conversation, changes the bot's tone,
compares, publishes, undoes, exports last week and blocks a user."""

from __future__ import annotations

import csv
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page, expect

from core.simulated_reply import Behaviour
from tests.journey.console_house import PHONE, Site, clean, served

pytestmark = [pytest.mark.browser, pytest.mark.process, pytest.mark.asyncio(loop_scope="module")]


def in_character(body: Mapping[str, Any]) -> str:
    """A model that does as its instructions say, as far as this test goes."""
    messages = body["messages"]
    question = messages[-1]["content"].rpartition("\n")[2]
    return f"Ahoy! {question}" if "pirate" in messages[0]["content"] else f"Good day. {question}"


TALKING = Behaviour(reply=in_character, pieces=4)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with served(tmp_path_factory.mktemp("newcomer")) as there:
        there.engine.behaviour = TALKING
        yield there


async def ask(page: Page, text: str) -> None:
    await page.get_by_role("textbox", name="Question").fill(text)
    await page.keyboard.press("Enter")


def answers(page: Page, side: str) -> Locator:
    return page.get_by_role("log", name=f"Test chat: {side}").locator(".ours .text")


async def test_all_that_an_operator_does_in_a_week(site: Site, tmp_path: Path) -> None:
    await site.answered(1, "Where is my blue kettle?")
    await site.answered(2, "SPAM SPAM SPAM")
    async with site.at("/sign-in", role="") as (page, record):
        await page.get_by_label("Password").fill("an operator's word")
        await page.keyboard.press("Enter")

        # finds a conversation
        await page.get_by_role("searchbox", name="Search what was said").fill("kettle")
        await page.locator(".row").filter(has_text="kettle").click()
        await expect(page.locator(".bubble.ours")).to_contain_text("Good day. Where is my blue kettle?")

        # changes the bot's tone, and compares it with what is live
        await page.get_by_role("link", name="Playground").click()
        prompt = page.get_by_role("textbox", name="Prompt (en)")
        await prompt.fill((await prompt.input_value()).replace("Be warm", "Speak like a pirate. Be warm"))
        await expect(page.get_by_text("2 lines differ from what is live.")).to_be_visible()
        await page.get_by_role("button", name="Compare").click()
        await ask(page, "Where is my parcel?")
        await expect(answers(page, "A")).to_have_text("Ahoy! Where is my parcel?")
        await expect(answers(page, "B")).to_have_text("Good day. Where is my parcel?")
        await site.answered(1, "Are you there?")
        assert site.telegram.seen(1)[-1] == "Good day. Are you there?", "nothing has changed for customers"

        # publishes
        await page.get_by_role("region", name="A", exact=True).get_by_role("button", name="Publish").click()
        await page.get_by_label("What has changed").fill("pirates")
        await page.get_by_role("button", name="Publish", exact=True).click()
        await expect(page.get_by_text("Version 2 is live.")).to_be_visible()
        await site.answered(1, "And now?")
        assert site.telegram.seen(1)[-1] == "Ahoy! And now?"

        # undoes it by one press
        await page.get_by_role("button", name="Make version 1 live again").click()
        await expect(page.get_by_text("Version 3 is live.")).to_be_visible()
        await site.answered(1, "And after that?")
        assert site.telegram.seen(1)[-1] == "Good day. And after that?"

        # exports last week
        await page.get_by_role("link", name="Conversations").click()
        await page.get_by_role("button", name="Filters").click()
        week_ago = "new Date(Date.now() - 7 * 86400000).toISOString().slice(0, 10)"
        await page.get_by_label("From").fill(await page.evaluate(week_ago))
        await expect(page.locator(".row")).to_have_count(2)
        await page.get_by_role("button", name="Export").click()
        async with page.expect_download() as coming:
            await page.get_by_role("link", name="Download").click()
        await (await coming.value).save_as(tmp_path / "week.csv")
        rows = list(csv.DictReader((tmp_path / "week.csv").read_text(encoding="utf-8-sig").splitlines()))
        assert {"Where is my blue kettle?", "Ahoy! And now?", "SPAM SPAM SPAM"} <= {row["text"] for row in rows}

        # blocks a user
        await page.locator(".row").filter(has_text="SPAM").click()
        await page.get_by_role("region", name="Conversation").get_by_role("link", name="User").click()
        await page.get_by_role("button", name="Block").click()
        await page.get_by_role("dialog").get_by_role("button", name="Block").click()
        await expect(page.get_by_role("button", name="Unblock")).to_be_visible()
        before = site.telegram.seen(2)
        await site.telegram.say(2, "MORE SPAM")
        await site.until(2, "blocked")
        assert site.telegram.seen(2) == before
        clean(record, "401 (Unauthorized)")


async def test_what_nobody_has_published_stays_until_the_page_is_closed(site: Site) -> None:
    async with site.at("/playground") as (page, record):
        prompt = page.get_by_role("textbox", name="Prompt (zh)")
        await page.get_by_role("button", name="zh", exact=True).click()
        await prompt.fill("你是{company_name}的客服。{谁}")
        await page.get_by_text("As the model reads it").click()
        await expect(page.get_by_role("group", name="As the model reads it")).to_contain_text("你是本公司的客服。{谁}")
        await page.get_by_role("link", name="Health").click()
        await page.get_by_role("link", name="Playground").click()
        await page.get_by_role("button", name="zh", exact=True).click()
        await expect(prompt).to_have_value("你是{company_name}的客服。{谁}")
        await prompt.fill("你是{company}的客服。")
        await expect(page.get_by_role("alert")).to_contain_text("prompt.zh.md:1: nothing is known as {company}")
        publish = page.get_by_role("button", name="Publish")
        await expect(publish).to_be_disabled()
        await page.get_by_role("button", name="Back to what is live").click()
        await expect(page.get_by_text("As it is live now.")).to_be_visible()
        clean(record)


async def test_sliders_and_fields_are_the_same_number_and_reach_the_model(site: Site) -> None:
    told: list[Mapping[str, Any]] = []

    def listening(body: Mapping[str, Any]) -> str:
        told.append(body)
        return "Yes."

    site.engine.behaviour = Behaviour(reply=listening)
    async with site.at("/playground") as (page, record):
        await page.get_by_role("slider", name="Temperature").fill("1.2")
        field = page.get_by_role("spinbutton", name="Temperature")
        await expect(field).to_have_value("1.2")
        await page.get_by_role("spinbutton", name="Longest reply").fill("77")
        await page.get_by_label("Stop texts").fill("END\n停")
        await ask(page, "Hello")
        await expect(answers(page, "Instructions")).to_have_text("Yes.")
        await expect(page.get_by_text("The sampling differs from what is live.")).to_be_visible()
        await field.fill("7")
        await expect(page.get_by_role("alert")).to_contain_text("temperature must be a number from 0 to 2")
        clean(record)
    drawn = {name: told[-1][name] for name in ("temperature", "max_tokens", "stop")}
    assert drawn == {"temperature": 1.2, "max_tokens": 77, "stop": ["END", "停"]}
    site.engine.behaviour = TALKING


async def test_an_answer_can_be_stopped_and_the_talk_begun_anew(site: Site) -> None:
    site.engine.behaviour = Behaviour(pieces=300, tokens_per_second=30.0)
    async with site.at("/playground", **PHONE) as (page, record):
        await ask(page, "Tell me a long story. " * 20)
        await expect(answers(page, "Instructions")).to_contain_text("This is")
        await page.get_by_role("button", name="Stop", exact=True).click()
        await expect(page.locator(".talk .meta")).to_have_text("stopped")
        site.engine.behaviour = TALKING
        await ask(page, "Hello")
        await expect(answers(page, "Instructions").nth(1)).to_have_text("Good day. Hello")
        await page.get_by_role("button", name="Start anew").click()
        await expect(answers(page, "Instructions")).to_have_count(0)
        clean(record)


async def test_text_of_the_model_is_shown_and_never_run(site: Site) -> None:
    hostile = '<img src=x onerror="document.title=1">**bold** ' + json.dumps({"a": "</script>"})
    site.engine.behaviour = Behaviour(reply=lambda _: hostile)
    async with site.at("/playground") as (page, record):
        await ask(page, "Hello")
        await expect(answers(page, "Instructions")).to_have_text(hostile)
        assert await page.locator(".talk img").count() == 0
        clean(record)
    site.engine.behaviour = TALKING


async def test_who_may_only_look_sees_instructions_and_versions_and_no_ways_to_change_them(site: Site) -> None:
    async with site.at("/playground", role="viewer") as (page, record):
        await expect(page.get_by_role("textbox", name="Prompt (en)")).not_to_be_editable()
        await expect(page.get_by_role("slider", name="Temperature")).to_be_disabled()
        await page.get_by_text("Changes of version 2").click()
        await expect(page.locator("#version-2 .line-new")).to_contain_text("Speak like a pirate.")
        for name in ("Send", "Publish", "Compare", "Edit", "Make version"):
            await expect(page.get_by_role("button", name=name)).to_have_count(0)
        clean(record)
