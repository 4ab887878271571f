"""Chromium for the tests of our pages (the machine's, or else Playwright's own), and a record of what went wrong."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request, async_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A running browser. Without one the test is skipped, but fails where CI is set: there it must not pass unseen."""
    installed = next((path for name in NAMES if (path := shutil.which(name))), None)
    async with async_playwright() as playwright:
        path = installed or playwright.chromium.executable_path
        if not Path(path).exists():
            words = "no Chromium: install the package chromium, or run `playwright install chromium`"
            if os.environ.get("CI"):
                pytest.fail(words)
            pytest.skip(words)
        browser = await playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        try:
            yield browser
        finally:
            await browser.close()


@dataclass  # without slots: Playwright leaves a mark on whom it calls
class Record:
    """What a page complained about, and whom it asked."""

    errors: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    waits: set[str] = field(default_factory=set)  # addresses that were asked and have not answered yet

    def watch(self, page: Page) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._asked)
        page.on("requestfinished", lambda request: self.waits.discard(request.url))
        page.on("requestfailed", lambda request: self.waits.discard(request.url))

    def _asked(self, request: Request) -> None:
        self.hosts.add(urlsplit(request.url).netloc)
        self.waits.add(request.url)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)


@asynccontextmanager
async def visit(browser: Browser, url: str, **options: Any) -> AsyncIterator[tuple[Page, Record]]:
    """A fresh visitor's page. `options` are Playwright's: locale, viewport, color_scheme, is_mobile ..."""
    context: BrowserContext = await browser.new_context(**{"locale": "en-US", **options})
    record = Record()
    context.on("page", record.watch)
    try:
        page = await context.new_page()
        await page.goto(url)
        try:
            yield page, record
        except Exception as error:
            words = await page.evaluate("document.body.innerText")
            error.add_note(
                f"{page.url} said: {words[:1000]}\nIt complained: {record.errors}\nUnanswered: {record.waits}"
            )
            raise
    finally:
        await context.close()
