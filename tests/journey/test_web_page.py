"""The page in a real browser: what customers see, on a desk and a phone, in two languages, over a bad connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from adapters.web.settings import Settings
from core.channel import EngineStatus
from core.types import ConversationKey
from tests.adapters.web_house import CHINESE, ENGLISH, House, Site, served
from tests.browser import Record, chromium, visit

# One browser for all of them; each visitor is a profile of its own.
pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

PHONE = {"viewport": {"width": 360, "height": 640}, "is_mobile": True, "has_touch": True}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as launched:
        yield launched


async def write(site: Site, page: Page, text: str) -> ConversationKey:
    """Type a message and send it with Enter; returns its conversation."""
    site.house.accepted.clear()
    await page.get_by_role("textbox").fill(text)
    await page.keyboard.press("Enter")
    async with asyncio.timeout(10):
        await site.house.accepted.wait()
    return site.house.received[-1].conversation


async def shows(page: Page, *texts: str) -> None:
    """The bubbles after the greeting, in order."""
    await expect(page.locator(".bubble .text")).to_have_text([ENGLISH["chat_greeting"], *texts], use_inner_text=True)


def clean(site: Site, record: Record) -> None:
    assert record.errors == []
    assert record.hosts == {urlsplit(site.url).netloc}


async def test_a_reply_grows_becomes_whole_and_survives_a_reload(browser: Browser) -> None:
    async with served(House()) as site, visit(browser, f"{site.url}/chat") as (page, record):
        await expect(page).to_have_title(ENGLISH["chat_title"])
        key = await write(site, page, "Where is my order?")
        await shows(page, "Where is my order?")
        await expect(page.locator("#typing")).to_be_visible()
        await site.grow(key, 1, "It left")
        await shows(page, "Where is my order?", "It left")
        await expect(page.locator("#typing")).to_be_hidden()
        await site.grow(key, 1, "It left our warehouse 😀\nthis")
        await shows(page, "Where is my order?", "It left our warehouse 😀\nthis")
        await site.grow(key, 1, "It left our warehouse 😀\nthis morning")
        await shows(page, "Where is my order?", "It left our warehouse 😀\nthis morning")
        await expect(page.locator(".growing")).to_have_count(1)
        await site.answer(key, 1, "It left our warehouse 😀\nthis morning.")
        await shows(page, "Where is my order?", "It left our warehouse 😀\nthis morning.")
        await expect(page.locator(".growing")).to_have_count(0)
        await expect(page.locator("#said")).to_have_text("It left our warehouse 😀 this morning.")
        await page.reload()
        await shows(page, "Where is my order?", "It left our warehouse 😀\nthis morning.")
        clean(site, record)


async def test_a_connection_cut_in_the_middle_of_a_reply(browser: Browser) -> None:
    async with served(House()) as site, visit(browser, f"{site.url}/chat") as (page, record):
        key = await write(site, page, "Count, please")
        await site.grow(key, 1, "One, two")
        await shows(page, "Count, please", "One, two")
        site.cut()
        await site.grow(key, 1, "One, two, three")
        await shows(page, "Count, please", "One, two, three")
        await site.grow(key, 1, "One, two, three, four")
        await shows(page, "Count, please", "One, two, three, four")
        site.cut()
        await site.answer(key, 1, "One, two, three, four, five.")
        await shows(page, "Count, please", "One, two, three, four, five.")
        await expect(page.locator(".growing")).to_have_count(0)
        assert all("ERR_" in error for error in record.errors)


async def test_a_message_written_while_the_server_is_away_arrives_once(browser: Browser) -> None:
    async with served(House()) as site, visit(browser, f"{site.url}/chat") as (page, record):
        key = await write(site, page, "first")
        await site.answer(key, 1, "answer")
        await shows(page, "first", "answer")
        await site.stop()
        await expect(page.get_by_role("status")).to_have_text(ENGLISH["chat_offline"])
        await page.get_by_role("textbox").fill("second")
        await page.keyboard.press("Enter")
        await expect(page.locator(".failed")).to_contain_text(ENGLISH["chat_failed_send"])
        await expect(page.get_by_role("button", name=ENGLISH["chat_retry"])).to_be_visible()
        site.house.accepted.clear()
        await site.start()
        async with asyncio.timeout(20):
            await site.house.accepted.wait()
        await shows(page, "first", "answer", "second")
        await expect(page.locator(".failed")).to_have_count(0)
        await expect(page.get_by_role("status")).to_be_hidden()
        assert [message.text for message in site.house.received] == ["first", "second"]
        assert all("ERR_" in error for error in record.errors)


async def test_an_answer_lost_on_the_way_is_no_second_message(browser: Browser) -> None:
    async with served(House()) as site, visit(browser, f"{site.url}/chat") as (page, _):
        await expect(page.get_by_role("status")).to_be_hidden()
        lost = 0

        async def lose(route: object) -> None:
            nonlocal lost
            lost += 1
            await (route.fetch() if lost == 1 else asyncio.sleep(0))  # type: ignore[attr-defined]
            await (route.abort() if lost == 1 else route.continue_())  # type: ignore[attr-defined]

        await page.route("**/chat/messages", lose)
        await write(site, page, "only once")
        await shows(page, "only once")
        await page.reload()
        await shows(page, "only once")
        assert len(site.house.received) == 1


async def test_a_page_whose_cookie_is_gone_gets_another(browser: Browser) -> None:
    async with served(House()) as site, visit(browser, f"{site.url}/chat") as (page, _):
        first = await write(site, page, "before")
        await shows(page, "before")
        await page.context.clear_cookies()
        second = await write(site, page, "after")
        assert second != first
        site.cut()
        await shows(page, "after")


async def test_two_tabs_of_one_visitor(browser: Browser) -> None:
    async with served(House()) as site, visit(browser, f"{site.url}/chat") as (page, record):
        other = await page.context.new_page()
        await other.goto(f"{site.url}/chat")
        await expect(other.get_by_role("status")).to_be_hidden()
        key = await write(site, page, "hello")
        await site.grow(key, 1, "growing")
        await shows(other, "hello", "growing")
        await site.answer(key, 1, "growing and whole")
        await shows(other, "hello", "growing and whole")
        await shows(page, "hello", "growing and whole")
        clean(site, record)


async def test_a_chinese_browser_reads_chinese(browser: Browser) -> None:
    async with served(House()) as site, visit(browser, f"{site.url}/chat", locale="zh-CN") as (page, record):
        await expect(page).to_have_title(CHINESE["chat_title"])
        await expect(page.locator(".bubble")).to_contain_text(CHINESE["chat_greeting"])
        await expect(page.get_by_role("textbox")).to_have_attribute("placeholder", CHINESE["chat_placeholder"])
        await expect(page.get_by_role("button", name=CHINESE["chat_send"])).to_be_visible()
        await write(site, page, "我的订单到哪里了？")
        assert site.house.received[0].language == "zh"
        clean(site, record)


async def test_a_phone_never_scrolls_sideways(browser: Browser) -> None:
    async with served(House()) as site, visit(browser, f"{site.url}/chat", **PHONE) as (page, record):
        key = await write(site, page, "https://shop.example.com/" + "path/" * 40 + " " + "长" * 300)
        await site.answer(key, 1, "W" * 400 + "\n" + "\n".join(f"line {number}" for number in range(60)))
        await expect(page.locator(".bubble.bot")).to_have_count(2)
        width = await page.evaluate(
            "[document.documentElement.scrollWidth, document.getElementById('log').scrollWidth]"
        )
        assert max(width) <= 360
        await expect(page.locator(".bubble.bot .text").last).to_contain_text("line 59")
        # The newest line is in sight, and so is the box.
        gap = await page.evaluate(
            "(({scrollHeight, scrollTop, clientHeight}) => scrollHeight - scrollTop - clientHeight)(log)"
        )
        assert gap <= 1
        await expect(page.get_by_role("textbox")).to_be_in_viewport()
        # Who reads further up is left there, and finds the way down.
        await page.evaluate("log.scrollTop = 100")
        await expect(page.locator("#jump")).to_be_visible()
        await site.answer(key, 2, "more")
        await expect(page.locator(".bubble.bot")).to_have_count(3)
        assert await page.evaluate("log.scrollTop") == 100
        await page.locator("#jump").click()
        await expect(page.locator(".bubble.bot").last).to_be_in_viewport()
        clean(site, record)


async def test_enter_sends_shift_enter_breaks_and_an_input_method_composes(browser: Browser) -> None:
    async with served(House()) as site, visit(browser, f"{site.url}/chat") as (page, record):
        await expect(page.get_by_role("status")).to_be_hidden()
        box = page.get_by_role("textbox")
        await expect(box).to_be_focused()
        small = await box.evaluate("(box) => box.offsetHeight")
        await box.press_sequentially("one")
        await page.keyboard.press("Shift+Enter")
        await box.press_sequentially("two")
        await expect(box).to_have_value("one\ntwo")
        assert await box.evaluate("(box) => box.offsetHeight") > small
        compose = "(box, how) => box.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', bubbles: true, ...how}))"
        await box.evaluate(compose, {"isComposing": True})
        await box.evaluate(compose, {"keyCode": 229})
        await expect(box).to_have_value("one\ntwo")
        assert site.house.received == []
        await write(site, page, "one\ntwo")
        await shows(page, "one\ntwo")
        await expect(box).to_have_value("")
        await box.fill("   ")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("button", name=ENGLISH["chat_send"])).to_be_disabled()
        await box.fill("by button")
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("button", name=ENGLISH["chat_send"])).to_be_focused()
        await page.keyboard.press("Enter")
        await shows(page, "one\ntwo", "by button")
        clean(site, record)


async def test_what_a_visitor_writes_is_text_and_only_web_addresses_are_links(browser: Browser) -> None:
    evil = (
        '<img src=x onerror="document.title=1"> javascript:alert(1) see https://shop.example.com/a?b=1&c=2). **bold**'
    )
    async with served(House()) as site, visit(browser, f"{site.url}/chat") as (page, record):
        await write(site, page, evil)
        await shows(page, evil)
        link = page.locator(".bubble a")
        await expect(link).to_have_count(1)
        await expect(link).to_have_attribute("href", "https://shop.example.com/a?b=1&c=2")
        assert "noopener" in (await link.get_attribute("rel") or "")
        assert await page.locator(".bubble img, .bubble strong").count() == 0
        clean(site, record)


async def test_while_the_engine_loads_one_can_write(browser: Browser) -> None:
    house = House()
    house.status = EngineStatus(False, "starting")
    async with served(house) as site, visit(browser, f"{site.url}/chat") as (page, record):
        await expect(page.get_by_role("status")).to_have_text(ENGLISH["chat_engine_loading"])
        await write(site, page, "already")
        house.status = EngineStatus(True, "ready")
        await expect(page.get_by_role("status")).to_be_hidden()
        clean(site, record)


async def test_too_long_and_too_many(browser: Browser) -> None:
    async with (
        served(House(), Settings(messages_per_minute_per_ip=1)) as site,
        visit(browser, f"{site.url}/chat") as (page, _),
    ):
        box = page.get_by_role("textbox")
        await box.fill("😀" * 4_000)
        await expect(page.get_by_role("alert")).to_be_empty()
        await box.fill("😀" * 4_001)
        await expect(page.get_by_role("alert")).to_have_text(ENGLISH["chat_too_long"].replace("{limit}", "4,000"))
        await page.keyboard.press("Enter")
        await expect(box).not_to_have_value("")
        await write(site, page, "short")
        await box.fill("one too many")
        await page.keyboard.press("Enter")
        await expect(page.locator(".failed")).to_contain_text("one too many")
        await page.reload()  # what is not sent is kept
        await expect(page.locator(".bubble.user .text")).to_have_text(["short", "one too many"], use_inner_text=True)
        site.now += 60
        site.house.accepted.clear()
        await page.get_by_role("button", name=ENGLISH["chat_retry"]).click()
        async with asyncio.timeout(10):
            await site.house.accepted.wait()
        await expect(page.locator(".failed")).to_have_count(0)


@pytest.mark.parametrize("look", ["light", "dark"])
async def test_looks(browser: Browser, tmp_path: Path, look: str) -> None:
    async with served(House()) as site, visit(browser, f"{site.url}/chat", color_scheme=look) as (page, record):
        key = await write(site, page, "Hello")
        await site.answer(key, 1, "Hi there!")
        await shows(page, "Hello", "Hi there!")
        await page.screenshot(path=tmp_path / f"{look}.png")
        ground, ink = await page.evaluate(
            "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
        )
        brightness = [sum(int(part) for part in color[4:-1].split(",")) for color in (ground, ink)]
        assert (brightness[0] > brightness[1]) is (look == "light")
        clean(site, record)
