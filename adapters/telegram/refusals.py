"""What a refused call means to the house: whether it may be made again, and what its kind tells of the chat.

Error texts: Client.cpp and ClientManager.cpp of tdlib/telegram-bot-api.
"""

from __future__ import annotations

from telegram.error import BadRequest, ChatMigrated, Forbidden, InvalidToken, NetworkError, TelegramError

from adapters.telegram.aiohttp_request import Flooded, NotDone, NotFound
from core.errors import DeliveryError

_TOKEN_PAUSE_SECONDS = 60.0  # the operator may be changing the token: what waits is not thrown away
_GONE = (
    *("message to edit not found", "message can't be edited", "message_id_invalid"),
    "there is no text in the message to edit",  # not one that we wrote
)
# Other refusals with 403 concern the one message.
_NOBODY = ("bot was blocked", "user is deactivated", "bot was kicked", "bot is not a member", "chat was deleted")


class MessageGone(DeliveryError):
    """The message to be edited was deleted, or may no longer be edited."""


class Refused(DeliveryError):
    """HTTP 429: nothing more for `retry_after` seconds."""


class ChatGone(DeliveryError):
    """The user blocked the bot or is no more, or the bot is not in the group any more."""


class Unknown(DeliveryError):
    """HTTP 404: this server does not have the method, or not this token."""


class Unfit(DeliveryError):
    """HTTP 400: the call will not be done as it stands, and nothing was done."""


def delivery_error(error: TelegramError, reason: str, *, repeatable: bool) -> DeliveryError:
    """`repeatable`: the call does the same when it is made twice. The order matters: BadRequest is a NetworkError."""
    token = f"{reason}: Telegram refuses the token; compare it with @BotFather's"
    match error:
        case Flooded():
            return Refused(reason, retryable=True, retry_after=error.seconds)
        case NotDone():
            return DeliveryError(reason, retryable=True)
        case NotFound():  # a malformed token too
            return Unknown(token, retryable=True, retry_after=_TOKEN_PAUSE_SECONDS)
        case InvalidToken():
            return DeliveryError(token, retryable=True, retry_after=_TOKEN_PAUSE_SECONDS)
        case BadRequest() if any(text in reason.lower() for text in _GONE):
            return MessageGone(reason)
        case BadRequest():
            return Unfit(reason)
        case Forbidden() if any(text in reason.lower() for text in _NOBODY):
            return ChatGone(reason)
        case Forbidden() | ChatMigrated():
            return DeliveryError(reason)
    if isinstance(error, NetworkError) or type(error) is TelegramError:  # time-out, broken, 5xx, not JSON
        return DeliveryError(reason, retryable=repeatable, unclear=not repeatable)
    return DeliveryError(reason)
