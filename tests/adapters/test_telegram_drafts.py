"""Growing replies as drafts: shown in time, kept alive, gone with the final message, given up for edits for good."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from adapters.telegram.channel import rendered
from adapters.telegram.drafts import draft_id_of
from adapters.telegram.simulator import BLOCKED, Fault, flood
from core.errors import DeliveryError
from core.types import ConversationKey
from tests.adapters.telegram_house import CUSTOMER, GROUP, House, delivery, draft, house

NOT_FOUND = Fault(404, "Not Found: method not found")


@asynccontextmanager
async def drafting() -> AsyncIterator[House]:
    async with house(streaming="draft", render=rendered) as home:
        yield home


async def settle(reached: Callable[[], object]) -> None:
    """Until the channel has got as far as that; nothing reports it."""
    async with asyncio.timeout(5):
        while not reached():
            await asyncio.sleep(0.002)


def shown(home: House, chat: int = CUSTOMER, thread: int = 0) -> str:
    found = home.telegram.drafts.read(chat, thread)
    return found.text if found else ""


def calls(home: House, method: str = "sendMessageDraft") -> list[dict[str, object]]:
    return [call.parameters for call in home.telegram.calls if call.method == method]


def test_a_draft_id_is_never_zero_and_stays_with_its_turn() -> None:
    ids = [draft_id_of(turn) for turn in (1, 2, 2**31 - 1, 2**31, 2**40)]
    assert all(0 < found < 2**31 for found in ids)
    assert ids[:2] == [1, 2]


async def test_a_reply_grows_as_a_draft_and_ends_as_one_message() -> None:
    async with drafting() as home:
        assert home.channel.traits.preview_seconds == 0.25
        assert await home.channel.preview(draft("**Your**")) == ""
        home.clock.now += 0.25
        assert await home.channel.preview(draft("**Your** order")) == ""
        assert shown(home) == "Your order"
        assert home.telegram.bot_texts(CUSTOMER) == []
        first, second = calls(home)
        assert (first["draft_id"], first["can_stop"], second["draft_id"]) == (1, True, 1)
        assert first["entities"] == [{"type": "bold", "offset": 0, "length": 4}]
        await home.channel.deliver(delivery("**Your** order is here."))
        assert home.telegram.bot_texts(CUSTOMER) == ["Your order is here."]
        assert shown(home) == ""
        assert home.telegram.counts["sendMessage"] == 1


async def test_an_edit_is_the_default() -> None:
    async with house() as home:
        assert home.channel.traits.preview_seconds == 1.1
        assert await home.channel.preview(draft("Your"))
        assert home.telegram.counts["sendMessageDraft"] == 0


async def test_the_same_text_is_not_shown_twice_and_drafts_keep_their_pace() -> None:
    async with drafting() as home:
        for text in ("One", "One ", "One two", "One two three"):
            assert await home.channel.preview(draft(text)) == ""
        assert [call["text"] for call in calls(home)] == ["One"]
        home.clock.now += 0.25
        await home.channel.preview(draft("One two three four"))
        assert shown(home) == "One two three four"


async def test_groups_and_business_chats_and_what_has_a_message_grow_by_edits() -> None:
    async with drafting() as home:
        assert await home.channel.preview(draft("One", chat=GROUP))
        business = {"chat_id": CUSTOMER, "chat_type": "private", "message_id": 1, "business_connection_id": "b1"}
        assert await home.channel.preview(replace(draft("One", turn=2), address=business))
        message = home.telegram.chats.add(CUSTOMER, "Hel", by_bot=True)
        reference = f"{CUSTOMER}:{message.message_id}"
        assert await home.channel.preview(draft("Hello", reference, turn=3)) == reference
        assert home.telegram.counts["sendMessageDraft"] == 0


async def test_a_slow_reply_is_shown_again_before_it_expires() -> None:
    async with drafting() as home:
        await home.channel.preview(draft("Let me see"))
        for count in (2, 3):
            await settle(lambda: home.clock.waiting)
            home.clock.advance(20)
            await settle(lambda count=count: home.telegram.counts["sendMessageDraft"] == count)  # type: ignore[misc]
            assert shown(home) == "Let me see"
        await home.channel.deliver(delivery("Let me see. Yes."))
        await settle(lambda: not [task for task in asyncio.all_tasks() if task.get_name() == "telegram draft"])
        home.clock.advance(60)
        assert home.telegram.counts["sendMessageDraft"] == 3


async def test_what_nobody_writes_at_any_more_is_let_expire() -> None:
    async with drafting() as home:
        await home.channel.preview(draft("Let me see"))
        await settle(lambda: home.clock.waiting)
        home.clock.advance(301)
        await settle(lambda: not [task for task in asyncio.all_tasks() if task.get_name() == "telegram draft"])
        assert home.telegram.counts["sendMessageDraft"] == 1
        assert shown(home) == ""


async def test_a_draft_on_its_way_does_not_come_after_the_final_text() -> None:
    async with drafting() as home:
        await home.channel.preview(draft("Let me see"))
        await settle(lambda: home.clock.waiting)
        home.telegram.fail("sendMessageDraft", Fault(delay=0.2))
        home.clock.advance(20)
        await settle(lambda: home.telegram.counts["sendMessageDraft"] == 2)
        await home.channel.deliver(delivery("Let me see. Yes."))
        await home.telegram.until(lambda: home.telegram.drafts.shown == 2)
        assert shown(home) == ""


@pytest.mark.parametrize("fault", [NOT_FOUND, Fault(400, "Bad Request: drafts are not supported in this chat")])
async def test_a_first_draft_that_is_refused_is_the_last_and_the_reply_goes_on_by_edits(fault: Fault) -> None:
    async with drafting() as home:
        await home.channel.preview(draft("Other", turn=2, chat=CUSTOMER + 1))
        home.telegram.fail("sendMessageDraft", fault)
        with capture_logs() as lines:
            reference = await home.channel.preview(draft("Hel"))
            assert reference
            assert await home.channel.preview(draft("Hello", reference)) == reference
            await home.channel.deliver(delivery("Hello there", reference))
            assert await home.channel.preview(draft("Other one", turn=2, chat=CUSTOMER + 1))
        assert home.telegram.bot_texts(CUSTOMER) == ["Hello there"]
        assert home.telegram.counts["sendMessageDraft"] == 2
        assert home.channel.traits.preview_seconds == 1.1
        assert [line["event"] for line in lines] == ["telegram_drafts_off"]


async def test_an_old_server_costs_one_call() -> None:
    async with drafting() as home:
        home.telegram.api.old = True
        for turn in (1, 2, 3):
            assert await home.channel.preview(draft("Hello", turn=turn))
        assert home.telegram.counts["sendMessageDraft"] == 1


async def test_a_later_refusal_ends_only_that_replys_draft() -> None:
    async with drafting() as home:
        await home.channel.preview(draft("Hel"))
        home.telegram.fail("sendMessageDraft", Fault(400, "Bad Request: message generation was stopped"))
        home.clock.now += 1
        assert await home.channel.preview(draft("Hello"))
        assert await home.channel.preview(draft("Other", turn=2, chat=CUSTOMER + 1)) == ""
        assert shown(home) == "", "a message came"
        home.clock.advance(20)
        assert home.telegram.counts["sendMessageDraft"] == 3


async def test_refused_entities_are_left_out() -> None:
    async with drafting() as home:
        home.telegram.fail("sendMessageDraft", Fault(400, "Bad Request: can't parse entities: unexpected end"))
        assert await home.channel.preview(draft("**Hel**")) == ""
        assert ["entities" in call for call in calls(home)] == [True, False]


@pytest.mark.parametrize("fault", [flood(14), Fault(silent=True), Fault(502, "Bad Gateway"), BLOCKED])
async def test_what_stops_a_preview_leaves_the_final_text_to_the_outbox(fault: Fault) -> None:
    async with drafting() as home:
        home.telegram.fail("sendMessageDraft", fault)
        with pytest.raises(DeliveryError):
            await home.channel.preview(draft("Hel"))
        assert home.gateway.left == ([f"telegram/support/{CUSTOMER}"] if fault is BLOCKED else [])
        home.clock.now += 14
        await home.channel.deliver(delivery("Hello"))
        assert home.telegram.bot_texts(CUSTOMER) == ["Hello"]
        assert home.telegram.early == 0


async def test_the_stop_button_ends_the_reply_of_its_draft() -> None:
    async with drafting() as home:
        topic = ConversationKey("telegram", "support", str(CUSTOMER), "3")
        address = {"chat_id": CUSTOMER, "chat_type": "private", "message_id": 1, "thread_id": 3}
        await home.channel.preview(replace(draft("Once upon"), conversation=topic, address=address))
        assert home.telegram.user_stops(CUSTOMER) == 0
        update = home.telegram.user_stops(CUSTOMER, thread_id=3)
        await home.telegram.until(lambda: home.telegram.webhook.accepted)
        assert home.gateway.stopped == [str(topic)]
        home.clock.now += 1
        assert await home.channel.preview(replace(draft("Once upon a"), conversation=topic, address=address)) == ""
        await home.channel.deliver(replace(delivery("Once upon"), conversation=topic, address=address))
        # It comes again, while the next question is being answered.
        home.telegram.webhook.again(update)
        await home.telegram.until(lambda: home.telegram.webhook.accepted == 2)
        assert home.gateway.stopped == [str(topic)]
        assert home.telegram.counts["sendMessageDraft"] == 1
        assert home.telegram.bot_texts(CUSTOMER) == ["Once upon"]


async def test_a_stop_finds_its_reply_whatever_thread_the_update_names() -> None:
    async with drafting() as home:
        topic = ConversationKey("telegram", "support", str(CUSTOMER), "3")
        address = {"chat_id": CUSTOMER, "chat_type": "private", "message_id": 1, "thread_id": 3}
        await home.channel.preview(replace(draft("Once"), conversation=topic, address=address))
        chat = {"id": CUSTOMER, "type": "private"}
        home.telegram.push({"stopped_message_generation": {"chat": chat, "draft_id": 1}})
        elsewhere = {"chat": chat | {"id": CUSTOMER + 1}, "draft_id": 1}
        home.telegram.push({"stopped_message_generation": elsewhere})
        await home.telegram.until(lambda: home.telegram.webhook.accepted == 2)
        assert sorted(home.gateway.stopped) == [str(topic), f"telegram/support/{CUSTOMER + 1}"]


async def test_a_stop_of_an_earlier_draft_is_not_the_present_ones() -> None:
    async with drafting() as home:
        await home.channel.preview(draft("Once", turn=9))
        home.telegram.push({"stopped_message_generation": {"chat": {"id": CUSTOMER, "type": "private"}, "draft_id": 8}})
        await home.telegram.until(lambda: home.telegram.webhook.accepted)
        assert home.gateway.stopped == []


async def test_who_leaves_sees_no_more_and_close_ends_all() -> None:
    async with drafting() as home:
        for turn, chat in enumerate((CUSTOMER, CUSTOMER + 1), 1):
            await home.channel.preview(draft("Once", turn=turn, chat=chat))
        await settle(lambda: len(home.clock.waiting) == 2)
        home.telegram.user_leaves(CUSTOMER)
        await home.telegram.until(lambda: home.telegram.webhook.accepted)
        home.clock.advance(20)
        await settle(lambda: home.telegram.counts["sendMessageDraft"] == 3)
        assert [call["chat_id"] for call in calls(home)] == [CUSTOMER, CUSTOMER + 1, CUSTOMER + 1]
        await home.channel.close()
        assert not [task for task in asyncio.all_tasks() if task.get_name() == "telegram draft"]
