"""Call-backs of /ask over real HTTP, to a receiver that verifies them itself: signed, durable, once for each end."""

from __future__ import annotations

import asyncio
import re
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest
from aiohttp.test_utils import unused_port
from structlog.testing import capture_logs

from core.errors import EngineTimeout
from core.ledger import office
from core.ledger.writer import sqlite3
from tests.adapters.api_house import KEY, Receiver, api, ask, result
from tests.fakes import FakeClock, FakeEngine
from tests.rooms import Rooms

SECRET = "whsec_" + "c2VjcmV0" * 5  # 30 bytes
ANOTHER = "whsec_" + "Zm9yZ2Vk" * 5


def allowed(*receivers: Receiver) -> dict[str, object]:
    return {"callback_hosts": [receiver.host for receiver in receivers], "callback_secret": SECRET}


class Sent(NamedTuple):
    """A delivery as the ledger has it."""

    state: str
    reason: str
    due_at: float


def sent(folder: Path) -> list[Sent]:
    with closing(sqlite3.connect(f"file:{folder / 'ledger.db'}?mode=ro", uri=True)) as connection:
        return [Sent(*row) for row in connection.execute("SELECT state, reason, due_at FROM deliveries ORDER BY id")]


async def again(house: Rooms, folder: Path, seconds: float) -> None:
    """Once a failed try is on disk: let so much time pass."""
    await house.until(
        lambda: bool(sent(folder)) and sent(folder)[-1].state == "pending" and bool(sent(folder)[-1].reason)
    )
    with closing(sqlite3.connect(folder / "ledger.db", isolation_level=None)) as connection:
        connection.execute("UPDATE deliveries SET reason = ''")  # so that the next try's is seen
    house.clock.advance(seconds)
    house.runtime.look_again()


async def test_the_end_is_posted_as_result_tells_it_and_signed(tmp_path: Path) -> None:
    async with (
        Receiver().listening() as receiver,
        api(tmp_path, FakeEngine(), callbacks=allowed(receiver)) as (house, http),
    ):
        url = receiver.url("/hook?token=t%2Fx&y=a+b")
        task = await ask(http, "Hello", callback_url=url)
        await house.until(lambda: bool(receiver.calls))
        (call,) = receiver.calls
        assert call.path == "/hook?token=t%2Fx&y=a+b", "as it was given"
        assert call.headers["content-type"] == "application/json"
        assert call.body["type"] == "task.answered"
        assert re.fullmatch(r"2027-01-15T08:00:00\.000\+00:00", str(call.body["timestamp"])), "the house's clock"
        assert call.data == await result(http, task)
        assert call.data["answer"] == "Certainly."
        assert call.verifies(SECRET)
        await house.until(lambda: sent(tmp_path)[0].state == "sent")
    assert len(receiver.calls) == 1


async def test_what_is_forged_does_not_verify(tmp_path: Path) -> None:
    async with (
        Receiver().listening() as receiver,
        api(tmp_path, FakeEngine(), callbacks=allowed(receiver)) as (house, http),
    ):
        await ask(http, "Hello", callback_url=receiver.url())
        await house.until(lambda: bool(receiver.calls))
    (call,) = receiver.calls
    assert call.verifies(SECRET)
    assert not call.verifies(SECRET, call.raw.replace(b"Certainly", b"Certainty"))
    assert not call.verifies(ANOTHER)
    assert not call.verifies(SECRET, id="msg_other")
    assert not call.verifies(SECRET, timestamp="1")


async def test_an_apology_and_a_notice_are_ends_too(tmp_path: Path) -> None:
    engine = FakeEngine([EngineTimeout("silent")])
    async with Receiver().listening() as receiver, api(tmp_path, engine, callbacks=allowed(receiver)) as (house, http):
        for text in ("Hello", "/help"):
            await ask(http, text, callback_url=receiver.url())
        await house.until(lambda: len(receiver.calls) == 2)
    assert {call.data["kind"] for call in receiver.calls} == {"apology", "notice"}


