"""The few Bot API calls that are made, through python-telegram-bot; nothing but DeliveryError leaves here.

No error text holds the token. Bot API: core.telegram.org/bots/api; PTB 22.8 speaks version 10.0 of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar, cast

import telegram
from telegram.error import BadRequest, ChatMigrated, TelegramError

from adapters.telegram.aiohttp_request import AiohttpRequest
from adapters.telegram.places import Place, Shown
from adapters.telegram.refusals import delivery_error
from core.errors import DeliveryError

# core.telegram.org/bots/api#setwebhook: an omitted list keeps the previous one, so all of it is always sent.
# PTB 22.8 lacks the last two, which are newer (core.telegram.org/bots/api#update, 10.3).
ALLOWED_UPDATES = (*telegram.Update.ALL_TYPES, "stopped_message_generation", "subscription")
_REASON_LIMIT = 200

# Marks a piece of the text, as {type, offset, length} and url or language: core.telegram.org/bots/api#messageentity.
Entity = Mapping[str, str | int]
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Account:
    """The bot as getMe tells it: core.telegram.org/bots/api#user."""

    id: int
    username: str
    joins_groups: bool
    reads_groups: bool  # privacy mode is off, or the bot is an administrator
    business: bool  # can be connected to business accounts
    topics: bool  # private chats with it have topics


@dataclass(frozen=True, slots=True)
class Webhook:
    """What Telegram has on record: core.telegram.org/bots/api#webhookinfo."""

    url: str
    pending: int
    last_error: str = ""
    last_error_at: float = 0.0
    ip_address: str = ""
    kinds: tuple[str, ...] = ()  # of updates; none: all but three


