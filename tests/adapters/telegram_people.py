"""People who write while no process listens, and one life of the gateway after another."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import orjson

from adapters.telegram import simulated_updates
from adapters.telegram.channel import TelegramChannel
from adapters.telegram.simulator import TelegramSimulator
from core.channel import Gateway
from core.types import ConversationKey, StoredMessage, Turn
from tests.adapters.telegram_house import CUSTOMER, House, address, post, settings

ASK = "stopMessageLiveLocation"  # how it is asked whose a message is
NOTHING: frozenset[str] = frozenset()


@asynccontextmanager
async def other_process(home: House, **values: object) -> AsyncIterator[TelegramChannel]:
    """The channel in another life of the gateway: it knows nothing of what the first one sent."""
    channel = TelegramChannel(
        home.channel.name,
        settings(home.telegram, **values),
        public_url="",
        clock=home.clock,
        pause=home.clock.pause,
    )
    channel.routes(cast("Gateway", home.gateway))
    try:
        yield channel
    finally:
        await channel.close()


def turn(*message_ids: int, number: int = 1, chat: int = CUSTOMER, moved_to: int = 0, **more: object) -> Turn:
    """A turn whose process died; `message_ids` are what was said."""
    key = ConversationKey("telegram", "support", str(moved_to or chat))
    said = tuple(
        StoredMessage(place, "7", "Hello", address(chat, message_id) | more, "en", 0.0)
        for place, message_id in enumerate(message_ids, 1)
    )
    return Turn(number, 1, key, said, "en", 2, "", 0, 0, died=True)


def said(telegram: TelegramSimulator, chat: int = CUSTOMER, text: str = "Hello") -> int:
    """A person writes, which the bot is not told; the message's id."""
    telegram.user_says(chat, text)
    return telegram.chats.read(chat)[-1].message_id


def others_write(telegram: TelegramSimulator, count: int) -> list[str]:
    """As many other people do; the references of what they wrote."""
    return [f"{chat}:{said(telegram, chat)}" for chat in range(8_000_000, 8_000_000 + count)]


async def read(home: House, chat: int) -> int:
    """A person writes, and the bot is told; the webhook's status."""
    who = {"id": chat, "type": "private"}
    update = simulated_updates.message(said(home.telegram, chat), chat, who, "Hello", language="en")
    return await post(home, orjson.dumps({"update_id": chat} | update))
