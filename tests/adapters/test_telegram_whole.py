"""Telegram through the whole house, as a process of its own: drafts, the stop button, groups that move, tables."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from adapters.telegram.simulator import TelegramSimulator
from bench.stand import gateway
from core.engine_simulator import EngineSimulator
from core.simulated_reply import Behaviour
from tests.adapters.telegram_house import CUSTOMER, GROUP, SECRET, TOKEN

HOME = Path(__file__).resolve().parents[2]
SMALL_GROUP = -4001
WORDS = " ".join(f"w{number}" for number in range(40))
pytestmark = pytest.mark.process


@asynccontextmanager
async def running(
    tmp_path: Path, behaviour: Behaviour, **settings: str
) -> AsyncIterator[tuple[TelegramSimulator, EngineSimulator]]:
    """A gateway process between Telegram and an engine."""
    async with TelegramSimulator(TOKEN) as telegram, EngineSimulator(behaviour=behaviour) as engine:
        variables = {
            "TELEGRAM_BOT_TOKEN": TOKEN,
            "TELEGRAM_WEBHOOK_SECRET": SECRET,
            "FRONTDESK__CHANNELS__TELEGRAM__API_BASE_URL": telegram.base_url,
            "FRONTDESK__CHANNELS__SLACK__ENABLED": "false",
            "FRONTDESK__CHANNELS__WECHAT__ENABLED": "false",
            "FRONTDESK__ENGINE__BASE_URL": engine.base_url,
        }
        variables |= {f"FRONTDESK__CHANNELS__TELEGRAM__{name.upper()}": value for name, value in settings.items()}
        async with gateway(HOME, tmp_path, variables) as house:
            telegram.webhook.set(f"{house.address}/telegram", SECRET, frozenset(), 100)
            async with asyncio.timeout(20):
                await until(lambda: telegram.counts["getMe"])
                yield telegram, engine


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


def slowly(text: str) -> Behaviour:
    return Behaviour(reply=lambda _: text, tokens_per_second=30.0, first_token_seconds=0.05)


async def test_a_draft_grows_and_becomes_one_message(tmp_path: Path) -> None:
    async with running(tmp_path, slowly(WORDS), streaming="draft") as (telegram, engine):
        telegram.user_says(CUSTOMER, "Tell me")
        await until(lambda: telegram.counts["sendMessageDraft"] >= 3)
        draft = telegram.drafts.read(CUSTOMER)
        assert draft is not None and draft.can_stop and WORDS.startswith(draft.text)
        await until(lambda: telegram.bot_texts(CUSTOMER))
        assert telegram.bot_texts(CUSTOMER) == [WORDS]
        assert telegram.drafts.read(CUSTOMER) is None
        assert (telegram.counts["sendMessage"], telegram.counts["editMessageText"], len(engine.calls)) == (1, 0, 1)


async def test_the_stop_button_keeps_what_stands_and_stops_the_engine(tmp_path: Path) -> None:
    async with running(tmp_path, slowly(WORDS * 20), streaming="draft") as (telegram, engine):
        telegram.user_says(CUSTOMER, "Tell me")
        await until(lambda: telegram.counts["sendMessageDraft"] >= 2)
        update = telegram.user_stops(CUSTOMER)
        await until(lambda: telegram.bot_texts(CUSTOMER) and engine.aborts)
        (text,) = telegram.bot_texts(CUSTOMER)
        assert text.startswith("w0") and len(text) < len(WORDS * 20)
        engine.behaviour = slowly(WORDS)
        telegram.user_says(CUSTOMER, "And now?")
        await until(lambda: telegram.counts["sendMessageDraft"] >= 4)
        telegram.webhook.again(update)  # the same press: not of this reply
        await until(lambda: len(telegram.bot_texts(CUSTOMER)) == 2)
        assert telegram.bot_texts(CUSTOMER)[1] == WORDS


async def test_a_server_without_drafts_and_rich_messages_gets_every_reply_whole(tmp_path: Path) -> None:
    table = "| Item | Price |\n|---|---|\n| Red | 5 |\n\n" + WORDS
    async with running(tmp_path, slowly(table), streaming="draft") as (telegram, _):
        telegram.api.old = True
        for number in range(2):
            telegram.user_says(CUSTOMER + number, "Tell me")
        await until(lambda: all(_whole(telegram, CUSTOMER + number, "w39") for number in range(2)))
        assert all("Red" in telegram.bot_texts(CUSTOMER + number)[0] for number in range(2))
        assert telegram.counts["sendMessageDraft"] <= 2
        telegram.api.old = False
        telegram.user_says(CUSTOMER, "Once more")
        await until(lambda: len(telegram.bot_texts(CUSTOMER)) == 2 and _whole(telegram, CUSTOMER, "w39"))
        assert not any(message.rich for message in telegram.chats.read(CUSTOMER)), "off for good"


async def test_a_table_replaces_its_growing_text(tmp_path: Path) -> None:
    table = "| Item | Price |\n|---|---|\n| Red | 5 |\n\n" + WORDS
    async with running(tmp_path, slowly(table)) as (telegram, _):
        telegram.user_says(CUSTOMER, "Tell me")
        await until(lambda: any(message.rich for message in telegram.chats.read(CUSTOMER)))
        (text,) = telegram.bot_texts(CUSTOMER)
        assert text == f"Item | Price\nRed | 5\n{WORDS}"


async def test_a_group_that_moves_keeps_its_history_and_gets_its_answers_once(tmp_path: Path) -> None:
    async with running(tmp_path, slowly(WORDS)) as (telegram, engine):
        telegram.chats.name_type(SMALL_GROUP, "group")
        telegram.user_says(SMALL_GROUP, "@helper_bot first question", chat_type="group")
        await until(lambda: _whole(telegram, SMALL_GROUP, "w39"))
        telegram.user_says(SMALL_GROUP, "@helper_bot second question", chat_type="group")
        await engine.called(2)
        telegram.migrate(SMALL_GROUP, GROUP, told=True)  # while it is being written
        await until(lambda: _whole(telegram, GROUP, "w39"))
        telegram.user_says(GROUP, "@helper_bot third question", chat_type="supergroup")
        await until(lambda: len(telegram.bot_texts(GROUP)) == 2 and _whole(telegram, GROUP, "w39"))
        history = str(engine.calls[2].body["messages"])
        assert "first question" in history and "second question" in history
        assert telegram.bot_texts(GROUP) == [WORDS, WORDS]
        assert len(engine.calls) == 3


def _whole(telegram: TelegramSimulator, chat_id: int, end: str) -> bool:
    texts = telegram.bot_texts(chat_id)
    return bool(texts) and texts[-1].endswith(end)
