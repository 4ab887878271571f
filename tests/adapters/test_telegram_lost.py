"""What a process that died had shown is found by its id, nothing else is taken for it, and looking shows nothing."""

from __future__ import annotations

import asyncio

import pytest
from telegram.error import BadRequest

from adapters.telegram.refusals import MessageGone, delivery_error
from adapters.telegram.simulator import Fault, flood
from core.errors import DeliveryError
from tests.adapters.telegram_house import CUSTOMER, GROUP, House, delivery, draft, house
from tests.adapters.telegram_people import ASK, NOTHING, other_process, others_write, read, said, turn


def changes(home: House) -> int:
    """How often a text on a screen was changed."""
    return sum(len(message.versions) - 1 for message in home.telegram.chats.read(CUSTOMER))


@pytest.mark.parametrize("chat", [CUSTOMER, GROUP, -4_000_001])
async def test_a_reply_goes_on_in_the_message_that_its_dead_process_showed(chat: int) -> None:
    async with house(public=False) as home:
        others_write(home.telegram, 5)
        message_id = said(home.telegram, chat)
        others_write(home.telegram, 3)
        shown = await home.channel.preview(draft("Hel", chat=chat))
        said(home.telegram, chat, "Are you there?")
        async with other_process(home) as channel:
            found = await channel.find(turn(message_id, chat=chat), NOTHING)
            assert found == shown
            assert home.telegram.bot_texts(chat) == ["Hel"]
            assert changes(home) == 0, "looking changes nothing"
            await channel.deliver(delivery("Hello there", found or "", chat=chat))
        assert home.telegram.bot_texts(chat) == ["Hello there"]


async def test_nothing_is_found_where_nothing_was_shown() -> None:
    async with house(public=False) as home:
        await home.channel.deliver(delivery("To another", chat=8_000_000))
        message_id = said(home.telegram)
        said(home.telegram)
        await home.channel.deliver(delivery("To another", chat=8_000_000))
        said(home.telegram)
        async with other_process(home) as channel:
            assert await channel.find(turn(message_id, message_id + 1), NOTHING) is None
        asked = [call.parameters["message_id"] for call in home.telegram.calls if call.method == ASK]
        assert asked == list(range(message_id + 2, message_id + 10))
        assert home.telegram.bot_texts(8_000_000) == ["To another", "To another"]


async def test_what_belongs_to_another_reply_is_not_taken_and_ends_the_place_to_look() -> None:
    async with house(public=False) as home:
        message_id = said(home.telegram)
        fragment = await home.channel.preview(draft("An earlier reply, lost"))
        another = await home.channel.deliver(delivery("An earlier reply", turn=2))
        async with other_process(home) as channel:
            assert await channel.find(turn(message_id, number=3), frozenset({another})) is None
            assert await channel.find(turn(message_id, number=3), NOTHING) == fragment


async def test_only_a_few_ids_are_asked_for() -> None:
    async with house(public=False) as home:
        message_id = said(home.telegram)
        others = others_write(home.telegram, 8)
        shown = await home.channel.preview(draft("Hel"))
        async with other_process(home) as channel:
            assert await channel.find(turn(message_id), NOTHING) is None
            assert home.telegram.counts[ASK] == 8
            assert await channel.find(turn(message_id), frozenset(others)) == shown, "not for those that are known"


async def test_where_much_is_unknown_it_is_looked_for_about_the_newest_that_is_known() -> None:
    async with house(public=False) as home:
        message_id = said(home.telegram)
        others_write(home.telegram, 30)
        newest = said(home.telegram, 8_100_000)
        shown = await home.channel.preview(draft("Hel"))
        async with other_process(home) as channel:
            known = frozenset({f"8100000:{newest}", f"{GROUP}:{newest + 1000}", "nothing of Telegram's"})
            assert await channel.find(turn(message_id), known) == shown


async def test_what_this_process_is_told_says_nothing_of_where_the_dead_one_was() -> None:
    async with house(public=False) as home, other_process(home) as dead:
        message_id = said(home.telegram)
        others = others_write(home.telegram, 30)
        shown = await dead.preview(draft("Hel"))
        for chat in range(8_200_000, 8_200_020):
            assert await read(home, chat) == 200
        new = [message.source_id for message in home.gateway.received]
        assert len(new) == 20
        assert await home.channel.find(turn(message_id), frozenset({others[-1], *new})) == shown


async def test_holes_between_what_is_known_are_looked_at() -> None:
    async with house(public=False) as home:
        message_id = said(home.telegram)
        others = others_write(home.telegram, 30)
        shown = await home.channel.preview(draft("Hel"))
        others += others_write(home.telegram, 30)
        async with other_process(home) as channel:
            assert await channel.find(turn(message_id), frozenset(others)) == shown


