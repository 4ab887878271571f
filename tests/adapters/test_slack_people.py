"""What people do in Slack beyond writing: edits, files, slash commands, the stop button, removing the bot."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest
from structlog.testing import capture_logs

from adapters.slack.simulator import FORM
from core.types import ConversationKey
from tests.adapters.slack_house import House, delivery


def key(chat: str, thread: str = "") -> ConversationKey:
    return ConversationKey("slack", "support", chat, thread)


@pytest.mark.parametrize("chat", ["D1", "C1"])
async def test_an_edit_names_what_it_changes(chat: str) -> None:
    async with House() as house:
        if chat == "D1":
            said = await house.simulator.user_says(chat, "wher is my order?")
        else:
            said = await house.simulator.mention(chat, "wher is my order?")
        event = await house.simulator.user_edits(said.shown, said.shown.text.replace("wher", "where"))
        assert event.statuses == [200]
        first, second = house.gateway.messages.values()
        assert (second.text, second.edited) == ("where is my order?", True)
        assert (first.source_id, first.conversation) == (second.source_id, second.conversation)
        await house.simulator.redeliver(event, 1)
        assert len(house.gateway.messages) == 2


async def test_an_edit_that_changes_nothing_is_left_alone() -> None:
    async with House() as house:
        said = await house.simulator.user_says("D1", "hello")
        await house.simulator.user_edits(said.shown, "hello")
        assert house.gateway.texts == ["hello"]


async def test_what_the_bot_edits_is_no_message() -> None:
    async with House() as house:
        await house.simulator.user_says("D1", "hello")
        await house.channel.deliver(delivery("the answer", chat="D1", thread=""))
        (reply,) = house.workspace.replies("D1")
        await house.simulator.user_edits(reply, "the answer, edited")
        assert house.gateway.texts == ["hello"]


async def test_a_file_without_words_is_said_to_be_unreadable() -> None:
    async with House() as house:
        photo: dict[str, Any] = {"subtype": "file_share", "files": [{"id": "F1", "name": "photo.png"}]}
        await house.simulator.user_says("D1", "", **photo)
        await house.simulator.user_says("D1", "my invoice", **photo)
        await house.simulator.user_says("C1", "", dm=False, **photo)
        kept = [(message.text, message.unreadable) for message in house.gateway.messages.values()]
        assert kept == [("", True), ("my invoice", False)]


async def test_people_in_a_channel_have_names() -> None:
    async with House() as house:
        await house.simulator.mention("C1", "hello", user="U0000004711")
        await house.simulator.user_says("D1", "hello")
        assert [message.speaker for message in house.gateway.messages.values()] == ["User 4711", ""]


@pytest.mark.parametrize(
    ("text", "command"), [("", "help"), ("help", "help"), ("NEW", "new"), (" stop ", "stop"), ("human", "human")]
)
async def test_a_slash_command_asks_the_house(text: str, command: str) -> None:
    async with House() as house:
        assert await house.simulator.slash_command("D1", "/frontdesk", text) == 200
        (message,) = house.gateway.messages.values()
        assert (message.command, message.conversation) == (command, key("D1"))


async def test_a_slash_question_in_a_channel_is_a_conversation_of_its_users() -> None:
    async with House() as house:
        for user in ("U1", "U2", "U1"):
            assert await house.simulator.slash_command("C1", "/frontdesk", "help me with my order", user=user) == 200
        keys = [message.conversation for message in house.gateway.messages.values()]
        assert keys == [key("C1", "U1"), key("C1", "U2"), key("C1", "U1")]
        assert {message.command for message in house.gateway.messages.values()} == {""}


async def test_a_slash_question_becomes_visible_where_its_answer_will_be() -> None:
    fields = {"command": "/frontdesk", "channel_id": "C1", "user_id": "U1", "trigger_id": "1.2.3", "team_id": "T1"}
    async with House() as house:
        status, body = await house.simulator.post(urlencode(fields | {"text": "where is it?"}).encode(), FORM)
        assert (status, json.loads(body)) == (200, {"response_type": "in_channel"})
        assert (await house.simulator.post(urlencode(fields | {"text": "help"}).encode(), FORM)) == (200, b"")


async def test_an_answer_to_a_slash_command_goes_to_the_channel() -> None:
    async with House() as house:
        house.workspace.write("C1", "U1", "hello")
        await house.simulator.slash_command("C1", "/frontdesk", "where is my order?", user="U1")
        (message,) = house.gateway.messages.values()
        await house.channel.deliver(replace(delivery("It left today."), address=message.address))
        assert [(reply.text, reply.thread_ts) for reply in house.workspace.replies("C1")] == [("It left today.", "")]


async def test_where_the_bot_is_no_member_the_answer_goes_to_the_person() -> None:
    async with House() as house:
        await house.simulator.slash_command("C1", "/frontdesk", "where is my order?", user="U7")
        (message,) = house.gateway.messages.values()
        reference = await house.channel.deliver(replace(delivery("It left today."), address=message.address))
        assert reference.startswith("D7:")
        assert [reply.text for reply in house.workspace.replies("D7")] == ["It left today."]


async def test_a_slash_command_that_cannot_be_stored_is_not_acknowledged() -> None:
    async with House() as house:
        house.gateway.failures = 1
        with capture_logs() as lines:
            assert await house.simulator.slash_command("D1", "/frontdesk", "a secret text") == 503
        assert "a secret text" not in str(lines)


async def test_the_stop_button_ends_the_reply_in_its_thread() -> None:
    async with House() as house:
        assert (await house.simulator.press_stop("C1", "1.000001")).statuses == [200]
        assert house.gateway.stopped == [key("C1", "1.000001")]


async def test_the_stop_button_finds_a_direct_message_outside_threads() -> None:
    async with House() as house:
        await house.simulator.press_stop("D1", "1.000001")
        assert house.gateway.stopped == [key("D1", "1.000001"), key("D1")]
        house.gateway.writing = {key("D1", "1.000001")}
        await house.simulator.press_stop("D1", "1.000001")
        assert house.gateway.stopped[2:] == [key("D1", "1.000001")]


@pytest.mark.parametrize(
    ("event", "gone"),
    [
        ({"type": "member_left_channel", "user": "U0000000BOT", "channel": "C1"}, ["C1", "C1"]),
        ({"type": "member_left_channel", "user": "U0000000001", "channel": "C1"}, []),
        ({"type": "channel_left", "channel": "C2"}, ["C2", "C2"]),
        ({"type": "channel_deleted", "channel": "C9"}, ["C9", "C9"]),
        ({"type": "app_uninstalled"}, ["C1", "C2", "D1"]),
        ({"type": "tokens_revoked", "tokens": {"bot": ["U0000000BOT"]}}, ["C1", "C2", "D1"]),
        ({"type": "tokens_revoked", "tokens": {"oauth": ["U1"], "bot": []}}, []),
    ],
)
async def test_a_removed_bot_writes_no_more(event: dict[str, object], gone: list[str]) -> None:
    async with House() as house:
        for chat in ("C1", "C1", "C2"):
            await house.simulator.mention(chat, "hello")
        await house.simulator.user_says("D1", "hello")
        for _ in range(2):  # the second time there is nothing left to do, which the house knows
            assert (await house.simulator.push(event)).statuses == [200]
        assert [conversation.chat_id for conversation in house.gateway.left] == gone
        assert {conversation.thread_id for conversation in house.gateway.left} <= {""}, "the chat, with all threads"
