"""The console as its people have it: the real gateway as a process, people who write to it, and browsers signed in."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from playwright.async_api import Browser, Page

from bench.drivers import Telegram
from bench.stand import gateway
from core.engine_simulator import EngineSimulator
from core.simulated_reply import Behaviour
from tests.browser import Record, chromium, visit

HOME = Path(__file__).resolve().parent.parent.parent
PASSWORDS = {"operator": "an operator's word", "viewer": "a viewer's word"}
DESK: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}}
PHONE: dict[str, Any] = {"viewport": {"width": 360, "height": 640}, "is_mobile": True, "has_touch": True}
QUICK = Behaviour(pieces=10, cached_tokens=40)
# One try of a reply, so that a failing engine sets messages aside at once; each browser is somebody else's address.
SETTINGS = {
    "FRONTDESK_CONSOLE_PASSWORD": PASSWORDS["operator"],
    "FRONTDESK_CONSOLE_VIEWER_PASSWORD": PASSWORDS["viewer"],
    "FRONTDESK__SERVER__TRUSTED_PROXIES": '["127.0.0.1"]',
    "FRONTDESK__DIALOGUE__ATTEMPTS": "1",
}
numbers = itertools.count(1)


@dataclass
class Site:
    """A running gateway, its engine and its people; `url` is where it is."""

    url: str
    browser: Browser
    engine: EngineSimulator
    telegram: Telegram
    http: aiohttp.ClientSession
    cookies: dict[str, str] = field(default_factory=dict)

    async def cookie(self, role: str) -> str:
        """A signed-in person's; one for each role."""
        if role not in self.cookies:
            self.cookies[role] = await self.sign_in(role)
        return self.cookies[role]

    async def sign_in(self, role: str) -> str:
        """A cookie of its own."""
        answer = await self.http.post(f"{self.url}/console/api/sign-in", json={"password": PASSWORDS[role]})
        answer.raise_for_status()
        return answer.cookies["frontdesk_console"].value

    async def get(self, path: str, cookie: str) -> Any:
        answer = await self.http.get(
            f"{self.url}/console/api/{path}", headers={"Cookie": f"frontdesk_console={cookie}"}
        )
        answer.raise_for_status()
        return await answer.json()

    async def conversation(self, user: int) -> int:
        """The number of a user's private conversation."""
        page = await self.get("conversations?limit=200", await self.cookie("operator"))
        return next(int(item["id"]) for item in page["items"] if item["user"] == str(1000 + user))

    async def answered(self, user: int, *texts: str) -> None:
        """A user writes, and each time reads the whole reply."""
        for text in texts:
            before = len(self.telegram.seen(user))
            await self.telegram.say(user, text)
            await self._reads(user, before + 1)
            await self.until(user, "answered")

    async def _reads(self, user: int, replies: int) -> None:
        await self.telegram.simulator.until(lambda: len(self.telegram.seen(user)) >= replies, seconds=20)

    async def until(self, user: int, state: str) -> None:
        """Wait for the state of a user's newest message."""
        async with asyncio.timeout(20):
            while True:
                page = await self.get("conversations?limit=200", await self.cookie("operator"))
                if any(item["user"] == str(1000 + user) and item["state"] == state for item in page["items"]):
                    return
                await asyncio.sleep(0.05)

    @asynccontextmanager
    async def at(
        self, path: str, role: str = "operator", *, cookie: str = "", **options: Any
    ) -> AsyncIterator[tuple[Page, Record]]:
        """A browser on a page of the console; `role` "" is nobody yet. `options` are Playwright's."""
        value = cookie or (await self.cookie(role) if role else "")
        address = {"X-Forwarded-For": f"10.0.{next(numbers) % 250}.1"}
        state = {"cookies": [_kept(self.url, value)] if value else [], "origins": []}
        options = {**DESK, "storage_state": state, "extra_http_headers": address, **options}
        async with visit(self.browser, f"{self.url}/console{path}", **options) as (page, record):
            yield page, record


def _kept(url: str, cookie: str) -> dict[str, Any]:
    """A signed-in person's cookie as Playwright keeps it."""
    host = url.removeprefix("http://").partition(":")[0]
    place = {"domain": host, "path": "/console", "expires": -1}
    return {
        "name": "frontdesk_console",
        "value": cookie,
        "httpOnly": True,
        "secure": False,
        "sameSite": "Strict",
        **place,
    }


@asynccontextmanager
async def served(folder: Path, **settings: str) -> AsyncIterator[Site]:
    """A gateway with Telegram, whose engine is a simulated one in this process, and a browser beside it."""
    async with (
        chromium() as browser,
        EngineSimulator(behaviour=QUICK) as engine,
        Telegram() as telegram,
        gateway(
            HOME,
            folder,
            telegram.settings() | {"FRONTDESK__ENGINE__BASE_URL": engine.base_url} | SETTINGS | settings,
        ) as house,
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http,
    ):
        telegram.meet(house.address)
        yield Site(house.address, browser, engine, telegram, http)


def clean(record: Record, *expected: str) -> None:
    """Nothing was complained about (but for what is `expected`), and nobody else was asked: no library, no font."""
    assert [error for error in record.errors if not any(part in error for part in expected)] == []
    assert len(record.hosts) == 1, record.hosts
