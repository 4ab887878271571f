"""The simulated API says no where WeChat's does: tokens, rights, windows, counts, sizes, kinds of messages."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from adapters.wechat.simulator import Bubble, WeChatPlatform
from tests.adapters.wechat_house import APP_ID, SECRET, TOKEN, USER, Clock, house

SEND, TYPING = "/cgi-bin/message/custom/send", "/cgi-bin/message/custom/typing"


@dataclass
class Account:
    """Somebody with the account's credentials, and WeChat in front of a webhook that has nothing to say."""

    wechat: WeChatPlatform
    http: aiohttp.ClientSession
    clock: Clock

    async def token(self, *, force: bool = False, app_id: str = APP_ID, secret: str = SECRET) -> Mapping[str, object]:
        body = {"grant_type": "client_credential", "appid": app_id, "secret": secret, "force_refresh": force}
        return await self.post("/cgi-bin/stable_token", body, token="")

    async def post(self, path: str, body: Mapping[str, object], *, token: str | None = None) -> Mapping[str, object]:
        if token is None:
            token = str((await self.token())["access_token"])
        raw = json.dumps(body, ensure_ascii=False).encode()
        url, query = self.wechat.base_url + path, {"access_token": token} if token else {}
        async with self.http.post(url, params=query, data=raw) as response:
            answer: Mapping[str, object] = await response.json()
            return answer

    async def says(self, text: str = "Hello", to: str = USER) -> object:
        """The errcode of one text."""
        return (await self.post(SEND, {"touser": to, "msgtype": "text", "text": {"content": text}}))["errcode"]

    async def types(self, command: str = "Typing") -> object:
        return (await self.post(TYPING, {"touser": USER, "command": command}))["errcode"]


@asynccontextmanager
async def account(*, verified: bool = True) -> AsyncIterator[Account]:
    async def silence(_: web.Request) -> web.Response:
        return web.Response(text="success")

    app = web.Application()
    app.add_routes([web.post("/", silence)])
    clock = Clock()
    async with (
        WeChatPlatform(token=TOKEN, app_id=APP_ID, app_secret=SECRET, verified=verified, clock=clock) as wechat,
        TestServer(app) as server,
        aiohttp.ClientSession() as http,
    ):
        wechat.webhook = str(server.make_url("/"))
        yield Account(wechat, http, clock)


async def test_the_stable_token_stays_until_shortly_before_its_end() -> None:
    async with account() as one:
        first = await one.token()
        assert first["expires_in"] == 7200
        one.clock.now += 6899
        assert (await one.token())["access_token"] == first["access_token"]
        one.clock.now += 2
        assert (await one.token())["access_token"] != first["access_token"]


async def test_a_forced_refresh_ends_the_token_and_may_not_be_repeated_at_once() -> None:
    async with account() as one:
        first = str((await one.token())["access_token"])
        second = str((await one.token(force=True))["access_token"])
        assert (await one.post(SEND, {}, token=first))["errcode"] == 40001
        assert (await one.post(SEND, {}, token=second))["errcode"] == 47001
        assert (await one.token(force=True))["errcode"] == 45011
        for _ in range(19):
            one.clock.now += 31
            assert (await one.token(force=True))["access_token"]
        one.clock.now += 31
        assert (await one.token(force=True))["errcode"] == 45009
        one.clock.now += 86_400
        assert (await one.token(force=True))["access_token"]


async def test_the_two_kinds_of_tokens_leave_each_other_alone() -> None:
    async with account() as one:
        stable = str((await one.token())["access_token"])
        query = {"grant_type": "client_credential", "appid": APP_ID, "secret": SECRET}
        plain = []
        for _ in range(2):
            async with one.http.get(f"{one.wechat.base_url}/cgi-bin/token", params=query) as response:
                plain.append((await response.json())["access_token"])
        codes = [(await one.post(SEND, {}, token=token))["errcode"] for token in (stable, *plain)]
        assert codes == [47001, 40001, 47001]


async def test_tokens_end_and_are_missed() -> None:
    async with account() as one:
        token = str((await one.token())["access_token"])
        one.clock.now += 7201
        assert (await one.post(SEND, {}, token=token))["errcode"] == 42001
        assert (await one.post(SEND, {}, token=""))["errcode"] == 41001
        one.wechat.api.spend_token()
        assert (await one.token())["access_token"] != token


async def test_credentials_are_compared() -> None:
    async with account() as one:
        assert (await one.token(app_id="wx-other"))["errcode"] == 40013
        assert (await one.token(secret="guessed"))["errcode"] == 40125


async def test_a_caller_outside_the_whitelist_is_told_its_address() -> None:
    async with account() as one:
        one.wechat.api.not_listed = "203.0.113.7"
        refusal = await one.token()
        assert (refusal["errcode"], "203.0.113.7" in str(refusal["errmsg"])) == (40164, True)


async def test_after_a_message_five_within_48_hours() -> None:
    async with account() as one:
        assert await one.says() == 40003
        await one.wechat.user_says(USER, "Hello")
        assert [await one.says(str(number)) for number in range(6)] == [0] * 5 + [45047]
        await one.wechat.user_says(USER, "Hello")
        one.clock.now += 48 * 3600
        assert await one.says() == 0
        one.clock.now += 1
        assert await one.says() == 45015


@pytest.mark.parametrize("event", ["subscribe", "CLICK", "SCAN"])
async def test_after_an_event_three_within_a_minute(event: str) -> None:
    async with account() as one:
        await one.wechat.event(USER, event, EventKey="1")
        assert [await one.says(str(number)) for number in range(4)] == [0] * 3 + [45047]
        await one.wechat.event(USER, event, EventKey="1")
        one.clock.now += 61
        assert await one.says() == 45015