async def test_more_was_said_before_and_since() -> None:
    async with house(public=False) as home:
        ids = []
        for _ in range(3):
            others_write(home.telegram, 20)
            ids.append(said(home.telegram))
        others_write(home.telegram, 2)
        shown = await home.channel.preview(draft("Hel"))
        async with other_process(home) as channel:
            assert await channel.find(turn(*ids), NOTHING) == shown
            others_write(home.telegram, 20)
        async with other_process(home) as channel:
            assert await channel.find(turn(ids[-1], said(home.telegram)), NOTHING) == shown


@pytest.mark.parametrize(
    ("chat", "address"),
    [
        (CUSTOMER, {"business_connection_id": "b"}),
        (GROUP, {"is_forum": True}),
        (GROUP, {"thread_id": 5}),
        (CUSTOMER, {"thread_id": 5}),
        (CUSTOMER, {"moved_to": -5}),
    ],
)
async def test_chats_of_several_conversations_are_not_looked_through(chat: int, address: dict[str, int]) -> None:
    async with house(public=False) as home:
        message_id = said(home.telegram, chat)
        await home.channel.preview(draft("Hel", chat=chat))
        async with other_process(home) as channel:
            assert await channel.find(turn(message_id, chat=chat, **address), NOTHING) is None
        assert not home.telegram.counts[ASK]


async def test_private_chats_are_not_looked_through_where_they_have_topics() -> None:
    async with house(public=False) as home:
        home.telegram.api.abilities["has_topics_enabled"] = True
        message_id = said(home.telegram)
        await home.channel.preview(draft("Hel"))
        async with other_process(home) as channel:
            assert await channel.find(turn(message_id), NOTHING) is None
            assert not home.telegram.counts[ASK]
            await channel.find(turn(said(home.telegram, GROUP), chat=GROUP), NOTHING)
            assert home.telegram.counts[ASK], "a group says so of itself"


async def test_a_draft_leaves_nothing_to_be_found() -> None:
    async with house(public=False) as home, other_process(home, streaming="draft") as channel:
        assert await channel.find(turn(said(home.telegram)), NOTHING) is None
        assert not home.telegram.counts[ASK]


async def test_a_refusal_ends_the_looking_and_is_obeyed() -> None:
    async with house(public=False) as home, other_process(home) as channel:
        home.telegram.fail(ASK, flood(30))
        message_id = said(home.telegram)
        with pytest.raises(DeliveryError):
            await channel.find(turn(message_id), NOTHING)
        assert home.telegram.counts[ASK] == 1
        with pytest.raises(DeliveryError):
            await channel.deliver(delivery("Hello"))
        assert not home.telegram.early
        home.clock.hurried = True
        assert await channel.find(turn(message_id), NOTHING) is None, "there is no room for it"
        assert home.telegram.counts[ASK] == 1


async def test_what_this_process_sent_is_not_taken_for_it() -> None:
    async with house(public=False) as home, other_process(home) as channel:
        message_id = said(home.telegram)
        await channel.deliver(delivery("A notice", turn=2))
        assert await channel.find(turn(message_id), NOTHING) is None


async def test_what_this_process_sends_meanwhile_is_not_taken_for_it() -> None:
    async with house(public=False) as home, other_process(home) as channel:
        message_id = said(home.telegram)
        gate = asyncio.Event()
        home.telegram.fail(ASK, Fault(gate=gate))
        finding = asyncio.create_task(channel.find(turn(message_id), NOTHING))
        await home.telegram.until(lambda: home.telegram.counts[ASK])
        await channel.deliver(delivery("A notice", turn=2))
        gate.set()
        assert await finding is None


async def test_what_is_on_its_way_is_not_taken_for_it() -> None:
    async with house(public=False) as home, other_process(home) as channel:
        message_id = said(home.telegram)
        home.telegram.fail("sendMessage", Fault(silent=True))
        sending = asyncio.create_task(channel.deliver(delivery("A notice", turn=2)))
        await home.telegram.until(lambda: home.telegram.bot_texts(CUSTOMER))
        assert await channel.find(turn(message_id), NOTHING) is None
        assert not sending.done()
        with pytest.raises(DeliveryError):
            await sending


async def test_a_message_that_could_not_be_written_down_is_remembered() -> None:
    async with house(public=False) as home:
        message_id = said(home.telegram)
        shown = await home.channel.preview(draft("Hel"))
        assert await home.channel.find(turn(message_id), NOTHING) == shown
        assert not home.telegram.counts[ASK]


async def test_a_found_message_that_could_not_be_written_down_is_remembered() -> None:
    async with house(public=False) as home:
        message_id = said(home.telegram)
        shown = await home.channel.preview(draft("Hel"))
        async with other_process(home) as channel:
            assert await channel.find(turn(message_id), NOTHING) == shown
            asked = home.telegram.counts[ASK]
            assert await channel.find(turn(message_id), NOTHING) == shown
        assert home.telegram.counts[ASK] == asked


def test_a_message_of_ours_that_is_no_text_is_not_written_into() -> None:
    refused = BadRequest("There is no text in the message to edit")
    assert isinstance(delivery_error(refused, refused.message, repeatable=True), MessageGone)
