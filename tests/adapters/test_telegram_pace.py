"""Telegram's flood limits: final texts first, growing ones from what is spare, a refusal is obeyed to the second."""

from __future__ import annotations

import random
from collections.abc import Coroutine
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest

from adapters.telegram.pace import Pace
from adapters.telegram.simulator import flood
from core.errors import DeliveryError
from tests.adapters.telegram_house import CUSTOMER, GROUP, Clock, House, delivery, draft, house


def finals(pace: Pace, clock: Clock, chat: int, count: int) -> list[float]:
    """When that many final texts may go, each as early as it is let."""
    times = []
    for _ in range(count):
        while wait := pace.final(chat, grouped=chat < 0):
            clock.now += wait
        times.append(clock.now)
    return times


def test_a_refusal_ends_and_a_longer_one_stays() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.refused(1, 14.0)
    pace.refused(1, 3.0)
    clock.now += 4.0
    assert pace.final(1, grouped=False) == 10.0
    assert not pace.growing(1, grouped=False, first=True)
    assert not pace.spare(1)
    assert pace.final(2, grouped=False) == 0.0
    clock.now += 10.0
    assert pace.final(1, grouped=False) == 0.0


def test_telegram_is_asked_from_what_is_spare_over_all_chats() -> None:
    clock = Clock()
    pace = Pace(clock, per_second=8.0)
    assert sum(pace.look(CUSTOMER) for _ in range(100)) == 6, "0.7 s ahead of eight a second"
    assert not pace.growing(CUSTOMER, grouped=False, first=False)
    assert pace.final(CUSTOMER, grouped=False) == 0.0
    clock.now += 1.0
    assert pace.look(2)
    pace.refused(CUSTOMER, 5.0)
    assert not pace.look(CUSTOMER)


def test_two_chats_refused_at_once_mean_all_chats() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.refused(1, 5.0)
    pace.refused(2, 8.0)
    assert pace.final(3, grouped=False) == 8.0
    clock.now += 8.0
    assert pace.final(3, grouped=False) == 0.0


def test_only_so_many_chats_are_remembered_the_newest_first() -> None:
    pace = Pace(Clock(), chats=2)
    for seconds, chat in enumerate((1, 1, 1, 3, 4), 1):
        for _ in range(4):
            pace.growing(chat, grouped=False, first=False)
        assert seconds
    assert [pace.growing(chat, grouped=False, first=False) for chat in (3, 4, 1)] == [False, False, True]


def test_drafts_take_four_a_second_in_a_chat_and_leave_its_messages_free() -> None:
    clock = Clock()
    pace = Pace(clock)
    shown = 0
    for _ in range(1_000):  # asked every 10 ms
        shown += pace.draft(1, first=False)
        clock.now += 0.01
    assert 40 <= shown <= 42
    assert pace.growing(1, grouped=False, first=False) and pace.final(1, grouped=False) == 0.0


def test_drafts_count_over_all_chats_and_give_way_to_first_and_final_texts() -> None:
    clock = Clock()
    pace = Pace(clock)
    shown = sum(pace.draft(chat, first=False) for chat in range(100))
    assert 20 <= shown <= 23, "what is spare of 30 a second"
    assert not pace.growing(200, grouped=False, first=False)
    assert pace.draft(201, first=True) and pace.final(202, grouped=False) == 0.0


def test_after_a_refusal_drafts_count_in_their_chat_too() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.refused(1, 14.0)
    assert not pace.draft(1, first=True)
    clock.now += 14.0
    shown = 0
    for _ in range(400):
        shown += pace.draft(1, first=False)
        clock.now += 0.1
    assert 40 <= shown <= 42
    clock.now += 60.0
    assert sum(pace.draft(2, first=False) for _ in range(2)) == 1
    clock.now += 0.25
    assert pace.draft(2, first=False)


def test_in_one_chat_nothing_waits_for_a_number_before_telegram_says_so() -> None:
    clock = Clock()
    pace = Pace(clock)
    for _ in range(40):
        assert pace.growing(1, grouped=False, first=True)
        assert pace.final(1, grouped=False) == 0.0
    assert not pace.growing(1, grouped=False, first=False), "new versions take what is spare"


def test_after_a_refusal_a_burst_passes_in_one_chat_and_then_one_a_second() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.refused(2, 0.0)
    times = finals(pace, clock, 1, 15)
    assert times[:10] == [1000.0] * 10
    assert [round(later - earlier, 6) for earlier, later in pairwise(times[9:])] == [1.0] * 5


