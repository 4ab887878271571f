"""Whether an account may write to its users: found out, remembered over a restart, and noticed when it changes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from adapters.wechat.simulated_api import Fault
from core.errors import DeliveryError
from core.types import ConversationKey, Delivery, ReplyKind
from tests.adapters.wechat_house import APP_ID, SECRET, USER, House, house

FACT = ("wechat", "account")
VERIFIED: dict[str, Any] = {"app_secret": SECRET, "account_verified": True}
UNREACHABLE = "http://127.0.0.1:9"


def fact(*, verified: bool, app_id: str = APP_ID) -> dict[tuple[str, str], dict[str, object]]:
    return {FACT: {"app_id": app_id, "verified": verified}}


async def refused(home: House) -> DeliveryError:
    conversation = ConversationKey("wechat", "support", USER)
    with pytest.raises(DeliveryError) as caught:
        await home.channel.deliver(Delivery(1, 1, conversation, {"to": USER}, "Hello", ReplyKind.ANSWER))
    return caught.value


async def until(home: House, *, pull: bool) -> None:
    while home.channel.traits.pull is not pull:
        await asyncio.sleep(0)


@pytest.mark.parametrize("verified", [False, True])
async def test_what_was_found_is_kept(verified: bool) -> None:
    async with house(app_secret=SECRET, account_verified=verified) as home:
        assert home.channel.traits.pull is not verified
        assert home.gateway.facts == fact(verified=verified)


@pytest.mark.parametrize("verified", [False, True])
async def test_a_start_without_wechat_begins_with_what_was_found_before(verified: bool) -> None:
    async with house(app_secret=SECRET, api_base_url=UNREACHABLE, facts=fact(verified=verified)) as home:
        assert home.channel.traits.pull is not verified
        assert home.gateway.facts == fact(verified=verified)


async def test_a_start_that_knows_nothing_replies_passively() -> None:
    async with house(app_secret=SECRET, api_base_url=UNREACHABLE) as home:
        assert home.channel.traits.pull
        assert not home.gateway.facts


async def test_what_was_found_of_another_account_is_forgotten() -> None:
    kept = fact(verified=True, app_id="wx-the-account-before")
    async with house(app_secret=SECRET, api_base_url=UNREACHABLE, facts=kept) as home:
        assert home.channel.traits.pull
        assert not home.gateway.facts
    async with house(**VERIFIED, facts=fact(verified=False, app_id="wx-the-account-before")) as home:
        assert home.gateway.facts == fact(verified=True)


@pytest.mark.parametrize("verified", [False, True])
async def test_what_changed_while_the_house_was_closed_is_found_and_kept(verified: bool) -> None:
    async with house(app_secret=SECRET, account_verified=verified, facts=fact(verified=not verified)) as home:
        assert home.channel.traits.pull is not verified
        assert home.gateway.facts == fact(verified=verified)


async def test_a_right_that_wechat_takes_away_is_kept_as_lost() -> None:
    async with house(**VERIFIED) as home:
        home.wechat.api.verified = False
        assert "not verified" in (await refused(home)).reason
        assert home.channel.traits.pull
        assert home.gateway.facts == fact(verified=False)
        # The part stays in the ledger; the next message takes it.
        home.gateway.answers_at_once = "Hi"
        assert await home.wechat.user_says(USER, "Hello?") == "Hi"


async def test_a_right_that_is_lost_shows_in_the_typing_sign_already() -> None:
    async with house(**VERIFIED) as home:
        home.wechat.api.verified = False
        assert await home.wechat.user_says(USER, "Hello") == ""
        await until(home, pull=True)
        assert home.gateway.facts == fact(verified=False)


async def test_a_right_that_wechat_gives_is_found_while_running() -> None:
    async with house(app_secret=SECRET, again=0.001) as home:
        assert home.channel.traits.pull
        home.wechat.api.verified = True
        await until(home, pull=False)
        assert home.gateway.facts == fact(verified=True)
        home.wechat.api.verified = False
        await until(home, pull=True)
        assert home.gateway.facts == fact(verified=False)


async def test_what_cannot_be_found_out_at_the_start_is_found_out_later() -> None:
    faults = [Fault("stable_token", errcode=40164), Fault("stable_token", status=502), Fault("typing", errcode=-1)]
    with capture_logs() as lines:
        async with house(**VERIFIED, faults=faults) as home:
            assert home.channel.traits.pull
            await until(home, pull=False)
    remedies = [line["remedy"] for line in lines if line["event"] == "account_unknown"]
    assert remedies == ["add 192.0.2.1 to the IP whitelist (console: 基本配置 > IP白名单)", "", ""]


@pytest.mark.parametrize("code", [-1, 40013, 40125, 40243, 45009, 45011, 48004, 50002])
async def test_a_refusal_that_says_nothing_of_rights_changes_nothing(code: int) -> None:
    async with house(**VERIFIED, faults=[Fault("typing", errcode=code)], pause=3600.0) as home:
        assert home.channel.traits.pull
        assert not home.gateway.facts


@pytest.mark.parametrize("code", [40003, 45015, 45080, 45081])
async def test_a_refusal_behind_the_rights_shows_them(code: int) -> None:
    async with house(app_secret=SECRET, faults=[Fault("typing", errcode=code)]) as home:
        assert not home.channel.traits.pull


async def test_a_ledger_that_cannot_keep_it_stops_nothing() -> None:
    with capture_logs() as lines:
        async with house(**VERIFIED, ledger_fails=True) as home:
            assert not home.channel.traits.pull
    assert {line["event"] for line in lines} >= {"account_not_recalled", "account_not_kept"}


async def test_the_setting_wins_over_what_could_be_found_out() -> None:
    async with house(**VERIFIED, verified="false", facts=fact(verified=True)) as home:
        assert home.channel.traits.pull
        assert not home.wechat.api.calls
    async with house(app_secret=SECRET, verified="true", facts=fact(verified=False)) as home:
        assert not home.channel.traits.pull
        with capture_logs() as lines:
            error = await refused(home)
        assert (error.retryable, "48001" in error.reason) == (True, True)
        assert not home.channel.traits.pull
        assert [line["remedy"] for line in lines if line["event"] == "account_not_verified"]


async def test_without_a_secret_nothing_is_asked_and_nothing_believed() -> None:
    async with house(account_verified=True, facts=fact(verified=True)) as home:
        assert home.channel.traits.pull
        assert not home.wechat.api.calls


async def test_a_passive_account_says_how_long_an_answer_may_take() -> None:
    async with house(answer_seconds=4.6) as home:
        assert home.channel.traits.answer_seconds == pytest.approx(14.6)
    async with house(**VERIFIED) as home:
        assert home.channel.traits.answer_seconds is None
