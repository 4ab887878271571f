"""Marked-up text: sent as entities, growing and final alike; plain where Telegram or its limit refuses the marks."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from adapters.telegram.bot_api import Entity
from adapters.telegram.simulator import Fault
from core.errors import DeliveryError
from tests.adapters.telegram_house import CUSTOMER, House, delivery, draft, house

REFUSED = Fault(400, "Bad Request: can't parse entities: unexpected end")


def bold(text: str) -> tuple[str, Sequence[Entity]]:
    """All of it bold, its marks taken off."""
    said = text.replace("*", "")
    return said, [{"type": "bold", "offset": 0, "length": len(said)}]


def sent(home: House) -> list[tuple[object, bool]]:
    calls = [call.parameters for call in home.telegram.calls if "text" in call.parameters]
    return [(parameters["text"], "entities" in parameters) for parameters in calls]


async def test_growing_and_final_texts_carry_entities() -> None:
    async with house(render=bold) as home:
        reference = await home.channel.preview(draft("**Hel**"))
        await home.channel.deliver(delivery("**Hello**", reference or ""))
        assert sent(home) == [("Hel", True), ("Hello", True)]
        entities = home.telegram.calls[-1].parameters["entities"]
        assert entities == [{"type": "bold", "offset": 0, "length": 5}]


async def test_refused_entities_cost_one_more_call_and_no_reply() -> None:
    async with house(render=bold) as home:
        home.telegram.fail("sendMessage", REFUSED)
        home.telegram.fail("editMessageText", REFUSED)
        reference = await home.channel.preview(draft("**Hel**"))
        await home.channel.deliver(delivery("**Hello**", reference or ""))
        assert sent(home) == [("Hel", True), ("Hel", False), ("Hello", True), ("Hello", False)]
        assert home.telegram.bot_texts(CUSTOMER) == ["Hello"]


async def test_another_refusal_is_no_reason_to_send_again() -> None:
    async with house(render=bold) as home:
        home.telegram.fail("sendMessage", Fault(400, "Bad Request: chat not found"))
        with pytest.raises(DeliveryError):
            await home.channel.deliver(delivery("**Hello**"))
        assert sent(home) == [("Hello", True)]


@pytest.mark.parametrize("text", ["**", "x" * 4000])
async def test_what_renders_to_nothing_or_too_much_goes_as_it_is(text: str) -> None:
    async with house(render=lambda said: bold(said * 2 if "x" in said else said)) as home:
        await home.channel.deliver(delivery(text))
        assert sent(home) == [(text, False)]
