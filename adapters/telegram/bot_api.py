"""The few Bot API calls that are made, through python-telegram-bot; nothing but DeliveryError leaves here.

No error text holds the token. Bot API: core.telegram.org/bots/api; PTB 22.8 speaks version 10.0 of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import telegram
from telegram.error import BadRequest, ChatMigrated, Forbidden, InvalidToken, NetworkError, TelegramError

from adapters.telegram.addressed import Identity
from adapters.telegram.aiohttp_request import AiohttpRequest, Flooded, NotDone
from core.errors import DeliveryError

# core.telegram.org/bots/api#setwebhook: an omitted list keeps the previous one, so all of it is always sent.
# PTB 22.8 lacks the last name, which is of Bot API 10.3.
ALLOWED_UPDATES = (*telegram.Update.ALL_TYPES, "stopped_message_generation")

_TOKEN_PAUSE_SECONDS = 60.0  # the operator may be changing the token: what waits is not thrown away
_GONE = ("message to edit not found", "message can't be edited", "message_id_invalid")
# Client.cpp of tdlib/telegram-bot-api; other refusals with 403 concern the one message.
_NOBODY = ("bot was blocked", "user is deactivated", "bot was kicked", "bot is not a member", "chat was deleted")
_REASON_LIMIT = 200


# Marks a piece of the text, as {type, offset, length} and url or language: core.telegram.org/bots/api#messageentity.
Entity = Mapping[str, str | int]


class MessageGone(DeliveryError):
    """The message to be edited was deleted, or may no longer be edited."""


class Refused(DeliveryError):
    """HTTP 429: nothing more for `retry_after` seconds."""


class ChatGone(DeliveryError):
    """The user blocked the bot or is no more, or the bot is not in the group any more."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message goes: `thread_id` and `reply_to` are 0 when there is none, `business` is the business connection
    in whose name it is sent, or ""."""

    chat_id: int
    thread_id: int = 0
    reply_to: int = 0
    business: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """A message of ours in a chat. In a migrated group the chat is not the one that was asked for."""

    chat_id: int
    message_id: int


@dataclass(frozen=True, slots=True)
class Webhook:
    """What Telegram has on record: core.telegram.org/bots/api#getwebhookinfo."""

    url: str
    pending: int
    last_error: str


