"""The API's keys in a real browser: made, copied, used, seen once, revoked; by the keyboard; not by who only looks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.journey.console_house import PHONE, Site, clean, served

pytestmark = [pytest.mark.browser, pytest.mark.process, pytest.mark.asyncio(loop_scope="module")]

# As for a page that came without https: the browser lends no clipboard but in the old way.
INSECURE = "Object.defineProperty(Navigator.prototype, 'clipboard', {get: () => undefined})"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with served(tmp_path_factory.mktemp("console")) as there:
        yield there


async def status(site: Site, key: str) -> int:
    """What the API answers to who comes with that key."""
    answer = await site.http.get(f"{site.url}/v1/models", headers={"Authorization": f"Bearer {key}"})
    return answer.status


async def create(page: Page, name: str) -> str:
    """Make a key with the mouse; what the open dialog shows of it."""
    await page.get_by_role("button", name="Create a key").click()
    await page.get_by_label("Name").fill(name)
    await page.get_by_role("dialog").get_by_role("button", name="Create a key").click()
    return await page.get_by_role("dialog", name=f"The key “{name}”").get_by_label("Key").input_value()


async def test_a_key_is_made_copied_used_seen_once_and_revoked(site: Site) -> None:
    async with site.at("", permissions=["clipboard-read", "clipboard-write"]) as (page, record):
        await page.get_by_role("link", name="API keys").click()
        await expect(page).to_have_title("API keys · Frontdesk")
        await expect(page.get_by_text("No keys yet")).to_be_visible()
        await expect(page.locator(".example")).to_have_text(
            f'curl -H "Authorization: Bearer $KEY" {site.url}/v1/models'
        )
        await expect(page.get_by_text("FRONTDESK_API_KEYS")).to_contain_text("not listed here")
        shown = await create(page, "the <b>shop</b>")
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text("it is not shown again")
        await dialog.get_by_role("button", name="Copy").click()
        await expect(dialog.get_by_role("status")).to_have_text("Copied.")
        secret = await page.evaluate("navigator.clipboard.readText()")
        assert secret == shown and await status(site, secret) == 200
        await page.keyboard.press("Escape")
        await page.mouse.click(5, 400)  # beside it
        await expect(dialog.get_by_label("Key")).to_have_value(secret)
        await dialog.get_by_role("button", name="Done").click()
        await expect(dialog).to_be_hidden()
        assert secret not in await page.content()
        await page.reload()
        row = page.locator(".key")
        await expect(row).to_contain_text("the <b>shop</b>#1all bots and the raw model · the usual limit · created")
        assert secret not in await page.content() and secret not in page.url
        await row.get_by_role("button", name="Revoke the <b>shop</b>").click()
        sure = page.get_by_role("dialog", name="Revoke “the <b>shop</b>”?")
        await expect(sure).to_contain_text("It cannot be undone.")
        await page.keyboard.press("Escape")
        await expect(sure).to_be_hidden()
        await expect(row.get_by_role("button")).to_be_focused()
        assert await status(site, secret) == 200
        await row.get_by_role("button").click()
        await sure.get_by_role("button", name="Revoke").click()
        await expect(page.get_by_text("“the <b>shop</b>” opens nothing any more.")).to_be_visible()
        assert await status(site, secret) == 401
        await expect(row.locator(".tag")).to_have_text("Revoked")
        await expect(row.get_by_role("button")).to_have_count(0)
        await expect(page.get_by_role("button", name="Create a key")).to_be_focused()
        clean(record)


async def test_the_keyboard_alone_makes_a_key_with_bots_and_a_rate(site: Site) -> None:
    async with site.at("/keys") as (page, record):
        press = page.keyboard.press
        await page.get_by_role("button", name="Create a key").focus()
        await press("Enter")
        await expect(page.get_by_label("Name")).to_be_focused()
        await page.keyboard.type("   ")
        await press("Enter")
        assert await page.get_by_label("Name").evaluate("box => !box.validity.valid"), "the browser says so"
        await page.keyboard.type("from the keyboard")
        await press("Tab")
        await expect(page.get_by_role("checkbox", name="support")).to_be_focused()
        await press("Space")
        await press("Tab")
        await page.keyboard.type("1200")
        await press("Enter")
        dialog = page.get_by_role("dialog", name="The key “from the keyboard”")
        await expect(dialog.get_by_role("button", name="Copy")).to_be_focused()
        await press("Tab")
        await press("Enter")
        await expect(dialog).to_be_hidden()
        await expect(page.get_by_role("button", name="Create a key")).to_be_focused()
        row = page.locator(".key").first
        await expect(row).to_contain_text("support · 1,200 requests a minute")
        clean(record)


async def test_without_https_a_key_is_copied_all_the_same(site: Site) -> None:
    async with site.at("/keys", **PHONE) as (page, record):
        await page.add_init_script(INSECURE)
        await page.reload()
        secret = await create(page, "on a phone")
        dialog = page.get_by_role("dialog")
        await dialog.get_by_role("button", name="Copy").click()
        await expect(dialog.get_by_role("status")).to_have_text("Copied.")
        await dialog.get_by_role("button", name="Done").click()
        await page.get_by_role("button", name="Create a key").click()
        await expect(page.get_by_label("Name")).to_be_focused()
        await page.keyboard.press("Control+V")
        await expect(page.get_by_label("Name")).to_have_value(secret)
        clean(record)


async def test_a_refusal_is_said_where_it_was_asked_for(site: Site) -> None:
    async with site.at("/keys") as (page, record), site.at("/keys") as (other, _):
        await create(page, "pressed twice")
        await page.get_by_role("button", name="Done").click()
        await other.reload()
        for one in (page, other):
            await one.get_by_role("button", name="Revoke pressed twice").click()
            await one.get_by_role("dialog").get_by_role("button", name="Revoke").click()
        await expect(page.get_by_text("“pressed twice” opens nothing any more.")).to_be_visible()
        await expect(other.get_by_role("alert")).to_have_text("It does not exist any more.")
        clean(record)


async def test_who_may_only_look_sees_the_keys_and_no_button(site: Site) -> None:
    async with site.at("/keys") as (page, _):
        await create(page, "to be looked at")
    async with site.at("/keys", "viewer") as (page, record):
        await expect(page.locator(".key").first).to_contain_text("to be looked at")
        await expect(page.locator(".page :is(button, input, textarea)")).to_have_count(0)
        clean(record)


async def test_an_api_that_is_switched_off_is_said(tmp_path: Path) -> None:
    async with served(tmp_path, FRONTDESK__API__ENABLED="false") as there, there.at("/keys") as (page, record):
        await expect(page.get_by_text("The API is switched off: no key opens it now.")).to_be_visible()
        clean(record)
