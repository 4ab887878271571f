"""A reply that ended before it was whole says so with a link, and asking for the rest makes the model go on, once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from adapters.wechat.convert import TEXT_LIMIT, tap_link, utf8_length
from core.types import MessageState, ReplyKind
from tests.adapters.wechat_house import GO_ON, PHRASES, SECRET, USER, House, house

MORE = f"{PHRASES['more_follows']}\n{tap_link(PHRASES['fetch_more'], 'en')}"
STILL = f"{PHRASES['still_writing']}\n{tap_link(PHRASES['fetch_answer'], 'en')}"
ALL = PHRASES["all_fetched"]
QUESTION = "How do I return it?"
VERIFIED: dict[str, Any] = {"app_secret": SECRET, "account_verified": True}
TAP = {"MsgType": "text", "Content": "more", "bizmsgmenuid": "frontdesk"}


def asked(home: House) -> list[str]:
    return [message.text for message in home.gateway.messages.values()]


async def cut_short(home: House, text: str = "First you", question: str = QUESTION) -> str:
    said = await home.says(question)
    await home.gateway.commit(text, cut=True, of=[question])
    return await said


async def begun(home: House, waits: int) -> None:
    await home.gateway.until(lambda: home.gateway.waits > waits)


async def test_a_reply_that_is_cut_short_offers_the_rest() -> None:
    async with house() as home:
        assert await cut_short(home) == f"First you\n\n{MORE}"


@pytest.mark.parametrize("safe", [False, True])
async def test_a_tap_makes_the_model_go_on(safe: bool) -> None:
    async with house(safe=safe) as home:
        await cut_short(home)
        waits = home.gateway.waits
        tapped = asyncio.create_task(home.wechat.user_taps(USER))
        await begun(home, waits)
        assert asked(home) == [QUESTION, GO_ON["en"]]
        await home.gateway.commit("pack it.", of=[GO_ON["en"]])
        assert await tapped == "pack it."
        # The reply is whole now: nothing is left to go on with.
        assert await home.wechat.user_sends(USER, "text", **TAP) == ALL
        assert asked(home) == [QUESTION, GO_ON["en"]]


@pytest.mark.parametrize("word", ["继续", "more", "1", "?", "？", "go on"])
async def test_a_typed_word_makes_the_model_go_on(word: str) -> None:
    async with house() as home:
        await cut_short(home)
        said = await home.says(word)
        assert asked(home) == [QUESTION, GO_ON["en"]]
        await home.gateway.commit("pack it.", of=[GO_ON["en"]])
        assert await said == "pack it."


async def test_the_model_is_asked_in_the_language_of_its_reply() -> None:
    async with house() as home:
        await cut_short(home, "首先请您", "怎么退货？")
        said = await home.says("1")
        assert asked(home) == ["怎么退货？", GO_ON["zh"]]
        await home.gateway.commit("打包。")
        assert await said == "打包。"


@pytest.mark.parametrize("text", ["👍", "And the price?", "继续发货吗"])
async def test_anything_else_is_an_ordinary_message(text: str) -> None:
    async with house() as home:
        await cut_short(home)
        said = await home.says(text)
        assert asked(home) == [QUESTION, text]
        await home.gateway.commit("Ten.", of=[text])
        assert await said == "Ten."


async def test_it_goes_on_as_often_as_the_reply_is_cut() -> None:
    async with house() as home:
        await cut_short(home)
        for number in range(3):
            waits = home.gateway.waits
            tapped = asyncio.create_task(home.wechat.user_taps(USER))
            await begun(home, waits)
            await home.gateway.commit(f"step {number}", cut=True, of=[GO_ON["en"]])
            assert await tapped == f"step {number}\n\n{MORE}"
        assert asked(home) == [QUESTION, *[GO_ON["en"]] * 3]


async def test_a_redelivered_tap_goes_on_once() -> None:
    async with house() as home:
        await cut_short(home)
        home.wechat.lost_replies = 1
        waits = home.gateway.waits
        tapped = asyncio.create_task(home.wechat.user_taps(USER))
        await begun(home, waits)
        await home.next_try(home.wechat.deliveries[-1])
        await home.gateway.commit("pack it.", of=[GO_ON["en"]])
        assert await tapped == "pack it."
        assert (asked(home), len(set(home.wechat.deliveries))) == ([QUESTION, GO_ON["en"]], 2)


async def test_deliveries_of_a_tap_at_the_same_time_go_on_once() -> None:
    async with house() as home:
        await cut_short(home)
        said = asyncio.create_task(home.wechat.user_says(USER, "继续", duplicates=4))
        await home.gateway.until(lambda: home.gateway.waits == 1 + 5)
        assert asked(home) == [QUESTION, GO_ON["en"]]
        await home.gateway.commit("pack it.", of=[GO_ON["en"]])
        assert await said == "pack it."


async def test_two_taps_at_the_same_time_go_on_once() -> None:
    async with house() as home:
        await cut_short(home)
        waits = home.gateway.waits
        taps = [asyncio.create_task(home.wechat.user_taps(USER)) for _ in range(2)]
        await home.gateway.until(lambda: home.gateway.waits == waits + 2)
        assert asked(home) == [QUESTION, GO_ON["en"]]
        await home.gateway.commit("pack it.", of=[GO_ON["en"]])
        assert sorted(await asyncio.gather(*taps)) == ["", "pack it."]


async def test_a_tap_that_is_redelivered_after_a_restart_goes_on_once() -> None:
    async with house() as home, house() as restarted:
        await cut_short(home)
        waits = home.gateway.waits
        tapped = asyncio.create_task(home.wechat.user_taps(USER))
        await begun(home, waits)
        message_id = home.wechat.deliveries[-1]
        vars(restarted.gateway).update(vars(home.gateway))
        waits = home.gateway.waits
        again = asyncio.create_task(
            restarted.wechat.user_sends(USER, "text", Content="more", bizmsgmenuid="frontdesk", MsgId=message_id)
        )
        await restarted.gateway.until(lambda: restarted.gateway.waits > waits)
        await restarted.gateway.commit("pack it.", of=[GO_ON["en"]])
        assert sorted(await asyncio.gather(tapped, again)) in (["", "pack it."], ["pack it.", "pack it."])
        assert asked(restarted) == [QUESTION, GO_ON["en"]]


async def test_what_waits_comes_before_the_model_is_asked() -> None:
    async with house() as home:
        said = await home.says(QUESTION)
        await home.gateway.commit("a" * 1700, "b" * 1700, cut=True)
        assert await said == f"{'a' * 1700}\n\n{MORE}"
        assert await home.wechat.user_taps(USER) == f"{'b' * 1700}\n\n{MORE}"
        assert asked(home) == [QUESTION]
        waits = home.gateway.waits
        tapped = asyncio.create_task(home.wechat.user_taps(USER))
        await begun(home, waits)
        assert asked(home) == [QUESTION, GO_ON["en"]]
        await home.gateway.commit("c", of=[GO_ON["en"]])
        assert await tapped == "c"


async def test_a_tap_while_a_question_is_in_work_waits_for_its_answer() -> None:
    async with house() as home:
        await cut_short(home)
        second = await home.says("And the price?")
        waits = home.gateway.waits
        tapped = asyncio.create_task(home.wechat.user_sends(USER, "text", **TAP))
        await begun(home, waits)
        assert asked(home) == [QUESTION, "And the price?"]
        await home.gateway.commit("Ten.", of=["And the price?"])
        assert sorted(await asyncio.gather(second, tapped)) in ([ALL, "Ten."], ["", "Ten."])


async def test_what_was_cut_and_came_late_says_that_the_newer_answer_is_being_written() -> None:
    async with house() as home:
        said = await home.says(QUESTION, "1")
        for _ in range(2):
            await home.next_try("1")
        await home.gateway.give_up()
        assert await said == STILL
        await home.gateway.commit("First you", cut=True)
        said = await home.says("And the price?", "2")
        for _ in range(2):
            await home.next_try("2")
        await home.gateway.give_up()
        assert await said == f"First you\n\n{STILL}"


async def test_an_answer_behind_a_cut_one_ends_as_it_does() -> None:
    async with house() as home:
        said = await home.says(QUESTION, "1")
        for _ in range(2):
            await home.next_try("1")
        await home.gateway.give_up()
        await said
        await home.gateway.commit("First you", cut=True)
        said = await home.says("And the price?", "2")
        await home.gateway.commit("Ten.", of=["And the price?"])
        assert await said == "First you\n\nTen."


async def test_the_link_always_fits() -> None:
    async with house() as home:
        said = await home.says(QUESTION)
        await home.gateway.commit("a" * 900, "b" * 1100, cut=True)
        first = await said
        assert first == f"{'a' * 900}\n\n{MORE}"
        second = await home.wechat.user_taps(USER)
        assert second == f"{'b' * 1100}\n\n{MORE}"
        assert max(utf8_length(first), utf8_length(second)) <= TEXT_LIMIT


async def test_one_who_is_throttled_is_told_so_and_not_that_all_is_said() -> None:
    async with house() as home:
        await cut_short(home)
        home.gateway.accepts_as = MessageState.THROTTLED
        assert await home.wechat.user_taps(USER) == ""
        home.gateway.answers_at_once = "Slow down."
        assert await home.wechat.user_sends(USER, "text", **TAP) == "Slow down."


async def test_after_an_apology_it_can_be_asked_again() -> None:
    async with house() as home:
        await cut_short(home)
        for text, kind in (("Sorry.", ReplyKind.APOLOGY), ("pack it.", ReplyKind.ANSWER)):
            waits = home.gateway.waits
            tapped = asyncio.create_task(home.wechat.user_sends(USER, "text", **TAP))
            await begun(home, waits)
            await home.gateway.commit(text, kind=kind, of=[GO_ON["en"]])
            assert await tapped == text
        assert asked(home) == [QUESTION, *[GO_ON["en"]] * 2]


async def test_a_reply_that_was_stopped_before_its_first_word_has_nothing_to_go_on_with() -> None:
    async with house() as home:
        said = await home.says(QUESTION)
        await home.gateway.commit(cut=True, kind=ReplyKind.NOTICE)
        assert await said == ""
        assert await home.wechat.user_sends(USER, "text", **TAP) == ALL
        said = await home.says("?")
        assert asked(home) == [QUESTION, "?"]
        await home.gateway.commit("How can I help?", of=["?"])
        assert await said == "How can I help?"


async def test_a_verified_account_is_sent_the_link_too_and_goes_on() -> None:
    async with house(**VERIFIED) as home:
        await home.wechat.user_says(USER, QUESTION)
        await home.gateway.commit("First", "you", cut=True)
        assert await home.gateway.carry(home.channel) == []
        assert home.wechat.answers(USER) == ["First", f"you\n\n{MORE}"]
        for number, ask in enumerate((home.wechat.user_taps(USER), home.wechat.user_says(USER, "继续"))):
            assert await ask == ""
            assert asked(home) == [QUESTION, *[GO_ON["en"]] * (number + 1)]
            await home.gateway.commit("pack it.", cut=number == 0, of=[GO_ON["en"]])
            assert await home.gateway.carry(home.channel) == []
        assert home.wechat.answers(USER)[2:] == [f"pack it.\n\n{MORE}", "pack it."]
        assert await home.wechat.user_sends(USER, "text", **TAP) == ALL


async def test_a_verified_account_goes_on_once_for_deliveries_at_the_same_time() -> None:
    async with house(**VERIFIED) as home:
        await home.wechat.user_says(USER, QUESTION)
        await home.gateway.commit("First", cut=True)
        await home.gateway.carry(home.channel)
        assert await home.wechat.user_says(USER, "继续", duplicates=3) == ""
        assert await home.wechat.user_sends(USER, "text", **TAP) == ""  # in work: it comes by itself
        assert asked(home) == [QUESTION, GO_ON["en"]]


async def test_a_verified_accounts_tap_that_comes_again_after_its_answer_says_nothing() -> None:
    async with house(**VERIFIED) as home:
        await home.wechat.user_says(USER, QUESTION)
        await home.gateway.commit("First", cut=True)
        await home.gateway.carry(home.channel)
        assert await home.wechat.user_sends(USER, "text", **TAP, MsgId="77") == ""
        await home.gateway.commit("pack it.", of=[GO_ON["en"]])
        await home.gateway.carry(home.channel)
        assert await home.wechat.user_sends(USER, "text", **TAP, MsgId="77") == ""
        assert asked(home) == [QUESTION, GO_ON["en"]]
