"""Telegram's start: the webhook is registered as soon as it can be, and no secret is ever told."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from adapters.telegram.channel import TelegramChannel, build
from adapters.telegram.registration import derived_secret
from adapters.telegram.settings import Settings
from adapters.telegram.simulator import BLOCKED, Fault, TelegramSimulator, flood
from core.config import Environment, section
from core.errors import ConfigError
from tests.adapters.telegram_house import HELLO, SECRET, TOKEN, house, post, settings


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
