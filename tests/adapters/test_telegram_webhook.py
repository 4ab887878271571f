"""Telegram's way in: only Telegram is heard, no message gets 200 that was not kept, nothing else is repeated."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog
from structlog.testing import capture_logs

from adapters.telegram.channel import SECRET_HEADER, TelegramChannel, build
from adapters.telegram.registration import derived_secret
from adapters.telegram.settings import Settings
from adapters.telegram.simulator import BLOCKED, Fault, TelegramSimulator, flood
from core.config import Environment, section
from core.errors import ConfigError, DeliveryError
from tests.adapters.telegram_house import CUSTOMER, GROUP, SECRET, TOKEN, House, delivery, house, samples, settings

HELLO = {
    "update_id": 1,
    "message": {"message_id": 1, "from": {"id": 7}, "chat": {"id": 7, "type": "private"}, "text": "Hello"},
}


async def post(home: House, body: bytes, secret: str | None = SECRET) -> int:
    headers = {} if secret is None else {SECRET_HEADER: secret}
    async with aiohttp.ClientSession() as http, http.post(home.url, data=body, headers=headers) as response:
        return response.status


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
        assert {"message", "my_chat_member", "message_reaction", "stopped_message_generation"} <= webhook.allowed


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
        assert sorted(home.gateway.left) == [f"telegram/support/{CUSTOMER}", f"telegram/support/{CUSTOMER}/3"]
        with pytest.raises(DeliveryError) as caught:
            await home.channel.deliver(delivery("Hello"))
        assert not caught.value.retryable


async def test_the_stop_button_stops() -> None:
    async with house() as home:
        home.telegram.push({"stopped_message_generation": {"chat": {"id": CUSTOMER, "type": "private"}, "draft_id": 1}})
        await home.telegram.until(lambda: home.telegram.webhook.accepted)
        assert home.gateway.stopped == [f"telegram/support/{CUSTOMER}"]


async def test_start_survives_an_absent_platform_and_tries_until_it_works() -> None:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    async with TelegramSimulator(TOKEN) as telegram:
        telegram.fail("getMe", Fault(reset=True), times=2)
        telegram.fail("getMe", flood(9))
        telegram.fail("setWebhook", Fault(502, "Bad Gateway"))
        channel = TelegramChannel("telegram", settings(telegram), public_url="http://127.0.0.1:1", pause=pause)
        await channel.start()
        await telegram.until(lambda: telegram.webhook.url)
        await channel.close()
    assert pauses == [1.0, 2.0, 9.0, 8.0]


async def test_a_refused_webhook_is_told_once_and_not_tried_again() -> None:
    told = asyncio.Event()
    lines: list[str] = []

    def note(_: object, method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
        lines.append(f"{method} {line['event']}")
        told.set()
        raise structlog.DropEvent

    async with TelegramSimulator(TOKEN) as telegram:
        with capture_logs(processors=[note]):
            channel = build("telegram", settings(telegram), public_url="http://bot.example.com")
            await channel.start()
            async with asyncio.timeout(5):
                await told.wait()
            await channel.close()
    assert lines == ["error telegram_registration_refused"]
    assert telegram.counts["setWebhook"] == 1


async def test_close_ends_a_registration_that_is_under_way() -> None:
    async with TelegramSimulator(TOKEN) as telegram:
        telegram.fail("getMe", Fault(silent=True))
        channel = build("telegram", settings(telegram, timeout_seconds=60), public_url="")
        await channel.start()
        await telegram.until(lambda: telegram.counts["getMe"])
        await channel.close()
        assert {task.get_name() for task in asyncio.all_tasks()} & {"telegram registration"} == set()


async def test_the_token_is_in_no_log_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with capture_logs() as lines:
        async with house() as home:
            for fault in (Fault(reset=True), Fault(401, "Unauthorized"), Fault(404, f"Not Found: {TOKEN}"), BLOCKED):
                home.telegram.fail("getMe", fault)
            channel = build("again", settings(home.telegram), public_url="http://bot.example.com")
            findings = [await channel.check() for _ in range(4)]
            unreachable = Settings(token=settings(home.telegram).token, api_base_url="http://127.0.0.1:9")
            findings.append(await build("gone", unreachable, public_url="").check())
            await post(home, b"not json", "wrong")
            await post(home, b"not json")
    written = f"{lines} {caplog.text} {findings}"
    assert [finding[0].ok for finding in findings] == [False] * 5
    assert "<token>" in findings[2][0].detail
    assert len(lines) >= 3
    assert TOKEN not in written
    assert TOKEN.partition(":")[2] not in written
    assert SECRET not in written


async def test_check_says_what_is_wrong_and_what_to_do() -> None:
    async with house() as home:
        good = await home.channel.check()
        home.telegram.webhook.pending, home.telegram.webhook.last_error = 3, "Connection refused"
        waiting = await home.channel.check()
        home.telegram.webhook.pending = 0
        home.telegram.webhook.url = "https://elsewhere.example.com/telegram"
        elsewhere = await home.channel.check()
        home.telegram.fail("getMe", Fault(401, "Unauthorized"))
        refused = await home.channel.check()
    assert [finding.ok for finding in good] == [True, True]
    assert "@helper_bot" in good[0].detail
    for findings in (waiting, elsewhere, refused):
        assert not findings[-1].ok
        assert findings[-1].remedy
    assert "3 updates wait" in waiting[-1].detail


async def test_check_tells_of_a_missing_public_address() -> None:
    async with house(public=False) as home:
        findings = await home.channel.check()
    assert [finding.ok for finding in findings] == [True, True]
    assert "public_url" in findings[-1].remedy


def test_only_a_token_is_needed(tmp_path: Path) -> None:
    environment = Environment(tmp_path / ".env", {"TELEGRAM_BOT_TOKEN": TOKEN})
    assert section("channels.telegram", Settings, {}, environment).missing() == []
    assert section("channels.telegram", Settings, {}, Environment(tmp_path / ".env", {})).missing() == [
        "TELEGRAM_BOT_TOKEN"
    ]


def test_the_derived_secret_is_stable_and_fits_the_header() -> None:
    assert derived_secret(TOKEN) == derived_secret(TOKEN) != derived_secret(TOKEN + "x")
    assert Settings.model_validate({"secret": derived_secret(TOKEN)}).secret is not None


async def test_without_a_secret_the_derived_one_guards_the_webhook() -> None:
    async with house(secret=None) as home:
        assert home.telegram.webhook.secret == derived_secret(TOKEN)
        assert await post(home, json.dumps(HELLO).encode(), derived_secret(TOKEN)) == 200
        assert await post(home, json.dumps(HELLO).encode(), "") == 401


@pytest.mark.parametrize(
    "values", [{"token": "1:a/b"}, {"token": "1:a b"}, {"secret": "not plain"}, {"secret": "x" * 257}]
)
def test_settings_that_telegram_would_refuse_stop_the_start(values: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        section("channels.telegram", Settings, values, Environment(tmp_path / ".env", {}))
    assert next(iter(values.values())) not in str(caught.value)
