"""The console in a real browser, read: coming in, finding a conversation, watching a reply grow, taking copies."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from core.simulated_reply import Behaviour
from tests.journey.console_house import PASSWORDS, PHONE, Site, clean, served

pytestmark = [pytest.mark.browser, pytest.mark.process, pytest.mark.asyncio(loop_scope="module")]

NOBODY = "401 (Unauthorized)"  # how a browser reports that nobody is signed in
SLOW = Behaviour(pieces=24, tokens_per_second=16.0)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with served(tmp_path_factory.mktemp("console")) as there:
        await there.answered(1, "Where is my parcel with the blue shoes?")
        await there.answered(2, "我的快递什么时候能到？")
        await there.answered(3, "Do you ship to Iceland?", "And to Norway?")
        yield there


async def search(page: Page, words: str) -> None:
    await page.get_by_role("searchbox").fill(words)


async def test_one_signs_in_is_shown_what_one_wanted_and_signs_out(site: Site) -> None:
    async with site.at("/health", role="") as (page, record):
        password = page.get_by_label("Password")
        await expect(password).to_be_focused()
        await expect(page).to_have_title("Sign in to Frontdesk · Frontdesk")
        await password.fill("not the password")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert")).to_have_text("That is not the password.")
        await password.fill(PASSWORDS["operator"])
        await page.get_by_role("button", name="Sign in").click()
        await expect(page).to_have_url(f"{site.url}/console/health")
        await expect(page.get_by_role("heading", name="What is stuck")).to_be_visible()
        await page.get_by_role("button", name="Sign out").click()
        await expect(page).to_have_url(f"{site.url}/console/sign-in")
        await page.goto(f"{site.url}/console/users")
        await expect(page.get_by_label("Password")).to_be_visible()
        await page.goto(f"{site.url}/console/enter?token=guessed")
        await expect(page.get_by_role("alert")).to_contain_text("That link has been used")
        clean(record, NOBODY)


async def test_who_is_signed_out_elsewhere_signs_in_and_is_back(site: Site) -> None:
    number = await site.conversation(1)
    cookie = await site.sign_in("operator")
    async with site.at(f"/conversations/{number}?search=parcel", cookie=cookie) as (page, record):
        await expect(page.locator(".bubble.theirs")).to_have_count(1)
        headers = {"Cookie": f"frontdesk_console={cookie}"}
        csrf = {"X-CSRF-Token": (await site.get("me", cookie))["csrf"]}
        answer = await site.http.post(f"{site.url}/console/api/sign-out", json={}, headers=headers | csrf)
        assert answer.status == 204
        await expect(page.get_by_label("Password")).to_be_visible()  # by itself: the page is told no more
        wanted = parse_qs(urlsplit(page.url).query)["next"][0]
        assert wanted.startswith(f"/console/conversations/{number}?search=")
        await page.get_by_label("Password").fill(PASSWORDS["viewer"])
        await page.keyboard.press("Enter")
        await expect(page).to_have_url(site.url + wanted)
        await expect(page.locator(".bubble.theirs")).to_have_count(1)
        clean(record, NOBODY)


@pytest.mark.parametrize(("words", "user", "found"), [("快递", 2, "快递"), ("PARCEL", 1, "parcel")])
async def test_a_conversation_is_found_by_a_word_of_it(site: Site, words: str, user: int, found: str) -> None:
    async with site.at("") as (page, record):
        await expect(page.locator(".row")).not_to_have_count(1)
        await search(page, words)
        await expect(page.locator(".row")).to_have_count(1)
        await expect(page.locator(".row mark").first).to_have_text(found)
        await page.locator(".row").click()
        await expect(page.get_by_role("heading", name=str(1000 + user))).to_be_focused()
        await expect(page.locator(".bubble.theirs .text")).to_contain_text(found)
        await expect(page.locator(".bubble.ours .meta")).to_contain_text(re.compile(r"simulated.*\d+ \+ 10 tokens"))
        await page.reload()  # the address says all of it
        await expect(page.locator(".row")).to_have_count(1)
        await expect(page.locator(".bubble.theirs .text")).to_contain_text(found)
        await search(page, "nobody ever said that")
        await expect(page.get_by_text("Nothing found")).to_be_visible()
        await page.get_by_role("button", name="Clear").click()
        await expect(page.locator(".row")).not_to_have_count(1)
        clean(record)


async def test_filters_narrow_the_list(site: Site) -> None:
    async with site.at("") as (page, record):
        await expect(page.locator(".row").first).to_be_visible()
        await page.get_by_role("button", name="Filters").click()
        await page.get_by_label("State").select_option("Set aside")
        await expect(page.get_by_text("Nothing found")).to_be_visible()
        await expect(page).to_have_url(f"{site.url}/console/conversations?state=set_aside")
        await page.get_by_label("State").select_option("Answered")
        await page.get_by_label("Channel").select_option("telegram")
        await expect(page.locator(".row").first).to_be_visible()
        await page.get_by_label("To", exact=True).fill("2020-01-31")
        await expect(page.get_by_text("Nothing found")).to_be_visible()
        await page.locator("#filters").get_by_role("button", name="Clear").click()
        await expect(page.locator(".row").first).to_be_visible()
        await expect(page.get_by_role("button", name="Filters", exact=True)).to_be_visible()
        clean(record)


async def test_a_reply_is_watched_as_it_grows_and_the_newest_stays_in_sight(site: Site) -> None:
    number = await site.conversation(3)
    async with site.at(f"/conversations/{number}", **PHONE) as (page, record):
        await expect(page.locator(".bubble.ours").last).to_be_in_viewport()
        await page.evaluate(
            """() => {
                window.lengths = [];
                new MutationObserver(() => {
                    const text = document.querySelector(".growing .text")?.textContent;
                    if (text && text.length !== window.lengths.at(-1)) window.lengths.push(text.length);
                }).observe(document.querySelector(".bubbles"), {subtree: true, childList: true, characterData: true});
            }"""
        )
        site.engine.script.append(SLOW)
        await site.telegram.say(3, "Count the days until it arrives")
        await expect(page.locator(".bubble.theirs").last).to_contain_text("Count the days")
        await expect(page.locator(".growing .text")).to_contain_text("This is the simulated")
        await expect(page.locator(".growing")).to_be_in_viewport()
        await expect(page.locator(".growing")).to_have_count(0)
        whole = page.locator(".bubble.ours").last
        await expect(whole.locator(".text")).to_have_text(
            re.compile("This is .*Count the days until it arrives$", re.S)
        )
        await expect(whole.locator(".meta")).to_contain_text(" tokens")
        lengths = await page.evaluate("window.lengths")
        assert len(lengths) > 3 and lengths == sorted(lengths)
        gap = "(({scrollHeight, scrollTop, clientHeight}) => scrollHeight - scrollTop - clientHeight)"
        assert await page.evaluate(f"{gap}(document.querySelector('.log'))") <= 1
        await expect(page.locator(".conversation > .quiet")).to_contain_text("The bot: This is the simulated reply")
        clean(record)


async def test_the_list_follows_what_happens_and_comes_back_when_it_was_cut_off(site: Site) -> None:
    async with site.at("") as (page, record):
        # A server that is away tells no browser when it is back: the page has to look by itself.
        await page.add_init_script("addEventListener('online', (event) => event.stopImmediatePropagation())")
        await page.reload()
        await expect(page.locator(".row").first).to_be_visible()
        await site.answered(4, "Somebody new")
        await expect(page.locator(".row").first).to_contain_text("1004")
        await page.context.set_offline(True)
        await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # as after the phone was locked
        await expect(page.get_by_text("The connection is lost.")).to_be_visible()
        await site.answered(5, "While nobody could see it")
        await page.context.set_offline(False)
        await expect(page.get_by_text("The connection is lost.")).to_be_hidden()
        await expect(page.locator(".row").first).to_contain_text("1005")
        clean(record, "ERR_INTERNET_DISCONNECTED")


async def test_conversations_are_exported_by_choice_by_filter_and_one_alone(site: Site, tmp_path: Path) -> None:
    async with site.at("") as (page, record):
        await page.get_by_role("button", name="Select").click()
        for user in (1, 2):
            await page.locator(".row").filter(has_text=str(1000 + user)).click()
        await expect(page.get_by_text("2 selected")).to_be_visible()
        await page.get_by_role("button", name="Export").click()
        chosen = await exported(page, "CSV", tmp_path)
        rows = list(csv.DictReader(chosen.removeprefix("\ufeff").splitlines()))
        assert chosen.startswith("\ufeff")
        assert {row["text"] for row in rows if row["who"] == "customer"} == {
            "Where is my parcel with the blue shoes?",
            "我的快递什么时候能到？",
        }
        await page.get_by_role("button", name="Cancel").click()
        await search(page, "Iceland")
        await expect(page.locator(".row")).to_have_count(1)
        await page.get_by_role("button", name="Export the list").click()
        (listed,) = json.loads(await exported(page, "JSON", tmp_path))
        assert listed["entries"][0]["text"] == "Do you ship to Iceland?"
        await page.locator(".row").click()
        await page.locator(".head").get_by_role("button", name="Export").click()
        alone = await exported(page, "Markdown", tmp_path)
        assert "> And to Norway?" in alone and "快递" not in alone
        clean(record)


async def exported(page: Page, form: str, folder: Path) -> str:
    """Choose a format in the open dialog, and read what comes."""
    dialog = page.get_by_role("dialog", name="Export")
    await dialog.get_by_role("radio", name=form).check()
    async with page.expect_download() as coming:
        await dialog.get_by_role("link", name="Download").click()
    await expect(dialog).to_be_hidden()
    await (await coming.value).save_as(folder / form)
    return (folder / form).read_text(encoding="utf-8")


async def test_the_keyboard_alone_leads_through_all_of_it(site: Site) -> None:
    async with site.at("", role="") as (page, record):
        press = page.keyboard.press
        await expect(page.get_by_label("Password")).to_be_focused()
        await page.keyboard.type(PASSWORDS["operator"])
        await press("Enter")
        await expect(page.locator(".row").first).to_be_visible()
        await expect(page.get_by_role("heading", level=1)).to_be_focused()
        for name in ("Search what was said", "Filters", "Select", "Export the list"):
            await press("Tab")
            await expect(page.locator(":focus")).to_have_accessible_name(name)
        await press("Tab")
        first, second = page.locator(".row").nth(0), page.locator(".row").nth(1)
        await expect(first).to_be_focused()
        assert await page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        await press("ArrowDown")
        await expect(second).to_be_focused()
        await press("Enter")
        await expect(page.get_by_role("heading", level=2)).to_be_focused()
        await press("Escape")
        await expect(second).to_be_focused()
        await press("End")
        await expect(page.locator(".row").last).to_be_focused()
        await press("Home")
        await expect(first).to_be_focused()
        # A way past the navigation, first of all.
        await page.reload()
        await expect(first).to_be_visible()
        await press("Tab")
        await expect(page.locator(":focus")).to_have_text("Skip to the content")
        await press("Enter")
        await expect(page.get_by_role("main")).to_be_focused()
        clean(record, NOBODY)
