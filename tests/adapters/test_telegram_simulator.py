"""That the simulator behaves as Telegram does, since everything else is tested against it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from adapters.telegram.simulator import Fault, TelegramSimulator, flood

TOKEN = "6000001:AAsampleTOKENsample"


async def call(telegram: TelegramSimulator, method: str, *, token: str = TOKEN, **form: object) -> dict[str, object]:
    url = f"{telegram.base_url}/bot{token}/{method}"
    async with aiohttp.ClientSession() as http, http.post(url, data=form) as response:
        body = orjson.loads(await response.read())
        assert isinstance(body, dict)
        assert body["ok"] or body["error_code"] == response.status
        return body


class Listener:
    """A webhook that answers as told and notes what came, and how many were under way at once per chat."""

    def __init__(self) -> None:
        self.answers: list[web.Response] = []
        self.seen: list[tuple[int, str]] = []
        self.together = 0
        self.under_way: set[int] = set()
        self.overlaps = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def receive(self, request: web.Request) -> web.Response:
        message = orjson.loads(await request.read())["message"]
        chat_id = message["chat"]["id"]
        self.overlaps += chat_id in self.under_way
        self.under_way.add(chat_id)
        self.together = max(self.together, len(self.under_way))
        self.seen.append((chat_id, message["text"]))
        await self.gate.wait()
        self.under_way.discard(chat_id)
        return self.answers.pop(0) if self.answers else web.Response()


@asynccontextmanager
async def listening(*, lifetime: float = 86_400.0) -> AsyncIterator[tuple[TelegramSimulator, Listener]]:
    listener = Listener()
    app = web.Application()
    app.add_routes([web.post("/hook", listener.receive)])
    async with TestServer(app) as server, TelegramSimulator(TOKEN, lifetime=lifetime) as telegram:
        assert (await call(telegram, "setWebhook", url=str(server.make_url("/hook"))))["ok"]
        yield telegram, listener


async def test_one_update_per_chat_at_a_time_and_chats_beside_each_other() -> None:
    async with listening() as (telegram, listener):
        listener.gate.clear()
        for text in ("a", "b", "c"):
            telegram.user_says(1, text)
            telegram.user_says(2, text)
        async with asyncio.timeout(5):
            while listener.together < 2:  # the gate is shut: nothing reports
                await asyncio.sleep(0.005)
        assert len(listener.seen) == 2
        listener.gate.set()
        await telegram.until(lambda: telegram.webhook.accepted == 6)
        assert listener.overlaps == 0
        assert [text for chat, text in listener.seen if chat == 1] == ["a", "b", "c"]


async def test_a_refused_update_comes_again_until_its_lifetime_is_over() -> None:
    async with listening(lifetime=15.0) as (telegram, listener):
        listener.answers = [web.Response(status=500) for _ in range(5)]
        telegram.user_says(1, "a")
        await telegram.until(lambda: telegram.webhook.dropped)
        # At once, then after 2, 4 and 8 s; the fifth would be after 14 + 16 s.
        assert [attempt.status for attempt in telegram.webhook.attempts] == [500] * 5
        telegram.user_says(1, "b")
        await telegram.until(lambda: telegram.webhook.accepted)
        assert (telegram.webhook.pending, telegram.webhook.last_error != "") == (0, True)


async def test_retry_after_counts_towards_the_lifetime() -> None:
    async with listening(lifetime=15.0) as (telegram, listener):
        listener.answers = [web.Response(status=503, headers={"Retry-After": "16"})]
        telegram.user_says(1, "a")
        await telegram.until(lambda: telegram.webhook.dropped)
        assert len(listener.seen) == 1


async def test_updates_wait_for_a_webhook() -> None:
    async with listening() as (telegram, listener):
        url = telegram.webhook.url
        await call(telegram, "deleteWebhook")
        telegram.user_says(1, "a")
        assert (await call(telegram, "getWebhookInfo"))["result"] == {
            "url": "",
            "has_custom_certificate": False,
            "pending_update_count": 1,
            "max_connections": 40,
        }
        await call(telegram, "setWebhook", url=url)
        await telegram.until(lambda: telegram.webhook.accepted)
        assert listener.seen == [(1, "a")]


async def test_kinds_that_were_not_asked_for_are_not_sent() -> None:
    async with listening() as (telegram, _):
        await call(telegram, "setWebhook", url=telegram.webhook.url, allowed_updates='["message"]')
        telegram.push({"edited_message": {"chat": {"id": 1}}})
        telegram.user_says(1, "a")
        await telegram.until(lambda: telegram.webhook.accepted)
        assert len(telegram.webhook.attempts) == 1


@pytest.mark.parametrize(
    ("method", "form", "status"),
    [
        ("sendMessage", {"chat_id": "1", "text": " "}, 400),
        ("sendMessage", {"chat_id": "1", "text": "x" * 4097}, 400),
        ("sendMessage", {"text": "x"}, 400),
        ("sendMessage", {"chat_id": "1", "text": "x", "reply_parameters": '{"message_id": 9}'}, 400),
        ("editMessageText", {"chat_id": "1", "text": "x", "message_id": "9"}, 400),
        ("setWebhook", {"url": "http://bot.example.com/telegram"}, 400),
        ("sendRichMessage", {"chat_id": "1"}, 404),
    ],
)
async def test_calls_are_refused_as_telegram_does(method: str, form: dict[str, str], status: int) -> None:
    async with TelegramSimulator(TOKEN) as telegram:
        assert (await call(telegram, method, **form))["error_code"] == status
        assert telegram.counts[method] == 1


async def test_a_wrong_token_is_unauthorized() -> None:
    async with TelegramSimulator(TOKEN) as telegram:
        assert (await call(telegram, "getMe", token="6000001:other"))["error_code"] == 401


async def test_forms_and_case_are_taken_and_edits_are_history() -> None:
    async with TelegramSimulator(TOKEN) as telegram:
        sent = await call(telegram, "SENDMESSAGE", chat_id=1, text="a")
        result = sent["result"]
        assert isinstance(result, dict)
        assert (await call(telegram, "sendChatAction", chat_id=1, action="typing"))["result"] is True
        await call(telegram, "editMessageText", chat_id=1, message_id=result["message_id"], text="b")
        again = await call(telegram, "editMessageText", chat_id=1, message_id=result["message_id"], text="b")
        assert "message is not modified" in str(again["description"])
        (message,) = telegram.chats.read(1)
        assert [version.text for version in message.versions] == ["a", "b"]


async def test_a_persons_message_cannot_be_edited() -> None:
    async with TelegramSimulator(TOKEN) as telegram:
        telegram.user_says(1, "mine")
        (message,) = telegram.chats.read(1)
        answer = await call(telegram, "editMessageText", chat_id=1, message_id=message.message_id, text="b")
        assert "can't be edited" in str(answer["description"])


async def test_a_dropped_answer_was_done_and_a_reset_was_not() -> None:
    async with TelegramSimulator(TOKEN) as telegram:
        telegram.fail("sendMessage", Fault(drop=True))
        telegram.fail("sendMessage", Fault(reset=True))
        for text in ("done", "not done"):
            with pytest.raises(aiohttp.ClientError):
                await call(telegram, "sendMessage", chat_id=1, text=text)
        assert telegram.bot_texts(1) == ["done"]


async def test_a_refused_chat_stays_closed_for_as_long_as_it_said() -> None:
    now = [0.0]
    async with TelegramSimulator(TOKEN, clock=lambda: now[0]) as telegram:
        url = f"{telegram.base_url}/bot{TOKEN}/sendMessage"
        telegram.fail("sendMessage", flood(14))
        statuses = []
        async with aiohttp.ClientSession() as http:
            for seconds, chat in ((0, 1), (13, 1), (0, 2), (1, 1)):
                now[0] += seconds
                async with http.post(url, json={"chat_id": chat, "text": "x"}) as response:
                    statuses.append(response.status)
        assert (statuses, telegram.early) == ([429, 429, 200, 200], 1)


async def test_who_blocked_the_bot_gets_nothing_until_they_write() -> None:
    async with TelegramSimulator(TOKEN) as telegram:
        telegram.user_leaves(1)
        telegram.user_leaves(-1)
        for chat in (1, -1):
            assert (await call(telegram, "sendMessage", chat_id=chat, text="x"))["error_code"] == 403
        telegram.user_says(1, "back")
        assert (await call(telegram, "sendMessage", chat_id=1, text="x"))["ok"]


async def test_a_deleted_message_is_gone() -> None:
    async with TelegramSimulator(TOKEN) as telegram:
        sent = (await call(telegram, "sendMessage", chat_id=1, text="x"))["result"]
        assert isinstance(sent, dict)
        assert (await call(telegram, "deleteMessage", chat_id=1, message_id=sent["message_id"]))["ok"]
        assert telegram.bot_texts(1) == []
        again = await call(telegram, "deleteMessage", chat_id=1, message_id=sent["message_id"])
        assert again["description"] == "Bad Request: message to delete not found"
