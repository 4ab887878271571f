"""Telegram's way out: a reply grows in one message and ends whole in it; every refusal says whether to try again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from aiohttp.test_utils import unused_port
from structlog.testing import capture_logs

from adapters.telegram.simulator import BLOCKED, Fault, flood
from core.errors import DeliveryError, LedgerError
from core.types import ConversationKey, Delivery, ReplyKind
from tests.adapters.telegram_house import CUSTOMER, GROUP, TOKEN, delivery, draft, house, samples

NO_ANSWER = Fault(silent=True)


@pytest.mark.parametrize("sample", samples("out"), ids=lambda sample: sample["name"])
async def test_sample(sample: dict[str, Any]) -> None:
    given = dict(sample["delivery"])
    key = ConversationKey(**given.pop("conversation"))
    async with house(public=False) as home:
        home.telegram.chats.add(CUSTOMER, "…", by_bot=True, message_id=40)
        await home.channel.deliver(Delivery(conversation=key, kind=ReplyKind(given.pop("kind")), **given))
        calls = [{"method": call.method, "parameters": call.parameters} for call in home.telegram.calls]
    assert [call for call in calls if call["method"] != "getMe"] == sample["calls"]


async def test_a_reply_grows_and_ends_in_one_message() -> None:
    async with house() as home:
        reference = await home.channel.preview(draft("Your"))
        assert reference is not None
        assert await home.channel.preview(draft("Your order", reference)) == reference
        assert await home.channel.deliver(delivery("Your order is on its way.", reference)) == reference
        (message,) = home.telegram.chats.read(CUSTOMER)
        assert [version.text for version in message.versions] == ["Your", "Your order", "Your order is on its way."]


async def test_the_same_text_is_never_sent_twice() -> None:
    async with house() as home:
        reference = await home.channel.preview(draft("Hello"))
        assert reference is not None
        assert await home.channel.preview(draft("Hello \n", reference)) == reference
        assert await home.channel.deliver(delivery("Hello", reference)) == reference
        assert home.telegram.counts["sendMessage"] + home.telegram.counts["editMessageText"] == 1


async def test_an_unchanged_message_is_a_success_after_a_restart() -> None:
    async with house() as home:
        shown = home.telegram.chats.add(CUSTOMER, "Hello", by_bot=True)
        reference = f"{CUSTOMER}:{shown.message_id}"
        assert await home.channel.deliver(delivery("Hello", reference)) == reference


async def test_only_blank_text_is_not_shown() -> None:
    async with house() as home:
        assert await home.channel.preview(draft(" \n")) is None
        assert home.telegram.counts["sendMessage"] == 0


async def test_a_preview_is_cut_to_one_message_and_the_whole_limit_is_delivered() -> None:
    async with house() as home:
        reference = await home.channel.preview(draft("😀" * 3000))
        assert reference is not None
        assert home.telegram.bot_texts(CUSTOMER) == ["😀" * 2047 + "…"]
        await home.channel.deliver(delivery("字" * 4096, reference))
        assert home.telegram.bot_texts(CUSTOMER) == ["字" * 4096]
        assert home.channel.traits.measure("😀") == 2


async def test_a_deleted_preview_costs_no_reply() -> None:
    async with house() as home:
        reference = await home.channel.preview(draft("Hel"))
        assert reference is not None
        home.telegram.chats.delete(CUSTOMER, int(reference.partition(":")[2]))
        with pytest.raises(DeliveryError):
            await home.channel.preview(draft("Hello", reference))
        assert await home.channel.deliver(delivery("Hello there", reference)) != reference
        assert home.telegram.bot_texts(CUSTOMER) == ["Hello there"]


async def test_groups_quote_the_question_once_and_are_edited_slowly() -> None:
    async with house() as home:
        asked = home.telegram.chats.add(GROUP, "@helper_bot hi", by_bot=False).message_id
        reference = await home.channel.preview(draft("One", chat=GROUP, quoted=asked))
        assert reference is not None
        assert await home.channel.preview(draft("One two", reference, chat=GROUP)) == reference
        assert await home.channel.preview(draft("Other", turn=2, chat=GROUP)) is None
        home.clock.now += 3.1
        assert await home.channel.preview(draft("One two three", reference, chat=GROUP)) == reference
        await home.channel.deliver(delivery("One two three four", reference, chat=GROUP, quoted=asked))
        await home.channel.deliver(delivery("five", chat=GROUP, quoted=asked, part=2))
        _, first, second = home.telegram.chats.read(GROUP)
        assert [version.text for version in first.versions] == ["One", "One two three", "One two three four"]
        assert (first.reply_to, second.reply_to) == (asked, 0)


async def test_a_deleted_question_is_answered_without_a_quotation() -> None:
    async with house() as home:
        await home.channel.deliver(delivery("Hello", chat=GROUP, quoted=999))
        assert home.telegram.bot_texts(GROUP) == ["Hello"]


async def test_a_topic_is_answered_in_the_topic() -> None:
    async with house() as home:
        home.telegram.user_says(GROUP, "@helper_bot hi", thread_id=12)
        await home.telegram.until(lambda: home.gateway.received)
        message = home.gateway.received[0]
        await home.channel.deliver(Delivery(1, 1, message.conversation, message.address, "Hello", ReplyKind.ANSWER))
        assert home.telegram.chats.read(GROUP)[-1].thread_id == 12


@pytest.mark.parametrize(
    ("fault", "retryable", "retry_after", "unclear"),
    [
        (flood(14), True, 14.0, False),
        (Fault(429, "Too Many Requests"), True, 5.0, False),
        (BLOCKED, False, None, False),
        (Fault(403, "Forbidden: user is deactivated"), False, None, False),
        (Fault(400, "Bad Request: chat not found"), False, None, False),
        (Fault(400, "Bad Request: message is too long"), False, None, False),
        (Fault(401, "Unauthorized: invalid token specified"), True, 60.0, False),
        (Fault(404, "Not Found"), True, 60.0, False),
        (Fault(409, "Conflict"), False, None, False),
        (Fault(502, "Bad Gateway"), True, None, False),
        (Fault(500, "Internal Server Error"), False, None, True),
        (NO_ANSWER, False, None, True),
        (Fault(drop=True), False, None, True),
        (Fault(reset=True), False, None, True),
    ],
)
async def test_a_send_that_fails(fault: Fault, retryable: bool, retry_after: float | None, unclear: bool) -> None:
    async with house() as home:
        home.telegram.fail("sendMessage", fault)
        with pytest.raises(DeliveryError) as caught:
            await home.channel.deliver(delivery("Hello"))
        error = caught.value
        assert (error.retryable, error.retry_after, error.unclear) == (retryable, retry_after, unclear)
        assert TOKEN not in error.reason
        assert home.telegram.counts["sendMessage"] == 1


@pytest.mark.parametrize(
    ("description", "gone"),
    [
        ("Forbidden: bot was blocked by the user", True),
        ("Forbidden: user is deactivated", True),
        ("Forbidden: bot was kicked from the supergroup chat", True),
        ("Forbidden: bot can't send messages to bots", False),
    ],
)
async def test_who_is_gone_is_left_by_preview_and_delivery(description: str, gone: bool) -> None:
    async with house() as home:
        home.telegram.fail("sendMessage", Fault(403, description), times=2)
        with pytest.raises(DeliveryError):
            await home.channel.preview(draft("Hel"))
        with pytest.raises(DeliveryError) as caught:
            await home.channel.deliver(delivery("Hello"))
        assert (caught.value.retryable, caught.value.unclear) == (False, False)
        assert home.gateway.left == [f"telegram/support/{CUSTOMER}"] * (2 if gone else 0)


async def test_a_business_customer_is_answered_in_the_owners_name() -> None:
    async with house() as home:
        place = {"chat_id": CUSTOMER, "chat_type": "private", "message_id": 1, "business_connection_id": "b1"}
        first = replace(draft("Hel"), address=place)
        reference = await home.channel.preview(first)
        await home.channel.deliver(replace(delivery("Hello", reference or ""), address=place))
        calls = [call for call in home.telegram.calls if "text" in call.parameters]
        assert [call.parameters["business_connection_id"] for call in calls] == ["b1", "b1"]
        assert home.telegram.bot_texts(CUSTOMER) == ["Hello"]


@pytest.mark.parametrize("fault", [NO_ANSWER, Fault(drop=True), Fault(reset=True), Fault(500, "Internal Server Error")])
async def test_an_edit_with_an_unknown_outcome_may_be_repeated(fault: Fault) -> None:
    async with house() as home:
        reference = await home.channel.preview(draft("Hel"))
        assert reference is not None
        home.telegram.fail("editMessageText", fault)
        with pytest.raises(DeliveryError) as caught:
            await home.channel.deliver(delivery("Hello", reference))
        assert (caught.value.retryable, caught.value.unclear) == (True, False)
        assert await home.channel.deliver(delivery("Hello", reference)) == reference
        assert home.telegram.bot_texts(CUSTOMER) == ["Hello"]


async def test_a_refused_connection_is_tried_again() -> None:
    async with house(public=False, api_base_url=f"http://127.0.0.1:{unused_port()}") as home:
        with pytest.raises(DeliveryError) as caught:
            await home.channel.deliver(delivery("Hello"))
        assert (caught.value.retryable, caught.value.unclear) == (True, False)


async def test_after_close_nothing_is_sent() -> None:
    async with house() as home:
        await home.channel.close()
        with pytest.raises(DeliveryError) as caught:
            await home.channel.deliver(delivery("Hello"))
        assert caught.value.retryable


async def test_a_migrated_group_is_answered_under_its_new_id() -> None:
    async with house() as home:
        home.telegram.migrate(-4001, GROUP)
        reference = await home.channel.deliver(delivery("Hello", chat=-4001))
        assert reference.startswith(f"{GROUP}:")
        assert home.telegram.bot_texts(GROUP) == ["Hello"]
        assert home.telegram.counts["sendMessage"] == 2


async def test_a_preview_from_before_the_migration_is_replaced() -> None:
    async with house() as home:
        reference = await home.channel.preview(draft("Hel", chat=-4001))
        assert reference is not None
        home.telegram.migrate(-4001, GROUP)
        await home.channel.deliver(delivery("Hello", reference, chat=-4001))
        assert home.telegram.bot_texts(GROUP) == ["Hello"]


async def test_a_refused_preview_holds_everything_back_until_its_time_is_over() -> None:
    async with house() as home:
        reference = await home.channel.preview(draft("Hel"))
        assert reference is not None
        home.telegram.fail("editMessageText", flood(14))
        with pytest.raises(DeliveryError):
            await home.channel.preview(draft("Hello", reference))
        assert await home.channel.preview(draft("Hello th", reference)) == reference
        home.clock.now += 4
        with pytest.raises(DeliveryError) as caught:
            await home.channel.deliver(delivery("Hello there", reference))
        assert (caught.value.retryable, caught.value.retry_after) == (True, 10.0)
        assert home.telegram.counts["editMessageText"] == 1
        home.clock.now += 10
        await home.channel.deliver(delivery("Hello there", reference))
        assert home.telegram.bot_texts(CUSTOMER) == ["Hello there"]


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"ok":true,"result":{}}', b'{"ok":true,"result":7}'])
async def test_an_answer_that_is_not_the_apis_leaves_the_outcome_unclear(body: bytes) -> None:
    async with house() as home:
        home.telegram.fail("sendMessage", Fault(body=body))
        with pytest.raises(DeliveryError) as caught:
            await home.channel.deliver(delivery("Hello"))
        assert caught.value.unclear


async def test_what_cannot_be_encoded_does_not_cost_the_reply() -> None:
    async with house() as home:
        await home.channel.deliver(delivery("Hello \ud83d there"))
        assert home.telegram.bot_texts(CUSTOMER) == ["Hello ? there"]


async def test_an_address_of_another_channel_is_a_delivery_error() -> None:
    async with house() as home:
        strange = Delivery(1, 1, ConversationKey("telegram", "support", "1"), {}, "Hello", ReplyKind.ANSWER)
        with pytest.raises(DeliveryError):
            await home.channel.deliver(strange)


async def test_no_log_line_holds_a_text() -> None:
    with capture_logs() as lines:
        async with house() as home:
            reference = await home.channel.preview(draft("private words"))
            home.telegram.fail("editMessageText", Fault(400, "Bad Request: message to edit not found"))
            await home.channel.deliver(delivery("private words and more", reference or ""))
    assert [line["event"] for line in lines] == ["telegram_registered", "telegram_preview_gone"]
    assert "private words" not in str(lines)


async def test_only_a_new_message_is_recorded_as_begun_and_only_when_nothing_holds_it_back() -> None:
    """After a crash an edit may be repeated; a send that may have happened may not, and one that did not must be."""
    async with house() as home:
        reference = await home.channel.preview(draft("Hello"))
        assert reference is not None
        await home.channel.deliver(delivery("Hello there", reference))
        assert home.gateway.begun == []
        home.telegram.chats.delete(CUSTOMER, int(reference.partition(":")[2]))
        await home.channel.deliver(replace(delivery("Hello there", reference), turn_id=2))
        assert home.gateway.begun == [1], "the preview is gone: it is a new message"
        home.telegram.fail("sendMessage", flood(30))
        for _ in range(2):
            with pytest.raises(DeliveryError):
                await home.channel.deliver(replace(delivery("Next"), turn_id=3))
        assert home.gateway.begun == [1, 1], "the second try waits for the flood limit, and has not begun"


async def test_nothing_is_sent_that_could_not_be_recorded_as_begun() -> None:
    async with house() as home:
        home.gateway.forgetful = True
        with pytest.raises(LedgerError):
            await home.channel.deliver(delivery("Hello"))
        assert home.telegram.bot_texts(CUSTOMER) == []
        home.gateway.forgetful = False
        await home.channel.deliver(delivery("Hello"))
        assert home.telegram.bot_texts(CUSTOMER) == ["Hello"]
