"""Telegram's side on loopback: a Bot API that answers as the real one, and people who write to the bot's webhook.

    async with TelegramSimulator("123:abc") as telegram:      # point api_base_url at telegram.base_url
        telegram.user_says(7000001, "Hello")                  # goes out once the bot has called setWebhook
        await telegram.until(lambda: telegram.bot_texts(7000001))

Methods: simulated_api.py; order and redelivery of updates: simulated_webhook.py; what people see: simulated_chats.py.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

import orjson
from aiohttp import web

from adapters.telegram.convert import utf16_length
from adapters.telegram.simulated_api import Parameters, Refused, SimulatedApi, parameters_of
from adapters.telegram.simulated_chats import SimulatedChats
from adapters.telegram.simulated_webhook import LIFETIME_SECONDS, SimulatedWebhook, Update

_ENTITY = re.compile(r"(?<!\S)(?:/\w+(?:@\w+)?|@\w+)")


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with one call: refused with `status`, late by `delay` seconds, cut off before (`reset`) or after
    (`drop`) it was done, never answered though done (`silent`), or answered by something on the way with `body`."""

    status: int = 0
    description: str = ""
    parameters: Mapping[str, object] | None = None
    delay: float = 0.0
    reset: bool = False
    drop: bool = False
    silent: bool = False
    body: bytes = b""


def flood(seconds: int) -> Fault:
    """HTTP 429 with its retry_after."""
    return Fault(429, f"Too Many Requests: retry after {seconds}", {"retry_after": seconds})


BLOCKED = Fault(403, "Forbidden: bot was blocked by the user")


@dataclass(frozen=True, slots=True)
class Call:
    """One Bot API call as it came in, also one that was refused."""

    method: str
    parameters: Parameters


