"""How the console looks: on a phone and a desk, light and dark, in both languages, with names for those who listen."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from core.engine_simulator import EngineSimulator
from core.simulated_reply import Behaviour, Fault
from tests.journey.console_house import DESK, PHONE, QUICK, Site, clean, served

pytestmark = [pytest.mark.browser, pytest.mark.process, pytest.mark.asyncio(loop_scope="module")]

STATIC = Path(__file__).resolve().parent.parent.parent / "console" / "static"
NOBODY = "401 (Unauthorized)"  # how a browser reports that nobody is signed in
# Everything that is used must have a name, every id is one thing's, every text stands out from what is behind it.
FAULTS = """() => {
    const faults = [];
    const tell = (element, why) => faults.push(`${why}: ${element.outerHTML.slice(0, 120)}`);
    const shown = (element) => element.checkVisibility() && !element.closest("[inert]");
    const words = (element) => (element?.innerText ?? element?.textContent ?? "").trim();
    const labelled = (element) =>
        element.getAttribute("aria-label") || words(document.getElementById(element.getAttribute("aria-labelledby")));
    for (const element of document.querySelectorAll("button, a[href], summary")) {
        if (shown(element) && !labelled(element) && !words(element)) tell(element, "without a name");
    }
    for (const element of document.querySelectorAll("input, select, textarea, meter")) {
        if (shown(element) && !labelled(element) && ![...element.labels].some(words)) tell(element, "without a label");
    }
    for (const element of document.querySelectorAll("section, nav, dialog, [role=log], [role=group]")) {
        if (shown(element) && !labelled(element)) tell(element, "a landmark without a name");
    }
    for (const one of document.querySelectorAll("img:not([alt]), svg:not([aria-hidden])")) tell(one, "no words");
    const ids = [...document.querySelectorAll("[id]")].map(({id}) => id);
    for (const id of new Set(ids.filter((one, place) => ids.indexOf(one) !== place))) faults.push(`twice: ${id}`);
    if (document.querySelectorAll("main").length !== 1) faults.push("not one main");
    if (document.querySelectorAll("h1").length !== 1) faults.push("not one h1");

    const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
    const over = (colours) => {
        canvas.clearRect(0, 0, 1, 1);
        for (const colour of colours) (canvas.fillStyle = colour), canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const light = (colour) => {
        const [red, green, blue] = colour.map((part) => part / 255).map((part) =>
            part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const element = texts.currentNode.parentElement;
        if (!texts.currentNode.data.trim() || !shown(element)) continue;
        if (element.closest(".quiet, :disabled, noscript")) continue;
        const behind = [];
        for (let one = element; one; one = one.parentElement) behind.unshift(getComputedStyle(one).backgroundColor);
        const back = over(behind);
        const both = [light(over([...behind, getComputedStyle(element).color])), light(back)].sort((a, b) => b - a);
        const contrast = (both[0] + 0.05) / (both[1] + 0.05);
        if (contrast < 4.5) tell(element, `contrast ${contrast.toFixed(2)}`);
    }
    return faults;
}"""
# What is wider than its place, and is neither cut with an ellipsis nor a table made to be moved sideways.
WIDER = """() => [...document.querySelectorAll("*")]
    .filter((one) => one.scrollWidth > one.clientWidth + 1 && one.clientWidth && !one.matches(".wide, .quiet"))
    .filter((one) => getComputedStyle(one).textOverflow !== "ellipsis")
    .filter((one) => getComputedStyle(one).overflowX !== "visible" || one === document.documentElement)
    .map((one) => one.className || one.tagName)"""
LOOKS: dict[str, dict[str, Any]] = {
    "desk, light, English": {**DESK, "locale": "en-US", "color_scheme": "light"},
    "desk, dark, Chinese": {**DESK, "locale": "zh-CN", "color_scheme": "dark"},
    "phone, light, Chinese": {**PHONE, "locale": "zh-CN", "color_scheme": "light"},
    "phone, dark, English": {**PHONE, "locale": "en-US", "color_scheme": "dark"},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with served(tmp_path_factory.mktemp("console")) as there:
        wide = "https://shop.example.com/" + "path/" * 40
        await there.answered(1, f"{wide} {'长' * 300}", "我的快递什么时候能到？", "W" * 400)
        there.engine.behaviour = Behaviour(fault=Fault.FAILED)
        await there.telegram.say(1, "This goes wrong")
        await there.until(1, "set_aside")
        there.engine.behaviour = QUICK
        yield there


@pytest.mark.parametrize("look", LOOKS)
async def test_every_page_fits_is_readable_and_has_a_name_for_everything(site: Site, look: str, tmp_path: Path) -> None:
    options = LOOKS[look]
    async with site.at("/sign-in", role="", **options) as (page, record):
        await fits(page, "#password", tmp_path / "sign-in.png")
        clean(record, NOBODY)
    async with site.at("", **options) as (page, record):
        await page.locator(".filters button").click()
        await page.locator(".toolbar button").first.click()
        await fits(page, ".row input", tmp_path / "conversations.png")
        await page.locator(".row").first.click()
        await page.locator(".toolbar button").last.click()
        await fits(page, "dialog", tmp_path / "export.png")
        number = await site.conversation(1)
        await page.goto(f"{site.url}/console/conversations/{number}")
        await page.locator(".marks button").last.click()
        await fits(page, ".note", tmp_path / "conversation.png")
        await page.goto(f"{site.url}/console/health")
        await expect(page.locator(".plot canvas")).to_have_count(4)
        await expect(page.locator(".engines dd")).to_have_text(["0", "0", "0%", "40%"])
        await page.locator(".numbers summary").first.click()
        await fits(page, ".numbers td", tmp_path / "health.png")
        await page.goto(f"{site.url}/console/users/1")
        await page.locator(".button.danger").click()
        await fits(page, "dialog", tmp_path / "user.png")
        await page.goto(f"{site.url}/console/playground")
        await page.locator(".side-card .link").click()
        await page.locator(".question textarea").fill(f"{'长' * 300}")
        await page.locator(".question .strong").click()
        await expect(page.locator(".talk .meta").get_by_text("simulated")).to_have_count(2)
        await page.locator(".prompt").first.fill(f"{{nothing}} {'长W' * 100}")
        await page.locator(".version summary").first.click()
        await fits(page, ".problems", tmp_path / "compared.png")
        await page.locator(".prompt").first.fill("长W" * 100)
        await page.locator(".editor .strong").click()
        await fits(page, "dialog .line-new", tmp_path / "publish.png")
        await page.goto(f"{site.url}/console/keys")
        await page.locator(".keys-head button").click()
        await fits(page, "dialog .options input", tmp_path / "new-key.png")
        await page.locator("dialog input").first.fill("长W" * 50)
        await page.locator("dialog .strong").click()
        await fits(page, ".secret", tmp_path / "secret.png")
        await page.locator("dialog .button").last.click()
        await page.locator(".key .button").first.click()
        await fits(page, "dialog .danger", tmp_path / "revoke.png")
        await page.locator("dialog .danger").click()
        await expect(page.locator("dialog")).to_have_count(0)
        await fits(page, ".key.over", tmp_path / "keys.png")
        dark = await page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(14, 17, 20)"
        assert dark is (options["color_scheme"] == "dark")
        clean(record)


async def fits(page: Page, selector: str, picture: Path) -> None:
    await expect(page.locator(selector).first).to_be_visible()
    assert await page.evaluate(FAULTS) == []
    assert await page.evaluate(WIDER) == []
    await page.screenshot(path=picture)


async def test_an_empty_house_says_what_to_do(tmp_path: Path) -> None:
    async with served(tmp_path) as there, there.at("") as (page, record):
        await expect(page.get_by_text("No conversations yet")).to_be_visible()
        chat = page.get_by_role("link", name="Open the web chat")
        await expect(chat).to_have_attribute("href", "/chat")
        await page.get_by_role("link", name="Users").click()
        await expect(page.get_by_text("No users yet")).to_be_visible()
        await page.get_by_role("link", name="API keys").click()
        await expect(page.get_by_text("No keys yet")).to_be_visible()
        await fits(page, ".example", tmp_path / "keys.png")
        await page.get_by_role("link", name="Health").click()
        await expect(page.get_by_text("Nothing is stuck")).to_be_visible()
        await expect(page.get_by_text("Nothing in this time")).to_have_count(4)
        await fits(page, ".plot canvas", tmp_path / "health.png")
        widths = await page.locator("figure").evaluate_all("all => all.map((one) => Math.round(one.offsetWidth))")
        assert len(set(widths)) == 1 and widths[0] > 500, widths
        clean(record)


async def test_of_several_engines_each_has_its_row(tmp_path: Path) -> None:
    async with EngineSimulator() as engine:
        urls = [engine.base_url, f"http://127.0.0.1:9/{'long-' * 20}way/v1"]
        several = {"FRONTDESK__ENGINE__BASE_URL": "", "FRONTDESK__ENGINE__BASE_URLS": json.dumps(urls)}
        async with (
            served(tmp_path, **several) as there,
            there.at("/health", **LOOKS["phone, light, Chinese"]) as (page, record),
        ):
            rows = page.get_by_role("region", name="引擎").locator(".engines > li")
            await expect(rows.locator("b")).to_have_text(urls)
            await expect(rows.first.get_by_text("就绪")).to_be_visible()
            await expect(rows.first.locator("dd")).to_have_text(["0", "0", "0%", "–"])
            await expect(rows.last.get_by_text("就绪")).to_have_count(0)
            await expect(rows.last.locator("dd")).to_have_text(["–"] * 4)
            await rows.last.scroll_into_view_if_needed()
            await fits(page, ".engines dd", tmp_path / "engines.png")
            clean(record)


async def test_the_language_is_the_browsers_until_another_is_chosen(site: Site) -> None:
    async with site.at("", locale="zh-TW") as (page, record):
        await expect(page.locator("html")).to_have_attribute("lang", "zh")
        await expect(page).to_have_title("对话 · Frontdesk")
        await expect(page.get_by_role("searchbox", name="搜索对话内容")).to_be_visible()
        await page.get_by_role("button", name="English").click()
        await expect(page.get_by_role("searchbox", name="Search what was said")).to_be_visible()
        await page.reload()
        await expect(page.locator("html")).to_have_attribute("lang", "en")
        await expect(page.get_by_role("button", name="中文")).to_be_visible()
        clean(record)


async def test_every_word_is_there_in_both_languages_and_used(site: Site) -> None:
    async with site.at("/sign-in", role="") as (page, _):
        words = await page.evaluate("import('/console/static/words.js').then(({WORDS}) => WORDS)")
    for name, texts in words.items():
        assert len(texts) == 2 and all(text.strip() for text in texts), name
        filled = [set(re.findall(r"{\w+}", text)) for text in texts]
        assert filled[0] == filled[1], name
    code = "\n".join(path.read_text(encoding="utf-8") for path in STATIC.glob("*.js") if path.name != "words.js")
    named = set(re.findall(r'\b(?:say|sayOf)\(\s*"(\w+)"', code))
    assert {name for name in named if not any(other.startswith(f"{name}_") for other in words)} <= words.keys()
    begun = {"state", "stuck", "kind", "engine", "reason"} | set(re.findall(r"say\(`(\w+?)_\$\{", code)) | {"error"}
    unused = {name for name in words if f'"{name}"' not in code and name.split("_")[0] not in begun}
    assert unused == set()


async def test_a_value_that_changes_before_the_first_picture_is_drawn(site: Site) -> None:
    drawn = """async () => {
        const [{html, render}, {Value, useValue}] =
            await Promise.all(["draw", "value"].map((name) => import(`/console/static/${name}.js`)));
        const value = new Value("old"), place = document.createElement("p");
        render(html`<${() => useValue(value)} />`, place);
        value.value = "new";
        for (let picture = 0; picture < 3; picture++) await new Promise(requestAnimationFrame);
        return place.textContent;
    }"""
    async with site.at("/sign-in", role="") as (page, _):
        assert await page.evaluate(drawn) == "new"