def _delivery_error(error: TelegramError, reason: str, *, repeatable: bool) -> DeliveryError:
    """`repeatable`: the call does the same when it is made twice. The order matters: BadRequest is a NetworkError."""
    match error:
        case Flooded():
            return Refused(reason, retryable=True, retry_after=error.seconds)
        case NotDone():
            return DeliveryError(reason, retryable=True)
        case InvalidToken():  # 401, and 404 for a malformed token
            return DeliveryError(
                f"{reason}: Telegram refuses the token; compare it with @BotFather's",
                retryable=True,
                retry_after=_TOKEN_PAUSE_SECONDS,
            )
        case BadRequest() if any(text in reason.lower() for text in _GONE):
            return MessageGone(reason)
        case Forbidden() if any(text in reason.lower() for text in _NOBODY):
            return ChatGone(reason)
        case BadRequest() | Forbidden() | ChatMigrated():
            return DeliveryError(reason)
    if isinstance(error, NetworkError) or type(error) is TelegramError:  # time-out, broken, 5xx, not JSON
        return DeliveryError(reason, retryable=repeatable, unclear=not repeatable)
    return DeliveryError(reason)


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

    @asynccontextmanager
    async def _errors_mapped(self, *, repeatable: bool) -> AsyncIterator[None]:
        try:
            yield
        except TelegramError as error:
            reason = error.message.replace(self._token, "<token>")[:_REASON_LIMIT]
            raise _delivery_error(error, reason, repeatable=repeatable) from None
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            # PTB reads the answer without checking it.
            reason = f"the Bot API's answer is not understood ({type(error).__name__})"
            raise DeliveryError(reason, retryable=repeatable, unclear=not repeatable) from None

    async def send(self, place: Place, text: str, entities: Sequence[Entity] = (), *, patience: float = 1.0) -> Shown:
        """core.telegram.org/bots/api#sendmessage; without the entities if they are refused. Raises DeliveryError,
        `unclear` when it may be there; `patience`: how many times as long as another call it may take."""
        async with self._errors_mapped(repeatable=False):
            try:
                return await self._send(place.chat_id, place, text, entities, patience)
            except ChatMigrated as moved:
                return await self._send(moved.new_chat_id, place, text, entities, patience)
            except BadRequest as error:
                if not _refuses_entities(error, entities):
                    raise
                return await self._send(place.chat_id, place, text, (), patience)

    async def _send(self, chat_id: int, place: Place, text: str, entities: Sequence[Entity], patience: float) -> Shown:
        reply = None
        if place.reply_to:
            reply = telegram.ReplyParameters(place.reply_to, allow_sending_without_reply=True)
        message = await self._bot.send_message(
            chat_id,
            _encodable(text),
            message_thread_id=place.thread_id or None,
            reply_parameters=reply,
            entities=_entities(entities),
            link_preview_options=telegram.LinkPreviewOptions(is_disabled=True),
            business_connection_id=place.business or None,
            read_timeout=self._seconds * patience,
        )
        return Shown(chat_id, message.message_id)

    async def edit(self, shown: Shown, text: str, entities: Sequence[Entity] = (), *, business: str = "") -> Shown:
        """core.telegram.org/bots/api#editmessagetext; without the entities if they are refused. Raises MessageGone,
        DeliveryError; may always be repeated."""
        async with self._errors_mapped(repeatable=True):
            try:
                return await self._edit(shown, text, entities, business)
            except ChatMigrated as moved:
                return await self._edit(Shown(moved.new_chat_id, shown.message_id), text, entities, business)
            except BadRequest as error:
                if not _refuses_entities(error, entities):
                    raise
                return await self._edit(shown, text, (), business)

    async def _edit(self, shown: Shown, text: str, entities: Sequence[Entity], business: str) -> Shown:
        try:
            await self._bot.edit_message_text(
                _encodable(text),
                shown.chat_id,
                shown.message_id,
                entities=_entities(entities),
                link_preview_options=telegram.LinkPreviewOptions(is_disabled=True),
                business_connection_id=business or None,
            )
        except BadRequest as error:
            if "message is not modified" not in error.message.lower():
                raise
        return shown

    async def delete(self, shown: Shown) -> None:
        """core.telegram.org/bots/api#deletemessage. Raises DeliveryError."""
        async with self._errors_mapped(repeatable=True):
            await self._bot.delete_message(shown.chat_id, shown.message_id)

    async def typing(self, place: Place) -> None:
        """core.telegram.org/bots/api#sendchataction. Raises DeliveryError."""
        async with self._errors_mapped(repeatable=True):
            await self._bot.send_chat_action(
                place.chat_id,
                "typing",
                message_thread_id=place.thread_id or None,
                business_connection_id=place.business or None,
            )

    async def me(self) -> Identity:
        """core.telegram.org/bots/api#getme. Raises DeliveryError."""
        async with self._errors_mapped(repeatable=True):
            user = await self._bot.get_me()
            return Identity(user.id, user.username or "")

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
            return Webhook(info.url, info.pending_update_count, info.last_error_message or "")


def _entities(entities: Sequence[Entity]) -> list[telegram.MessageEntity] | None:
    return [telegram.MessageEntity.de_json(dict(entity), None) for entity in entities] or None


def _refuses_entities(error: BadRequest, entities: Sequence[Entity]) -> bool:
    return bool(entities) and "entit" in error.message.lower()


def _encodable(text: str) -> str:
    # A lone surrogate from the model cannot be sent, and must not cost the reply.
    return text.encode("utf-8", "replace").decode("utf-8")
