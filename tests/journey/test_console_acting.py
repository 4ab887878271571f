"""The console in a real browser, used: marks, another try, limits, blocks, erasing; none of it for who only looks."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from adapters.telegram.simulator import Fault as Refusal
from core.simulated_reply import Behaviour, Fault
from tests.journey.console_house import PHONE, QUICK, Site, clean, served

pytestmark = [pytest.mark.browser, pytest.mark.process, pytest.mark.asyncio(loop_scope="module")]

GONE = "404 (Not Found)"  # how a browser reports it
REFUSED = Refusal(400, "Bad Request: not enough rights: no rights to send text messages to the chat")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with served(tmp_path_factory.mktemp("console")) as there:
        yield there


async def set_aside(site: Site, user: int, text: str) -> None:
    """A message that the engine cannot answer."""
    site.engine.behaviour = Behaviour(fault=Fault.FAILED)
    await site.telegram.say(user, text)
    await site.until(user, "set_aside")
    site.engine.behaviour = QUICK


async def test_a_reply_is_marked_with_a_note_and_others_see_it(site: Site) -> None:
    await site.answered(1, "How long is the warranty?")
    path = f"/conversations/{await site.conversation(1)}"
    async with site.at(path) as (page, record):
        good, bad = page.get_by_role("button", name="Good reply"), page.get_by_role("button", name="Bad reply")
        await good.click()
        await expect(page.get_by_label("Note")).to_be_focused()
        await page.keyboard.press("Escape")  # out of the note, not of the conversation
        await expect(good).to_be_focused()
        await expect(good).to_have_attribute("aria-pressed", "true")
        await bad.click()
        await expect(bad).to_have_attribute("aria-pressed", "true")
        await expect(good).to_have_attribute("aria-pressed", "false")
        await page.get_by_label("Note").fill("It is two years, <b>not</b> one.")
        await page.keyboard.press("Control+Enter")
        await expect(page.locator(".note-text")).to_have_text("It is two years, <b>not</b> one.")
        await page.reload()
        await expect(bad).to_have_attribute("aria-pressed", "true")
        async with site.at(path, "viewer") as (other, other_record):
            await expect(other.locator(".bubble.ours")).to_contain_text("Marked bad")
            await expect(other.locator(".note-text")).to_have_text("It is two years, <b>not</b> one.")
            await bad.click()  # taken back, and seen at once
            await expect(other.locator(".bubble.ours")).not_to_contain_text("Marked bad")
            clean(other_record)
        clean(record)


async def test_what_was_set_aside_is_tried_again_from_the_page_of_health(site: Site) -> None:
    await set_aside(site, 2, "Answer me later")
    async with site.at("/health", **PHONE) as (page, record):
        tile = page.locator(".tile").filter(has_text="Set aside")
        await expect(tile.locator(".tile-value")).to_have_text("1")
        stuck = page.locator(".stuck li")
        await expect(stuck).to_have_count(1)
        await expect(stuck).to_contain_text("HTTP 500")
        await expect(page.locator(".ways .alarm")).to_have_text("1 is stuck")
        await stuck.get_by_role("button", name="Try").click()
        await expect(page.get_by_text("1 is tried again.")).to_be_visible()
        await expect(page.get_by_text("Nothing is stuck")).to_be_visible()
        await site.until(2, "answered")
        await expect(tile.locator(".tile-value")).to_have_text("0")
        await expect(page.locator(".plot canvas")).to_have_count(4)
        clean(record)


async def test_a_delivery_that_failed_says_why_and_is_sent_again_where_it_stands(site: Site) -> None:
    site.telegram.simulator.fail("sendMessage", REFUSED)
    await site.telegram.say(3, "/help")
    await site.until(3, "answered")
    async with site.at(f"/conversations/{await site.conversation(3)}") as (page, record):
        undelivered = page.locator(".undelivered")
        await expect(undelivered).to_contain_text("Not delivered: Not enough rights")
        assert site.telegram.seen(3) == []
        await undelivered.get_by_role("button", name="Try again").click()
        await expect(undelivered).to_have_count(0)
        await site.telegram.simulator.until(lambda: site.telegram.seen(3))
        clean(record)


async def test_a_user_gets_limits_of_their_own_and_the_usual_ones_again(site: Site) -> None:
    await site.answered(4, "Hello")
    async with site.at("/users") as (page, record):
        await page.get_by_role("searchbox").fill("1004")
        await expect(page.locator(".row")).to_have_count(1)
        await page.locator(".row").click()
        await expect(page.get_by_role("heading", name="1004")).to_be_focused()
        await page.get_by_label("Messages a minute").fill("3")
        await page.get_by_label("Tokens a day").fill("0")
        await page.get_by_role("button", name="Save").click()
        assert await page.get_by_label("Tokens a day").evaluate("box => !box.validity.valid"), "the browser says so"
        await page.get_by_label("Tokens a day").fill("5000")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_text("Saved.")).to_be_visible()
        await expect(page.locator(".row")).to_contain_text("Own limits")
        await expect(page.get_by_role("meter", name="Tokens")).to_have_attribute("max", "5000")
        await page.reload()
        await expect(page.get_by_label("Messages a minute")).to_have_value("3")
        await page.get_by_role("button", name="Back to the usual").click()
        await expect(page.get_by_label("Messages a minute")).to_have_value("")
        await expect(page.locator(".row")).not_to_contain_text("Own limits")
        clean(record)


async def test_a_blocked_user_is_answered_no_more_until_unblocked(site: Site) -> None:
    await site.answered(5, "Hello")
    async with site.at(f"/conversations/{await site.conversation(5)}") as (page, record):
        await page.get_by_role("link", name="User", exact=True).click()
        await page.get_by_role("button", name="Block", exact=True).click()
        dialog = page.get_by_role("dialog", name="Block 1005?")
        await expect(dialog).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(dialog).to_be_hidden()
        await expect(page.get_by_role("button", name="Block", exact=True)).to_be_focused()
        await page.keyboard.press("Enter")
        await dialog.get_by_role("button", name="Block", exact=True).click()
        await expect(page.get_by_role("button", name="Unblock")).to_be_visible()
        await expect(page.locator(".head")).to_contain_text("Blocked")
        await site.telegram.say(5, "Anybody there?")
        await site.until(5, "blocked")
        assert len(site.telegram.seen(5)) == 1
        await page.get_by_role("button", name="Unblock").click()
        await expect(page.get_by_role("button", name="Block", exact=True)).to_be_visible()
        await site.answered(5, "And now?")
        clean(record)


async def test_a_user_is_erased_after_it_was_typed(site: Site) -> None:
    await site.answered(6, "Forget me")
    number = await site.conversation(6)
    async with site.at(f"/conversations/{number}") as (page, record):
        await page.get_by_role("link", name="User", exact=True).click()
        await page.get_by_role("button", name="Erase this user").click()
        dialog = page.get_by_role("dialog", name="Erase this user?")
        await expect(dialog).to_contain_text("1 message and its reply")
        erase = dialog.get_by_role("button", name="Erase for good")
        await dialog.get_by_role("textbox").fill("telegram:1005")
        await expect(erase).to_be_disabled()
        await page.keyboard.press("Enter")
        await expect(dialog).to_be_visible()
        await dialog.get_by_role("textbox").fill("telegram:1006")
        await erase.click()
        await expect(page).to_have_url(f"{site.url}/console/users")
        await expect(page.locator(".row").filter(has_text="1006")).to_have_count(0)
        await page.goto(f"{site.url}/console/conversations/{number}")
        await expect(page.get_by_role("heading", name="Erased user")).to_be_visible()
        await expect(page.locator(".bubble.theirs .text")).to_have_text("(no words)")
        assert "1006" not in await page.content() and "Forget me" not in await page.content()
        await page.get_by_role("link", name="User", exact=True).click()
        await expect(page.get_by_role("heading", name="Erased user")).to_be_visible()
        await expect(page.get_by_role("button", name="Erase this user")).to_have_count(0)
        await page.goto(f"{site.url}/console/conversations/999999")
        await expect(page.get_by_text("This conversation does not exist any more")).to_be_visible()
        clean(record, GONE)


async def test_who_may_only_look_is_shown_no_button_that_is_not_theirs(site: Site) -> None:
    await site.answered(7, "Hello")
    await set_aside(site, 7, "Then this")
    number = await site.conversation(7)
    async with site.at(f"/conversations/{number}", "viewer") as (page, record):
        await expect(page.get_by_text("May only look")).to_be_visible()
        await expect(page.locator(".bubble.theirs").last).to_contain_text("Set aside")
        await expect(page.locator(".bubble.ours")).to_have_count(2)
        assert await names(page, ".log button") == []
        await page.get_by_role("link", name="User", exact=True).click()
        await expect(page.get_by_text("Messages a minute")).to_be_visible()
        assert await names(page, ".scroll :is(button, input, textarea)") == []
        await page.get_by_role("link", name="Health").click()
        await expect(page.locator(".stuck li")).not_to_have_count(0)
        assert await names(page, ".page button") == ["Last hour", "Last day"]
        clean(record)


async def names(page: Page, selector: str) -> list[str]:
    return [text.strip() for text in await page.locator(selector).all_inner_texts()]


async def test_what_people_write_is_text_wherever_it_is_shown(site: Site) -> None:
    evil = '<img src=x onerror="document.title=1">\u0001</mark><b>bold</b>\u0002 needle'
    await site.answered(8, evil)
    async with site.at("?search=needle") as (page, record):
        row = page.locator(".row").filter(has_text="1008")
        await expect(row.locator("mark").first).to_have_text("needle")
        await row.click()
        await expect(page.locator(".bubble.theirs .text")).to_contain_text('<img src=x onerror="document.title=1">')
        assert await page.locator(":is(.row-text, .bubble) :is(img, b:not(.row-text > b))").count() == 0
        await page.goto(f"{site.url}/console/users/%3Cimg%3E?search=%3Cb%3E")
        await expect(page.get_by_text("Nothing found")).to_be_visible()
        clean(record)
