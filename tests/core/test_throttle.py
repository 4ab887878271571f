"""GCRA admits what its rate says, for ever, and the memory of addresses is bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.throttle import IpThrottle, Rate, spend, wait

NOW = 1_800_000_000.0


def admit(arrivals: list[float], rate: Rate) -> list[float]:
    """The times, of those asked, that were admitted."""
    arrival, admitted = 0.0, []
    for now in arrivals:
        if wait(arrival, now, rate) == 0.0:
            arrival = spend(arrival, now, rate)
            admitted.append(now)
    return admitted


@pytest.mark.parametrize(
    ("rate", "interval", "burst"),
    [(Rate.per_minute(20, 5), 3.0, 5), (Rate.per_minute(0.5, 1), 120.0, 1), (Rate.per_day(86_400), 1.0, 86_400)],
)
def test_a_rate_in_words_is_an_interval_and_a_burst(rate: Rate, interval: float, burst: float) -> None:
    assert (rate.interval, rate.burst) == (interval, burst)


def test_a_burst_is_admitted_and_the_rest_waits_its_interval() -> None:
    rate = Rate.per_minute(20, 3)
    assert admit([NOW] * 5, rate) == [NOW] * 3
    arrival = 0.0
    for _ in range(3):
        arrival = spend(arrival, NOW, rate)
    assert wait(arrival, NOW, rate) == pytest.approx(3.0)
    assert wait(arrival, NOW + 2.0, rate) == pytest.approx(1.0)
    assert wait(arrival, NOW + 3.0, rate) == 0.0


def test_a_day_may_be_spent_at_once_and_grows_back_evenly() -> None:
    rate = Rate.per_day(1000)
    arrival = spend(0.0, NOW, rate, 1000)
    assert wait(arrival, NOW, rate) == pytest.approx(86.4)
    assert wait(arrival, NOW + 86_400, rate, 1000) == 0.0
    assert wait(arrival, NOW + 43_200, rate, 500) == 0.0
    assert wait(arrival, NOW + 43_200, rate, 501) > 0.0


def test_what_was_overspent_is_paid_back() -> None:
    rate = Rate.per_day(1000)
    arrival = spend(0.0, NOW, rate, 3000)  # a reply's tokens are known only afterwards
    assert wait(arrival, NOW, rate) == pytest.approx(2001 * 86.4)


TIMES = st.lists(st.floats(min_value=0, max_value=600), min_size=1, max_size=100).map(
    lambda offsets: sorted(NOW + offset for offset in offsets)
)


@given(TIMES, st.floats(min_value=0.5, max_value=600), st.integers(min_value=1, max_value=20))
def test_no_window_admits_more_than_rate_and_burst(times: list[float], per_minute: float, burst: int) -> None:
    rate = Rate.per_minute(per_minute, burst)
    admitted = admit(times, rate)
    assert admitted[0] == times[0]
    for first in range(len(admitted)):
        for last in range(first, len(admitted)):
            window = admitted[last] - admitted[first]
            assert last - first + 1 <= burst + window / rate.interval + 1e-3


@given(TIMES, st.floats(min_value=0.5, max_value=600), st.integers(min_value=1, max_value=20))
def test_the_wait_it_names_is_enough_and_not_more(times: list[float], per_minute: float, burst: int) -> None:
    rate = Rate.per_minute(per_minute, burst)
    arrival = 0.0
    for now in times:
        seconds = wait(arrival, now, rate)
        if seconds:
            assert wait(arrival, now + seconds, rate) == 0.0
            assert wait(arrival, now + seconds / 2, rate) > 0.0 or seconds < 1e-5
        else:
            arrival = spend(arrival, now, rate)


# Addresses


def test_each_address_has_its_own_limit() -> None:
    throttle = IpThrottle(2)
    assert [throttle.admit("192.0.2.1", NOW) for _ in range(3)] == [0.0, 0.0, pytest.approx(30.0)]
    assert throttle.admit("192.0.2.2", NOW) == 0.0
    assert throttle.admit("192.0.2.1", NOW + 29) == pytest.approx(1.0)
    assert throttle.admit("192.0.2.1", NOW + 30) == 0.0


def test_a_refused_request_costs_nothing() -> None:
    throttle = IpThrottle(60)
    for _ in range(200):
        throttle.admit("192.0.2.1", NOW)
    assert throttle.admit("192.0.2.1", NOW + 1) == 0.0
    assert throttle.admit("192.0.2.1", NOW + 1) > 0.0


def test_less_than_one_a_minute_still_admits_the_first() -> None:
    throttle = IpThrottle(0.5)
    assert throttle.admit("192.0.2.1", NOW) == 0.0
    assert throttle.admit("192.0.2.1", NOW) == pytest.approx(120.0)


def test_only_the_most_recent_addresses_are_remembered() -> None:
    throttle = IpThrottle(1, capacity=3)
    for address in ("a", "b", "c"):
        throttle.admit(address, NOW)
    assert throttle.admit("a", NOW + 60) == 0.0  # the most recent now
    throttle.admit("d", NOW + 60)  # "b" is forgotten
    assert throttle.admit("b", NOW + 60) == 0.0
    assert throttle.admit("a", NOW + 61) > 0.0
    assert throttle.admit("d", NOW + 61) > 0.0
