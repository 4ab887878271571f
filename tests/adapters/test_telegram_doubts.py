"""A message whose answer is lost is found where nothing else can be meant, and stays unclear everywhere else."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import orjson
import pytest

from adapters.telegram import simulated_updates
from adapters.telegram.simulator import Fault, flood
from core.errors import DeliveryError
from tests.adapters.telegram_house import CUSTOMER, GROUP, delivery, draft, house, post
from tests.adapters.telegram_people import ASK, NOTHING, other_process, others_write, read, said, turn

PRIVATE = {"id": CUSTOMER, "type": "private"}


@pytest.mark.parametrize("rich", ["", "| a | b |\n|---|---|\n| 1 | 2 |"])
async def test_a_message_whose_answer_is_lost_is_found(rich: str) -> None:
    async with house(public=False) as home:
        await home.channel.deliver(delivery("First"))
        others_write(home.telegram, 3)
        home.telegram.fail("sendRichMessage" if rich else "sendMessage", Fault(drop=True))
        reference = await home.channel.deliver(delivery(rich or "Second", turn=2))
        first, second = home.telegram.chats.read(CUSTOMER)
        assert reference == f"{CUSTOMER}:{second.message_id}"
        assert first.text == "First"
        home.telegram.fail("sendMessage", Fault(drop=True))
        await home.channel.deliver(delivery("Third", turn=3))


async def test_it_is_told_from_another_that_was_sent_meanwhile() -> None:
    async with house(public=False) as home:
        await home.channel.deliver(delivery("First"))
        gate = asyncio.Event()
        home.telegram.fail("sendMessage", Fault(gate=gate, drop=True))
        sending = asyncio.create_task(home.channel.deliver(delivery("Second", turn=2)))
        await home.telegram.until(lambda: home.telegram.counts["sendMessage"] == 2)
        await home.channel.deliver(delivery("A notice", turn=3))
        gate.set()
        assert await sending == f"{CUSTOMER}:{home.telegram.chats.read(CUSTOMER)[-1].message_id}"
        assert home.telegram.bot_texts(CUSTOMER) == ["First", "A notice", "Second"]


async def test_a_refused_message_is_not_looked_for() -> None:
    async with house(public=False) as home:
        await home.channel.deliver(delivery("First"))
        home.telegram.fail("sendMessage", flood(1))
        with pytest.raises(DeliveryError) as caught:
            await home.channel.deliver(delivery("Second", turn=2))
        assert not caught.value.unclear
        assert not home.telegram.counts[ASK]


async def test_a_first_text_whose_answer_is_lost_is_found_and_grows_on() -> None:
    async with house(public=False) as home:
        await home.channel.deliver(delivery("First"))
        home.telegram.fail("sendMessage", Fault(drop=True))
        shown = await home.channel.preview(draft("Sec", turn=2))
        await home.channel.deliver(delivery("Second", shown or "", turn=2))
        assert home.telegram.bot_texts(CUSTOMER) == ["First", "Second"]


async def test_a_message_that_was_not_sent_stays_unclear() -> None:
    async with house(public=False) as home:
        await home.channel.deliver(delivery("First"))
        home.telegram.fail("sendMessage", Fault(reset=True))
        with pytest.raises(DeliveryError) as caught:
            await home.channel.deliver(delivery("Second", turn=2))
        assert caught.value.unclear
        assert 0 < home.telegram.counts[ASK] <= 8


async def test_the_first_message_of_a_process_stays_unclear_since_a_dead_one_may_have_sent_later_ones() -> None:
    async with house(public=False) as home:
        said(home.telegram)
        await home.channel.deliver(delivery("What a process that died had sent"))
        async with other_process(home) as channel:
            home.telegram.fail("sendMessage", Fault(drop=True))
            with pytest.raises(DeliveryError) as caught:
                await channel.deliver(delivery("Second", turn=2))
            assert caught.value.unclear
            assert not home.telegram.counts[ASK]


async def test_what_was_sent_before_the_first_answer_stays_unclear_too() -> None:
    async with house(public=False) as home:
        said(home.telegram)
        await home.channel.deliver(delivery("What a process that died had sent"))
        async with other_process(home) as channel:
            gate = asyncio.Event()
            home.telegram.fail("sendMessage", Fault(gate=gate, drop=True))
            sending = asyncio.create_task(channel.deliver(delivery("Second", turn=2)))
            await home.telegram.until(lambda: home.telegram.counts["sendMessage"] == 2)
            await channel.deliver(delivery("To another", chat=8_000_000))
            gate.set()
            with pytest.raises(DeliveryError):
                await sending
        assert not home.telegram.counts[ASK]


async def test_a_first_text_whose_answer_is_lost_can_be_asked_for() -> None:
    async with house(public=False) as home, other_process(home) as channel:
        message_id = said(home.telegram)
        others_write(home.telegram, 30)
        newest = said(home.telegram, 8_100_000)
        home.telegram.fail("sendMessage", Fault(drop=True))
        with pytest.raises(DeliveryError):
            await channel.preview(draft("Hel"))
        assert await channel.find(turn(message_id), NOTHING) is None
        found = await channel.find(turn(message_id), frozenset({f"8100000:{newest}"}))
        assert found == f"{CUSTOMER}:{home.telegram.chats.read(CUSTOMER)[-1].message_id}"


async def test_it_is_after_all_that_was_read_before_it_was_sent() -> None:
    async with house(public=False) as home:
        message_id = said(home.telegram)
        others_write(home.telegram, 30)
        assert await read(home, 8_300_000) == 200
        home.telegram.fail("sendMessage", Fault(drop=True))
        with pytest.raises(DeliveryError):
            await home.channel.preview(draft("Hel"))
        others_write(home.telegram, 30)
        assert await read(home, 8_300_001) == 200
        assert await home.channel.find(turn(message_id), NOTHING) is not None


async def test_it_is_after_what_it_answers_also_where_that_was_read_by_another_process() -> None:
    async with house(public=False) as home:
        assert await read(home, 8_300_000) == 200
        others_write(home.telegram, 30)
        message_id = said(home.telegram)
        home.telegram.fail("sendMessage", Fault(drop=True))
        with pytest.raises(DeliveryError):
            await home.channel.preview(draft("Hel"))
        assert await home.channel.find(turn(message_id), NOTHING) is not None


async def test_two_messages_in_doubt_in_one_chat_are_not_told_apart() -> None:
    async with house(public=False) as home, other_process(home) as channel:
        message_id = said(home.telegram)
        home.telegram.fail("sendMessage", Fault(drop=True), times=2)
        for number in (1, 2):
            with pytest.raises(DeliveryError):
                await channel.deliver(delivery(str(number), turn=number))
        assert await channel.find(turn(message_id, number=1), NOTHING) is None
        assert await channel.find(turn(message_id, number=2), NOTHING) is None
        await channel.deliver(delivery("3", turn=3))
        home.telegram.fail("sendMessage", Fault(drop=True))
        await channel.deliver(delivery("4", turn=4))
        assert home.telegram.bot_texts(CUSTOMER) == ["1", "2", "3", "4"]


async def test_a_supergroup_counts_for_itself() -> None:
    async with house(public=False) as home:
        await home.channel.deliver(delivery("First", chat=GROUP))
        others_write(home.telegram, 3)
        await home.channel.deliver(delivery("To another", chat=8_000_000))
        home.telegram.fail("sendMessage", Fault(drop=True))
        await home.channel.deliver(delivery("Second", chat=GROUP, turn=2))
        assert home.telegram.bot_texts(GROUP) == ["First", "Second"]


async def test_a_business_chat_is_counted_by_its_owner() -> None:
    async with house(public=False) as home:
        await home.channel.deliver(delivery("First"))
        business = {"business_connection_id": "b"}
        message = simulated_updates.message(90_000, CUSTOMER, PRIVATE, "Hello", language="en")["message"] | business
        assert await post(home, orjson.dumps({"update_id": 1, "business_message": message})) == 200
        assert len(home.gateway.received) == 1
        home.telegram.fail("sendMessage", Fault(drop=True))
        await home.channel.deliver(delivery("Second", turn=2))
        asked = home.telegram.counts[ASK]
        assert asked
        home.telegram.fail("sendMessage", Fault(drop=True))
        third = delivery("Third", turn=3)
        with pytest.raises(DeliveryError):
            await home.channel.deliver(replace(third, address={**third.address, **business}))
        assert home.telegram.counts[ASK] == asked


async def test_where_looking_fails_the_send_is_as_unclear_as_before() -> None:
    async with house(public=False) as home:
        await home.channel.deliver(delivery("First"))
        home.telegram.fail("sendMessage", Fault(drop=True))
        home.telegram.fail(ASK, Fault(reset=True))
        with pytest.raises(DeliveryError) as caught:
            await home.channel.deliver(delivery("Second", turn=2))
        assert caught.value.unclear
