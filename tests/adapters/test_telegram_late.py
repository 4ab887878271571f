"""A first text that is not confirmed in time: one message where that can be known, and always the whole reply."""

from __future__ import annotations

import pytest

from adapters.telegram.simulator import Fault, flood
from core.errors import DeliveryError
from tests.adapters.telegram_house import CUSTOMER, delivery, draft, house
from tests.adapters.telegram_people import ASK, NOTHING, said, turn


async def test_a_first_text_that_is_confirmed_late_becomes_the_reply() -> None:
    async with house(timeout_seconds=0.4) as home:
        home.telegram.fail("sendMessage", Fault(delay=0.7))
        with pytest.raises(DeliveryError) as caught:
            await home.channel.preview(draft("Hel"))
        assert caught.value.unclear
        assert await home.channel.preview(draft("Hello")) is None
        home.telegram.fail("editMessageText", flood(1))
        with pytest.raises(DeliveryError):
            await home.channel.deliver(delivery("Hello there"))
        home.clock.now += 1
        await home.channel.deliver(delivery("Hello there"))
        assert home.telegram.bot_texts(CUSTOMER) == ["Hello there"]
        assert home.telegram.counts["sendMessage"] == 1


async def test_another_attempt_at_the_turn_goes_on_in_a_first_text_that_is_confirmed_late() -> None:
    async with house(public=False, timeout_seconds=0.4) as home:
        message_id = said(home.telegram)
        home.telegram.fail("sendMessage", Fault(delay=0.7))
        with pytest.raises(DeliveryError):
            await home.channel.preview(draft("Hel"))
        found = await home.channel.find(turn(message_id), NOTHING)
        assert found == f"{CUSTOMER}:{message_id + 1}"
        assert not home.telegram.counts[ASK]


async def test_a_first_text_that_is_confirmed_after_the_reply_is_taken_back() -> None:
    async with house(timeout_seconds=0.3) as home:
        home.telegram.fail("sendMessage", Fault(delay=0.75))
        with pytest.raises(DeliveryError):
            await home.channel.preview(draft("Hel"))
        await home.channel.deliver(delivery("Hello there"))
        await home.telegram.until(lambda: home.telegram.counts["deleteMessage"])
        assert home.telegram.bot_texts(CUSTOMER) == ["Hello there"]


async def test_a_first_text_of_unknown_outcome_costs_no_reply() -> None:
    async with house(timeout_seconds=0.05) as home:
        home.telegram.fail("sendMessage", Fault(silent=True))
        with pytest.raises(DeliveryError):
            await home.channel.preview(draft("Hel"))
        await home.channel.deliver(delivery("Hello there"))
        assert home.telegram.bot_texts(CUSTOMER) == ["Hel", "Hello there"]