async def test_without_an_address_nobody_is_called(tmp_path: Path) -> None:
    async with (
        Receiver().listening() as receiver,
        api(tmp_path, FakeEngine(), callbacks=allowed(receiver)) as (house, http),
    ):
        await result(http, await ask(http, "Hello"))
        await house.until(lambda: sent(tmp_path)[0].state == "sent")
    assert not receiver.calls


async def test_a_receiver_that_is_down_is_called_later_under_one_id(tmp_path: Path) -> None:
    receiver = Receiver(unused_port())
    async with api(tmp_path, FakeEngine(), callbacks=allowed(receiver)) as (house, http):
        await ask(http, "Hello", callback_url=receiver.url())
        await again(house, tmp_path, 60)
        await house.until(lambda: "ClientConnectorError" in sent(tmp_path)[0].reason)
        async with receiver.listening():
            receiver.answers.append(None)  # taken, and then the line breaks
            await again(house, tmp_path, 60)
            await house.until(lambda: len(receiver.calls) == 1)
            await again(house, tmp_path, 60)
            await house.until(lambda: sent(tmp_path)[0].state == "sent")
    first, second = receiver.calls
    assert first.id == second.id
    assert first.raw == second.raw
    assert second.verifies(SECRET)


async def test_a_call_outlives_the_gateway(tmp_path: Path) -> None:
    clock = FakeClock()
    async with Receiver().listening() as receiver:
        receiver.answers.append(503)
        async with api(tmp_path, FakeEngine(), clock=clock, callbacks=allowed(receiver)) as (house, http):
            await ask(http, "Hello", callback_url=receiver.url())
            await house.until(lambda: sent(tmp_path)[0:] != [] and "503" in sent(tmp_path)[0].reason)
        clock.advance(60)
        async with api(tmp_path, FakeEngine(), clock=clock, callbacks=allowed(receiver)) as (house, http):
            await house.until(lambda: sent(tmp_path)[0].state == "sent")
    first, second = receiver.calls
    assert (first.id, first.raw) == (second.id, second.raw)
    assert second.verifies(SECRET)


@pytest.mark.parametrize(
    ("given", "pause"),
    [
        ({"Retry-After": "120"}, 120.0),
        ({"Retry-After": "Fri, 15 Jan 2027 08:05:00 GMT"}, 300.0),
        ({"Retry-After": "999999"}, 3600.0),
        ({"Retry-After": "9" * 5_000}, 3600.0),
        # Nothing to go by: our own pause.
        ({"Retry-After": "0"}, 1.0),
        ({"Retry-After": "Fri, 15 Jan 2027 07:00:00 GMT"}, 1.0),
        ({"Retry-After": "Fri, 15 Jan 99999999999999999999 08:05:00 GMT"}, 1.0),
        ({"Retry-After": "x"}, 1.0),
        ({}, 1.0),
    ],
    ids=str,
)
async def test_whoever_cannot_now_says_when(tmp_path: Path, given: dict[str, str], pause: float) -> None:
    async with (
        Receiver().listening() as receiver,
        api(tmp_path, FakeEngine(), clock=FakeClock(), callbacks=allowed(receiver)) as (house, http),
    ):
        receiver.answers.append((503, given))
        await ask(http, "Hello", callback_url=receiver.url())
        await house.until(lambda: bool(sent(tmp_path)) and bool(sent(tmp_path)[0].reason))
        assert sent(tmp_path) == [Sent("pending", f"{receiver.host}: HTTP 503", house.clock() + pause)]
        await again(house, tmp_path, pause + 1)
        await house.until(lambda: sent(tmp_path)[0].state == "sent")
    first, second = receiver.calls
    assert first.id == second.id
    assert int(second.headers["webhook-timestamp"]) == int(first.headers["webhook-timestamp"]) + pause + 1
    assert first.verifies(SECRET) and second.verifies(SECRET)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 504])
