"""What is left of the address's limit stands on every answer that took of it, in OpenAI's words, and is true."""

from __future__ import annotations

from pathlib import Path

import aiohttp
from hypothesis import given
from hypothesis import strategies as st

from core.config import ThrottleSettings
from core.throttle import Allowance, IpThrottle
from tests.adapters.api_house import KEY, api
from tests.fakes import FakeEngine
from tests.rooms import GENEROUS

ASK: dict[str, object] = {"text": "Hello"}
COMPLETION: dict[str, object] = {"model": "support", "messages": [{"role": "user", "content": "Hi"}]}


def left(answer: aiohttp.ClientResponse) -> tuple[str | None, ...]:
    return tuple(answer.headers.get(f"x-ratelimit-{name}-requests") for name in ("limit", "remaining", "reset"))


async def test_every_counted_answer_says_what_is_left(tmp_path: Path) -> None:
    async with api(tmp_path, FakeEngine(), GENEROUS) as (house, http):
        calls: tuple[tuple[str, dict[str, str], dict[str, object], int], ...] = (
            ("/ask", KEY, ASK, 202),
            ("/ask", KEY, {}, 400),
            ("/v1/chat/completions", KEY, COMPLETION, 200),
            ("/v1/chat/completions", KEY, COMPLETION | {"stream": True}, 200),
            ("/v1/chat/completions", KEY, COMPLETION | {"model": "none"}, 404),
            ("/ask", {}, ASK, 401),  # guessing is limited by the same
        )
        for number, (path, headers, body, status) in enumerate(calls, 1):
            answer = await http.post(path, json=body, headers=headers)
            assert answer.status == status
            assert left(answer) == ("10", str(10 - number), f"{6 * number}s"), path
        house.clock.advance(60.0)
        assert left(await http.post("/ask", json=ASK, headers=KEY)) == ("10", "9", "6s")


async def test_a_refusal_says_when_it_is_worth_trying_again(tmp_path: Path) -> None:
    async with api(tmp_path, FakeEngine(), GENEROUS) as (house, http):
        for _ in range(10):
            await http.post("/ask", json=ASK, headers=KEY)
        refused = await http.post("/ask", json=ASK, headers=KEY)
        assert (refused.status, refused.headers["Retry-After"]) == (429, "6")
        assert left(refused) == ("10", "0", "60s")
        house.clock.advance(6.0)
        assert (await http.post("/ask", json=ASK, headers=KEY)).status == 202


async def test_a_retry_after_the_time_said_is_never_refused_for_being_early(tmp_path: Path) -> None:
    seven = ThrottleSettings(messages_per_minute=600, burst=100, tokens_per_day=0, requests_per_minute_per_ip=7)
    async with api(tmp_path, FakeEngine(), seven) as (house, http):
        for _ in range(7):
            await http.post("/ask", json=ASK, headers=KEY)
        refused = await http.post("/ask", json=ASK, headers=KEY)
        house.clock.advance(float(refused.headers["Retry-After"]))  # 8.57 s, said in whole seconds
        assert (await http.post("/ask", json=ASK, headers=KEY)).status == 202


async def test_a_users_own_limit_leaves_the_addresss_alone(tmp_path: Path) -> None:
    throttle = ThrottleSettings(messages_per_minute=6, burst=1, tokens_per_day=0, requests_per_minute_per_ip=10)
    async with api(tmp_path, FakeEngine(), throttle) as (_, http):
        await http.post("/ask", json=ASK, headers=KEY)
        refused = await http.post("/ask", json=ASK, headers=KEY)
        assert (refused.status, refused.headers["Retry-After"]) == (429, "5")
        assert left(refused) == ("10", "8", "12s")


async def test_what_does_not_count_says_nothing(tmp_path: Path) -> None:
    async with api(tmp_path, FakeEngine(), GENEROUS) as (_, http):
        task = (await (await http.post("/ask", json=ASK, headers=KEY)).json())["task_id"]
        for path in (f"/result/{task}?wait=5", "/v1/models", "/openapi.json"):
            answer = await http.get(path, headers=KEY)
            assert (answer.status, left(answer)) == (200, (None, None, None))


# Times that a float holds exactly: what is rounded off is not the matter here.
@given(st.sampled_from([1, 2, 5, 10, 15, 30, 60, 120]), st.lists(st.integers(0, 280), max_size=30))
def test_as_many_as_are_left_are_admitted_and_no_more(rate: int, quarters: list[int]) -> None:
    throttle, now = IpThrottle(rate), 1_800_000_000.0
    assert throttle.left("a", now) == Allowance(rate, rate, 0.0)
    for gap in quarters:
        now += gap / 4
        throttle.admit("a", now)
    remaining = throttle.left("a", now).remaining
    admitted = 0
    while throttle.admit("a", now) == 0.0:
        admitted += 1
    assert admitted == remaining
    assert throttle.left("b", now).remaining == rate
    assert throttle.left("a", now + throttle.left("a", now).seconds) == Allowance(rate, rate, 0.0)
