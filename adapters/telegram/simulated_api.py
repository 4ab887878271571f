"""The Bot API's methods over simulated chats: the checks, results and error texts of the real server.

Error texts: tdlib/telegram-bot-api Client.cpp and ClientManager.cpp (Bot API 10.0). Drafts and rich messages are newer
than some servers: `old` is one that does not know them.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import orjson
from aiohttp import web

from adapters.telegram.simulated_chats import ChatMessage, SimulatedChats
from adapters.telegram.simulated_drafts import SimulatedDrafts
from adapters.telegram.simulated_rich import Malformed, rich_text
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

    def __init__(
        self, token: str, username: str, chats: SimulatedChats, drafts: SimulatedDrafts, webhook: SimulatedWebhook
    ) -> None:
        self.old = False
        self.abilities: dict[str, object] = {
            "can_join_groups": True,
            "can_read_all_group_messages": False,
            "can_connect_to_business": False,
            "has_topics_enabled": False,
        }
        self._token = token
        self._username = username
        number = token.partition(":")[0]
        self.bot_id = int(number) if number.isdecimal() else 1
        self._chats = chats
        self._drafts = drafts
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
            "stopmessagelivelocation": self._stop_live_location,
            "deletemessage": self._delete_message,
            "sendchataction": lambda _: True,
            "answercallbackquery": self._answer_callback_query,
        }
        self._newer: dict[str, Callable[[Parameters], object]] = {
            "sendmessagedraft": self._send_message_draft,
            "sendrichmessage": self._send_rich_message,
        }
        self.answered: deque[str] = deque(maxlen=1_000)  # callback queries

    def call(self, token: str, method: str, parameters: Parameters) -> object:
        """The method's result. Raises Refused."""
        if token != self._token:
            raise Refused(401, "Unauthorized: invalid token specified")
        done = self._methods.get(method.lower()) or (None if self.old else self._newer.get(method.lower()))
        if done is None:
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

    @property
    def bot(self) -> dict[str, object]:
        """The bot as others see it."""
        return {"id": self.bot_id, "is_bot": True, "first_name": "Helper", "username": self._username}

    def _get_me(self, _: Parameters) -> object:
        return self.bot | self.abilities

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
        if webhook.url:
            info["ip_address"] = "127.0.0.1"
        if webhook.allowed:
            info["allowed_updates"] = sorted(webhook.allowed)
        if webhook.last_error:
            info |= {"last_error_date": int(webhook.last_error_at), "last_error_message": webhook.last_error}
        return info

    def _answer_callback_query(self, parameters: Parameters) -> object:
        self.answered.append(str(parameters.get("callback_query_id", "")))
        return True

    def _send_message(self, parameters: Parameters) -> object:
        chat_id = self._chat(parameters)
        return self._add(chat_id, self._text(parameters), parameters)

    def _send_rich_message(self, parameters: Parameters) -> object:
        chat_id = self._chat(parameters)
        html, text = self._rich(parameters)
        return self._add(chat_id, text, parameters, rich=html)

    def _add(self, chat_id: int, text: str, parameters: Parameters, *, rich: str = "") -> object:
        reply = _object(parameters.get("reply_parameters"))
        reply_to = _number(reply.get("message_id"))
        if reply_to and self._chats.find(chat_id, reply_to) is None:
            if str(reply.get("allow_sending_without_reply")).lower() != "true":
                raise Refused(400, "Bad Request: message to be replied not found")
            reply_to = 0
        thread_id = _number(parameters.get("message_thread_id"))
        message = self._chats.add(chat_id, text, by_bot=True, reply_to=reply_to, thread_id=thread_id, asked=parameters)
        message.rich = rich
        self._drafts.sent(chat_id, thread_id)
        return self.shown(chat_id, message)

    def _send_message_draft(self, parameters: Parameters) -> object:
        chat_id, draft_id = self._chat(parameters), _number(parameters.get("draft_id"))
        if self._chats.type_of(chat_id) != "private":
            raise Refused(400, "Bad Request: method is available only for private chats")
        if not draft_id:
            raise Refused(400, "Bad Request: draft_id must be non-zero")
        text = str(parameters.get("text", "")).strip()
        if len(text) > _TEXT_LIMIT:
            raise Refused(400, "Bad Request: message is too long")
        can_stop, keep = (_truth(parameters.get(name)) for name in ("can_stop", "keep_on_stop"))
        thread_id = _number(parameters.get("message_thread_id"))
        self._drafts.show(chat_id, thread_id, draft_id, text, can_stop=can_stop, keep=keep)
        return True

    def _edit_message_text(self, parameters: Parameters) -> object:
        chat_id = self._chat(parameters)
        rich, text = "", ""
        if "rich_message" in parameters and not self.old:
            rich, text = self._rich(parameters)
        else:
            text = self._text(parameters)
        message = self._editable(chat_id, parameters)
        if (message.text, message.rich) == (text, rich):
            raise Refused(
                400,
                "Bad Request: message is not modified: specified new message content and reply markup are exactly the "
                "same as a current content and reply markup of the message",
            )
        self._chats.edit(message, text, rich=rich)
        return self.shown(chat_id, message)

    def _stop_live_location(self, parameters: Parameters) -> object:
        """The bot cannot send any."""
        self._editable(self._chat(parameters), parameters)
        raise Refused(400, "Bad Request: there is no live location in the message to edit")

    def _editable(self, chat_id: int, parameters: Parameters) -> ChatMessage:
        message = self._chats.find(chat_id, _number(parameters.get("message_id")))
        if message is None:
            raise Refused(400, "Bad Request: message to edit not found")
        if not message.by_bot:
            raise Refused(400, "Bad Request: message can't be edited")
        return message

    def _delete_message(self, parameters: Parameters) -> object:
        chat_id, message_id = _number(parameters.get("chat_id")), _number(parameters.get("message_id"))
        if self._chats.find(chat_id, message_id) is None:
            raise Refused(400, "Bad Request: message to delete not found")
        self._chats.delete(chat_id, message_id)
        return True

    def _chat(self, parameters: Parameters) -> int:
        chat_id = _number(parameters.get("chat_id"))
        if not chat_id:
            raise Refused(400, "Bad Request: chat_id is empty")
        if chat_id in self._blocked:
            raise Refused(403, "Forbidden: bot was blocked by the user" if chat_id > 0 else _KICKED)
        if (new := self._migrated.get(chat_id)) is not None:
            description = "Bad Request: group chat was upgraded to a supergroup chat"
            raise Refused(400, description, {"migrate_to_chat_id": new})
        return chat_id

    def _text(self, parameters: Parameters) -> str:
        text = str(parameters.get("text", "")).strip()
        if not text:
            raise Refused(400, "Bad Request: message text is empty")
        if len(text) > _TEXT_LIMIT:
            raise Refused(400, "Bad Request: message is too long")
        return text

    def _rich(self, parameters: Parameters) -> tuple[str, str]:
        """The HTML and what it says."""
        html = str(_object(parameters.get("rich_message")).get("html", ""))
        try:
            return html, rich_text(html)
        except Malformed as error:
            raise Refused(400, f"Bad Request: can't parse rich message: {error}") from None

    def shown(self, chat_id: int, message: ChatMessage) -> dict[str, object]:
        """A message as the API shows it."""
        sender = self.bot if message.by_bot else {"id": chat_id, "is_bot": False, "first_name": "Customer"}
        shown: dict[str, object] = {
            "message_id": message.message_id,
            "from": sender,
            "chat": {"id": chat_id, "type": self._chats.type_of(chat_id)},
            "date": int(time.time()),
        }
        if not message.rich:
            return shown | {"text": message.text}
        lines = [{"type": "paragraph", "text": line} for line in message.text.split("\n")]
        return shown | {"rich_message": {"blocks": lines}}


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


def _truth(value: object) -> bool:
    return value is True or str(value).lower() == "true"


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