class BotApi:
    """`base_url` as https://api.telegram.org; `seconds` is the longest one call may take."""

    def __init__(self, token: str, base_url: str, *, seconds: float, connections: int) -> None:
        self._token = token
        self._seconds = seconds
        self._request = AiohttpRequest(seconds=seconds, connections=connections)
        # Both are given, or PTB opens an httpx pool; Bot.initialize() is not called, since its errors show the token.
        self._bot = telegram.Bot(
            token, base_url=f"{base_url}/bot", request=self._request, get_updates_request=self._request
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._request.shutdown()

    @property
    def date(self) -> str:
        """The newest answer's Date header, "" before the first."""
        return self._request.date

    @asynccontextmanager
    async def _errors_mapped(self, *, repeatable: bool) -> AsyncIterator[None]:
        try:
            yield
        except TelegramError as error:
            reason = error.message.replace(self._token, "<token>")[:_REASON_LIMIT]
            raise delivery_error(error, reason, repeatable=repeatable) from None
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            # PTB reads the answer without checking it.
            reason = f"the Bot API's answer is not understood ({type(error).__name__})"
            raise DeliveryError(reason, retryable=repeatable, unclear=not repeatable) from None

    async def send(self, place: Place, text: str, entities: Sequence[Entity] = (), *, patience: float = 1.0) -> Shown:
        """core.telegram.org/bots/api#sendmessage; without the entities if they are refused. Raises DeliveryError,
        `unclear` when it may be there; `patience`: how many times as long as another call it may take."""
        async with self._errors_mapped(repeatable=False):
            marked = partial(self._send, place, text, patience)
            return await _where_it_is(place.chat_id, lambda chat_id: _marked(partial(marked, chat_id), entities))

    async def _send(self, place: Place, text: str, patience: float, chat_id: int, entities: Sequence[Entity]) -> Shown:
        message = await self._bot.send_message(
            chat_id,
            _encodable(text),
            message_thread_id=place.thread_id or None,
            reply_parameters=_quoting(place),
            entities=_entities(entities),
            link_preview_options=telegram.LinkPreviewOptions(is_disabled=True),
            business_connection_id=place.business or None,
            read_timeout=self._seconds * patience,
        )
        return Shown(chat_id, message.message_id)

    async def send_rich(self, place: Place, html: str) -> Shown:
        """core.telegram.org/bots/api#sendrichmessage (10.1). Raises DeliveryError, `unclear` when it may be there."""

        async def send(chat_id: int) -> Shown:
            asked = {
                "chat_id": chat_id,
                "rich_message": {"html": _encodable(html)},
                "message_thread_id": place.thread_id or None,
                "reply_parameters": _quoting(place),
            }
            given = {name: value for name, value in asked.items() if value is not None}
            message = await self._bot.do_api_request("sendRichMessage", api_kwargs=given)
            return Shown(chat_id, int(message["message_id"]))

        async with self._errors_mapped(repeatable=False):
            return await _where_it_is(place.chat_id, send)

    async def edit(self, shown: Shown, text: str, entities: Sequence[Entity] = (), *, business: str = "") -> Shown:
        """core.telegram.org/bots/api#editmessagetext; without the entities if they are refused. Raises MessageGone,
        DeliveryError; may always be repeated."""

        async def edit(chat_id: int, entities: Sequence[Entity]) -> Shown:
            return await self._edit(Shown(chat_id, shown.message_id), text, entities=entities, business=business)

        async with self._errors_mapped(repeatable=True):
            return await _where_it_is(shown.chat_id, lambda chat_id: _marked(partial(edit, chat_id), entities))

    async def edit_rich(self, shown: Shown, html: str) -> Shown:
        """The same with a rich message instead of a text (10.1)."""
        rich: dict[str, object] = {"rich_message": {"html": _encodable(html)}}
        async with self._errors_mapped(repeatable=True):
            return await _where_it_is(
                shown.chat_id, lambda chat_id: self._edit(Shown(chat_id, shown.message_id), None, more=rich)
            )

    async def _edit(
        self,
        shown: Shown,
        text: str | None,
        *,
        entities: Sequence[Entity] = (),
        business: str = "",
        more: dict[str, object] | None = None,
    ) -> Shown:
        try:
            await self._bot.edit_message_text(
                cast("str", None if text is None else _encodable(text)),  # None is left out
                shown.chat_id,
                shown.message_id,
                entities=_entities(entities),
                link_preview_options=None if more else telegram.LinkPreviewOptions(is_disabled=True),
                business_connection_id=business or None,
                api_kwargs=more,
            )
        except BadRequest as error:
            if "message is not modified" not in error.message.lower():
                raise
        return shown

    async def draft(self, place: Place, draft_id: int, text: str, entities: Sequence[Entity] = ()) -> None:
        """core.telegram.org/bots/api#sendmessagedraft, with the stop button of 10.3; without the entities if they are
        refused. Raises DeliveryError."""

        async def show(entities: Sequence[Entity]) -> bool:
            return await self._bot.send_message_draft(
                place.chat_id,
                draft_id,
                _encodable(text),
                message_thread_id=place.thread_id or None,
                entities=_entities(entities),
                api_kwargs={"can_stop": True, "keep_on_stop": True},
            )

        async with self._errors_mapped(repeatable=True):
            await _marked(show, entities)

    async def delete(self, shown: Shown) -> None:
        """core.telegram.org/bots/api#deletemessage. Raises DeliveryError."""
        async with self._errors_mapped(repeatable=True):
            await self._bot.delete_message(shown.chat_id, shown.message_id)

    async def ours(self, shown: Shown) -> bool:
        """Whether that message is ours and can be edited; shows and changes nothing. Raises DeliveryError.

        core.telegram.org/bots/api#stopmessagelivelocation, of which we send none: before it does anything the server
        looks the message up ("message to edit not found"), then whose it is ("message can't be edited"), then what it
        is ("there is no live location in the message to edit"): `process_edit_message_live_location_query` in
        Client.cpp of tdlib/telegram-bot-api, `edit_message_live_location` in MessagesManager.cpp of TDLib.
        """
        async with self._errors_mapped(repeatable=True):
            try:
                await self._bot.stop_message_live_location(shown.chat_id, shown.message_id)
            except BadRequest as error:
                return "there is no live location in the message" in error.message.lower()
            return False

    async def typing(self, place: Place) -> None:
        """core.telegram.org/bots/api#sendchataction. Raises DeliveryError."""
        async with self._errors_mapped(repeatable=True):
            await self._bot.send_chat_action(
                place.chat_id,
                "typing",
                message_thread_id=place.thread_id or None,
                business_connection_id=place.business or None,
            )

    async def me(self) -> Account:
        """core.telegram.org/bots/api#getme. Raises DeliveryError."""
        async with self._errors_mapped(repeatable=True):
            user = await self._bot.get_me()
            joins, reads = bool(user.can_join_groups), bool(user.can_read_all_group_messages)
            business, topics = bool(user.can_connect_to_business), bool(user.has_topics_enabled)
            return Account(user.id, user.username or "", joins, reads, business, topics)

    async def set_webhook(self, url: str, secret: str, *, connections: int) -> None:
        """core.telegram.org/bots/api#setwebhook. Raises DeliveryError."""
        async with self._errors_mapped(repeatable=True):
            await self._bot.set_webhook(
                url, max_connections=connections, allowed_updates=ALLOWED_UPDATES, secret_token=secret
            )

    async def webhook(self) -> Webhook:
        """core.telegram.org/bots/api#getwebhookinfo. Raises DeliveryError."""
        async with self._errors_mapped(repeatable=True):
            info = await self._bot.get_webhook_info()
            at = info.last_error_date.timestamp() if info.last_error_date else 0.0
            kinds = tuple(str(kind) for kind in info.allowed_updates or ())
            return Webhook(
                info.url, info.pending_update_count, info.last_error_message or "", at, info.ip_address or "", kinds
            )


async def _where_it_is(chat_id: int, call: Callable[[int], Awaitable[Result]]) -> Result:
    """The call in that chat, or in the one that it has become."""
    try:
        return await call(chat_id)
    except ChatMigrated as moved:
        return await call(moved.new_chat_id)


async def _marked(call: Callable[[Sequence[Entity]], Awaitable[Result]], entities: Sequence[Entity]) -> Result:
    """The call with the entities, or without if they are refused."""
    try:
        return await call(entities)
    except BadRequest as error:
        if not entities or "entit" not in error.message.lower():
            raise
        return await call(())


def _quoting(place: Place) -> telegram.ReplyParameters | None:
    return telegram.ReplyParameters(place.reply_to, allow_sending_without_reply=True) if place.reply_to else None


def _entities(entities: Sequence[Entity]) -> list[telegram.MessageEntity] | None:
    return [telegram.MessageEntity.de_json(dict(entity), None) for entity in entities] or None


def _encodable(text: str) -> str:
    # A lone surrogate from the model cannot be sent, and must not cost the reply.
    return text.encode("utf-8", "replace").decode("utf-8")