class TelegramSimulator:
    """`pace` scales the pauses between redeliveries. Everything is bounded, so that it serves as a load source too."""

    def __init__(
        self,
        token: str,
        *,
        username: str = "helper_bot",
        pace: float = 0.0,
        lifetime: float = LIFETIME_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.token, self.username = token, username
        self.base_url = ""
        self.counts: Counter[str] = Counter()
        self.calls: deque[Call] = deque(maxlen=10_000)
        self.chats = SimulatedChats(clock)
        self.webhook = SimulatedWebhook(self._notify, pace=pace, lifetime=lifetime)
        self.early = 0  # calls to a chat before the retry_after of its last 429 was over
        self._clock = clock
        self._closed_until: OrderedDict[int, float] = OrderedDict()
        self._faults: dict[str, deque[Fault]] = {}
        self._next_update = 500_000
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._api = SimulatedApi(token, username, self.chats, self.webhook)
        self.bot_id = self._api.bot_id

    async def start(self) -> Self:
        """Listen on a free port of the loopback address."""
        app = web.Application()
        app.router.add_route("*", "/bot{token}/{method}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.base_url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def stop(self) -> None:
        self._stopping.set()
        await self.webhook.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # What people do

    def user_says(
        self,
        chat_id: int,
        text: str,
        *,
        user_id: int = 7_000_001,
        chat_type: str = "",
        thread_id: int = 0,
        reply_to: int = 0,
        language: str = "en",
    ) -> int:
        """A person writes; returns the update_id. In a private chat the person's id is the chat's."""
        kind = chat_type or self.chats.type_of(chat_id)
        self._api.unblock(chat_id)
        self.chats.name_type(chat_id, kind)
        sender = {"id": chat_id if kind == "private" else user_id, "is_bot": False, "first_name": "Customer"}
        message: dict[str, object] = {
            "message_id": self.chats.new_id(),
            "from": sender | {"language_code": language},
            "chat": {"id": chat_id, "type": kind},
            "date": int(time.time()),
            "text": text,
        }
        if entities := _entities(text):
            message["entities"] = entities
        if thread_id:
            message |= {"message_thread_id": thread_id, "is_topic_message": True}
        replied = self.chats.find(chat_id, reply_to)
        if replied is not None:
            message["reply_to_message"] = self._api.shown(chat_id, replied)
        return self.push({"message": message})

    def user_leaves(self, chat_id: int) -> int:
        """A person blocks the bot, or a group throws it out; calls to that chat are refused from now on."""
        kind = self.chats.type_of(chat_id)
        self._api.block(chat_id)
        bot = {"id": self.bot_id, "is_bot": True, "first_name": "Helper", "username": self.username}
        change = {"chat": {"id": chat_id, "type": kind}, "from": {"id": abs(chat_id), "is_bot": False}}
        statuses = ("member", "kicked" if kind == "private" else "left")
        members = [{"user": bot, "status": status} for status in statuses]
        change |= {"date": int(time.time()), "old_chat_member": members[0], "new_chat_member": members[1]}
        return self.push({"my_chat_member": change})

    def push(self, update: Update) -> int:
        """Send any update; it gets the next update_id. Kinds that setWebhook did not ask for are not sent."""
        self._next_update += 1
        numbered = {"update_id": self._next_update} | dict(update)
        message = numbered.get("message")
        content = next((value for key, value in numbered.items() if key != "update_id"), None)
        chat = content.get("chat") if isinstance(content, dict) else None
        chat_id = int(chat["id"]) if isinstance(chat, dict) else 0
        if isinstance(message, dict) and chat_id:
            text = str(message.get("text", ""))
            self.chats.add(chat_id, text, by_bot=False, message_id=int(message["message_id"]))
        kinds = set(numbered) - {"update_id"}
        if self.webhook.allowed and not kinds & self.webhook.allowed:
            return self._next_update
        self.webhook.put(chat_id, self._next_update, numbered)
        return self._next_update

    def bot_texts(self, chat_id: int) -> list[str]:
        """What the bot's messages in a chat say now."""
        return [message.text for message in self.chats.read(chat_id) if message.by_bot]

    async def until(self, reached: Callable[[], object], *, seconds: float = 10.0) -> None:
        """Wait until something holds, looking again after each call and each webhook answer. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while not reached():
                self._changed.clear()
                await self._changed.wait()

    # What goes wrong

    def fail(self, method: str, fault: Fault, *, times: int = 1) -> None:
        """The next `times` calls of a method go wrong like that."""
        self._faults.setdefault(method.lower(), deque(maxlen=10_000)).extend([fault] * times)

    def migrate(self, chat_id: int, new_chat_id: int) -> None:
        """A group becomes a supergroup: calls with the old id are refused, with the new id in the error."""
        self._api.migrate(chat_id, new_chat_id)

    # The Bot API

    def _let_in(self, parameters: Parameters, fault: Fault) -> None:
        """After a 429 the chat is closed for as long as it said. Raises Refused."""
        chat_id, now = parameters.get("chat_id"), self._clock()
        if not isinstance(chat_id, int):
            return
        seconds = self._closed_until.get(chat_id, now) - now
        if seconds > 0.001:
            self.early += 1
            raise Refused(429, "Too Many Requests", {"retry_after": math.ceil(seconds)})
        asked = (fault.parameters or {}).get("retry_after")
        if isinstance(asked, int):
            self._closed_until[chat_id] = now + asked
            if len(self._closed_until) > 10_000:
                self._closed_until.popitem(last=False)

    def _notify(self) -> None:
        self._changed.set()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        parameters = await parameters_of(request)
        self.counts[method] += 1
        self.calls.append(Call(method, parameters))
        faults = self._faults.get(method.lower())
        fault = faults.popleft() if faults else Fault()
        if fault.delay:
            await asyncio.sleep(fault.delay)
        if fault.reset:
            return _cut(request)
        try:
            self._let_in(parameters, fault)
            if fault.status:
                raise Refused(fault.status, fault.description, fault.parameters)
            result = self._api.call(request.match_info["token"], method, parameters)
        except Refused as refused:
            return _refusal(refused)
        finally:
            self._notify()
        if fault.drop:
            return _cut(request)
        if fault.silent:
            await self._stopping.wait()
        if fault.body:
            return web.Response(body=fault.body)
        return _json(200, {"ok": True, "result": result})


def _entities(text: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for match in _ENTITY.finditer(text):
        kind = "bot_command" if match[0].startswith("/") else "mention"
        offset = utf16_length(text[: match.start()])
        found.append({"type": kind, "offset": offset, "length": utf16_length(match[0])})
    return found


def _json(status: int, body: object) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json")


def _refusal(refused: Refused) -> web.Response:
    body: dict[str, object] = {"ok": False, "error_code": refused.status, "description": refused.description}
    if refused.parameters:
        body["parameters"] = dict(refused.parameters)
    return _json(refused.status, body)


def _cut(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
