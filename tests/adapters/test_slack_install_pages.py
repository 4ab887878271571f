"""The pages of an installation: what they ask for, and that no visitor leaves anything behind who has no code."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from adapters.slack.installing import STATE_SECONDS
from tests.adapters.slack_house import Browser, House

# slack_sdk's way of sending the client's secret, which aiohttp 4 will no longer have.
pytestmark = pytest.mark.filterwarnings("ignore:BasicAuth is deprecated:DeprecationWarning")
NOW = 1_790_000_000.0


def house_of(public_url: str = "", **settings: Any) -> House:
    return House(several=True, public_url=public_url, **settings)


async def test_the_pages_ask_for_what_is_needed_and_leave_nothing_behind() -> None:
    async with house_of(public_url="https://bot.example.com") as house:
        link = await Browser(house).begin()
        asked = parse_qs(urlsplit(link).query)
        assert link.startswith(house.simulator.base_url.removesuffix("/api/") + "/oauth/v2/authorize?")
        assert asked["redirect_uri"] == ["https://bot.example.com/slack/oauth_redirect"]
        assert asked["scope"] == ["chat:write,app_mentions:read,im:history,commands"]
        async with aiohttp.ClientSession() as http, http.get(f"{house.address}/slack/install") as answer:
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
            assert (answer.headers["Cache-Control"], answer.headers["Referrer-Policy"]) == ("no-store", "no-referrer")
            cookie = answer.headers["Set-Cookie"]
            assert "Secure" in cookie and "HttpOnly" in cookie
        assert house.gateway.facts == {}


async def test_a_code_works_in_the_browser_that_asked_and_nowhere_else() -> None:
    async with house_of() as house:
        one = house.simulator.add("T1", "UB1")
        back = await Browser(house).allow(one)
        status, _, page = await Browser(house).get(back)
        assert (status, "invalid_browser" in page) == (400, True)
        assert house.gateway.facts == {}


async def test_a_forged_or_old_state_is_refused() -> None:
    now = NOW
    async with house_of(clock=lambda: now) as house:
        browser = Browser(house)
        back = await browser.allow(house.simulator.add("T1", "UB1"))
        state = parse_qs(urlsplit(back).query)["state"][0]
        said, _, signature = state.rpartition(".")
        ends, _, rest = said.partition(".")
        for forged in (f"{int(ends) + 1}.{rest}.{signature}", "x", f"{said}.", f"é.{signature}"):
            (name,) = browser.cookies
            browser.cookies[name] = forged
            status, _, page = await browser.get(back.replace(state, forged))
            assert status in (400, 401), page
        browser.cookies[name] = state
        now += STATE_SECONDS
        status, _, page = await browser.get(back)
        assert (status, "invalid_state" in page) == (401, True)
        assert house.simulator.workspace.counts["oauth.v2.access"] == 0
        assert house.gateway.facts == {}


async def test_a_code_that_slack_does_not_know_installs_nothing() -> None:
    async with house_of() as house:
        browser = Browser(house)
        back = await browser.allow(house.simulator.add("T1", "UB1"))
        code = parse_qs(urlsplit(back).query)["code"][0]
        status, _, page = await browser.get(back.replace(code, "guessed"))
        assert (status, "invalid_code" in page) == (401, True)
        assert house.gateway.facts == {}


async def test_who_declines_or_asks_too_often_installs_nothing() -> None:
    async with house_of() as house:
        house.simulator.grants.declines = True
        browser = Browser(house)
        back = await browser.allow(house.simulator.add("T1", "UB1"))
        status, _, page = await browser.get(back.replace("access_denied", "<script>"))
        assert status == 200
        assert "<script>" not in page
        house.gateway.tired = True
        for path in ("install", "oauth_redirect"):
            assert (await browser.get(f"{house.address}/slack/{path}"))[0] == 429
        assert house.gateway.facts == {}


async def test_an_installation_that_cannot_be_stored_is_not_said_to_be_done() -> None:
    async with house_of() as house:
        browser = Browser(house)
        back = await browser.allow(house.simulator.add("T1", "UB1"))
        house.gateway.failures = 1
        assert (await browser.get(back))[0] == 503


async def test_a_slack_that_cannot_be_reached_is_said_to_be_that() -> None:
    async with house_of() as house:
        browser = Browser(house)
        back = await browser.allow(house.simulator.add("T1", "UB1"))
        house.simulator.grants.unreachable = True
        status, _, page = await browser.get(back)
        assert status == 502
        assert "begin again" in page


async def test_an_agent_asks_for_its_view() -> None:
    async with house_of(streaming="native") as house:
        asked = parse_qs(urlsplit(await Browser(house).begin()).query)
        assert "assistant:write" in asked["scope"][0].split(",")
