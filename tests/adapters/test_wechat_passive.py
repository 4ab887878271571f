"""Passive replies: every answer arrives once, whole and in order, whenever it is ready and whatever gets lost."""

from __future__ import annotations

import asyncio

import pytest

from adapters.wechat.convert import tap_link, utf8_length
from adapters.wechat.simulator import UNAVAILABLE
from core.types import MessageState
from tests.adapters.wechat_house import PHRASES, USER, House, house

WORDS = (("still_writing", "fetch_answer"), ("more_follows", "fetch_more"))
STILL_ZH, MORE_ZH = (f"{PHRASES[said]}\n{tap_link(PHRASES[link], 'zh')}" for said, link in WORDS)
STILL, MORE = (f"{PHRASES[said]}\n{tap_link(PHRASES[link], 'en')}" for said, link in WORDS)
LONG = ("一" * 600, "二" * 600, "三" * 600)  # 1,800 bytes each: one fills a message


async def unanswered(home: House, text: str, message_id: str) -> None:
    """The user writes, and all three deliveries end without the answer."""
    said = await home.says(text, message_id)
    await home.next_try(message_id)
    await home.next_try(message_id)
    await home.gateway.give_up()
    assert await said in (STILL, STILL_ZH)


@pytest.mark.parametrize("safe", [False, True])
@pytest.mark.parametrize("tries", [1, 2, 3])
async def test_an_answer_ready_in_any_try_arrives(tries: int, safe: bool) -> None:
    async with house(safe=safe) as home:
        said = await home.says("Where is my order?", "1")
        for _ in range(tries - 1):
            await home.next_try("1")
        await home.gateway.commit("On its way. ]]> 😀")
        assert await said == "On its way. ]]> 😀"
        assert home.wechat.answers(USER) == ["On its way. ]]> 😀"]
        assert list(home.wechat.deliveries) == ["1"] * tries
        assert len(home.gateway.messages) == 1


async def test_a_later_answer_comes_with_the_next_message() -> None:
    async with house() as home:
        await unanswered(home, "First question", "1")
        await home.gateway.commit("First answer")
        said = await home.says("Second question")
        await home.gateway.commit("Second answer", of=["Second question"])
        assert await said == "First answer\n\nSecond answer"
        assert home.wechat.answers(USER) == [STILL, "First answer\n\nSecond answer"]


@pytest.mark.parametrize("word", ["1", "继续", "more", "?"])
async def test_a_request_for_the_answer_gets_it_at_once_and_asks_no_model(word: str) -> None:
    async with house() as home:
        await unanswered(home, "First question", "1")
        await home.gateway.commit("First answer")
        assert await home.wechat.user_says(USER, word) == "First answer"
        assert [message.text for message in home.gateway.messages.values()] == ["First question"]


async def test_a_request_for_an_answer_in_work_waits_for_it() -> None:
    async with house() as home:
        await unanswered(home, "First question", "1")
        said = await home.says("继续", "2")
        await home.next_try("2")
        await home.gateway.commit("First answer")
        assert await said == "First answer"
        assert [message.text for message in home.gateway.messages.values()] == ["First question"]


async def test_a_request_with_nothing_to_come_is_a_message() -> None:
    async with house() as home:
        said = await home.says("1")
        await home.gateway.commit("How can I help?")
        assert await said == "How can I help?"
        assert [message.text for message in home.gateway.messages.values()] == ["1"]


async def test_a_long_answer_comes_whole_and_in_order() -> None:
    async with house() as home:
        said = await home.says("Tell me everything", "1")
        await home.gateway.commit(*LONG)
        assert await said == f"{LONG[0]}\n\n{MORE}"
        assert await home.wechat.user_says(USER, "继续") == f"{LONG[1]}\n\n{MORE_ZH}"
        assert await home.wechat.user_says(USER, "1") == LONG[2]
        assert not home.wechat.malformed


async def test_small_parts_travel_together() -> None:
    async with house() as home:
        said = await home.says("Tell me")
        await home.gateway.commit("a", "b", "c")
        assert await said == "a\n\nb\n\nc"


async def test_parts_that_fill_a_message_do_not_wait_for_a_new_answer() -> None:
    async with house() as home:
        said = await home.says("Tell me everything", "1")
        await home.gateway.commit(*LONG)
        await said
        # Received as a question of its own; its answer follows in its turn.
        assert await home.wechat.user_says(USER, "And the price?") == f"{LONG[1]}\n\n{MORE}"
        assert await home.wechat.user_says(USER, "?") == LONG[2]
        await home.gateway.commit("Ten.")
        assert await home.wechat.user_says(USER, "?") == "Ten."


async def test_older_parts_do_not_wait_longer_than_the_last_try() -> None:
    async with house() as home:
        await unanswered(home, "First question", "1")
        await home.gateway.commit("First answer")
        said = await home.says("Second question", "2")
        await home.next_try("2")
        await home.next_try("2")
        await home.gateway.give_up()
        assert await said == f"First answer\n\n{STILL}"
        await home.gateway.commit("Second answer")
        assert await home.wechat.user_says(USER, "1") == "Second answer"


