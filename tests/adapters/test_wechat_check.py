"""What `check` finds of an account: each thing that can be wrong is named with what mends it, and no secret is."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.wechat.channel import build
from adapters.wechat.settings import Settings
from adapters.wechat.simulated_api import Fault
from core.channel import Channel, Finding
from tests.adapters.wechat_house import KEY, SECRET, TOKEN, House, house

VERIFIED: dict[str, Any] = {"app_secret": SECRET, "account_verified": True}


async def found(home: House) -> dict[str, Finding]:
    """The findings by the word behind the channel's name."""
    findings = await home.channel.check()
    assert not [one for one in findings if "token-" in str(one) or SECRET in str(one)]
    return {one.subject.removeprefix("wechat "): one for one in findings}


async def test_an_account_that_is_well() -> None:
    async with house(**VERIFIED, verified="false", public_url="https://bot.example.com") as home:
        findings = await found(home)
        assert {subject: finding.ok for subject, finding in findings.items()} == {
            "webhook": True,
            "token": True,
            "account": True,
            "clock": True,
        }
        assert "https://bot.example.com/wechat, plain mode" in findings["webhook"].detail
        assert "提交" in findings["webhook"].detail


@pytest.mark.parametrize(
    ("account", "setting", "ok", "words"),
    [
        (True, "auto", True, "verified: customer-service messages"),
        (True, "false", True, 'verified, but verified = "false"'),
        (False, "auto", True, "not verified: passive replies"),
        (False, "false", True, "not verified: passive replies"),
        (False, "true", False, 'verified = "auto"'),
    ],
)
async def test_the_kind_of_the_account(account: bool, setting: str, ok: bool, words: str) -> None:
    async with house(app_secret=SECRET, account_verified=account, verified=setting) as home:
        finding = (await found(home))["account"]
        assert finding.ok is ok
        assert words in f"{finding.detail} {finding.remedy}"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (40013, "compare app_id"),
        (40125, "compare the app_secret"),
        (40001, "compare the app_secret"),
        (40243, "unfreeze the app_secret"),
        (40164, "add 192.0.2.1 to the IP whitelist"),
        (61004, "add this server's address to the IP whitelist"),
        (45009, "try again later"),
        (-1, "try again later"),
        (50002, "WeChat's notices"),
    ],
)
async def test_a_token_that_is_refused(code: int, words: str) -> None:
    async with house(**VERIFIED, verified="false") as home:
        home.wechat.api.faults.append(Fault("stable_token", errcode=code))
        findings = await found(home)
        assert not findings["token"].ok
        assert f"errcode {code}" in findings["token"].detail
        assert words in findings["token"].remedy
        assert "account" not in findings


async def test_the_whitelist_names_our_address_as_wechat_sees_it() -> None:
    async with house(**VERIFIED, verified="false") as home:
        home.wechat.api.not_listed = "203.0.113.7"
        assert "add 203.0.113.7 to" in (await found(home))["token"].remedy
        home.wechat.api.not_listed = "9.9.9.9.9"  # no address, whatever else it is
        assert "add this server's address to" in (await found(home))["token"].remedy


@pytest.mark.parametrize("fault", [Fault("stable_token", status=502), Fault("stable_token", silent=True)])
async def test_wechat_out_of_reach(fault: Fault) -> None:
    async with house(**VERIFIED, verified="false") as home:
        home.wechat.api.faults.append(fault)
        finding = (await found(home))["token"]
        assert (finding.ok, "network" in finding.remedy) == (False, True)


async def test_rights_that_cannot_be_told() -> None:
    async with house(**VERIFIED, verified="false") as home:
        home.wechat.api.faults.append(Fault("typing", errcode=45009))
        finding = (await found(home))["account"]
        assert (finding.ok, finding.remedy) == (False, "try again later")


@pytest.mark.parametrize(
    ("ahead", "words"),
    [(0.0, ""), (58.0, ""), (-58.0, ""), (90.0, "90 s behind WeChat"), (-90.0, "90 s ahead of WeChat")],
)
async def test_a_clock_that_is_off(ahead: float, words: str) -> None:
    async with house(**VERIFIED, verified="false") as home:
        home.wechat.api.ahead = ahead
        finding = (await found(home))["clock"]
        assert finding.ok is not bool(words)
        assert words in finding.detail
        assert ("600 s" in finding.remedy) is bool(words)


async def test_a_clock_is_looked_at_even_when_the_token_is_refused() -> None:
    async with house(**VERIFIED, verified="false") as home:
        home.wechat.api.ahead = 3600.0
        home.wechat.api.faults.append(Fault("stable_token", errcode=40125))
        assert not (await found(home))["clock"].ok


@pytest.mark.parametrize(
    ("given", "ok", "words"),
    [
        ({"public_url": ""}, False, "set server.public_url"),
        ({"public_url": "https://bot.example.com:8443"}, False, "ports 80 and 443"),
        ({"public_url": "https://bot.example.com:x"}, False, "ports 80 and 443"),
        ({"public_url": "http://bot.example.com:80"}, True, ""),
        ({"public_url": "https://bot.example.com", "safe": True}, True, "safe mode"),
        ({"public_url": "https://bot.example.com", "safe": True, "mode": "compatible"}, True, "compatible mode"),
    ],
)
async def test_the_webhook(given: dict[str, Any], ok: bool, words: str) -> None:
    async with house(**given) as home:
        finding = (await found(home))["webhook"]
        assert finding.ok is ok
        assert words in f"{finding.detail} {finding.remedy}"


async def test_check_needs_no_start_and_no_secret() -> None:
    given = Settings.model_validate({"token": TOKEN, "app_id": "wx0123456789abcdef", "aes_key": KEY})
    channel: Channel = build("wechat_shop", given, public_url="https://bot.example.com")
    webhook, account = await channel.check()
    assert (webhook.ok, account.ok, channel.name) == (True, True, "wechat_shop")
    assert "https://bot.example.com/wechat_shop, safe mode" in webhook.detail
