"""The typing sign: from the message to the first text, every 4.5 s, never in the way of anything."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable

import pytest

from adapters.telegram.simulator import Fault, flood
from tests.adapters.telegram_house import CUSTOMER, GROUP, House, delivery, draft, house


async def settle(home: House, reached: Callable[[], object]) -> None:
    """Until the channel has got as far as that; nothing reports it."""
    async with asyncio.timeout(5):
        while not reached():
            await asyncio.sleep(0.002)


async def asked(home: House, text: str = "Hello", chat: int = CUSTOMER) -> None:
    """A message came and the sign waits for its first moment."""
    home.telegram.user_says(chat, text)
    await settle(home, lambda: home.clock.waiting)


async def pass_time(home: House, seconds: float, signs: int) -> None:
    """Time passes; then so many signs were sent and the next pause has begun."""
    pauses = len(home.clock.pauses)
    home.clock.advance(seconds)
    await settle(home, lambda: home.telegram.counts["sendChatAction"] == signs and len(home.clock.pauses) > pauses)


async def test_it_begins_after_a_moment_and_is_kept_alive_until_there_is_text() -> None:
    async with house() as home:
        await asked(home)
        assert home.telegram.counts["sendChatAction"] == 0
        await pass_time(home, 0.5, 1)
        await pass_time(home, 4.5, 2)
        assert home.clock.pauses == [0.5, 4.5, 4.5]
        await home.channel.preview(draft("Hi"))
        home.clock.advance(100)
        await home.channel.deliver(delivery("Hi there"))
        assert home.telegram.counts["sendChatAction"] == 2


async def test_a_reply_that_comes_at_once_needs_none() -> None:
    async with house() as home:
        await asked(home)
        await home.channel.deliver(delivery("Hi"))
        home.clock.advance(100)
        home.telegram.user_says(CUSTOMER + 1, "Hello")
        await settle(home, lambda: home.clock.waiting)
        assert home.telegram.counts["sendChatAction"] == 0


async def test_one_that_has_ended_is_freed_without_the_garbage_collector() -> None:
    async with house() as home:
        await asked(home)
        sign = weakref.ref(next(task for task in asyncio.all_tasks() if task.get_name() == "typing sign"))
        gc.disable()
        try:
            await home.channel.deliver(delivery("Hi"))
            await settle(home, lambda: sign() is None)
        finally:
            gc.enable()


async def test_it_ends_after_a_minute() -> None:
    async with house() as home:
        await asked(home)
        await pass_time(home, 0.5, 1)
        await pass_time(home, 58.0, 2)
        home.clock.advance(10)
        await asked(home)  # the next message begins a new one: the old one is over
        assert home.telegram.counts["sendChatAction"] == 2


@pytest.mark.parametrize("fault", [Fault(400, "Bad Request: chat not found"), flood(5), Fault(drop=True)])
async def test_a_refused_one_is_the_last_and_costs_nothing(fault: Fault) -> None:
    async with house() as home:
        home.telegram.fail("sendChatAction", fault)
        await asked(home)
        home.clock.advance(0.5)
        await settle(home, lambda: home.telegram.counts["sendChatAction"] == 1)
        home.clock.advance(5)
        await home.channel.deliver(delivery("Hi"))
        assert home.telegram.bot_texts(CUSTOMER) == ["Hi"]
        assert home.telegram.counts["sendChatAction"] == 1


async def test_in_groups_only_who_addressed_the_bot_sees_it_in_their_topic() -> None:
    async with house() as home:
        home.telegram.user_says(GROUP, "just talking")
        home.telegram.user_says(GROUP, "@helper_bot hi", thread_id=12)
        await settle(home, lambda: home.clock.waiting)
        await pass_time(home, 0.5, 1)
        calls = [call.parameters for call in home.telegram.calls if call.method == "sendChatAction"]
        assert calls == [{"chat_id": GROUP, "action": "typing", "message_thread_id": 12}]


async def test_who_leaves_or_stops_sees_none_and_close_ends_all() -> None:
    async with house() as home:
        for chat in (CUSTOMER, CUSTOMER + 1, CUSTOMER + 2):
            home.telegram.user_says(chat, "Hello")
        await settle(home, lambda: len(home.clock.waiting) == 3)
        home.telegram.user_leaves(CUSTOMER)
        stop = {"chat": {"id": CUSTOMER + 1, "type": "private"}, "draft_id": 1}
        home.telegram.push({"stopped_message_generation": stop})
        await home.telegram.until(lambda: home.telegram.webhook.accepted == 5)
        await pass_time(home, 0.5, 1)
        await home.channel.close()
        assert not [task for task in asyncio.all_tasks() if task.get_name() == "typing sign"]