async def test_an_event_takes_nothing_from_a_message() -> None:
    async with account() as one:
        await one.wechat.user_says(USER, "Hello")
        await one.wechat.event(USER, "CLICK", EventKey="1")
        assert [await one.says(str(number)) for number in range(6)] == [0] * 5 + [45047]


async def test_who_is_gone_or_blocked_gets_nothing() -> None:
    async with account() as one:
        await one.wechat.user_says(USER, "Hello")
        one.wechat.api.windows.blocked.add(USER)
        assert await one.says() == 43019
        one.wechat.api.windows.blocked.clear()
        await one.wechat.event(USER, "unsubscribe")
        assert await one.says() == 45015
        assert one.wechat.answers(USER) == []


async def test_calls_are_counted_in_a_minute_and_a_day() -> None:
    async with account() as one:
        await one.wechat.user_says(USER, "Hello")
        one.wechat.api.messages.per_minute, one.wechat.api.messages.per_day = 2, 3
        assert [await one.says() for _ in range(3)] == [0, 0, 45011]
        one.clock.now += 60
        assert [await one.says() for _ in range(2)] == [0, 45009]
        assert (await one.post("/cgi-bin/clear_quota", {"appid": "wx-other"}))["errcode"] == 40013
        assert (await one.post("/cgi-bin/clear_quota", {"appid": APP_ID}))["errcode"] == 0
        one.clock.now += 60
        assert await one.says() == 0
        one.wechat.api.messages.per_day = 1
        assert await one.says() == 45009
        one.clock.now += 86_400
        await one.wechat.user_says(USER, "Hello")
        assert await one.says() == 0


async def test_the_typing_sign() -> None:
    async with account() as one:
        assert await one.types() == 40003
        await one.wechat.user_says(USER, "Hello")
        windows = one.wechat.api.windows
        assert [await one.types(), await one.types(), windows.is_typing(USER)] == [0, 45081, True]
        assert [await one.types("CancelTyping"), windows.is_typing(USER), await one.types()] == [0, False, 0]
        await one.says()
        assert [windows.is_typing(USER), await one.types("Dance"), await one.types()] == [False, 45072, 0]
        one.clock.now += 15
        assert [windows.is_typing(USER), await one.types()] == [False, 0]
        one.clock.now += 16
        assert await one.types() == 45080


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"msgtype": "text", "text": {"content": "中" * 683}}, 45002),
        ({"msgtype": "text", "text": {"content": ""}}, 47001),
        ({"msgtype": "text", "text": "Hello"}, 47001),
        ({"msgtype": "markdown", "markdown": {"content": "Hello"}}, 40008),
        ({"msgtype": "msgmenu", "msgmenu": {"list": [{"id": "1"}]}}, 47001),
        ({"text": {"content": "Hello"}}, 47001),
    ],
)
async def test_a_message_of_another_form_is_refused(body: dict[str, object], code: int) -> None:
    async with account() as one:
        await one.wechat.user_says(USER, "Hello")
        assert (await one.post(SEND, {"touser": USER, **body}))["errcode"] == code
        assert one.wechat.answers(USER) == []


async def test_without_verification_nothing_may_be_sent() -> None:
    async with account(verified=False) as one:
        await one.wechat.user_says(USER, "Hello")
        assert (await one.says(), await one.types()) == (48001, 48001)


async def test_a_menu_of_answers_can_be_tapped() -> None:
    menu = {
        "head_content": "Are you content?",
        "list": [{"id": "101", "content": "Yes"}, {"id": "102", "content": "No"}],
    }
    async with house() as home:
        home.wechat.api.verified = True
        http = aiohttp.ClientSession()
        async with http:
            one = Account(home.wechat, http, home.clock)
            home.gateway.answers_at_once = "Hi"
            await home.wechat.user_says(USER, "Hello")
            body = {"touser": USER, "msgtype": "msgmenu", "msgmenu": {**menu, "tail_content": "Thank you"}}
            assert (await one.post(SEND, body))["errcode"] == 0
        assert home.wechat.answers(USER)[-1].startswith("Are you content?\n<a href=")
        assert home.wechat.answers(USER)[-1].endswith("\nThank you")
        await home.wechat.user_taps(USER, "No")
        assert [message.text for message in home.gateway.messages.values()] == ["Hello", "No"]


async def test_answers_carry_wechats_own_time() -> None:
    async with account() as one:
        one.wechat.api.ahead = -90.0
        async with one.http.get(f"{one.wechat.base_url}/cgi-bin/token") as response:
            assert parsedate_to_datetime(response.headers["Date"]).timestamp() == one.clock.now - 90


async def test_who_talks_to_a_person_is_not_heard_here() -> None:
    async with house(human_console=True) as home:
        home.gateway.answers_at_once = "Noted."
        with pytest.raises(LookupError):
            home.wechat.person_takes(USER)
        assert await home.wechat.user_says(USER, "转人工") == ""
        assert await home.wechat.user_says(USER, "Is anybody there?") == "Noted."  # still in the queue
        home.wechat.person_takes(USER)
        assert await home.wechat.user_says(USER, "My order is late") == ""
        assert home.wechat.chat(USER)[-1] == Bubble("user", "My order is late")
        home.clock.now += 1799
        assert await home.wechat.user_says(USER, "Hello?") == ""
        home.clock.now += 1801  # half an hour of silence ends it
        assert await home.wechat.user_says(USER, "Thank you") == "Noted."
        home.wechat.person_takes(USER)
        home.wechat.person_leaves(USER)
        assert await home.wechat.user_says(USER, "Thank you") == "Noted."
        assert len(home.gateway.messages) == 4
