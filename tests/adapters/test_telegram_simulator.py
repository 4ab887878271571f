"""That the simulator behaves as Telegram does, since everything else is tested against it."""

from __future__ import annotations

import asyncio

import orjson
from aiohttp import web

from tests.adapters.telegram_listener import call, listening


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


async def test_the_pauses_grow_to_a_minute_until_a_day_is_over() -> None:
    async with listening() as (telegram, listener):
        listener.answers = [web.Response(status=500) for _ in range(1_500)]
        telegram.user_says(1, "a")
        await telegram.until(lambda: telegram.webhook.dropped)
        pauses = list(telegram.webhook.pauses)
        assert pauses[:8] == [0, 2, 4, 8, 16, 32, 60, 60]
        assert max(pauses) == 60 and sum(pauses[:-1]) <= 86_400 < sum(pauses)


async def test_a_button_lives_150_seconds_and_waits_in_its_pressers_row() -> None:
    async with listening() as (telegram, listener):
        listener.answers = [web.Response(status=500) for _ in range(50)]
        telegram.user_presses(1, "q")
        await telegram.until(lambda: telegram.webhook.dropped)
        assert sum(list(telegram.webhook.pauses)[:-1]) <= 150 < sum(telegram.webhook.pauses)
        listener.answers.clear()
        listener.gate.clear()
        for user in (1, 2):
            telegram.user_presses(user, "q")
            telegram.user_says(user, "a")
        async with asyncio.timeout(5):
            while listener.together < 2:
                await asyncio.sleep(0.005)
        listener.gate.set()
        await telegram.until(lambda: telegram.webhook.accepted == 4)
        assert listener.overlaps == 0


async def test_one_call_may_stand_in_the_answer() -> None:
    async with listening() as (telegram, listener):
        body = orjson.dumps({"method": "sendMessage", "chat_id": 1, "text": "b"})
        listener.answers = [web.Response(body=body), web.Response(body=b"no JSON"), web.Response(body=b"[1]")]
        for text in ("a", "c", "d"):
            telegram.user_says(1, text)
        await telegram.until(lambda: telegram.webhook.accepted == 3)
        assert telegram.bot_texts(1) == ["b"]


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
