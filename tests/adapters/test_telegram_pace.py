"""When previews have to wait, and that what is remembered of chats and turns stays bounded."""

from __future__ import annotations

from adapters.telegram.pace import Pace
from tests.adapters.telegram_house import Clock


def test_a_hold_ends_and_a_longer_one_stays() -> None:
    clock = Clock()
    pace = Pace(clock)
    assert not pace.held(1)
    pace.hold(1, 14.0)
    pace.hold(1, 3.1)
    clock.now += 13.9
    assert pace.held(1)
    assert not pace.held(2)
    clock.now += 0.1
    assert not pace.held(1)


def test_only_so_many_chats_are_remembered_the_newest_holds_first() -> None:
    pace = Pace(Clock(), chats=2)
    for chat in (1, 2, 1, 3):
        pace.hold(chat, 5.0)
    assert [pace.held(chat) for chat in (1, 2, 3)] == [True, False, True]