@pytest.mark.parametrize("lost", [1, 2])
async def test_a_lost_response_is_repeated(lost: int) -> None:
    async with house(safe=True) as home:
        home.wechat.lost_replies = lost
        said = await home.says("Tell me everything", "1")
        await home.gateway.commit(*LONG)
        assert await said == f"{LONG[0]}\n\n{MORE}"
        assert list(home.wechat.deliveries) == ["1"] * (lost + 1)
        assert await home.wechat.user_says(USER, "1") == f"{LONG[1]}\n\n{MORE_ZH}"


async def test_a_lost_response_is_repeated_after_a_restart() -> None:
    async with house() as home, house() as restarted:
        said = await home.says("Tell me everything", "1")
        await home.gateway.commit(*LONG)
        first = await said
        restarted.wechat.webhook = restarted.url
        # The same ledger behind a channel that remembers nothing.
        vars(restarted.gateway).update(vars(home.gateway))
        assert await restarted.wechat.user_says(USER, "Tell me everything", message_id="1") == first


async def test_nothing_is_handed_over_into_a_closed_connection() -> None:
    async with house() as home:
        said = await home.says("Where is my order?", "1")
        await home.next_try("1")
        await home.next_try("1")
        home.wechat.hang_up("1")
        assert await said == UNAVAILABLE
        await home.wechat.event(USER, "VIEW")  # a way there and back, so that the channel has seen the closing too
        # All three deliveries still wait here, for nobody.
        await home.gateway.commit("On its way.")
        assert await home.wechat.user_says(USER, "?") == "On its way."


async def test_two_questions_at_once_are_both_answered() -> None:
    async with house() as home:
        first, second = await home.says("First question", "1"), await home.says("Second question", "2")
        await home.gateway.commit("First answer", of=["First question"])
        assert await first == "First answer"
        await home.gateway.commit("Second answer", of=["Second question"])
        assert await second == "Second answer"


async def test_a_burst_that_became_one_turn_is_answered_once() -> None:
    async with house() as home:
        both = [await home.says("Hello", "1"), await home.says("Where is my order?", "2")]
        await home.gateway.commit("On its way.")
        assert sorted(await asyncio.gather(*both)) == ["", "On its way."]
        assert home.wechat.answers(USER) == ["On its way."]


async def test_duplicates_at_the_same_time_show_one_answer() -> None:
    async with house() as home:
        said = asyncio.create_task(home.wechat.user_says(USER, "Hello", duplicates=4))
        await home.gateway.until(lambda: home.gateway.waits == 5)
        await home.gateway.commit("Hi")
        assert await said == "Hi"
        assert (len(home.gateway.messages), home.gateway.received) == (1, 5)
        assert home.wechat.answers(USER) == ["Hi"]


async def test_a_throttled_user_is_told_so_once() -> None:
    async with house() as home:
        home.gateway.accepts_as = MessageState.THROTTLED
        assert await home.wechat.user_says(USER, "Hello") == ""
        await home.gateway.commit("Slow down.")
        assert await home.wechat.user_says(USER, "Hello again") == "Slow down."


async def test_users_do_not_get_each_others_answers() -> None:
    async with house() as home:
        mine = await home.says("My question")
        waits = home.gateway.waits
        theirs = asyncio.create_task(home.wechat.user_says("oSampleCustomer000000000002", "Their question"))
        await home.gateway.until(lambda: home.gateway.waits > waits)
        await home.gateway.commit("Their answer", of=["Their question"])
        await home.gateway.commit("My answer", of=["My question"])
        assert (await mine, await theirs) == ("My answer", "Their answer")


async def test_the_notice_speaks_the_users_language() -> None:
    async with house() as home:
        await unanswered(home, "Where is my order?", "1")
        assert home.gateway.language == "en"
        await unanswered(home, "订单在哪里", "2")
        assert home.gateway.language == "zh"


async def test_in_real_time_the_last_try_is_answered_before_wechat_gives_up() -> None:
    async with house(patience=0.5, answer_seconds=0.1, hold_seconds=30) as home:
        assert await home.wechat.user_says(USER, "订单在哪里") == STILL_ZH
        assert len(home.wechat.deliveries) == 3
        await home.gateway.commit("在路上")
        assert await home.wechat.user_says(USER, "1") == "在路上"


async def test_a_connection_wechat_leaves_open_is_closed_without_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    async with house(patience=30, answer_seconds=0.05, hold_seconds=0.05) as home:
        assert await home.wechat.user_says(USER, "订单在哪里") == STILL_ZH
        assert len(home.wechat.deliveries) == 3
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_without_a_channel_the_user_sees_wechats_own_words() -> None:
    async with house() as home:
        home.wechat.webhook = "http://127.0.0.1:9/wechat"
        assert await home.wechat.user_says(USER, "Hello") == UNAVAILABLE


async def test_a_part_leaves_room_for_the_words_behind_it() -> None:
    async with house() as home:
        traits = home.channel.traits
        assert (traits.pull, traits.measure("中")) == (True, 3)
        part = "x" * traits.text_limit
        said = await home.says("Tell me everything")
        await home.gateway.commit(part, part)
        shown = await said
        assert shown == f"{part}\n\n{MORE}"
        assert utf8_length(shown) <= 2048
