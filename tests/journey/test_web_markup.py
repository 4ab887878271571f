"""The model's Markdown in a real browser: the elements it becomes, how they fit a bubble, and that nothing runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.adapters.web_house import ENGLISH, House, served
from tests.browser import chromium, visit
from tests.journey.test_web_page import PHONE, clean, write

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as launched:
        yield launched


# The model's Markdown, and beside it the elements that it becomes.
MARKDOWN = """# Your **order**

Write <order-id> or <b>x</b>, see [the shop](https://shop.example.com/a_(b)?c=1&d=2), *please*. **“重点”**内容

1. one `a < b`
2. two
   - ~~three~~

| item | price |
|:-----|------:|
| **tea** | 3 |

```py
print("<script>document.title='code'</script>")
```

> quoted

---

<script>document.title='script'</script> <img src=x onerror="document.title='image'"> [x](javascript:alert(1))
![y](javascript:alert(2)) <javascript:alert(3)> [z](data:text/html,<script>alert(4)</script>) <!-- hidden? -->"""
ELEMENTS = (
    "<h3>Your <strong>order</strong></h3>"
    "<p>Write &lt;order-id&gt; or &lt;b&gt;x&lt;/b&gt;, see "
    '<a href="https://shop.example.com/a_(b)?c=1&amp;d=2" target="_blank" '
    'rel="noopener noreferrer nofollow">the shop</a>'
    ", <em>please</em>. <strong>“重点”</strong>内容</p>"
    '<ol start="1"><li>one <code>a &lt; b</code></li><li>two<ul><li><s>three</s></li></ul></li></ol>'
    '<div class="wide" tabindex="0"><table><tr><th class="left">item</th><th class="right">price</th></tr>'
    '<tr><td class="left"><strong>tea</strong></td><td class="right">3</td></tr></table></div>'
    '<pre tabindex="0"><code>print("&lt;script&gt;document.title=\'code\'&lt;/script&gt;")</code></pre>'
    "<blockquote><p>quoted</p></blockquote><hr>"
    "<p>&lt;script&gt;document.title='script'&lt;/script&gt; "
    "&lt;img src=x onerror=\"document.title='image'\"&gt; [x](javascript:alert(1))<br>"
    "![y](javascript:alert(2)) &lt;javascript:alert(3)&gt; [z](data:text/html,&lt;script&gt;alert(4)&lt;/script&gt;) "
    "&lt;!-- hidden? --&gt;</p>"
)


async def test_what_the_bot_says_is_markdown_and_runs_nothing(browser: Browser) -> None:
    async with served(House()) as site, visit(browser, f"{site.url}/chat") as (page, record):
        key = await write(site, page, "**hello**")
        body = page.locator(".bubble.bot .text").last
        for end in range(1, len(MARKDOWN), 7):
            await site.grow(key, 1, MARKDOWN[:end].strip())
        await site.grow(key, 1, MARKDOWN)
        await expect(body).to_contain_text("hidden?")
        assert await body.inner_html() == ELEMENTS
        await site.answer(key, 1, MARKDOWN)
        await expect(page.locator(".growing")).to_have_count(0)
        assert await body.inner_html() == ELEMENTS
        await expect(page.locator("#said")).to_contain_text("Your order")
        await page.reload()
        await expect(body).to_contain_text("hidden?")
        assert await body.inner_html() == ELEMENTS
        await expect(page.locator(".bubble.user .text")).to_have_text("**hello**")
        await expect(page).to_have_title(ENGLISH["chat_title"])
        async with page.expect_popup() as opened:
            await page.context.route("https://shop.example.com/**", lambda route: route.fulfill(body="the shop"))
            await body.locator("a").click()
        shop = await opened.value
        assert await shop.evaluate("opener") is None
        record.hosts.discard("shop.example.com")
        clean(site, record)


@pytest.mark.parametrize("look", ["light", "dark"])
async def test_what_is_wide_scrolls_inside_its_bubble(browser: Browser, tmp_path: Path, look: str) -> None:
    cells = "|".join(f"column number {number}" for number in range(9))
    code = f"```\n{'long line ' * 30}\n```"
    async with (
        served(House()) as site,
        visit(browser, f"{site.url}/chat", color_scheme=look, **PHONE) as (page, record),
    ):
        key = await write(site, page, "hello")
        await site.answer(key, 1, f"{MARKDOWN}\n\n{code}\n\n|{cells}|\n{'|-' * 9}|\n|{cells}|")
        await expect(page.locator(".bubble table")).to_have_count(2)
        await page.screenshot(path=tmp_path / f"wide-{look}.png")
        assert await page.evaluate("log.scrollWidth") <= 360
        for box in (page.locator("pre").last, page.locator(".wide").last):
            inside, outside = await box.evaluate("(box) => [box.scrollWidth, box.clientWidth]")
            assert inside > outside
        colors = "(box) => [getComputedStyle(box).backgroundColor, getComputedStyle(box).color]"
        ground, ink = [
            sum(int(part) for part in color[4:-1].split(","))
            for color in await page.locator("pre").last.evaluate(colors)
        ]
        assert abs(ground - ink) > 300
        assert (ground > ink) is (look == "light")
        clean(site, record)


async def test_a_page_that_is_told_something_unknown_makes_text_of_it(browser: Browser) -> None:
    nodes = [{"t": "script", "c": ["document.title='node'"]}, {"t": "a", "c": ["b"], "href": "javascript:alert(1)"}]
    build = "async (nodes) => { const {build} = await import(`${document.querySelector('script').src}/../markup.js`); "
    async with served(House()) as site, visit(browser, f"{site.url}/chat") as (page, record):
        made = await page.evaluate(
            build + "const box = document.createElement('p'); box.append(build(nodes)); "
            "document.body.append(box); return box.innerHTML; }",
            nodes,
        )
        assert made == "<span>document.title='node'</span><span>b</span>"
        await expect(page).to_have_title(ENGLISH["chat_title"])
        clean(site, record)
