"""The Telegram channel: what is received is Telegram's own and on disk before the 200; a reply grows in one message.

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
from adapters.telegram.bot_api import BotApi, ChatGone, Entity, MessageGone, Place, Refused, Shown
from adapters.telegram.convert import GROUPS, TEXT_LIMIT, Left, Skipped, Stopped, album_of, convert, utf16_length
from adapters.telegram.late import PATIENCE, LateFirsts
from adapters.telegram.pace import Pace
from adapters.telegram.recent import Bounded, Recent
from adapters.telegram.registration import Hook, derived_secret, findings, register
from adapters.telegram.settings import Settings
from adapters.telegram.typing_sign import TypingSign
from core.channel import Finding, Gateway, Traits
from core.errors import DeliveryError, LedgerError
from core.split import clip
from core.types import ConversationKey, Delivery, Draft, InboundMessage, JsonObject, MessageState

SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105  # core.telegram.org/bots/api#setwebhook
_PREVIEW_SECONDS = 1.1  # the budget of one chat is one message a second, see pace.py
_SHOWN_TURNS = 10_000
_CONNECTIONS = 100  # of ours to the Bot API
_SHORT_WAIT_SECONDS = 1.5  # of a final text, waited for on the spot


def build(name: str, settings: Settings, *, public_url: str) -> TelegramChannel:
    """The channel of one bot account; connects to nothing yet."""
    return TelegramChannel(name, settings, public_url=public_url, render=rendered, split=parts_of)


def rendered(text: str) -> tuple[str, Sequence[Entity]]:
    """The model's Markdown as Telegram's own: text and entities."""
    return telegram.render(parse(text))


def parts_of(text: str) -> list[str]:
    """Markdown in parts each of which fits one message when it is rendered."""
    return split(text, TEXT_LIMIT, telegram.rendered_length)


def as_it_is(text: str) -> tuple[str, Sequence[Entity]]:
    """Text without markup."""
    return text, ()


class TelegramChannel:
    """One bot account. `clock` in seconds, never going back; `pause` waits for so many seconds; `render` writes the
    model's Markdown as text and entities, and `split` cuts it so that each part's rendering fits."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        *,
        public_url: str,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        render: Callable[[str], tuple[str, Sequence[Entity]]] = as_it_is,
        split: Callable[[str], list[str]] | None = None,
    ) -> None:
        token = settings.token.get_secret_value() if settings.token else ""
        # PTB's debug lines show the token's address and every text.
        logging.getLogger("telegram").setLevel(logging.INFO)
        self.name = name
        self.traits = Traits(TEXT_LIMIT, measure=utf16_length, split=split, preview_seconds=_PREVIEW_SECONDS)
        self._render = render
        self._log = structlog.get_logger().bind(channel=name)
        self._bot = settings.bot
        self._connect = partial(
            BotApi, token, settings.api_base_url, seconds=settings.timeout_seconds, connections=_CONNECTIONS
        )
        self._api = self._connect()
        secret = settings.secret.get_secret_value() if settings.secret else derived_secret(token)
        self._hook = Hook(f"{public_url}/{name}" if public_url else "", secret, settings.max_connections)
        number = token.partition(":")[0]
        self._me = Identity(int(number) if number.isdecimal() else 0)
        self._pace = Pace(clock, per_second=settings.messages_per_second)
        self._pause = pause
        self._shown: Bounded[int, tuple[str, str]] = Bounded(_SHOWN_TURNS)  # turn -> reference and text as shown now
        self._recent = Recent()
        self._typing = TypingSign(self._sign, self._pace.spare, clock=clock, pause=pause, log=self._log)
        self._late = LateFirsts(self._take_back, seconds=settings.timeout_seconds)
        self._gateway: Gateway | None = None
        self._registration: asyncio.Task[None] | None = None

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
        await self._typing.close()
        await self._late.close()
        await self._api.close()

    async def preview(self, draft: Draft) -> str | None:
        place, grouped = _place(draft.address)
        # Telegram strips too, and refuses an edit that changes nothing.
        text = clip(draft.text.strip(), TEXT_LIMIT, utf16_length)
        current = (draft.reference, text)
        if not text or self._shown.get(draft.turn_id) == current:
            return draft.reference or None
        if not self._pace.growing(place.chat_id, grouped=grouped, first=not draft.reference):
            return draft.reference or None
        self._typing.end(draft.conversation)
        self._shown.pop(draft.turn_id)  # unknown while it is under way
        put = self._put(draft.conversation, draft.reference, place, text, patient=True)
        shown = await (put if draft.reference else self._late.send(draft.turn_id, put))
        if shown is not None:
            self._shown.put(draft.turn_id, (shown, text))
        return shown

    async def deliver(self, delivery: Delivery) -> str:
        place, grouped = _place(delivery.address)
        if delivery.part > 1:
            place = replace(place, reply_to=0)
        if delivery.reference and self._shown.get(delivery.turn_id) == (delivery.reference, delivery.text.strip()):
            self._shown.pop(delivery.turn_id)
            return delivery.reference
        await self._turn_to_send(place.chat_id, grouped)
        self._typing.end(delivery.conversation)
        self._shown.pop(delivery.turn_id)
        reference = delivery.reference or (await self._late.reference(delivery.turn_id) if delivery.part == 1 else "")
        try:
            return await self._put(delivery.conversation, reference, place, delivery.text)
        except MessageGone:
            self._log.info("telegram_preview_gone", delivery=delivery.id, turn=delivery.turn_id)
            return await self._put(delivery.conversation, "", place, delivery.text)

    async def check(self) -> list[Finding]:
        api = self._connect()  # of its own, since check may run without start and close
        try:
            return await findings(self.name, api, self._hook.url)
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
        command = gateway.bot(self._bot).command
        told = convert(
            update, channel=self.name, bot=self._bot, me=self._me, command=command, newest=self._recent.newest
        )
        match told:
            case Skipped():
                self._log.info("telegram_update_skipped", reason=told.reason)
            case Left():
                self._log.info("telegram_chat_left", conversation=str(told.conversation))
                await self._leave(told.conversation)
            case Stopped():
                self._typing.end(told.conversation)
                stopped = await gateway.stop(told.conversation)
                self._log.info("telegram_stop_pressed", conversation=str(told.conversation), stopped=stopped)
            case InboundMessage() if self._recent.part_of_album(album_of(update), told):
                self._log.info("telegram_update_skipped", reason="album_with_words")
            case InboundMessage():
                self._recent.seen(told.conversation)
                receipt = await gateway.receive(told)
                # While the model is loading nobody writes, and the sign would say so for an hour.
                writing = receipt.state is MessageState.WAITING and gateway.engine_status().ready
                if writing and not receipt.duplicate:
                    self._typing.begin(told.conversation, _place(told.address)[0])
        return web.Response()

    def _learn(self, me: Identity) -> None:
        self._me = me

    async def _leave(self, conversation: ConversationKey) -> None:
        """Nothing more is written or sent there, its topics included. Raises LedgerError."""
        for one in self._recent.leave(conversation):
            self._typing.end(one)
            if self._gateway is not None:
                await self._gateway.leave(one)

    async def _sign(self, place: Place) -> None:
        """The typing sign, once. Raises DeliveryError."""
        try:
            await self._api.typing(place)
        except Refused as error:
            self._pace.refused(place.chat_id, error.retry_after or 0.0)
            raise

    async def _turn_to_send(self, chat_id: int, grouped: bool) -> None:
        """Wait briefly for the budget. Raises DeliveryError when it takes longer: the outbox holds what waits."""
        while wait := self._pace.final(chat_id, grouped=grouped):
            if wait > _SHORT_WAIT_SECONDS:
                raise DeliveryError("waits for the flood limit", retryable=True, retry_after=wait)
            await self._pause(wait)

    def _written(self, text: str) -> tuple[str, Sequence[Entity]]:
        said, entities = self._render(text)
        # Marks alone say nothing when rendered, and a table grows.
        return (said, entities) if said.strip() and utf16_length(said) <= TEXT_LIMIT else (text, ())

    async def _take_back(self, reference: str) -> None:
        shown = _message_of(reference)
        try:
            if shown is not None:
                await self._api.delete(shown)
        except DeliveryError as error:
            self._log.info("telegram_late_text_stays", reason=error.reason)

    async def _put(
        self, conversation: ConversationKey, reference: str, place: Place, text: str, *, patient: bool = False
    ) -> str:
        """The text in the message that `reference` names, or in a new one; `patient`: see late.py."""
        shown = _message_of(reference)
        try:
            if shown is None:
                placed = await self._api.send(place, *self._written(text), patience=PATIENCE if patient else 1.0)
            else:
                placed = await self._api.edit(shown, *self._written(text), business=place.business)
        except ChatGone as error:
            self._log.info("telegram_chat_gone", conversation=str(conversation), reason=error.reason)
            try:
                await self._leave(conversation)
            except LedgerError as refused:
                self._log.error("telegram_leave_not_recorded", reason=str(refused))
            raise
        except Refused as error:
            self._pace.refused(place.chat_id, error.retry_after or 0.0)
            raise
        if shown is None:
            self._recent.said(conversation, placed.message_id)
        return f"{placed.chat_id}:{placed.message_id}"


def _place(address: JsonObject) -> tuple[Place, bool]:
    """Where an answer goes, and whether that is a group. Raises DeliveryError on an address that is not ours."""
    chat_id, thread_id, message_id = (address.get(key) for key in ("chat_id", "thread_id", "message_id"))
    if not isinstance(chat_id, int):
        raise DeliveryError("the address has no chat_id")
    grouped = address.get("chat_type") in GROUPS
    reply_to = message_id if grouped and isinstance(message_id, int) else 0
    business = str(address.get("business_connection_id", ""))
    return Place(chat_id, thread_id if isinstance(thread_id, int) else 0, reply_to, business), grouped


def _message_of(reference: str) -> Shown | None:
    chat_id, _, message_id = reference.partition(":")
    try:
        return Shown(int(chat_id), int(message_id))
    except ValueError:
        return None