def test_in_a_group_no_minute_has_more_than_twenty_calls_and_finals_keep_some() -> None:
    clock = Clock()
    pace = Pace(clock)
    shown = 0
    for _ in range(600):
        shown += pace.growing(-1, grouped=True, first=False)
        clock.now += 0.1
    assert shown == 12
    start = clock.now
    times = finals(pace, clock, -1, 50)
    assert times[7] == start
    assert all(later - earlier >= 60.0 - 1e-6 for earlier, later in zip(times, times[20:], strict=False))


def test_over_all_chats_growing_texts_keep_to_the_rate_and_finals_do_after_a_refusal() -> None:
    clock = Clock()
    pace = Pace(clock, per_second=30.0)
    shown = 0
    for step in range(1000):  # ten seconds
        for chat in range(10):
            shown += pace.growing(1 + (10 * step + chat) % 5000, grouped=False, first=False)
        clock.now += 0.01
    assert 300 <= shown <= 330
    assert all(pace.final(9000 + chat, grouped=False) == 0.0 for chat in range(100))
    pace.refused(1, 1.0)
    clock.now += 5.0
    times = [finals(pace, clock, 20_000 + chat, 1)[0] for chat in range(120)]
    assert 2.8 <= times[-1] - times[0] <= 3.1


def test_first_texts_go_before_new_versions() -> None:
    pace = Pace(Clock(), per_second=30.0)
    while pace.growing(random.randrange(1, 10**9), grouped=False, first=False):
        pass
    assert pace.growing(10**9 + 1, grouped=False, first=True)


async def refusal(call: Coroutine[Any, Any, object]) -> DeliveryError | None:
    try:
        await call
    except DeliveryError as error:
        return error
    return None


async def carry(home: House, chat: int, parts: list[str]) -> None:
    """As the house does: a growing text until the first refusal, then the parts in order, each again when and only when
    its error says so."""
    turn, shown = abs(chat), ""
    with suppress(DeliveryError):
        for end in range(1, 8):
            shown = await home.channel.preview(draft(parts[0][: end * 5], shown, turn=turn, chat=chat)) or shown
    for number, text in enumerate(parts, 1):
        part = delivery(text, shown if number == 1 else "", turn=turn, chat=chat, part=number)
        while error := await refusal(home.channel.deliver(part)):
            assert (error.retryable, error.unclear) == (True, False)
            home.clock.now += error.retry_after or 1.0


@pytest.mark.parametrize("streaming", ["edit", "draft"])
@pytest.mark.parametrize("seed", range(4))
async def test_under_refusals_of_1_to_250_seconds_every_final_is_whole(seed: int, streaming: str) -> None:
    draw = random.Random(seed)  # which calls are refused
    chats = [CUSTOMER + number for number in range(8)] + [GROUP]
    async with house(streaming=streaming) as home:
        home.clock.hurried = True
        said = {chat: [f"{chat} part {part} " + "x" * 60 for part in range(3)] for chat in chats}
        for chat in chats:
            for method in ("sendMessage", "editMessageText", "sendMessageDraft", "sendRichMessage"):
                for _ in range(draw.randrange(4)):
                    home.telegram.fail(method, flood(draw.randint(1, 250)))
            await carry(home, chat, [*said[chat], f"| {chat} | a |\n|---|---|\n| b | c |"])
        tables = {chat: [f"{chat} | a\nb | c"] for chat in chats}
        assert {chat: home.telegram.bot_texts(chat) for chat in chats} == {
            chat: said[chat] + tables[chat] for chat in chats
        }
        assert home.telegram.early == 0, "no call before its time"


async def test_a_final_waits_briefly_on_the_spot_and_longer_in_the_outbox() -> None:
    async with house() as home:
        home.clock.hurried = True
        home.telegram.fail("sendMessage", flood(0))
        assert await refusal(home.channel.deliver(delivery("refused", turn=999, chat=CUSTOMER + 1)))
        for turn in range(11):
            await home.channel.deliver(delivery(f"number {turn}", turn=turn))
        assert [round(pause, 3) for pause in home.clock.pauses] == [1.0]
        for turn in range(20):
            await home.channel.deliver(delivery(f"number {turn}", turn=100 + turn, chat=GROUP))
        with pytest.raises(DeliveryError) as caught:
            await home.channel.deliver(delivery("one more", turn=200, chat=GROUP))
        assert (caught.value.retryable, caught.value.retry_after) == (True, 60.0)
