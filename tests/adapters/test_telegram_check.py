"""`main.py check --live` for Telegram: what is wrong is found, and each such finding says how to mend it."""

from __future__ import annotations

import pytest

from adapters.telegram.bot_api import ALLOWED_UPDATES, Webhook
from adapters.telegram.checking import NEEDED, Checks
from adapters.telegram.simulator import Fault
from core.channel import Finding
from tests.adapters.telegram_house import CUSTOMER, SECRET, TOKEN, House, house

NOW = 1_790_000_000.0
URL = "https://bot.example.com/telegram"
SUBJECTS = ["token", "groups", "abilities", "clock", "webhook", "secret", "updates", "kinds"]


def subject(finding: Finding) -> str:
    return finding.subject.removeprefix("telegram: ")


async def look(home: House) -> dict[str, Finding]:
    findings = await home.channel.check()
    for finding in findings:
        assert finding.ok or finding.remedy, finding
        assert TOKEN.partition(":")[2] not in str(finding) and SECRET not in str(finding)
    return {subject(finding): finding for finding in findings}


def hook(**values: object) -> Webhook:
    given: dict[str, object] = {"url": URL, "pending": 0, "kinds": tuple(map(str, ALLOWED_UPDATES))}
    return Webhook(**(given | values))  # type: ignore[arg-type]


def checks(url: str = URL, base_url: str = "https://api.telegram.org") -> Checks:
    return Checks("telegram", url, base_url, lambda: NOW)


def told(checks: Checks, webhook: Webhook) -> dict[str, Finding]:
    return {subject(finding): finding for finding in checks.webhook(webhook)}


async def test_all_is_well() -> None:
    async with house() as home:
        found = await look(home)
    assert list(found) == SUBJECTS
    assert all(finding.ok for finding in found.values())
    assert "@helper_bot" in found["token"].detail
    assert found["webhook"].detail.endswith("/telegram, reached at 127.0.0.1")


@pytest.mark.parametrize("fault", [Fault(401, "Unauthorized"), Fault(404, "Not Found"), Fault(drop=True)])
async def test_without_a_token_there_is_nothing_to_ask(fault: Fault) -> None:
    async with house() as home:
        home.telegram.fail("getMe", fault)
        found = await look(home)
    assert [(name, finding.ok) for name, finding in found.items()] == [("token", False)]


async def test_a_webhook_that_is_not_told_is_a_finding() -> None:
    async with house() as home:
        home.telegram.fail("getWebhookInfo", Fault(502, "Bad Gateway"))
        found = await look(home)
    assert not found["webhook"].ok


async def test_another_secret_shows_in_our_own_refusals() -> None:
    async with house() as home:
        home.telegram.webhook.secret = "somebody-elses"
        home.telegram.webhook.url = home.url
        home.telegram.user_says(CUSTOMER, "Hello")
        await home.telegram.until(lambda: home.telegram.webhook.dropped or len(home.telegram.webhook.attempts) > 2)
        found = await look(home)
        assert (found["secret"].ok, found["updates"].ok) == (False, False)
        assert "another secret" in found["secret"].detail and "start Frontdesk" in found["secret"].remedy
        assert "401" in found["updates"].detail


@pytest.mark.parametrize("skew", [31.0, -3600.0])
async def test_a_clock_that_is_wrong_is_a_finding(skew: float) -> None:
    async with house(now=lambda: NOW) as home:
        home.telegram.skew = skew
        clock = (await look(home))["clock"]
    assert not clock.ok
    assert clock.detail == f"{abs(skew):.0f} s {'behind' if skew > 0 else 'ahead of'} Telegram's"


async def test_a_clock_that_is_nearly_right_is_none() -> None:
    async with house(now=lambda: NOW) as home:
        home.telegram.skew = 29.0
        assert (await look(home))["clock"].ok


async def test_what_botfather_was_told_is_told_back() -> None:
    async with house() as home:
        assert "privacy mode is on" in (await look(home))["groups"].detail
        home.telegram.api.abilities |= {"can_read_all_group_messages": True, "has_topics_enabled": True}
        home.telegram.api.abilities["can_connect_to_business"] = True
        found = await look(home)
        assert "privacy mode is off" in found["groups"].detail
        assert found["abilities"].detail == "can answer for business accounts; private chats have topics"
        home.telegram.api.abilities["can_join_groups"] = False
        assert "/setjoingroups" in (await look(home))["groups"].detail


async def test_a_missing_public_address_is_told() -> None:
    async with house(public=False) as home:
        found = await look(home)
    assert all(finding.ok for finding in found.values())
    assert "public_url" in found["webhook"].remedy


async def test_another_or_no_webhook_is_a_finding() -> None:
    async with house() as home:
        for url in ("https://elsewhere.example.com/telegram", ""):
            home.telegram.webhook.url = url
            found = await look(home)
            assert list(found)[-1] == "webhook"
            assert not found["webhook"].ok and home.url in found["webhook"].remedy


@pytest.mark.parametrize(
    ("url", "base_url", "reason"),
    [
        ("http://bot.example.com/telegram", "https://api.telegram.org", "https only"),
        ("https://bot.example.com:8080/telegram", "https://api.telegram.org", "port 8080"),
        ("https://bot.example.com:8443/telegram", "https://api.telegram.org", ""),
        ("http://10.0.0.5:8080/telegram", "http://127.0.0.1:8081", ""),
    ],
)
def test_addresses_that_telegram_does_not_call(url: str, base_url: str, reason: str) -> None:
    found = told(checks(url, base_url), hook(url=url))["webhook"]
    assert (found.ok, bool(found.remedy)) == (not reason, bool(reason))
    assert reason in found.detail


@pytest.mark.parametrize(
    ("error", "remedy"),
    [("Connection refused", "reachable"), ("Wrong response from the webhook: 502 Bad Gateway", "log")],
)
def test_what_does_not_arrive_is_told_with_its_last_error(error: str, remedy: str) -> None:
    found = told(checks(), hook(pending=3, last_error=error, last_error_at=NOW - 3600))
    assert found["updates"].detail == f"3 updates wait; at 2026-09-21 13:13:20 UTC Telegram said: {error}"
    assert not found["updates"].ok and remedy in found["updates"].remedy
    assert found["secret"].ok


def test_an_error_that_is_over_is_only_told() -> None:
    error = "Wrong response from the webhook: 401 Unauthorized"
    found = told(checks(), hook(last_error=error, last_error_at=NOW - 301))
    assert all(finding.ok for finding in found.values())
    assert error in found["updates"].detail
    assert not told(checks(), hook(last_error=error, last_error_at=NOW - 299))["secret"].ok


@pytest.mark.parametrize("missing", sorted(NEEDED))
def test_a_needed_kind_that_was_not_asked_for_is_a_finding(missing: str) -> None:
    kinds = told(checks(), hook(kinds=tuple(kind for kind in ALLOWED_UPDATES if kind != missing)))["kinds"]
    assert (kinds.ok, kinds.detail) == (False, f"all but {missing}")


def test_a_kind_that_the_server_does_not_know_is_only_told() -> None:
    older = tuple(kind for kind in ALLOWED_UPDATES if kind != "stopped_message_generation")
    assert told(checks(), hook(kinds=older))["kinds"] == Finding(
        "telegram: kinds", True, "all but stopped_message_generation"
    )
    assert "chat_member" in told(checks(), hook(kinds=()))["kinds"].detail
