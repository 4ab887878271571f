"""An unverified account against WeChat's clock: what is ready within the three tries reaches the user by itself.

The seconds are WeChat's and ours as they are by default; they pass in the test's own clock, so the result is exact.
"""

from __future__ import annotations

from typing import Any

import pytest

from adapters.wechat.convert import tap_link
from adapters.wechat.settings import Settings
from tests.adapters.wechat_house import PHRASES, USER, House, house

CLOSES = 5.0  # WeChat's patience with one try
DEFAULTS = Settings()
PACE: dict[str, Any] = {"answer_seconds": DEFAULTS.answer_seconds, "hold_seconds": DEFAULTS.hold_seconds}
STILL = f"{PHRASES['still_writing']}\n{tap_link(PHRASES['fetch_answer'], 'en')}"


async def reply_to(home: House, answer_at: float) -> tuple[str, float]:
    """What the user sees as the reply when the engine answers then, and when; seconds from the question on."""
    start = home.clock.now
    said = await home.says("Where is my order?", "1")
    began = 0.0
    while True:
        ours, wechats = began + home.gateway.patience, began + CLOSES
        moment = min(answer_at, ours, wechats)
        home.clock.now = start + moment
        if moment == answer_at:
            await home.gateway.commit("On its way.")
            return await said, moment
        if moment == ours:
            await home.gateway.give_up()
            return await said, moment
        await home.next_try("1")
        began = moment


@pytest.mark.parametrize(("answer_at", "tries"), [(3.0, 1), (6.0, 2), (8.0, 2), (14.0, 3), (14.5, 3)])
@pytest.mark.parametrize("safe", [False, True])
async def test_an_answer_within_the_three_tries_needs_nothing_of_the_user(
    answer_at: float, tries: int, safe: bool
) -> None:
    async with house(safe=safe, **PACE) as home:
        assert await reply_to(home, answer_at) == ("On its way.", answer_at)
        assert home.wechat.answers(USER) == ["On its way."]
        assert list(home.wechat.deliveries) == ["1"] * tries
        # The core plans with the same seconds.
        assert answer_at <= (home.channel.traits.answer_seconds or 0.0) < 3 * CLOSES


async def test_a_later_answer_is_one_tap_away() -> None:
    async with house(**PACE) as home:
        shown, moment = await reply_to(home, 14.7)
        assert shown == STILL
        assert moment == pytest.approx(14.6)
        await home.gateway.commit("On its way.")
        assert await home.wechat.user_taps(USER) == "On its way."


async def test_a_try_is_left_open_until_wechat_closes_it() -> None:
    async with house(**PACE) as home:
        said = await home.says("Where is my order?", "1")
        assert home.gateway.patience > CLOSES  # "success" in time would end the tries
        await home.next_try("1")
        assert home.gateway.patience > CLOSES
        await home.next_try("1")
        assert home.gateway.patience == pytest.approx(4.6)  # and this one must be answered in time
        await home.gateway.commit("On its way.")
        assert await said == "On its way."
