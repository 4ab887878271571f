"""That the simulated Bot API answers as Telegram's does, since everything else is tested against it."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from aiohttp import web

from adapters.telegram.settings import Settings
from adapters.telegram.simulator import Fault, TelegramSimulator, flood
from commands.simulate_page.telegram import TelegramSide
from tests.adapters.telegram_house import TOKEN
from tests.adapters.telegram_listener import call, listening


@pytest.mark.parametrize(
    ("method", "form", "status"),
    [
        ("sendMessage", {"chat_id": "1", "text": " "}, 400),
        ("sendMessage", {"chat_id": "1", "text": "x" * 4097}, 400),
        ("sendMessage", {"text": "x"}, 400),
        ("sendMessage", {"chat_id": "1", "text": "x", "reply_parameters": '{"message_id": 9}'}, 400),
        ("editMessageText", {"chat_id": "1", "text": "x", "message_id": "9"}, 400),
        ("setWebhook", {"url": "http://bot.example.com/telegram"}, 400),
        ("sendGift", {"chat_id": "1"}, 404),
        ("sendRichMessage", {"chat_id": "1"}, 400),
        ("sendRichMessage", {"chat_id": "1", "rich_message": '{"html": "<p>a"}'}, 400),
        ("sendRichMessage", {"chat_id": "1", "rich_message": '{"html": "<script>a</script>"}'}, 400),
        ("sendRichMessage", {"chat_id": "1", "rich_message": '{"html": "<p> </p>"}'}, 400),
        ("sendMessageDraft", {"chat_id": "-1", "draft_id": "1", "text": "x"}, 400),
        ("sendMessageDraft", {"chat_id": "1", "draft_id": "0", "text": "x"}, 400),
        ("sendMessageDraft", {"chat_id": "1", "draft_id": "1", "text": "x" * 4097}, 400),
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


async def test_it_tells_whose_a_message_is_to_who_stops_a_location() -> None:
    async with TelegramSimulator(TOKEN) as telegram:
        telegram.user_says(1, "mine")
        (message,) = telegram.chats.read(1)
        await call(telegram, "sendMessage", chat_id=1, text="yours")
        for message_id, description in (
            (message.message_id, "Bad Request: message can't be edited"),
            (message.message_id + 1, "Bad Request: there is no live location in the message to edit"),
            (message.message_id + 2, "Bad Request: message to edit not found"),
        ):
            answer = await call(telegram, "stopMessageLiveLocation", chat_id=1, message_id=message_id)
            assert (answer["error_code"], answer["description"]) == (400, description)
        assert telegram.bot_texts(1) == ["yours"]


async def test_private_chats_and_basic_groups_share_their_numbers_and_supergroups_do_not() -> None:
    async with TelegramSimulator(TOKEN) as telegram:
        ids: dict[int, list[int]] = {}
        for chat, kind in ((1, "private"), (-5, "group"), (-1_000_000_000_001, "supergroup"), (2, "private")) * 2:
            telegram.user_says(chat, "hi", chat_type=kind)
            ids.setdefault(chat, []).append(telegram.chats.read(chat)[-1].message_id)
        assert ids == {1: [101, 104], -5: [102, 105], 2: [103, 106], -1_000_000_000_001: [1, 2]}
        for message_id in (900, 5):
            telegram.push({"message": {"message_id": message_id, "chat": {"id": 1, "type": "private"}, "text": "x"}})
        await call(telegram, "sendMessage", chat_id=2, text="x")
        assert telegram.chats.read(2)[-1].message_id == 901


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


async def test_a_draft_lives_thirty_seconds_or_until_the_next_message() -> None:
    now = [0.0]
    async with TelegramSimulator(TOKEN, clock=lambda: now[0]) as telegram:

        async def show(text: str, draft_id: int = 7, **more: object) -> None:
            asked: dict[str, Any] = {"chat_id": 1, "draft_id": draft_id, "text": text} | more
            assert (await call(telegram, "sendMessageDraft", **asked))["ok"]

        def shown(thread_id: int = 0) -> str | None:
            draft = telegram.drafts.read(1, thread_id)
            return draft.text if draft else None

        await show("a")
        now[0] = 29.0
        await show("ab")
        now[0] = 58.0
        assert (shown(), telegram.bot_texts(1)) == ("ab", [])
        now[0] = 59.0
        assert shown() is None
        await show("abc", 8, message_thread_id=3)
        await call(telegram, "sendMessage", chat_id=1, text="x")
        assert shown(3) == "abc"
        await call(telegram, "sendMessage", chat_id=1, text="x", message_thread_id=3)
        assert shown(3) is None


@pytest.mark.parametrize("keep", [True, False])
async def test_a_stop_button_is_there_when_it_was_asked_for(keep: bool) -> None:
    async with listening() as (telegram, _):
        await call(telegram, "sendMessageDraft", chat_id=1, draft_id=7, text="a")
        assert telegram.user_stops(1) == 0
        more = {"can_stop": "true", "keep_on_stop": str(keep).lower()}
        await call(telegram, "sendMessageDraft", chat_id=1, draft_id=7, text="a", **more)
        update = telegram.user_stops(1)
        chat = {"id": 1, "type": "private"}
        assert dict(telegram.webhook.sent(update))["stopped_message_generation"] == {"chat": chat, "draft_id": 7}
        assert (telegram.drafts.read(1) is not None) == keep


async def test_a_rich_message_is_edited_and_a_plain_text_takes_its_looks() -> None:
    async with TelegramSimulator(TOKEN) as telegram:
        rich = '{"html": "<h1>A</h1><p>b <b>c</b></p>"}'
        sent = (await call(telegram, "sendRichMessage", chat_id=1, rich_message=rich))["result"]
        assert isinstance(sent, dict) and "text" not in sent
        (message,) = telegram.chats.read(1)
        assert (message.text, bool(message.rich)) == ("A\nb c", True)
        where: dict[str, Any] = {"chat_id": 1, "message_id": sent["message_id"]}
        again = await call(telegram, "editMessageText", rich_message=rich, **where)
        assert "message is not modified" in str(again["description"])
        await call(telegram, "editMessageText", text="A\nb c", **where)
        assert (message.text, message.rich) == ("A\nb c", "")


async def test_an_old_server_overlooks_what_it_does_not_know() -> None:
    async with TelegramSimulator(TOKEN) as telegram:
        telegram.api.old = True
        sent = (await call(telegram, "sendMessage", chat_id=1, text="a"))["result"]
        assert isinstance(sent, dict)
        rich = '{"html": "<p>b</p>"}'
        for method in ("sendRichMessage", "sendMessageDraft"):
            assert (await call(telegram, method, chat_id=1, rich_message=rich))["error_code"] == 404
        edit = await call(telegram, "editMessageText", chat_id=1, message_id=sent["message_id"], rich_message=rich)
        assert edit["description"] == "Bad Request: message text is empty"


async def test_the_webhook_tells_what_it_knows_and_forgets_errors_when_it_is_set_anew() -> None:
    async with listening() as (telegram, listener):
        url = telegram.webhook.url
        await call(telegram, "setWebhook", url=url, secret_token="s", allowed_updates='["message"]')
        listener.answers = [web.Response(status=500)]
        telegram.user_says(1, "a")
        await telegram.until(lambda: telegram.webhook.accepted)
        info = (await call(telegram, "getWebhookInfo"))["result"]
        assert isinstance(info, dict)
        assert (info["allowed_updates"], info["ip_address"]) == (["message"], "127.0.0.1")
        assert info["last_error_message"] == "Wrong response from the webhook: 500" and info["last_error_date"] > 0
        await call(telegram, "setWebhook", url=url, secret_token="t")
        info = (await call(telegram, "getWebhookInfo"))["result"]
        assert isinstance(info, dict) and "last_error_date" not in info


async def test_the_page_shows_a_draft_until_it_is_a_message() -> None:
    side = TelegramSide()
    await side.start()
    try:
        known = side.credentials(Settings())
        url, chat = f"{known['api_base_url']}/bot{known['token']}", {"chat_id": 7_000_002}
        seen = []
        async with aiohttp.ClientSession() as http:
            for method, text in (("sendMessageDraft", "a"), ("sendMessageDraft", "ab"), ("sendMessage", "abc")):
                async with http.post(f"{url}/{method}", json=chat | {"draft_id": 7, "text": text}) as response:
                    assert response.status == 200
                seen.append([(bubble.by, bubble.text) for bubble in side.seen(2)])
        assert seen == [[("bot", "a")], [("bot", "ab")], [("bot", "abc")]]
        assert side.seen(1) == []
    finally:
        await side.stop()
