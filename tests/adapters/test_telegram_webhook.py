"""Telegram's way in: only Telegram is heard, no message gets 200 that was not kept, nothing else is repeated."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from adapters.telegram.bot_api import ALLOWED_UPDATES
from core.errors import DeliveryError
from core.types import ConversationKey
from tests.adapters.telegram_house import CUSTOMER, GROUP, HELLO, SECRET, delivery, house, post, samples

READ = {"callback_query", "my_chat_member", "stopped_message_generation"} | {
    f"{edited}{business}message" for edited in ("", "edited_") for business in ("", "business_")
}


@pytest.mark.parametrize("secret", [None, "", "wrong", SECRET + "x", SECRET[:-1], "é"])
async def test_a_wrong_secret_is_refused_before_anything_is_read(secret: str | None) -> None:
    async with house() as home:
        assert await post(home, json.dumps(HELLO).encode(), secret) == 401
        assert home.gateway.received == []


async def test_a_message_is_received_before_the_200() -> None:
    async with house() as home:
        assert await post(home, json.dumps(HELLO).encode()) == 200
        assert [message.text for message in home.gateway.received] == ["Hello"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'"text"',
        b"[" * 50_000,
        b'{"update_id": 1, "message": []}',
        b'{"update_id": 1, "message": {"text": "\\ud800"}}',
    ],
    ids=["empty", "garbage", "bytes", "list", "null", "string", "nested", "odd", "surrogate"],
)
async def test_what_cannot_be_understood_gets_200_and_a_log_line(body: bytes) -> None:
    async with house() as home:
        with capture_logs() as lines:
            assert await post(home, body) == 200
        assert [line["event"] for line in lines].count("telegram_update_skipped") == 1
        assert home.gateway.received == []


async def test_a_body_over_the_limit_is_refused() -> None:
    async with house() as home:
        assert await post(home, b'{"update_id": 1, "message": {"text": "' + b"x" * 100_000 + b'"}}') == 413
        assert home.gateway.received == []


@pytest.mark.parametrize("sample", samples("in"), ids=lambda sample: sample["name"])
async def test_every_sample_gets_200(sample: dict[str, Any]) -> None:
    async with house(**sample["settings"]) as home:
        assert await post(home, json.dumps(sample["request"]["json"]).encode(), sample["settings"]["secret"]) == 200
        assert len(home.gateway.received) == (sample["message"] is not None)


async def test_a_message_that_could_not_be_kept_comes_again() -> None:
    async with house() as home:
        home.gateway.broken = 2
        home.telegram.user_says(CUSTOMER, "Hello")
        await home.telegram.until(lambda: home.telegram.webhook.accepted)
        assert [attempt.status for attempt in home.telegram.webhook.attempts] == [503, 503, 200]
        assert [message.text for message in home.gateway.received] == ["Hello"]


async def test_a_redelivery_carries_the_same_event_id() -> None:
    async with house() as home:
        update = home.telegram.user_says(CUSTOMER, "Hello")
        home.telegram.webhook.again(update)
        await home.telegram.until(lambda: home.telegram.webhook.accepted == 2)
        assert [message.event_id for message in home.gateway.received] == [str(update)] * 2


async def test_the_registered_webhook_carries_secret_and_all_kinds() -> None:
    async with house() as home:
        webhook = home.telegram.webhook
        assert (webhook.url, webhook.secret, webhook.connections) == (home.url, SECRET, 40)
        assert webhook.allowed == set(ALLOWED_UPDATES)
        assert {"message", "chat_member", "message_reaction", "stopped_message_generation"} <= webhook.allowed


async def test_two_sections_listen_apart() -> None:
    async with house(name="telegram_de") as home:
        assert home.url.endswith("/telegram_de")
        home.telegram.user_says(CUSTOMER, "Hallo", language="de")
        await home.telegram.until(lambda: home.telegram.webhook.accepted)
        assert str(home.gateway.received[0].conversation) == f"telegram_de/support/{CUSTOMER}"


async def test_group_rules_hold_with_the_name_that_telegram_tells() -> None:
    async with house() as home:
        for text in ("just talking", "@helper_bot are you open?", "/help@helper_bot", "/help", "@helper_bot2 hi"):
            home.telegram.user_says(GROUP, text)
        await home.telegram.until(lambda: home.telegram.webhook.accepted == 5)
        assert [message.text for message in home.gateway.received] == ["are you open?", "/help"]


async def test_an_album_is_its_caption_and_one_without_is_unreadable() -> None:
    async with house() as home:
        for number, caption in enumerate(("", "Both are broken", "")):
            picture = {"message_id": 10 + number, "from": {"id": CUSTOMER}, "chat": {"id": CUSTOMER, "type": "private"}}
            home.telegram.push({"message": picture | {"photo": [{}], "media_group_id": "a", "caption": caption}})
        await home.telegram.until(lambda: home.telegram.webhook.accepted == 3)
        assert [(message.text, message.unreadable) for message in home.gateway.received] == [
            ("", True),
            ("Both are broken", False),
        ]


async def test_a_reply_to_our_newest_message_is_read_alike_when_it_is_edited_later() -> None:
    async with house() as home:
        await home.channel.deliver(delivery("It costs 5."))
        (ours,) = home.telegram.chats.read(CUSTOMER)
        update = home.telegram.user_says(CUSTOMER, "why?", reply_to=ours.message_id)
        await home.telegram.until(lambda: home.gateway.received)
        await home.channel.deliver(delivery("Because.", turn=2))
        original = dict(home.telegram.webhook.sent(update))["message"]
        home.telegram.push({"edited_message": original})
        home.telegram.user_says(CUSTOMER, "and before?", reply_to=ours.message_id)
        await home.telegram.until(lambda: home.telegram.webhook.accepted == 3)
        first, edit, other = home.gateway.received
        assert (first.text, edit.text, edit.source_id, edit.edited) == ("why?", "why?", first.source_id, True)
        assert other.text == "> Helper: It costs 5.\n\nand before?"


async def test_a_user_who_blocks_us_has_left_with_all_topics() -> None:
    async with house() as home:
        home.telegram.user_says(CUSTOMER, "Hello", thread_id=3)
        home.telegram.user_leaves(CUSTOMER)
        await home.telegram.until(lambda: home.telegram.webhook.accepted == 2)
        assert home.gateway.left == [f"telegram/support/{CUSTOMER}"]
        with pytest.raises(DeliveryError) as caught:
            await home.channel.deliver(delivery("Hello"))
        assert not caught.value.retryable


async def test_a_group_that_became_a_supergroup_is_moved_by_either_of_its_words() -> None:
    async with house() as home:
        home.gateway.broken = 1
        home.telegram.migrate(-4001, GROUP, told=True)
        await home.telegram.until(lambda: home.telegram.webhook.accepted == 2)
        assert home.gateway.moves == [("telegram/support/-4001", str(GROUP))] * 2
        assert sorted(attempt.status for attempt in home.telegram.webhook.attempts) == [200, 200, 503]
        assert home.gateway.received == []


async def test_a_call_that_finds_the_group_elsewhere_moves_it_once() -> None:
    async with house() as home:
        home.telegram.migrate(-4001, GROUP)
        home.gateway.broken = 1
        with capture_logs() as lines:
            await home.channel.deliver(delivery("Hello", chat=-4001))
        assert [line["event"] for line in lines if "move" in line["event"]] == ["telegram_move_not_recorded"]
        await home.channel.deliver(delivery("Hello", chat=-4001))
        moved = replace(delivery("Hello", chat=-4001), conversation=ConversationKey("telegram", "support", str(GROUP)))
        await home.channel.deliver(moved)
        assert home.gateway.moves == [("telegram/support/-4001", str(GROUP))]
        assert home.telegram.bot_texts(GROUP) == ["Hello"] * 3


async def test_who_blocks_the_bot_has_not_left_a_business_chat() -> None:
    async with house() as home:
        sender = {"id": CUSTOMER, "is_bot": False, "first_name": "Customer"}
        said = {"message_id": 5, "from": sender, "chat": {"id": CUSTOMER, "type": "private"}, "text": "Hello"}
        home.telegram.push({"business_message": said | {"business_connection_id": "b1"}})
        home.telegram.user_leaves(CUSTOMER)
        await home.telegram.until(lambda: home.telegram.webhook.accepted == 2)
        (message,) = home.gateway.received
        assert home.gateway.left == [f"telegram/support/{CUSTOMER}"]
        assert message.conversation.chat_id not in home.gateway.left[0].split("/")


async def test_a_pressed_button_stops_turning() -> None:
    async with house() as home:
        with capture_logs() as lines:
            home.telegram.user_presses(CUSTOMER, "query-1", data="fb:up:11")
            await home.telegram.until(lambda: home.telegram.api.answered)
        assert list(home.telegram.api.answered) == ["query-1"]
        assert ("telegram_update_skipped", "callback_query") in [(line["event"], line.get("reason")) for line in lines]
        assert home.gateway.received == []


@pytest.mark.parametrize("kind", sorted(set(ALLOWED_UPDATES) - READ))
async def test_a_kind_that_is_not_read_is_acknowledged_and_logged(kind: str) -> None:
    person = {"id": CUSTOMER, "is_bot": False, "first_name": "Customer"}
    content = {"id": "1", "from": person, "user": person, "chat": {"id": GROUP, "type": "supergroup"}, "text": "Hello"}
    async with house() as home:
        with capture_logs() as lines:
            assert await post(home, json.dumps({"update_id": 1, kind: content}).encode()) == 200
        assert [line["reason"] for line in lines if line["event"] == "telegram_update_skipped"] == [kind]
        assert home.gateway.received == []


async def test_the_stop_button_stops() -> None:
    async with house() as home:
        home.telegram.push({"stopped_message_generation": {"chat": {"id": CUSTOMER, "type": "private"}, "draft_id": 1}})
        await home.telegram.until(lambda: home.telegram.webhook.accepted)
        assert home.gateway.stopped == [f"telegram/support/{CUSTOMER}"]
