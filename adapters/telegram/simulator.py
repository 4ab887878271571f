"""Telegram's side on loopback: a Bot API that answers as the real one, and people who write to the bot's webhook.

    async with TelegramSimulator("123:abc") as telegram:      # point api_base_url at telegram.base_url
        telegram.user_says(7000001, "Hello")                  # goes out once the bot has called setWebhook
        await telegram.until(lambda: telegram.bot_texts(7000001))

Methods: simulated_api.py (`telegram.api.old = True`: a server without drafts and rich messages); order and redelivery
of updates: simulated_webhook.py; what people see: simulated_chats.py and simulated_drafts.py.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate
from typing import Self

import orjson
from aiohttp import web

from adapters.telegram import simulated_updates
from adapters.telegram.simulated_api import Parameters, Refused, SimulatedApi, parameters_of
from adapters.telegram.simulated_chats import SimulatedChats
from adapters.telegram.simulated_drafts import SimulatedDrafts
from adapters.telegram.simulated_webhook import LIFETIME_SECONDS, SimulatedWebhook, Update


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with one call: refused with `status`, late by `delay` seconds or until `gate` is set, cut off
    before (`reset`) or after (`drop`) it was done, never answered though done (`silent`), or answered by something on
    the way with `body`."""

    status: int = 0
    description: str = ""
    parameters: Mapping[str, object] | None = None
    delay: float = 0.0
    gate: asyncio.Event | None = None
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
        now: Callable[[], float] = time.time,
    ) -> None:
        self.token, self.username = token, username
        self.base_url = ""
        self.counts: Counter[str] = Counter()
        self.calls: deque[Call] = deque(maxlen=10_000)
        self.chats = SimulatedChats(clock)
        self.drafts = SimulatedDrafts(clock)
        self.webhook = SimulatedWebhook(self._notify, self._called, pace=pace, now=now, lifetime=lifetime)
        self.early = 0  # calls to a chat before the retry_after of its last 429 was over
        self.skew = 0.0  # how far Telegram's clock is ahead, in seconds
        self._now = now
        self._clock = clock
        self._closed_until: OrderedDict[int, float] = OrderedDict()
        self._faults: dict[str, deque[Fault]] = {}
        self._next_update = 500_000
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self.api = SimulatedApi(token, username, self.chats, self.drafts, self.webhook)
        self.bot_id = self.api.bot_id

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
        self.api.unblock(chat_id)
        self.chats.name_type(chat_id, kind)
        sender = chat_id if kind == "private" else user_id
        chat: dict[str, object] = {"id": chat_id, "type": kind}
        said = simulated_updates.message(
            self.chats.new_id(chat_id), sender, chat, text, language=language, thread_id=thread_id
        )
        replied = self.chats.find(chat_id, reply_to)
        if replied is not None:
            said["message"]["reply_to_message"] = self.api.shown(chat_id, replied)
        return self.push(said)

    def user_leaves(self, chat_id: int) -> int:
        """A person blocks the bot, or a group throws it out; calls to that chat are refused from now on."""
        self.api.block(chat_id)
        return self.push(simulated_updates.left(self._chat(chat_id), self.api.bot))

    def user_stops(self, chat_id: int, *, thread_id: int = 0) -> int:
        """A person presses the stop button of the draft that is shown there; 0 when there is none."""
        draft_id = self.drafts.stop(chat_id, thread_id)
        return self.push(simulated_updates.stopped(self._chat(chat_id), draft_id, thread_id)) if draft_id else 0

    def user_presses(self, user_id: int, query_id: str, *, data: str = "") -> int:
        """A person presses a button under a message."""
        return self.push(simulated_updates.pressed(query_id, user_id, data))

    def push(self, update: Update) -> int:
        """Send any update; it gets the next update_id. Kinds that setWebhook did not ask for are not sent."""
        self._next_update += 1
        numbered = {"update_id": self._next_update} | dict(update)
        message, chat_id = numbered.get("message"), simulated_updates.chat_of(update)
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

    def migrate(self, chat_id: int, new_chat_id: int, *, told: bool = False) -> None:
        """A group becomes a supergroup: calls with the old id are refused, with the new id in the error; `told`: both
        say so."""
        self.api.migrate(chat_id, new_chat_id)
        if told:
            for update in simulated_updates.moved((self.chats.new_id(chat_id), 1), chat_id, new_chat_id):
                self.push(update)

    # The Bot API

    def _chat(self, chat_id: int) -> dict[str, object]:
        return {"id": chat_id, "type": self.chats.type_of(chat_id)}

    def _called(self, method: str, parameters: Parameters) -> None:
        """By an answer of the webhook; whoever called hears nothing of it."""
        self.counts[method] += 1
        self.calls.append(Call(method, parameters))
        with suppress(Refused):
            self.api.call(self.token, method, parameters)
        self._notify()

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
        answer = await self._done(request)
        answer.headers["Date"] = formatdate(self._now() + self.skew, usegmt=True)
        return answer

    async def _done(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        parameters = await parameters_of(request)
        self.counts[method] += 1
        self.calls.append(Call(method, parameters))
        faults = self._faults.get(method.lower())
        fault = faults.popleft() if faults else Fault()
        if fault.delay:
            await asyncio.sleep(fault.delay)
        if fault.gate is not None:
            self._notify()
            await fault.gate.wait()
        if fault.reset:
            return _cut(request)
        try:
            self._let_in(parameters, fault)
            if fault.status:
                raise Refused(fault.status, fault.description, fault.parameters)
            result = self.api.call(request.match_info["token"], method, parameters)
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
