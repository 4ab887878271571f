"""A send whose answer was lost: looked for, and sent again only where it is surely not there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from adapters.slack.channel import SlackChannel
from adapters.slack.doubts import KEPT, PATIENCE_SECONDS, SETTLE_SECONDS
from adapters.slack.simulator import Call, Fault
from core.errors import DeliveryError
from core.types import Delivery, Draft
from tests.adapters.slack_house import House, delivery, draft

START = 1_790_000_000.0
LOST, DROPPED = Fault(reset=True), Fault(drop=True)
SAID_NO = Fault(error="ratelimited", status=429, retry_after=60)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


class Chat:
    """A direct conversation in which somebody has asked."""

    def __init__(self, house: House, clock: Clock) -> None:
        self.house = house
        self.clock = clock
        self.address = {"channel": "D1", "thread_ts": "", "ts": house.workspace.write("D1", "U0000000001", "hello").ts}

    @property
    def texts(self) -> list[str]:
        return [reply.text for reply in self.house.workspace.replies("D1")]

    @property
    def looks(self) -> int:
        return self.house.workspace.counts["conversations.history"]

    def part(self, **changes: Any) -> Delivery:
        item = replace(delivery("the answer", chat="D1", thread=""), id=5, address=self.address)
        return replace(item, **changes)

    def growing(self, text: str = "the", reference: str = "") -> Draft:
        return replace(draft(text, reference, chat="D1", thread=""), address=self.address)

    def lose(self, method: str, fault: Fault, times: int = 1) -> None:
        self.house.workspace.fail(method, fault, times)

    async def lose_a_preview(self) -> None:
        """It is on its way, its answer is lost, and it is not seen when it is looked for."""
        self.lose("chat.postMessage", LOST)
        with pytest.raises(DeliveryError):
            await self.house.channel.preview(self.growing())

    def lost_call(self) -> Call:
        return next(call for call in self.house.workspace.calls if call.method == "chat.postMessage")

    async def sent(self, item: Delivery, channel: SlackChannel | None = None) -> str:
        """Delivered, and the reference is that of the newest message."""
        reference = await (channel or self.house.channel).deliver(item)
        assert reference == f"D1:{self.house.workspace.replies('D1')[-1].ts}"
        return reference

    async def refused(self, item: Delivery, channel: SlackChannel | None = None) -> tuple[bool, bool, float | None]:
        """Unclear, retryable, pause."""
        with pytest.raises(DeliveryError) as caught:
            await (channel or self.house.channel).deliver(item)
        return caught.value.unclear, caught.value.retryable, caught.value.retry_after


@asynccontextmanager
async def a_chat(**settings: Any) -> AsyncIterator[Chat]:
    clock = Clock()
    async with House(clock=clock, **settings) as house:
        yield Chat(house, clock)


@asynccontextmanager
async def next_process(chat: Chat) -> AsyncIterator[SlackChannel]:
    channel = chat.house.open()
    channel.routes(chat.house.gateway)  # type: ignore[arg-type]  # as far as a channel needs one
    yield channel
    await channel.close()


async def test_a_message_whose_answer_was_lost_is_seen_at_once() -> None:
    async with a_chat() as chat:
        chat.lose("chat.postMessage", DROPPED)
        await chat.sent(chat.part())
        assert chat.texts == ["the answer"]


async def test_a_message_that_was_never_posted_is_sent_when_it_cannot_come_any_more() -> None:
    async with a_chat() as chat:
        chat.lose("chat.postMessage", LOST)
        assert await chat.refused(chat.part()) == (True, True, SETTLE_SECONDS)
        chat.clock.now += SETTLE_SECONDS - 1
        again = chat.part(doubts=1, attempts=1)
        assert await chat.refused(again) == (False, True, 1.0), "not yet, and no more in doubt than it was"
        assert chat.texts == []
        chat.clock.now += 1
        await chat.sent(again)
        assert chat.texts == ["the answer"]
        assert chat.house.gateway.begun == [5, 5]


async def test_a_message_that_is_carried_out_late_is_not_sent_again() -> None:
    async with a_chat() as chat:
        chat.lose("chat.postMessage", LOST)
        await chat.refused(chat.part())
        chat.clock.now += 20
        chat.house.workspace.arrive(chat.lost_call())
        chat.clock.now += 10
        await chat.sent(chat.part(doubts=1, attempts=1))
        assert chat.texts == ["the answer"]


async def test_after_a_crash_what_stands_there_is_not_sent_again() -> None:
    async with a_chat() as chat:
        await chat.sent(chat.part())
        async with next_process(chat) as channel:
            await chat.sent(chat.part(doubts=1, attempts=1), channel)
        assert chat.texts == ["the answer"]
        assert chat.house.workspace.counts["chat.update"] == 0, "nor touched"


async def test_after_a_crash_what_is_missing_is_sent_when_the_call_of_the_dead_cannot_come_any_more() -> None:
    async with a_chat() as chat:
        again = chat.part(doubts=1, attempts=1)
        async with next_process(chat) as channel:
            assert await chat.refused(again, channel) == (False, True, SETTLE_SECONDS)
            chat.clock.now += SETTLE_SECONDS
            await chat.sent(again, channel)
        assert chat.texts == ["the answer"]


async def test_each_part_is_told_from_the_others() -> None:
    async with a_chat() as chat:
        await chat.sent(chat.part())
        chat.clock.now += SETTLE_SECONDS
        async with next_process(chat) as channel:
            chat.clock.now += SETTLE_SECONDS
            await chat.sent(chat.part(id=6, part=2, parts=2, text="its end", doubts=1, attempts=1), channel)
        assert chat.texts == ["the answer", "its end"]


async def test_what_an_older_ledger_sent_under_the_same_number_is_not_taken_for_it() -> None:
    async with a_chat() as chat:
        await chat.sent(chat.part())
        chat.clock.now += 60
        chat.address |= {"ts": chat.house.workspace.write("D1", "U0000000001", "hello again").ts}
        async with next_process(chat) as channel:
            chat.clock.now += SETTLE_SECONDS
            await chat.sent(chat.part(doubts=1, attempts=1), channel)
        assert len(chat.texts) == 2


async def test_an_answer_to_a_slash_command_is_looked_for_within_a_day() -> None:
    async with a_chat() as chat:
        del chat.address["ts"]
        await chat.sent(chat.part())
        chat.clock.now += 86_300
        await chat.sent(chat.part(doubts=1, attempts=1))
        assert len(chat.texts) == 1
        chat.clock.now += 200
        await chat.sent(chat.part(doubts=1, attempts=1))
        assert len(chat.texts) == 2


async def test_where_nobody_may_look_it_stays_unclear() -> None:
    async with a_chat(scopes="chat:write") as chat:
        chat.lose("chat.postMessage", DROPPED)
        assert await chat.refused(chat.part()) == (True, False, None)
        async with next_process(chat) as channel:
            chat.clock.now += SETTLE_SECONDS
            assert await chat.refused(chat.part(doubts=1, attempts=1), channel) == (True, False, None)
        assert chat.texts == ["the answer"]


async def test_where_nobody_may_look_an_operator_may_have_it_sent_again() -> None:
    """By dialogue.repeat_unclear it comes back to the process that said so; by `retry` its attempts begin anew."""
    async with a_chat(scopes="chat:write") as chat:
        chat.lose("chat.postMessage", LOST)
        await chat.refused(chat.part())
        await chat.sent(chat.part(doubts=1, attempts=1))
        async with next_process(chat) as channel:
            await chat.sent(chat.part(doubts=2, attempts=0), channel)
        assert len(chat.texts) == 2


async def test_where_too_much_was_written_since_it_stays_unclear() -> None:
    async with a_chat() as chat:
        chat.house.workspace.reading.page = 15
        await chat.sent(chat.part())
        for number in range(80):
            chat.house.workspace.write("D1", "U0000000001", f"{number}")
        chat.clock.now += SETTLE_SECONDS
        assert await chat.refused(chat.part(doubts=1, attempts=1)) == (True, False, None)


async def test_a_slack_that_says_not_now_is_asked_for_some_minutes_only() -> None:
    async with a_chat() as chat:
        chat.lose("chat.postMessage", DROPPED)
        chat.lose("conversations.history", SAID_NO, times=20)
        assert await chat.refused(chat.part()) == (True, True, 60.0)
        again, asked = chat.part(doubts=1, attempts=1), 0
        while True:
            chat.clock.now += 61
            asked += 1
            answer = await chat.refused(again)
            if answer != (False, True, 60.0):
                break
        assert answer == (True, False, None)
        assert asked == PATIENCE_SECONDS // 61 + 1
        assert chat.texts == ["the answer"]


async def test_a_slack_that_cannot_be_reached_is_asked_until_it_is_there() -> None:
    async with a_chat() as chat:
        chat.lose("chat.postMessage", DROPPED)
        chat.lose("conversations.history", LOST, times=2)
        assert await chat.refused(chat.part()) == (True, True, None)
        chat.clock.now += 2 * PATIENCE_SECONDS
        again = chat.part(doubts=1, attempts=1)
        assert await chat.refused(again) == (False, True, None)
        await chat.sent(again)
        assert chat.texts == ["the answer"]


async def test_a_clock_that_is_set_back_keeps_nobody_waiting() -> None:
    async with a_chat() as chat:
        again = chat.part(doubts=1, attempts=1)
        for lose in (True, False):  # one that this process lost, one that the one before it did
            if lose:
                chat.lose("chat.postMessage", LOST)
                await chat.refused(chat.part())
            chat.clock.now -= 3600
            item = again if lose else replace(again, id=9)
            assert await chat.refused(item) == (False, True, SETTLE_SECONDS)
            chat.clock.now += SETTLE_SECONDS
            await chat.sent(item)
        assert len(chat.texts) == 2


async def test_of_losses_beyond_count_none_is_forgotten() -> None:
    async with a_chat() as chat:
        chat.lose("chat.postMessage", LOST, times=2)
        chat.lose("conversations.history", Fault(error="internal_error"), times=KEPT + 2)
        chat.clock.now += 1000
        await chat.refused(chat.part(id=1))
        doubts = chat.house.only().sending._doubts
        for number in range(KEPT):
            with pytest.raises(DeliveryError):
                await doubts.lost(chat.part(id=10 + number), DeliveryError("lost", unclear=True))
        chat.house.workspace._faults.clear()
        assert await chat.refused(chat.part(id=1, doubts=1, attempts=1)) == (False, True, SETTLE_SECONDS)


async def test_a_preview_whose_answer_was_lost_goes_on_growing() -> None:
    async with a_chat() as chat:
        chat.lose("chat.postMessage", DROPPED)
        reference = await chat.house.channel.preview(chat.growing())
        assert reference
        chat.clock.now += 5
        assert await chat.house.channel.preview(chat.growing("the ans", reference)) == reference
        await chat.sent(chat.part(reference=reference))
        assert chat.texts == ["the answer"]


async def test_a_preview_that_turns_up_late_becomes_the_answer() -> None:
    async with a_chat() as chat:
        await chat.lose_a_preview()
        chat.house.workspace.arrive(chat.lost_call())
        chat.lose("chat.update", SAID_NO)
        assert await chat.refused(chat.part()) == (False, True, 60.0)
        await chat.sent(chat.part(attempts=1))
        assert chat.texts == ["the answer"]
        assert chat.house.gateway.begun == [5, 5], "a crash after it must not post the text once more"
        async with next_process(chat) as channel:
            await chat.sent(chat.part(doubts=1, attempts=1), channel)
        assert chat.texts == ["the answer"]


@pytest.mark.parametrize("fault", [DROPPED, LOST])
async def test_a_late_preview_whose_edit_was_lost_is_in_doubt(fault: Fault) -> None:
    async with a_chat() as chat:
        await chat.lose_a_preview()
        chat.house.workspace.arrive(chat.lost_call())
        chat.lose("chat.update", fault)
        if fault is DROPPED:
            await chat.sent(chat.part())
        else:
            assert await chat.refused(chat.part()) == (True, True, SETTLE_SECONDS)
            chat.clock.now += SETTLE_SECONDS
            await chat.sent(chat.part(doubts=1, attempts=1))
        assert chat.texts == ["the answer"]


async def test_a_late_preview_that_cannot_be_edited_is_left() -> None:
    async with a_chat() as chat:
        await chat.lose_a_preview()
        chat.house.workspace.arrive(chat.lost_call())
        chat.lose("chat.update", Fault(error="edit_window_closed"))
        await chat.sent(chat.part())
        assert chat.texts == ["the", "the answer"]


async def test_a_preview_that_never_comes_holds_up_nothing() -> None:
    async with a_chat() as chat:
        await chat.lose_a_preview()
        chat.lose("conversations.history", SAID_NO)
        await chat.sent(chat.part())
        assert chat.texts == ["the answer"]


async def test_a_preview_of_which_nobody_knows_becomes_the_answer_after_a_crash() -> None:
    async with a_chat() as chat:
        await chat.house.channel.preview(chat.growing())
        async with next_process(chat) as channel:
            again = chat.part(doubts=1, attempts=1)
            # The lost text may still come, and then the preview would be a second one.
            assert await chat.refused(again, channel) == (False, True, SETTLE_SECONDS)
            chat.clock.now += SETTLE_SECONDS
            await chat.sent(again, channel)
        assert chat.texts == ["the answer"]


@pytest.mark.parametrize("fault", [DROPPED, LOST])
async def test_a_preview_that_cannot_be_edited_is_not_taken_for_the_answer(fault: Fault) -> None:
    async with a_chat() as chat:
        reference = await chat.house.channel.preview(chat.growing()) or ""
        chat.lose("chat.update", Fault(error="edit_window_closed"))
        chat.lose("chat.postMessage", fault)
        chat.lose("conversations.history", LOST)
        assert await chat.refused(chat.part(reference=reference)) == (True, True, None)
        chat.clock.now += SETTLE_SECONDS
        chat.lose("chat.update", Fault(error="edit_window_closed"))
        await chat.sent(chat.part(reference=reference, doubts=1, attempts=1))
        assert chat.texts == ["the", "the answer"]


async def test_no_second_part_goes_into_a_preview() -> None:
    async with a_chat() as chat:
        await chat.lose_a_preview()
        chat.house.workspace.arrive(chat.lost_call())
        looks = chat.looks
        await chat.sent(chat.part(part=2, parts=2, text="its end"))
        assert chat.looks == looks
        chat.clock.now += SETTLE_SECONDS
        await chat.sent(chat.part(id=6, part=2, parts=2, text="another", doubts=1, attempts=1))
        assert chat.texts == ["the", "its end", "another"]


async def test_previews_are_looked_for_only_while_there_is_room() -> None:
    async with a_chat() as chat:
        chat.lose("chat.postMessage", LOST, times=60)
        for turn in range(60):
            with pytest.raises(DeliveryError):
                await chat.house.channel.preview(replace(chat.growing(), turn_id=turn))
        assert chat.looks == 40, "fifty a minute, of which the texts in doubt have ten"


@pytest.mark.parametrize("error", ["metadata_must_be_sent_from_app", "invalid_metadata_schema"])
async def test_a_slack_without_numbers_gets_the_text_and_is_never_guessed_about(error: str) -> None:
    async with a_chat() as chat:
        chat.lose("chat.postMessage", Fault(error=error))
        chat.lose("chat.postMessage", DROPPED)
        assert await chat.refused(chat.part()) == (True, False, None)
        assert chat.texts == ["the answer"]
        assert "metadata" not in list(chat.house.workspace.calls)[-1].arguments
        async with next_process(chat) as channel:
            chat.clock.now += SETTLE_SECONDS
            chat.lose("chat.postMessage", Fault(error=error))
            assert await chat.refused(chat.part(doubts=1, attempts=1), channel) == (True, False, None)
        assert chat.texts == ["the answer"]


async def test_a_crash_is_left_to_the_look() -> None:
    async with a_chat() as chat:
        assert chat.house.channel.traits.repeatable
