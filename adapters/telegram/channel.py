"""The Telegram channel: what is received is Telegram's own and on disk before the 200; replies go out by replies.py.

No error, log line or finding holds the token, which is part of every address of the Bot API.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

import orjson
import structlog
from aiohttp import web

from adapters.markdown import telegram
from adapters.markdown.parse import parse
from adapters.markdown.split import split
from adapters.telegram.addressed import Identity
from adapters.telegram.bot_api import Account, BotApi, Entity
from adapters.telegram.checking import Checks
from adapters.telegram.convert import (
    TEXT_LIMIT,
    Left,
    Moved,
    Pressed,
    Skipped,
    Stopped,
    album_of,
    convert,
    utf16_length,
)
from adapters.telegram.pace import DRAFT_PAUSE_SECONDS, EDIT_PAUSE_SECONDS
from adapters.telegram.places import message_id_of, place_of
from adapters.telegram.recent import Recent
from adapters.telegram.registration import Hook, derived_secret, register
from adapters.telegram.replies import Render, Replies
from adapters.telegram.settings import Settings
from core.channel import Finding, Gateway, Traits
from core.errors import LedgerError
from core.types import ConversationKey, Delivery, Draft, InboundMessage, MessageState, Turn

SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105  # core.telegram.org/bots/api#setwebhook
_CONNECTIONS = 100  # of ours to the Bot API


def build(name: str, settings: Settings, *, public_url: str) -> TelegramChannel:
    """The channel of one bot account; connects to nothing yet."""
    return TelegramChannel(name, settings, public_url=public_url, render=rendered, split=parts_of)


def rendered(text: str) -> tuple[str, Sequence[Entity]]:
    """The model's Markdown as Telegram's own: text and entities."""
    return telegram.render(parse(text))


def parts_of(text: str) -> list[str]:
    """Markdown in parts each of which fits one message when it is rendered."""
    return split(text, TEXT_LIMIT, telegram.rendered_length, telegram.length)


def as_it_is(text: str) -> tuple[str, Sequence[Entity]]:
    """Text without markup."""
    return text, ()


class TelegramChannel:
    """One bot account. `clock` in seconds, never going back; `pause` waits for so many seconds; `now` in seconds since
    the epoch; `render` writes the model's Markdown as text and entities, and `split` cuts it so that each part's
    rendering fits."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        *,
        public_url: str,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        now: Callable[[], float] = time.time,
        render: Render = as_it_is,
        split: Callable[[str], list[str]] | None = None,
    ) -> None:
        token = settings.token.get_secret_value() if settings.token else ""
        # PTB's debug lines show the token's address and every text.
        logging.getLogger("telegram").setLevel(logging.INFO)
        self.name = name
        self._editing = Traits(TEXT_LIMIT, measure=utf16_length, split=split, preview_seconds=EDIT_PAUSE_SECONDS)
        self._drafting = replace(self._editing, preview_seconds=DRAFT_PAUSE_SECONDS)
        self._log = structlog.get_logger().bind(channel=name)
        self._bot = settings.bot
        self._base_url = settings.api_base_url
        self._connect = partial(
            BotApi, token, self._base_url, seconds=settings.timeout_seconds, connections=_CONNECTIONS
        )
        self._api = self._connect()
        secret = settings.secret.get_secret_value() if settings.secret else derived_secret(token)
        self._hook = Hook(f"{public_url}/{name}" if public_url else "", secret, settings.max_connections)
        number = token.partition(":")[0]
        self._me = Identity(int(number) if number.isdecimal() else 0)
        self._topics: bool | None = (
            None  # whether private chats with the bot have them, None until Telegram has told it
        )
        self._pause = pause
        self._now = now
        self._recent = Recent()
        self._replies = Replies(
            self._api,
            render=render,
            rich=settings.rich == "auto",
            drafts=settings.streaming == "draft",
            recent=self._recent,
            begin=self._begin,
            gone=self._gone,
            moved=self._moved,
            clock=clock,
            pause=pause,
            per_second=settings.messages_per_second,
            seconds=settings.timeout_seconds,
            log=self._log,
        )
        self._gateway: Gateway | None = None
        self._registration: asyncio.Task[None] | None = None

    @property
    def traits(self) -> Traits:
        return self._drafting if self._replies.drafting else self._editing

    def routes(self, gateway: Gateway) -> Iterable[web.RouteDef]:
        self._gateway = gateway
        return [web.post(f"/{self.name}", partial(self._receive, gateway))]

    async def start(self) -> None:
        """Learn the bot's name and register the webhook, in the background and until it works."""
        registration = register(self._api, self._hook, self._learn, self._pause, self._log)
        self._registration = asyncio.create_task(registration, name=f"{self.name} registration")

    async def close(self) -> None:
        if self._registration is not None:
            self._registration.cancel()
            await asyncio.gather(self._registration, return_exceptions=True)
        await self._replies.close()
        await self._api.close()

    async def preview(self, draft: Draft) -> str | None:
        return await self._replies.preview(draft)

    async def find(self, turn: Turn, known: frozenset[str]) -> str | None:
        if self._topics is None:
            self._learn(await self._api.me())
        place = place_of(turn.address)
        if self._topics and not place.grouped:  # outside of a topic a private chat does not say whether it has any
            return None
        return await self._replies.find(turn, place, known)

    async def deliver(self, delivery: Delivery) -> str:
        return await self._replies.deliver(delivery)

    async def check(self) -> list[Finding]:
        api = self._connect()  # of its own, since check may run without start and close
        try:
            return await Checks(self.name, self._hook.url, self._base_url, self._now).findings(api)
        finally:
            await api.close()

    async def _receive(self, gateway: Gateway, request: web.Request) -> web.Response:
        given = request.headers.get(SECRET_HEADER, "")
        if not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self._hook.secret.encode()):
            self._log.warning("telegram_secret_wrong", given=bool(given))
            return web.Response(status=401)
        # What is not understood gets 200 too: Telegram would repeat it for a day and hold up its chat meanwhile. No
        # update of Telegram's is as large as the body limit, which answers 413.
        try:
            update = orjson.loads(await request.read())
        except orjson.JSONDecodeError:
            self._log.warning("telegram_update_skipped", reason="not_json")
            return web.Response()
        command, newest = gateway.bot(self._bot).command, self._recent.newest
        told = convert(update, channel=self.name, bot=self._bot, me=self._me, command=command, newest=newest)
        match told:
            case Skipped():
                self._log.info("telegram_update_skipped", reason=told.reason)
            case Pressed():
                self._log.info("telegram_update_skipped", reason="callback_query")
                return _call("answerCallbackQuery", callback_query_id=told.query_id)
            case Left():
                self._log.info("telegram_chat_left", conversation=str(told.conversation))
                self._replies.leave(told.conversation)
                await gateway.leave(told.conversation)
            case Moved():
                await self._move(gateway, told.conversation, told.chat_id)
            case Stopped():
                conversation = self._replies.stopped(told.conversation, told.draft_id)
                stopped = conversation is not None and await gateway.stop(conversation)
                self._log.info("telegram_stop_pressed", conversation=str(told.conversation), stopped=stopped)
            case InboundMessage() if self._recent.part_of_album(album_of(update), told):
                self._log.info("telegram_update_skipped", reason="album_with_words")
            case InboundMessage():
                await self._keep(gateway, told)
        return web.Response()

    async def _keep(self, gateway: Gateway, message: InboundMessage) -> None:
        place = place_of(message.address)
        self._replies.noticed(place, message_id_of(message.address))
        receipt = await gateway.receive(message)
        # While the model is loading nobody writes, and the sign would say so for an hour.
        writing = receipt.state is MessageState.WAITING and gateway.engine_status().ready
        if writing and not receipt.duplicate:
            self._replies.typing.begin(message.conversation, place)

    def _learn(self, me: Account) -> None:
        self._me, self._topics = Identity(me.id, me.username), me.topics

    async def _move(self, gateway: Gateway, conversation: ConversationKey, chat_id: str) -> None:
        """What was said goes on in the group that this one became. Raises LedgerError."""
        await gateway.move(conversation, chat_id)
        self._log.info("telegram_chat_moved", conversation=str(conversation), chat=chat_id)

    async def _begin(self, delivery: Delivery) -> None:
        if self._gateway is not None:
            await self._gateway.sending(delivery)

    async def _gone(self, conversation: ConversationKey) -> None:
        """A call was refused because nobody reads there; what cannot be recorded now is refused once more."""
        self._replies.leave(conversation)
        try:
            if self._gateway is not None:
                await self._gateway.leave(conversation)
        except LedgerError as error:
            self._log.error("telegram_leave_not_recorded", reason=str(error))

    async def _moved(self, conversation: ConversationKey, chat_id: str) -> None:
        """A call had to go to another chat than it was meant for; its update may have been lost."""
        try:
            if self._gateway is not None:
                await self._move(self._gateway, conversation, chat_id)
        except LedgerError as error:
            self._log.error("telegram_move_not_recorded", reason=str(error))


def _call(method: str, **parameters: str) -> web.Response:
    """A call whose result does not matter, made by the answer itself: core.telegram.org/bots/api#making-requests."""
    body = orjson.dumps({"method": method} | parameters)
    return web.Response(body=body, content_type="application/json")
