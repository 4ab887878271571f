"""What a person may send besides words, and what their account does: answered or known."""

from __future__ import annotations

import pytest

from core.types import ConversationKey, MessageState
from tests.adapters.wechat_house import SECRET, USER, house


async def test_a_new_follower_is_greeted_in_the_events_own_reply() -> None:
    async with house() as home:
        home.gateway.answers_at_once = "Welcome!"
        assert await home.wechat.event(USER, "subscribe") == "Welcome!"
        (message,) = home.gateway.messages.values()
        assert (message.command, message.text) == ("start", "")
        assert message.event_id == f"{USER}:1790000000:subscribe"


async def test_a_repeated_event_is_one_event() -> None:
    async with house(safe=True) as home:
        home.gateway.answers_at_once = "Welcome!"
        home.wechat.lost_replies = 2
        assert await home.wechat.event(USER, "subscribe") == "Welcome!"
        assert (len(home.gateway.messages), len(home.wechat.deliveries)) == (1, 3)


@pytest.mark.parametrize("verified", ["false", "true"])
async def test_who_unsubscribes_has_left(verified: str) -> None:
    async with house(verified=verified, app_secret="s") as home:
        assert await home.wechat.event(USER, "unsubscribe") == ""
        assert home.gateway.left == [USER]
        assert not home.gateway.messages


async def test_a_menu_button_says_its_key() -> None:
    async with house() as home:
        home.gateway.answers_at_once = "On its way."
        assert await home.wechat.event(USER, "CLICK", EventKey="Where is my order?") == "On its way."
        assert await home.wechat.event(USER, "CLICK", EventKey="human") == "On its way."
        assert [(m.text, m.command) for m in home.gateway.messages.values()] == [
            ("Where is my order?", ""),
            ("human", "human"),
        ]


@pytest.mark.parametrize("kind", ["image", "voice", "video", "shortvideo", "location", "file"])
async def test_what_cannot_be_read_is_told_so(kind: str) -> None:
    async with house() as home:
        home.gateway.answers_at_once = "In words, please."
        assert await home.wechat.user_sends(USER, kind, MediaId="m1") == "In words, please."
        (message,) = home.gateway.messages.values()
        assert (message.unreadable, message.text, message.source_id) == (True, "", message.event_id)
        # The second of a burst: the house has said it already.
        home.gateway.answers_at_once = ""
        home.gateway.accepts_as = MessageState.ANSWERED
        assert await home.wechat.user_sends(USER, kind, MediaId="m2") == ""


async def test_a_voice_that_wechat_understood_is_what_it_said() -> None:
    async with house() as home:
        home.gateway.answers_at_once = "On its way."
        said = {"MediaId": "m", "Format": "amr", "Recognition": "订单在哪里"}
        assert await home.wechat.user_sends(USER, "voice", **said) == "On its way."
        (message,) = home.gateway.messages.values()
        assert (message.text, message.unreadable) == ("订单在哪里", False)
        assert message.conversation == ConversationKey("wechat", "support", USER)


@pytest.mark.parametrize("safe", [False, True])
@pytest.mark.parametrize("text", ["转人工", "/human"])
async def test_who_wants_a_person_is_given_to_the_console(text: str, safe: bool) -> None:
    async with house(safe=safe, human_console=True) as home:
        said = await home.says("Hello", "1")
        home.gateway.answers_at_once = "Noted."
        assert await home.wechat.user_says(USER, text) == ""
        assert list(home.wechat.transferred) == [USER]
        assert not home.wechat.malformed
        await home.gateway.commit("Hi", of=["Hello"])
        assert await said == "Hi"
        # The notice has been said by the console; it does not come later.
        home.gateway.answers_at_once = "Welcome back."
        assert await home.wechat.user_says(USER, "Thank you") == "Welcome back."


async def test_a_lost_transfer_is_repeated_and_the_wish_recorded_once() -> None:
    async with house(human_console=True, verified="true", app_secret=SECRET, account_verified=True) as home:
        home.wechat.lost_replies = 1
        home.gateway.answers_at_once = "Noted."
        assert await home.wechat.user_says(USER, "转人工") == ""
        assert list(home.wechat.transferred) == [USER]
        assert (len(home.gateway.messages), home.gateway.received) == (1, 2)
        assert await home.gateway.carry(home.channel) == []  # one who is written to is told so, too
        assert home.wechat.answers(USER) == ["Noted."]


async def test_a_menu_button_cannot_be_given_to_the_console() -> None:
    async with house(human_console=True) as home:
        home.gateway.answers_at_once = "Noted."
        assert await home.wechat.event(USER, "CLICK", EventKey="human") == "Noted."
        assert not home.wechat.transferred


async def test_without_the_console_the_house_answers() -> None:
    async with house() as home:
        home.gateway.answers_at_once = "Noted."
        assert await home.wechat.user_says(USER, "转人工") == "Noted."
        assert not home.wechat.transferred
