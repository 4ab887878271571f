"""A call that is made again under its Idempotency-Key is the same task: at the same moment, and after a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from core.config import ThrottleSettings
from core.engine import EngineState
from core.ledger.erasure import erase
from core.ledger.people import block
from core.ledger.writer import sqlite3
from tests.adapters.api_house import KEY, OTHER, Http, api, result
from tests.fakes import FakeClock, FakeEngine

TIGHT = ThrottleSettings(messages_per_minute=6, burst=1, tokens_per_day=0, requests_per_minute_per_ip=1000)
HELLO = {"text": "Hello"}
REFILL = 10.1  # seconds until TIGHT admits the next message


async def call(
    http: Http, name: str, body: Mapping[str, str] = HELLO, key: Mapping[str, str] = KEY
) -> tuple[int, dict[str, str], dict[str, str | None]]:
    """Status, body (an error's inside) and the headers that count."""
    answer = await http.post("/ask", json=body, headers={**key, "Idempotency-Key": name})
    told = await answer.json()
    headers = {name: answer.headers.get(name) for name in ("Idempotent-Replayed", "Retry-After")}
    return answer.status, told.get("error", told), headers


def stored(folder: Path) -> int:
    """Messages in the ledger that are answered, or will be."""
    with closing(sqlite3.connect(f"file:{folder / 'ledger.db'}?mode=ro", uri=True)) as connection:
        count: int = connection.execute(
            "SELECT count(*) FROM messages WHERE state NOT IN ('throttled', 'blocked')"
        ).fetchone()[0]
        return count


async def test_a_repeat_is_the_same_task_and_says_so(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with api(tmp_path, engine) as (_, http):
        status, first, headers = await call(http, "order-7")
        assert (status, first["status"], headers["Idempotent-Replayed"]) == (202, "waiting", None)
        assert (await result(http, first["task_id"]))["answer"] == "Certainly."
        status, again, headers = await call(http, "order-7")
        assert (status, again["task_id"], headers["Idempotent-Replayed"]) == (202, first["task_id"], "true")
        assert again["status"] == "answered", "a repeat says what has become of it since"
        assert stored(tmp_path) == 1
    assert len(engine.requests) == 1


async def test_another_key_of_either_kind_is_another_task(tmp_path: Path) -> None:
    async with api(tmp_path, FakeEngine()) as (_, http):
        tasks = [await call(http, "a"), await call(http, "b"), await call(http, "a", HELLO, OTHER)]
        assert len({body["task_id"] for _, body, _ in tasks}) == stored(tmp_path) == 3
        mine, _, theirs = (body["task_id"] for _, body, _ in tasks)
        assert (await http.get(f"/result/{theirs}", headers=KEY)).status == 404
        assert (await http.get(f"/result/{mine}", headers=KEY)).status == 200


async def test_a_repeat_after_a_restart_is_the_same_task(tmp_path: Path) -> None:
    loading, clock = FakeEngine(), FakeClock()
    loading.switch(EngineState.STARTING)
    async with api(tmp_path, loading, clock=clock) as (_, http):
        _, first, _ = await call(http, "order-7")
    engine = FakeEngine()
    async with api(tmp_path, engine, clock=clock) as (_, http):
        status, again, headers = await call(http, "order-7")
        assert (status, again["task_id"], headers["Idempotent-Replayed"]) == (202, first["task_id"], "true")
        assert (await call(http, "order-7", {"text": "Something else"}))[0] == 422
        await result(http, first["task_id"])
        assert stored(tmp_path) == 1
    assert len(engine.requests) == 1


async def test_twenty_calls_at_the_same_moment_are_one_task(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with api(tmp_path, engine) as (_, http):
        answers = await asyncio.gather(*(call(http, "order-7") for _ in range(20)))
        assert {status for status, _, _ in answers} == {202}
        assert len({body["task_id"] for _, body, _ in answers}) == 1
        assert sum(headers["Idempotent-Replayed"] is None for _, _, headers in answers) == 1
        await result(http, answers[0][1]["task_id"])
        assert stored(tmp_path) == 1
    assert len(engine.requests) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"text": "Hello!"},
        {"text": "Hello", "user": "u"},
        {"text": "Hello", "conversation": "c"},
        {"text": "Hello", "language": "en"},
        {"text": "Hello", "bot": "support"},
    ],
)
async def test_the_same_key_with_another_body_is_refused(tmp_path: Path, other: dict[str, str]) -> None:
    async with api(tmp_path, FakeEngine()) as (_, http):
        _, first, _ = await call(http, "order-7")
        status, error, _ = await call(http, "order-7", other)
        assert (status, error["code"]) == (422, "idempotency_key_reused")
        assert "Idempotency-Key" in error["message"]
        assert stored(tmp_path) == 1
        assert (await call(http, "order-7"))[1]["task_id"] == first["task_id"], "and the first one stands"


async def test_how_a_body_is_written_down_does_not_matter(tmp_path: Path) -> None:
    async with api(tmp_path, FakeEngine()) as (_, http):
        headers = KEY | {"Idempotency-Key": "order-7"}
        ways = ('{"text": "Hello", "user": "u"}', '{"user":"u","text":" Hello ","language":"","bot":null}')
        tasks = [await (await http.post("/ask", data=way, headers=headers)).json() for way in ways]
        assert tasks[0]["task_id"] == tasks[1]["task_id"]


