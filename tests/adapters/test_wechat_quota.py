"""Verified accounts: five messages after each of the user's, and what goes beyond them is fetched, not lost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from adapters.wechat.convert import tap_link, utf8_length
from adapters.wechat.quota import MESSAGES, Quota
from adapters.wechat.simulated_api import Call, Fault
from core.types import MessageState
from tests.adapters.wechat_house import PHRASES, SECRET, USER, Clock, House, house

SEND, TYPING = "/custom/send", "/custom/typing"
VERIFIED: dict[str, Any] = {"app_secret": SECRET, "account_verified": True}
LINK = f"{PHRASES['more_follows']}\n{tap_link(PHRASES['fetch_more'], 'en')}"
PARTS = [letter * 1700 for letter in "abcdefgh"]


def calls(home: House, path: str) -> list[Call]:
    return [call for call in home.wechat.api.calls if call.path.endswith(path)]


async def five_of_eight(home: House) -> None:
    """A reply of eight parts of which WeChat lets five through."""
    assert await home.wechat.user_says(USER, "Tell me everything") == ""
    await home.gateway.commit(*PARTS)
    (error,) = await home.gateway.carry(home.channel)
    assert (error.retryable, error.unclear, error.retry_after) == (True, False, 900.0)


async def test_the_fifth_message_offers_the_rest_and_taps_fetch_it() -> None:
    async with house(**VERIFIED) as home:
        await five_of_eight(home)
        assert len(calls(home, SEND)) == MESSAGES  # the sixth was not even tried
        home.clock.now += 3
        taps = []
        while "bizmsgmenu" in home.wechat.answers(USER)[-1]:
            taps.append(await home.wechat.user_taps(USER))
        shown = home.wechat.answers(USER)
        assert [one.removesuffix(LINK).strip() for one in shown] == PARTS
        assert (len(taps), all(utf8_length(one) <= 2048 for one in shown)) == (3, True)
        assert len(home.gateway.messages) == 1
        assert not home.wechat.malformed


async def test_the_next_message_takes_what_waits_and_is_received_all_the_same() -> None:
    async with house(**VERIFIED, safe=True) as home:
        await home.wechat.user_says(USER, "Tell me everything")
        await home.gateway.commit(*PARTS[:6])
        await home.gateway.carry(home.channel)
        assert await home.wechat.user_says(USER, "And the price?") == PARTS[5]
        assert [message.text for message in home.gateway.messages.values()][1] == "And the price?"
        await home.gateway.commit("Ten.", of=["And the price?"])
        assert await home.gateway.carry(home.channel) == []
        assert home.wechat.answers(USER)[-2:] == [PARTS[5], "Ten."]


async def test_a_lost_reply_with_what_waited_is_repeated() -> None:
    async with house(**VERIFIED) as home:
        await home.wechat.user_says(USER, "Tell me everything")
        await home.gateway.commit(*PARTS[:6])
        await home.gateway.carry(home.channel)
        home.wechat.lost_replies = 2
        assert await home.wechat.user_says(USER, "And the price?") == PARTS[5]
        assert len(home.gateway.messages) == 2


@pytest.mark.parametrize("code", [45015, 45047])
async def test_after_a_restart_wechat_says_what_is_left(code: int) -> None:
    async with house(**VERIFIED) as home:
        await home.wechat.event(USER, "CLICK", EventKey="prices")  # of its window we know nothing
        await home.gateway.commit("Ten.", "Twenty.")
        home.wechat.api.faults.append(Fault(SEND, errcode=code))
        (error,) = await home.gateway.carry(home.channel)
        assert (error.retryable, str(code) in error.reason) == (True, True)
        assert await home.wechat.user_says(USER, "?") == "Ten.\n\nTwenty."


async def test_parts_on_their_way_are_not_taken_from_the_outbox() -> None:
    async with house(**VERIFIED) as home:
        await home.wechat.user_says(USER, "Hello")
        await home.gateway.commit("Hi", "there")
        assert await home.wechat.user_says(USER, "And?") == ""
        assert await home.gateway.carry(home.channel) == []
        assert home.wechat.answers(USER) == ["Hi", "there"]


async def test_an_account_that_is_set_as_verified_and_is_not_loses_nothing() -> None:
    async with house(app_secret=SECRET, verified="true") as home:
        await home.wechat.user_says(USER, "Hello")
        await home.gateway.commit("Hi")
        (error,) = await home.gateway.carry(home.channel)
        assert "48001" in error.reason
        assert await home.wechat.user_says(USER, "Hello?") == "Hi"


async def test_a_right_lost_while_running_is_remembered() -> None:
    async with house(**VERIFIED) as home:
        await home.wechat.user_says(USER, "Hello")
        home.wechat.api.verified = False
        await home.gateway.commit("Hi", "there")
        await home.gateway.carry(home.channel)
        assert home.channel.traits.pull
        home.wechat.api.verified = True  # the finding lasts as long as the process
        said = await home.says("Where is my order?")  # waits now, as every passive account does
        await home.gateway.commit("On its way.", of=["Where is my order?"])
        assert await said == "Hi\n\nthere\n\nOn its way."
        assert (len(calls(home, SEND)), len(calls(home, "stable_token"))) == (1, 1)
        await home.gateway.carry(home.channel)
        assert len(calls(home, SEND)) == 1


async def test_a_tap_with_nothing_left_is_told_so_and_one_before_the_answer_is_not() -> None:
    async with house(**VERIFIED) as home:
        link = {"Content": "more", "bizmsgmenuid": "frontdesk"}
        await home.wechat.user_says(USER, "Hello")
        assert await home.wechat.user_sends(USER, "text", **link) == ""  # the answer comes by itself
        await home.gateway.commit("Hi")
        await home.gateway.carry(home.channel)
        assert await home.wechat.user_sends(USER, "text", **link) == PHRASES["all_fetched"]
        assert len(home.gateway.messages) == 1


async def test_the_typing_sign_is_shown_once_to_those_who_wait() -> None:
    async with house(**VERIFIED) as home:
        probes = len(calls(home, TYPING))
        home.wechat.api.faults.append(Fault(TYPING, errcode=45081))
        await home.wechat.user_says(USER, "Hello", duplicates=3)
        home.gateway.accepts_as = MessageState.ANSWERED
        await home.wechat.user_says(USER, "/help")
        await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name() == "wechat-typing"))
        assert [call.body for call in calls(home, TYPING)[probes:]] == [{"touser": USER, "command": "Typing"}]
        await home.gateway.commit("Hi", of=["Hello"])
        assert await home.gateway.carry(home.channel) == []


def test_a_count_is_of_the_newest_message() -> None:
    timer = Clock(now=0.0)
    quota = Quota(timer)
    assert quota.left(USER) is None
    quota.wrote(USER)
    quota.spend(USER)
    assert quota.left(USER) == MESSAGES - 1
    asked, timer.now = timer.now, 5.0
    quota.wrote(USER)
    # The refusal of a message that left before the user wrote says nothing of the time after.
    assert not quota.exhaust(USER, asked)
    assert quota.left(USER) == MESSAGES
    assert quota.exhaust(USER, timer.now)
    assert quota.left(USER) == 0
    quota.acted(USER)
    assert quota.left(USER) is None
    quota.wrote(USER)
    timer.now += 48 * 3600 + 1
    assert quota.left(USER) == 0
    for number in range(20_001):
        quota.wrote(str(number))
    assert quota.left(USER) is None
