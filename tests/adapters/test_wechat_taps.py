"""The links under what ends short: one tap fetches the rest, as often as there is some, and asks no model."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from adapters.wechat.convert import TEXT_LIMIT, tap_link, utf8_length
from bots.bot import load_all
from tests.adapters.wechat_house import PHRASES, USER, House, house

ALL = PHRASES["all_fetched"]


async def unanswered(home: House, text: str, message_id: str) -> None:
    said = await home.says(text, message_id)
    await home.next_try(message_id)
    await home.next_try(message_id)
    await home.gateway.give_up()
    assert "bizmsgmenu" in await said


def asked(home: House) -> list[str]:
    return [message.text for message in home.gateway.messages.values()]


@pytest.mark.parametrize("question", ["Where is my order?", "订单在哪里"])
async def test_a_tap_fetches_an_answer_that_came_late(question: str) -> None:
    async with house(safe=True) as home:
        await unanswered(home, question, "1")
        await home.gateway.commit("On its way.")
        assert await home.wechat.user_taps(USER) == "On its way."
        assert asked(home) == [question]
        assert not home.wechat.malformed


async def test_a_tap_before_the_answer_waits_for_it_and_offers_another_link() -> None:
    async with house() as home:
        await unanswered(home, "Where is my order?", "1")
        waits = home.gateway.waits
        tapped = asyncio.create_task(home.wechat.user_taps(USER))
        await home.gateway.until(lambda: home.gateway.waits > waits)
        for _ in range(2):
            await home.next_try(home.wechat.deliveries[-1])
        await home.gateway.give_up()
        assert "bizmsgmenu" in await tapped
        await home.gateway.commit("On its way.")
        assert await home.wechat.user_taps(USER) == "On its way."
        assert asked(home) == ["Where is my order?"]


async def test_taps_page_through_a_long_answer_to_its_end() -> None:
    async with house() as home:
        text = "".join(f"第{number}句，" for number in range(1500))
        room = home.channel.traits.text_limit // 3 - 10
        parts = [text[start : start + room] for start in range(0, len(text), room)]
        said = await home.says("全部告诉我")
        await home.gateway.commit(*parts)
        shown = [await said]
        while "bizmsgmenu" in shown[-1]:
            shown.append(await home.wechat.user_taps(USER))
        assert all(utf8_length(one) <= TEXT_LIMIT for one in shown)
        ending = "{}\n{}".format(PHRASES["more_follows"], tap_link(PHRASES["fetch_more"], "zh"))
        assert "".join(one.removesuffix(ending) for one in shown).replace("\n\n", "") == text
        assert asked(home) == ["全部告诉我"]
        assert not home.wechat.malformed


async def test_a_tap_with_nothing_left_is_told_so_and_asks_no_model() -> None:
    async with house() as home:
        await unanswered(home, "Where is my order?", "1")
        await home.gateway.commit("On its way.")
        link = {"MsgType": "text", "Content": "more", "bizmsgmenuid": "frontdesk"}
        shown = [await home.wechat.user_sends(USER, "text", **link) for _ in range(2)]
        assert shown == ["On its way.", ALL]
        home.wechat.lost_replies = 2
        assert await home.wechat.user_sends(USER, "text", **link) == ALL
        assert asked(home) == ["Where is my order?"]


async def test_another_menus_tap_is_what_it_says() -> None:
    async with house() as home:
        home.gateway.answers_at_once = "Thank you!"
        assert await home.wechat.user_sends(USER, "text", Content="满意", bizmsgmenuid="101") == "Thank you!"
        assert asked(home) == ["满意"]


async def test_a_tap_whose_reply_was_lost_gets_the_same_again() -> None:
    async with house() as home:
        said = await home.says("Tell me everything")
        await home.gateway.commit("a" * 1700, "b" * 1700)
        await said
        home.wechat.lost_replies = 2
        assert await home.wechat.user_taps(USER) == "b" * 1700


async def test_without_a_link_there_is_nothing_to_tap() -> None:
    async with house() as home:
        home.gateway.answers_at_once = "Hi"
        await home.wechat.user_says(USER, "Hello")
        with pytest.raises(LookupError):
            await home.wechat.user_taps(USER)


def test_a_link_is_one_element_whatever_the_words() -> None:
    assert re.fullmatch(r"<a href=\"[^\"<>]+\">[^<>]*</a>", tap_link("</a><b>\x00", "en"))


def test_the_words_that_we_ship_leave_room_for_an_answer() -> None:
    bot = load_all(Path(__file__).parents[2] / "bots")["support"].bot
    for language in bot.phrases:
        ending = bot.phrase("more_follows", language) + tap_link(bot.phrase("fetch_more", language), language)
        assert utf8_length(ending) < 300