@pytest.mark.parametrize("name", ["", " ", "a b", "é", "x" * 201, "tab\tbed"])
async def test_a_key_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    async with api(tmp_path, FakeEngine()) as (_, http):
        status, error, _ = await call(http, name)
        assert status == 400
        assert "Idempotency-Key" in error["message"]
        assert stored(tmp_path) == 0


async def test_two_keys_are_none(tmp_path: Path) -> None:
    async with api(tmp_path, FakeEngine()) as (_, http):
        headers = [*KEY.items(), ("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
        assert (await http.post("/ask", json=HELLO, headers=headers)).status == 400


async def test_the_longest_key_and_every_sign_are_taken(tmp_path: Path) -> None:
    async with api(tmp_path, FakeEngine()) as (_, http):
        for name in ("x" * 200, "".join(map(chr, range(0x21, 0x7F)))):
            assert (await call(http, name))[0] == 202


@pytest.mark.parametrize("refused", [*range(1, 10), 16])
async def test_a_throttled_call_is_tried_anew_by_its_repeat(tmp_path: Path, refused: int) -> None:
    """As the field does: a 429 did nothing, so it is not what a repeat gets back for ever."""
    engine = FakeEngine()
    async with api(tmp_path, engine, TIGHT) as (house, http):
        assert (await call(http, "one"))[0] == 202
        for _ in range(refused):
            status, error, headers = await call(http, "two")
            assert (status, error["code"], headers["Retry-After"]) == (429, "rate_limit_exceeded", "5")
        house.clock.advance(REFILL)
        status, body, headers = await call(http, "two")
        assert (status, headers["Idempotent-Replayed"]) == (202, None)
        assert (await result(http, body["task_id"]))["answer"] == "Certainly."
        house.clock.advance(REFILL)
        status, again, headers = await call(http, "two")
        assert (status, again["task_id"], headers["Idempotent-Replayed"]) == (202, body["task_id"], "true")
        assert stored(tmp_path) == 2
    assert len(engine.requests) == 2


async def test_a_blocked_users_call_is_refused_and_tried_anew_by_its_repeat(tmp_path: Path) -> None:
    engine, of_theirs = FakeEngine(), {"text": "Hello", "user": "u"}
    async with api(tmp_path, engine) as (_, http):
        await result(http, (await call(http, "one", of_theirs))[1]["task_id"])
        with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as connection:
            assert block(connection, 1, blocked=True)
            for _ in range(3):
                status, error, _ = await call(http, "two", of_theirs)
                assert (status, error["code"]) == (403, "user_blocked")
            assert (await http.post("/ask", json=of_theirs, headers=KEY)).status == 403
            assert block(connection, 1, blocked=False)
        status, body, headers = await call(http, "two", of_theirs)
        assert (status, headers["Idempotent-Replayed"]) == (202, None)
        assert (await result(http, body["task_id"]))["answer"] == "Certainly."
    assert len(engine.requests) == 2


async def test_a_throttled_call_keeps_its_body(tmp_path: Path) -> None:
    async with api(tmp_path, FakeEngine(), TIGHT) as (house, http):
        await call(http, "one")
        assert (await call(http, "two"))[0] == 429
        assert (await call(http, "two", {"text": "Something else"}))[0] == 422
        house.clock.advance(REFILL)
        assert (await call(http, "two", {"text": "Something else"}))[0] == 422
        assert (await call(http, "two"))[0] == 202


async def test_calls_at_the_same_moment_after_a_throttled_one_are_one_task(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with api(tmp_path, engine, TIGHT) as (house, http):
        await call(http, "one")
        assert (await call(http, "two"))[0] == 429
        house.clock.advance(REFILL)
        answers = await asyncio.gather(*(call(http, "two") for _ in range(10)))
        taken = {body["task_id"] for status, body, _ in answers if status == 202}
        assert len(taken) == 1
        await result(http, taken.pop())
        assert stored(tmp_path) == 2
    assert len(engine.requests) == 2


async def test_named_calls_go_on_with_a_named_conversation(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with api(tmp_path, engine) as (_, http):
        for name, text in (("a", "First"), ("b", "Second")):
            _, body, _ = await call(http, name, {"text": text, "conversation": "c1"})
            await result(http, body["task_id"])
        _, alone, _ = await call(http, "c", {"text": "Third"})
        await result(http, alone["task_id"])
    assert [len(request.messages) for request in engine.requests] == [2, 4, 2]


async def test_who_is_erased_leaves_no_trace_of_a_key(tmp_path: Path) -> None:
    async with api(tmp_path, FakeEngine()) as (_, http):
        _, body, _ = await call(http, "order-7")
        await result(http, body["task_id"])
    with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as connection:
        (user,) = connection.execute("SELECT user_id FROM users").fetchone()
        assert erase(connection, "api", user, 1_800_000_000.0) == 1
        assert connection.execute("SELECT address FROM messages").fetchall() == [("{}",)]
    async with api(tmp_path, FakeEngine()) as (_, http):
        _, again, headers = await call(http, "order-7")
        assert headers["Idempotent-Replayed"] is None
        assert (await result(http, again["task_id"]))["answer"] == "Certainly."
