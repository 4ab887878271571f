"""What a process that died had shown is found again by its number, and nothing else is taken for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from adapters.slack import outbound
from adapters.slack.api import CallRefused
from adapters.slack.channel import SlackChannel
from adapters.slack.simulator import Fault, Shown
from core.errors import DeliveryError
from core.types import Draft, InboundMessage, StoredMessage, Turn
from tests.adapters.slack_house import House, delivery

ALL = "chat:write,im:history,channels:history"
NOTHING: frozenset[str] = frozenset()


def turn_of(message: InboundMessage, number: int = 1, **changes: Any) -> Turn:
    """The second attempt at a message."""
    said = StoredMessage(1, message.user_id, message.text, message.address, "", 1_790_000_000.0, "", message.sent_at)
    return replace(Turn(number, 1, message.conversation, (said,), "", 2, "", 0, 0, died=True), **changes)


def newest(house: House) -> InboundMessage:
    return list(house.gateway.messages.values())[-1]


async def asked(house: House, channel: str = "D1", **where: Any) -> Turn:
    """A person asks; returns the turn as the process after this one claims it."""
    await house.simulator.user_says(channel, "where is my order?", **where)
    return turn_of(newest(house))


def begun(turn: Turn, text: str = "It le") -> Draft:
    return Draft(turn.id, turn.conversation, turn.address, text)


@asynccontextmanager
async def next_process(house: House) -> AsyncIterator[SlackChannel]:
    channel = house.open()
    yield channel
    await channel.close()


@pytest.mark.parametrize("streaming", ["edit", "auto", "native"])
@pytest.mark.parametrize("where", [{"channel": "D1"}, {"channel": "D1", "thread": True}, {"channel": "C1"}])
async def test_a_reply_goes_on_in_the_message_that_it_had_begun(streaming: Any, where: Mapping[str, Any]) -> None:
    async with House(streaming=streaming, scopes=ALL) as house:
        if where["channel"] == "C1":
            await house.simulator.mention("C1", "where is my order?")
            turn = turn_of(newest(house))
        else:
            root = house.workspace.write("D1", "U0000000001", "hello").ts if "thread" in where else None
            turn = await asked(house, thread_ts=root)
        shown = await house.channel.preview(begun(turn))
        async with next_process(house) as channel:
            assert await channel.find(turn, NOTHING) == shown
            assert await channel.preview(replace(begun(turn, "It left"), reference=shown or "")) == shown
            final = replace(delivery("It left today.", shown or ""), conversation=turn.conversation)
            assert await channel.deliver(replace(final, address=turn.address)) == shown
        assert [reply.text for reply in house.workspace.replies(where["channel"])] == ["It left today."]


async def test_what_is_known_or_another_turn_or_older_is_not_taken() -> None:
    async with House() as house:
        before = await asked(house)
        shown = await house.channel.preview(begun(before))
        assert shown
        async with next_process(house) as channel:
            assert await channel.find(before, frozenset({shown})) is None
            assert await channel.find(replace(before, id=2), NOTHING) is None
            # A new ledger counts from one again.
            assert await channel.find(await asked(house), NOTHING) is None
            assert await channel.find(before, NOTHING) == shown, "and it was looked for in the right place"


async def test_a_final_text_of_the_turn_is_no_preview_of_it() -> None:
    async with House() as house:
        turn = await asked(house)
        await house.channel.deliver(replace(delivery("whole", chat="D1", thread=""), address=turn.address))
        assert await house.channel.find(turn, NOTHING) is None


async def test_only_our_own_messages_count() -> None:
    async with House() as house:
        turn = await asked(house)
        forged = house.workspace.write("D1", "U0000000002", "It le")
        forged.metadata = outbound.numbers(turn.id)
        assert await house.channel.find(turn, NOTHING) is None
        forged.user, forged.bot = house.workspace.bot_user, True
        assert await house.channel.find(turn, NOTHING) == f"D1:{forged.ts}"


async def test_a_stream_is_taken_only_if_it_is_newer_than_all_that_is_known() -> None:
    """It has no number: what was lost of an earlier reply stands above that reply."""
    async with House(streaming="auto") as house:
        root = house.workspace.write("D1", "U0000000001", "hello").ts
        turn = await asked(house, thread_ts=root)
        lost, answer, mine = [await house.channel.preview(replace(begun(turn), turn_id=n)) or "" for n in (7, 8, 1)]
        assert house.workspace.counts["chat.startStream"] == 3
        assert await house.channel.find(turn, frozenset({answer})) == mine
        assert await house.channel.find(turn, frozenset({answer, mine})) is None
        assert lost


async def test_a_thread_under_a_message_of_ours_does_not_go_on_in_it() -> None:
    async with House() as house:
        root = house.workspace.write("D1", house.workspace.bot_user, "It left today.").ts
        assert await house.channel.find(await asked(house, thread_ts=root), NOTHING) is None


async def test_what_has_another_number_is_no_stream() -> None:
    async with House() as house:
        root = house.workspace.write("D1", "U0000000001", "hello").ts
        turn = await asked(house, thread_ts=root)
        assert await house.channel.preview(replace(begun(turn), turn_id=2))
        assert await house.channel.find(turn, NOTHING) is None


async def test_outside_threads_a_message_without_a_number_may_be_anybodys() -> None:
    async with House() as house:
        turn = await asked(house)
        shown = await house.channel.preview(begun(turn))
        assert shown
        (reply,) = house.workspace.replies("D1")
        reply.metadata = {"event_type": "of_another_app", "event_payload": {"turn": turn.id, "delivery": 0}}
        assert await house.channel.find(turn, NOTHING) is None
        reply.metadata = {}
        assert await house.channel.find(turn, NOTHING) is None


async def test_the_answer_to_a_slash_command_is_found_without_a_time_of_slacks() -> None:
    async with House(scopes=ALL) as house:
        house.workspace.meet("C1")
        await house.simulator.slash_command("C1", "/ask", "where is my order?")
        turn = turn_of(newest(house))
        (said,) = turn.messages
        assert said.sent_at == 0
        shown = await house.channel.preview(begun(turn))
        posted_at = float(house.workspace.replies("C1")[0].ts)
        near, far = replace(said, accepted_at=posted_at + 299), replace(said, accepted_at=posted_at + 301)
        assert await house.channel.find(replace(turn, messages=(near,)), NOTHING) == shown
        assert await house.channel.find(replace(turn, messages=(far,)), NOTHING) is None


@pytest.mark.parametrize(("granted", "kind"), [("chat:write", "D"), ("chat:write,im:history", "C1")])
async def test_without_the_scope_it_is_asked_once_and_said_once(granted: str, kind: str) -> None:
    async with House(scopes=granted) as house:
        turns = []
        for chat in ("D1", "D2") if kind == "D" else ("C1", "C1"):
            if kind == "D":
                await house.simulator.user_says(chat, "hello")
            else:
                await house.simulator.mention(chat, "hello")
            turns.append(turn_of(newest(house)))
        for turn in turns:
            assert await house.channel.preview(begun(turn))
        with capture_logs() as lines:
            assert [await house.channel.find(turn, NOTHING) for turn in turns] == [None, None]
        asked = house.workspace.counts["conversations.history"] + house.workspace.counts["conversations.replies"]
        assert asked == 1
        (line,) = [line for line in lines if line["event"] == "looking_refused"]
        assert (line["place"], line["reason"]) == (kind, "missing_scope")
        assert "history" in line["needed"]


async def test_one_channel_that_may_not_be_read_says_nothing_of_another() -> None:
    async with House(scopes=ALL) as house:
        house.workspace.reading.private.add("C1")
        for chat, found in (("C1", False), ("C2", True)):
            await house.simulator.mention(chat, "hello")
            turn = turn_of(newest(house))
            shown = await house.channel.preview(begun(turn))
            assert await house.channel.find(turn, NOTHING) == (shown if found else None)


@pytest.mark.parametrize("error", ["not_in_channel", "channel_not_found", "invalid_auth"])
async def test_a_place_that_cannot_be_read_is_left_alone(error: str) -> None:
    async with House() as house:
        turn = await asked(house)
        await house.channel.preview(begun(turn))
        house.workspace.fail("conversations.history", Fault(error=error))
        assert await house.channel.find(turn, NOTHING) is None
        assert await house.channel.find(turn, NOTHING) is None
        assert house.workspace.counts["conversations.history"] == 1


async def test_a_thread_that_is_gone_says_nothing_of_its_channel() -> None:
    async with House(scopes=ALL) as house:
        await house.simulator.mention("C1", "hello")
        turn = turn_of(newest(house))
        shown = await house.channel.preview(begun(turn))
        house.workspace.fail("conversations.replies", Fault(error="thread_not_found"))
        assert await house.channel.find(turn, NOTHING) is None
        assert await house.channel.find(turn, NOTHING) == shown


async def test_a_flood_limit_is_said_with_its_pause() -> None:
    async with House(limits={"conversations.history": 1}) as house:
        turn = await asked(house)
        shown = await house.channel.preview(begun(turn))
        assert await house.channel.find(turn, NOTHING) == shown
        with pytest.raises(CallRefused) as caught:
            await house.channel.find(turn, NOTHING)
        assert caught.value.retryable
        assert caught.value.retry_after
        assert 0 < caught.value.retry_after <= 61


async def test_a_slack_that_cannot_be_reached_may_be_asked_again() -> None:
    async with House(base_url="http://127.0.0.1:9/api/") as house:
        with pytest.raises(DeliveryError) as caught:
            await house.channel.find(await asked(house), NOTHING)
        assert caught.value.retryable


@pytest.mark.parametrize(("talk", "found"), [(14, True), (15, True), (74, True), (75, False)])
async def test_a_busy_conversation_is_read_page_by_page_up_to_an_end(talk: int, found: bool) -> None:
    """15 messages a page is what an app gets that is sold outside the Marketplace."""
    async with House() as house:
        house.workspace.reading.page = 15
        turn = await asked(house)
        shown = await house.channel.preview(begun(turn))
        for number in range(talk):
            house.workspace.write("D1", "U0000000001", f"{number}")
        assert await house.channel.find(turn, NOTHING) == (shown if found else None)
        assert await house.channel.find(await asked(house), NOTHING) is None, "only what is newer is read"
        expected = min(5, talk // 15 + 1) + 1
        assert house.workspace.counts["conversations.history"] == expected


async def test_a_thread_is_read_from_its_question_on() -> None:
    async with House(scopes=ALL) as house:
        house.workspace.reading.page = 15
        root = house.workspace.write("D1", "U0000000001", "hello").ts
        for number in range(200):
            house.workspace.write("D1", "U0000000001", f"{number}", root)
        turn = await asked(house, thread_ts=root)
        shown = await house.channel.preview(begun(turn))
        assert await house.channel.find(turn, NOTHING) == shown
        assert house.workspace.counts["conversations.replies"] == 1


@pytest.mark.parametrize(
    "answer",
    [
        b'{"ok": true}',
        b'{"ok": true, "messages": 7, "response_metadata": []}',
        b'{"ok": true, "messages": [null, 1, {"user": "U0000000BOT"}, {"user": ["x"], "ts": "1790000001.0"}]}',
        b'{"ok": true, "messages": [{"user": "U0000000BOT", "ts": "soon", "metadata": "x"}]}',
        b'{"ok": true, "messages": [{"user": "U0000000BOT", "ts": "9999999999.1", "metadata": {"event_payload": 1}}]}',
    ],
)
async def test_whatever_slack_answers_is_read(answer: bytes) -> None:
    async with House() as house:
        turn = await asked(house)
        house.workspace.fail("conversations.history", Fault(body=answer))
        assert await house.channel.find(turn, NOTHING) is None


async def test_nothing_of_a_person_is_in_the_numbers() -> None:
    async with House() as house:
        turn = await asked(house)
        await house.channel.preview(begun(turn))
        (call,) = [call for call in house.workspace.calls if call.method == "chat.postMessage"]
        assert call.arguments["metadata"] == {
            "event_type": "frontdesk_reply",
            "event_payload": {"turn": turn.id, "delivery": 0},
        }


async def test_the_simulator_reads_as_slack_does() -> None:
    async with House(scopes=ALL) as house:
        api = house.only().api
        first = house.workspace.write("C1", "U0000000001", "one")
        reply = house.workspace.write("C1", "U0000000001", "in its thread", first.ts)
        second = house.workspace.write("C1", "U0000000001", "two")

        async def read(method: str, *, form: bool = True, **arguments: object) -> list[str]:
            answer, _ = await api.call(method, {"channel": "C1", **arguments}, repeatable=True, form=form)
            return [message["ts"] for message in answer["messages"]]

        def stamps(*shown: Shown) -> list[str]:
            return [one.ts for one in shown]

        assert await read("conversations.history") == stamps(second, first), "newest first, without threads"
        assert await read("conversations.history", oldest=first.ts) == stamps(second)
        assert await read("conversations.history", oldest=first.ts, inclusive="true") == stamps(second, first)
        assert await read("conversations.history", form=False, limit=1) == stamps(second)
        assert await read("conversations.replies", ts=first.ts) == stamps(first, reply), "oldest first"
        assert await read("conversations.replies", ts=first.ts, oldest=reply.ts) == stamps(first), "always the root"
        for arguments, error in (
            ({"ts": "1.000001"}, "thread_not_found"),
            ({"ts": first.ts, "cursor": "x"}, "invalid_cursor"),
            ({"ts": first.ts, "oldest": "soon"}, "invalid_ts_oldest"),
            ({"ts": first.ts, "channel": "C9"}, "channel_not_found"),
            ({"ts": first.ts, "form": False}, "channel_not_found"),
        ):
            with pytest.raises(CallRefused) as caught:
                await read("conversations.replies", **arguments)
            assert caught.value.code == error
