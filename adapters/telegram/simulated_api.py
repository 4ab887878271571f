"""The Bot API's methods over simulated chats: the checks, results and error texts of the real server.

Error texts: tdlib/telegram-bot-api Client.cpp and ClientManager.cpp (Bot API 10.0).
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import orjson
from aiohttp import web

from adapters.telegram.simulated_chats import ChatMessage, SimulatedChats
from adapters.telegram.simulated_webhook import SimulatedWebhook

Parameters = dict[str, object]

_TEXT_LIMIT = 4096  # code points, as TDLib counts for bots
_KICKED = "Forbidden: bot was kicked from the supergroup chat"
_BLOCKED = 10_000


class Refused(Exception):
    """A call that is answered with an error."""

    def __init__(self, status: int, description: str, parameters: Mapping[str, object] | None = None) -> None:
        super().__init__(description)
        self.status, self.description, self.parameters = status, description, parameters


class SimulatedApi:
    """One bot account."""

    def __init__(self, token: str, username: str, chats: SimulatedChats, webhook: SimulatedWebhook) -> None:
        self._token = token
        self._username = username
        number = token.partition(":")[0]
        self.bot_id = int(number) if number.isdecimal() else 1
        self._chats = chats
        self._webhook = webhook
        self._migrated: dict[int, int] = {}
        self._blocked: OrderedDict[int, None] = OrderedDict()
        self._methods: dict[str, Callable[[Parameters], object]] = {
            "getme": self._get_me,
            "setwebhook": self._set_webhook,
            "deletewebhook": self._delete_webhook,
            "getwebhookinfo": self._webhook_info,
            "sendmessage": self._send_message,
            "editmessagetext": self._edit_message_text,
            "deletemessage": self._delete_message,
            "sendchataction": lambda _: True,
        }

    def call(self, token: str, method: str, parameters: Parameters) -> object:
        """The method's result. Raises Refused."""
        if token != self._token:
            raise Refused(401, "Unauthorized: invalid token specified")
        if (done := self._methods.get(method.lower())) is None:
            raise Refused(404, "Not Found: method not found")
        return done(parameters)

    def migrate(self, chat_id: int, new_chat_id: int) -> None:
        """A group becomes a supergroup."""
        self._migrated[chat_id] = new_chat_id

    def block(self, chat_id: int) -> None:
        """Nothing can be sent there any more."""
        self._blocked[chat_id] = None
        if len(self._blocked) > _BLOCKED:
            self._blocked.popitem(last=False)

    def unblock(self, chat_id: int) -> None:
        """Who writes to the bot has it back."""
        self._blocked.pop(chat_id, None)

    def _get_me(self, _: Parameters) -> object:
        return {"id": self.bot_id, "is_bot": True, "first_name": "Helper", "username": self._username}

    def _set_webhook(self, parameters: Parameters) -> object:
        url = str(parameters.get("url", ""))
        parts = urlsplit(url)
        if url and parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost"):
            raise Refused(400, "Bad Request: bad webhook: An HTTPS URL must be provided for webhook")
        allowed = parameters.get("allowed_updates")
        kinds = self._webhook.allowed if allowed is None else frozenset(str(kind) for kind in _list(allowed))
        connections = _number(parameters.get("max_connections")) or 40
        self._webhook.set(url, str(parameters.get("secret_token", "")), kinds, connections)
        return True

    def _delete_webhook(self, _: Parameters) -> object:
        self._webhook.set("", "", self._webhook.allowed, 40)
        return True

    def _webhook_info(self, _: Parameters) -> object:
        webhook = self._webhook
        info: dict[str, object] = {"url": webhook.url, "has_custom_certificate": False}
        info |= {"pending_update_count": webhook.pending, "max_connections": webhook.connections}
        if webhook.last_error:
            info |= {"last_error_date": int(time.time()), "last_error_message": webhook.last_error}
        return info

    def _send_message(self, parameters: Parameters) -> object:
        chat_id, text = self._chat_and_text(parameters)
        reply = _object(parameters.get("reply_parameters"))
        reply_to = _number(reply.get("message_id"))
        if reply_to and self._chats.find(chat_id, reply_to) is None:
            if str(reply.get("allow_sending_without_reply")).lower() != "true":
                raise Refused(400, "Bad Request: message to be replied not found")
            reply_to = 0
        thread_id = _number(parameters.get("message_thread_id"))
        message = self._chats.add(chat_id, text, by_bot=True, reply_to=reply_to, thread_id=thread_id, asked=parameters)
        return self.shown(chat_id, message)

    def _edit_message_text(self, parameters: Parameters) -> object:
        chat_id, text = self._chat_and_text(parameters)
        message = self._chats.find(chat_id, _number(parameters.get("message_id")))
        if message is None:
            raise Refused(400, "Bad Request: message to edit not found")
        if not message.by_bot:
            raise Refused(400, "Bad Request: message can't be edited")
        if message.text == text:
            raise Refused(
                400,
                "Bad Request: message is not modified: specified new message content and reply markup are exactly the "
                "same as a current content and reply markup of the message",
            )
        self._chats.edit(message, text)
        return self.shown(chat_id, message)

    def _delete_message(self, parameters: Parameters) -> object:
        chat_id, message_id = _number(parameters.get("chat_id")), _number(parameters.get("message_id"))
        if self._chats.find(chat_id, message_id) is None:
            raise Refused(400, "Bad Request: message to delete not found")
        self._chats.delete(chat_id, message_id)
        return True

    def _chat_and_text(self, parameters: Parameters) -> tuple[int, str]:
        chat_id = _number(parameters.get("chat_id"))
        if not chat_id:
            raise Refused(400, "Bad Request: chat_id is empty")
        if chat_id in self._blocked:
            raise Refused(403, "Forbidden: bot was blocked by the user" if chat_id > 0 else _KICKED)
        if (new := self._migrated.get(chat_id)) is not None:
            description = "Bad Request: group chat was upgraded to a supergroup chat"
            raise Refused(400, description, {"migrate_to_chat_id": new})
        text = str(parameters.get("text", "")).strip()
        if not text:
            raise Refused(400, "Bad Request: message text is empty")
        if len(text) > _TEXT_LIMIT:
            raise Refused(400, "Bad Request: message is too long")
        return chat_id, text

    def shown(self, chat_id: int, message: ChatMessage) -> dict[str, object]:
        """A message as the API shows it."""
        sender = self._get_me({}) if message.by_bot else {"id": chat_id, "is_bot": False, "first_name": "Customer"}
        return {
            "message_id": message.message_id,
            "from": sender,
            "chat": {"id": chat_id, "type": self._chats.type_of(chat_id)},
            "date": int(time.time()),
            "text": message.text,
        }


async def parameters_of(request: web.Request) -> Parameters:
    """From the query, a form, or JSON, as the real server takes them."""
    parameters: Parameters = dict(request.query)
    if request.content_type == "application/json":
        parameters |= orjson.loads(await request.read() or b"{}")
    else:
        parameters |= dict(await request.post())
    return parameters


def _number(value: object) -> int:
    return int(value) if isinstance(value, int | str) and str(value).lstrip("-").isdecimal() else 0


def _decoded(value: object) -> object:
    # A form carries lists and objects as JSON.
    try:
        return orjson.loads(value) if isinstance(value, str) else value
    except orjson.JSONDecodeError:
        raise Refused(400, "Bad Request: can't parse the parameters") from None


def _list(value: object) -> list[object]:
    decoded = _decoded(value)
    return decoded if isinstance(decoded, list) else []


def _object(value: object) -> dict[str, object]:
    decoded = _decoded(value or {})
    return decoded if isinstance(decoded, dict) else {}