async def test_what_passes_is_tried_again(tmp_path: Path, status: int) -> None:
    async with (
        Receiver().listening() as receiver,
        api(tmp_path, FakeEngine(), callbacks=allowed(receiver)) as (house, http),
    ):
        receiver.answers.append(status)
        await ask(http, "Hello", callback_url=receiver.url())
        await again(house, tmp_path, 60)
        await house.until(lambda: sent(tmp_path)[0].state == "sent")
    assert len(receiver.calls) == 2


@pytest.mark.parametrize("status", [410, 400, 404, 302, 307, 304])
async def test_a_no_is_shown_to_the_operator_and_nothing_is_followed(tmp_path: Path, status: int) -> None:
    async with (
        Receiver().listening() as receiver,
        api(tmp_path, FakeEngine(), callbacks=allowed(receiver)) as (house, http),
    ):
        receiver.answers.append((status, {"Location": receiver.url("/elsewhere")}))
        task = await ask(http, "Hello", callback_url=receiver.url("/hook?token=hidden"))
        await house.until(lambda: bool(sent(tmp_path)) and sent(tmp_path)[0].state == "failed")
        with office.opened(tmp_path / "ledger.db") as ledger:
            (stuck,) = office.report(ledger).stuck
            assert (stuck.id, stuck.channel, stuck.reason) == ("d1", "api", f"{receiver.host}: HTTP {status}")
            assert [call.path for call in receiver.calls] == ["/hook?token=hidden"]
            assert (await result(http, task))["answer"] == "Certainly.", "it stays to be asked for"
            assert office.retry(ledger, ["d1"], house.clock()) == ["d1"]
        house.runtime.look_again()
        await house.until(lambda: sent(tmp_path)[0].state == "sent")
    assert receiver.calls[0].id == receiver.calls[1].id


async def test_who_lets_us_wait_is_left_alone_for_a_minute(tmp_path: Path) -> None:
    timer, never = FakeClock(), asyncio.Event()
    async with (
        Receiver().listening() as slow,
        Receiver().listening() as quick,
        api(tmp_path, FakeEngine(), callbacks=allowed(slow, quick), timer=timer, callback_seconds=0.2) as (house, http),
    ):
        slow.answers.append(never)
        await ask(http, "Hello", callback_url=slow.url())
        await house.until(lambda: bool(sent(tmp_path)) and bool(sent(tmp_path)[0].reason))
        assert sent(tmp_path)[0][:2] == ("pending", f"{slow.host}: no answer in time")
        await ask(http, "Hello", callback_url=slow.url())
        await house.until(lambda: len(sent(tmp_path)) == 2 and bool(sent(tmp_path)[1].reason))
        assert len(slow.calls) == 1
        assert sent(tmp_path)[1].due_at == house.clock() + 60
        await ask(http, "Hello", callback_url=quick.url())
        await house.until(lambda: len(quick.calls) == 1)
        timer.advance(61)
        house.clock.advance(61)
        house.runtime.look_again()
        await house.until(lambda: [one.state for one in sent(tmp_path)] == ["sent"] * 3)
        never.set()
    assert len(slow.calls) == 3


async def test_no_address_and_no_secret_gets_into_the_log(tmp_path: Path) -> None:
    with capture_logs() as lines:
        async with (
            Receiver().listening() as receiver,
            api(tmp_path, FakeEngine(), callbacks=allowed(receiver)) as (house, http),
        ):
            receiver.answers.extend([None, 500, 410])
            await ask(http, "Hello", callback_url=receiver.url("/path-of-theirs?token=hidden"))
            for _ in range(2):
                await again(house, tmp_path, 60)
            await house.until(lambda: sent(tmp_path)[0].state == "failed")
            await http.post("/ask", json={"text": "x", "callback_url": "https://no.example/?token=hidden"}, headers=KEY)
    told = str(lines) + str(sent(tmp_path))
    assert f"{receiver.host}: HTTP 410" in told
    for secret in ("hidden", "path-of-theirs", SECRET, SECRET.removeprefix("whsec_")):
        assert secret not in told
