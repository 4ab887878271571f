"""Who follows a task sees its states and its own growing answer, and the stream ends by itself with the whole of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import orjson
import pytest

from adapters.api.following import Board, wants_events
from core.engine import EngineState
from core.errors import EngineTimeout, EngineUnavailable
from core.types import ConversationKey
from tests.adapters.api_house import KEY, OTHER, Http, api, ask, result
from tests.fakes import FakeEngine

EVENTS = {"Accept": "text/event-stream"}
Event = tuple[str, dict[str, str]]


class Stream:
    """An open stream, read event by event."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer
        self.comments = 0
        self.text = ""  # what a reader sees of the growing answer
        self.drafts = 0

    async def next(self) -> Event | None:
        """The next event; None at the end."""
        async with asyncio.timeout(10):
            while block := await self.answer.content.readuntil(b"\n\n"):
                fields = dict(line.partition(": ")[::2] for line in block.decode().strip().split("\n"))
                if "event" in fields:
                    return self._applied(fields["event"], orjson.loads(fields["data"]))
                self.comments += "" in fields
        return None

    def _applied(self, name: str, data: dict[str, str]) -> Event:
        if name in {"delta", "draft"}:
            self.text = data["text"] if name == "draft" else self.text + data["text"]
            self.drafts += name == "draft"
        return name, data

    async def shows(self, text: str) -> None:
        """Read on until the growing answer is this."""
        while self.text != text:
            assert await self.next(), f"the stream ended with {self.text!r}"

    async def rest(self) -> list[Event]:
        found = []
        while event := await self.next():
            found.append(event)
        return found

    async def until(self, name: str, **values: str) -> None:
        """Read on to the event that says this."""
        while event := await self.next():
            if event[0] == name and values.items() <= event[1].items():
                return
        raise AssertionError(f"the stream ended without {name}: {values}")


@asynccontextmanager
async def following(http: Http, task: str, headers: Mapping[str, str] = EVENTS) -> AsyncIterator[Stream]:
    async with http.get(f"/result/{task}", headers={**KEY, **headers}) as answer:
        assert answer.status == 200
        assert answer.content_type == "text/event-stream"
        yield Stream(answer)


async def test_a_task_is_told_as_it_happens(tmp_path: Path) -> None:
    engine, gates = FakeEngine(), [asyncio.Event() for _ in range(3)]
    engine.switch(EngineState.STARTING)
    engine.enqueue(["Good ", gates[0], "day, ", gates[1], "friend.", gates[2]])
    async with api(tmp_path, engine) as (_, http):
        task = await ask(http, "Hello")
        async with following(http, task) as stream:
            assert await stream.next() == ("status", {"task_id": task, "status": "waiting"})
            engine.switch(EngineState.READY)
            assert await stream.next() == ("status", {"task_id": task, "status": "running"})
            gates[0].set()
            assert await stream.next() == ("delta", {"text": "Good day,"})
            gates[1].set()
            assert await stream.next() == ("delta", {"text": " friend."})
            gates[2].set()
            told = await stream.rest()
        assert told == [("result", await result(http, task))]
        assert told[0][1]["answer"] == "Good day, friend."


async def test_two_readers_see_the_same_and_one_who_comes_late_sees_all_of_the_text(tmp_path: Path) -> None:
    engine, gates = FakeEngine(), [asyncio.Event() for _ in range(3)]
    engine.enqueue(["Good ", gates[0], "day, ", gates[1], "friend.", gates[2]])
    async with api(tmp_path, engine) as (_, http):
        task = await ask(http, "Hello")
        async with following(http, task) as first:
            await first.until("status", status="running")
            gates[0].set()
            await first.shows("Good day,")
            async with following(http, task) as late:
                assert await late.next() == ("status", {"task_id": task, "status": "running"})
                gates[1].set()
                assert await late.next() == ("delta", {"text": "Good day, friend."})
                await first.shows("Good day, friend.")
                gates[2].set()
                assert await late.rest() == await first.rest() == [("result", await result(http, task))]


async def test_an_earlier_answer_in_the_conversation_is_not_taken_for_this_one(tmp_path: Path) -> None:
    engine, gates = FakeEngine(), [asyncio.Event() for _ in range(4)]
    engine.enqueue(["Earlier", gates[0], " words", gates[1], "."])
    engine.enqueue(["Later", gates[2], " words", gates[3], "."])
    async with api(tmp_path, engine) as (_, http):
        earlier = await ask(http, "One", conversation="c")
        async with following(http, earlier) as first:
            await first.until("status", status="running")
            async with following(http, await ask(http, "Two", conversation="c")) as second:
                assert (await second.next() or ("", {}))[1]["status"] == "waiting"
                gates[0].set()
                await first.shows("Earlier words")
                gates[1].set()
                await first.until("result", answer="Earlier words.")
                assert (await second.next() or ("", {}))[1]["status"] == "running"
                gates[2].set()
                await second.shows("Later words")
                gates[3].set()
                assert (await second.rest())[-1][1]["answer"] == "Later words."
                assert second.drafts == 0


async def test_a_text_that_begins_anew_says_so(tmp_path: Path) -> None:
    engine, gates = FakeEngine(), [asyncio.Event() for _ in range(4)]
    engine.enqueue(["Good ", gates[0], "day", gates[1], EngineTimeout("silent")])
    engine.enqueue(["Fine ", gates[2], "weather", gates[3], "."])
    async with api(tmp_path, engine) as (_, http), following(http, await ask(http, "Hello")) as stream:
        await stream.until("status", status="running")
        gates[0].set()
        await stream.shows("Good day")
        assert stream.drafts == 0
        gates[1].set()
        assert await stream.next() == ("draft", {"text": "Fine"})
        gates[2].set()
        assert await stream.next() == ("delta", {"text": " weather"})
        gates[3].set()
        assert (await stream.rest())[-1][1]["answer"] == "Fine weather."


async def test_a_task_that_has_ended_is_told_at_once(tmp_path: Path) -> None:
    async with api(tmp_path, FakeEngine()) as (_, http):
        task = await ask(http, "Hello")
        told = await result(http, task)
        async with following(http, task) as stream:
            assert await stream.rest() == [("result", told)]


async def test_a_quiet_stream_is_kept_warm_and_learns_of_a_change_without_text(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.switch(EngineState.STARTING)
    engine.hold()
    async with (
        api(tmp_path, engine, look_seconds=0.02) as (_, http),
        following(http, await ask(http, "Hello")) as stream,
    ):
        assert (await stream.next() or ("", {}))[1]["status"] == "waiting"
        engine.switch(EngineState.READY)
        assert (await stream.next() or ("", {}))[1]["status"] == "running"
        assert stream.comments
        engine.resume()
        assert (await stream.rest())[-1][1]["answer"] == "Certainly."


async def test_a_task_that_is_handed_back_waits_again(tmp_path: Path) -> None:
    engine, gate = FakeEngine(), asyncio.Event()
    engine.enqueue([gate, EngineUnavailable("gone")])
    async with api(tmp_path, engine, look_seconds=0.02) as (house, http):
        task = await ask(http, "Hello")
        async with following(http, task) as stream:
            await stream.until("status", status="running")
            gate.set()
            assert await stream.next() == ("status", {"task_id": task, "status": "waiting"})
            house.clock.advance(2.0)
            house.runtime.look_again()
            assert (await stream.rest())[-1][1]["answer"] == "Certainly."


async def test_streams_end_with_the_house_and_no_more_are_opened(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.hold()
    async with api(tmp_path, engine) as (house, http):
        task = await ask(http, "Hello")
        async with following(http, task) as stream:
            await stream.next()
            await house.channels["api"].close()
            assert not [event for event in await stream.rest() if event[0] == "result"]
        answer = await http.get(f"/result/{task}", headers=KEY | EVENTS)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        engine.resume()
        assert (await result(http, task))["answer"] == "Certainly.", "the task is there all the same"


async def test_streams_are_bounded_and_one_that_left_makes_room(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.hold()
    async with api(tmp_path, engine, streams=1, look_seconds=0.02) as (_, http):
        task = await ask(http, "Hello")
        async with following(http, task) as stream:
            await stream.next()
            refused = await http.get(f"/result/{task}", headers=KEY | EVENTS)
            assert refused.status == 503
            assert (await refused.json())["error"]["code"] == "too_many_streams"
            assert (await result(http, task, "0"))["status"] in {"waiting", "running"}
        async with asyncio.timeout(10):
            while (await http.get(f"/result/{task}", headers=KEY | EVENTS)).status != 200:
                await asyncio.sleep(0.02)
        engine.resume()


def test_nothing_is_kept_of_readers_that_left() -> None:
    board, conversation = Board(limit=2), ConversationKey("api", "support", "c")
    with board.reader(conversation), board.reader(conversation):
        assert len(board) == 1
    assert len(board) == 0
    board.grow(conversation, "to nobody")
    assert len(board) == 0


async def test_who_may_not_see_a_task_gets_no_stream(tmp_path: Path) -> None:
    async with api(tmp_path, FakeEngine()) as (_, http):
        task = await ask(http, "Hello")
        for headers, status in ((OTHER, 404), ({"Authorization": "Bearer wrong"}, 401)):
            answer = await http.get(f"/result/{task}", headers=headers | EVENTS)
            assert (answer.status, answer.content_type) == (status, "application/json")


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("text/event-stream", True),
        ("application/json, Text/Event-Stream;q=0.9", True),
        ("*/*", False),
        ("text/*", False),
        ("application/json", False),
        ("", False),
    ],
)
def test_a_stream_is_asked_for_by_name(accept: str, *, wanted: bool) -> None:
    assert wants_events(accept) is wanted


async def test_head_is_no_stream(tmp_path: Path) -> None:
    async with api(tmp_path, FakeEngine()) as (_, http):
        task = await ask(http, "Hello")
        answer = await http.head(f"/result/{task}", headers=KEY | EVENTS)
        assert (answer.status, answer.content_type) == (200, "application/json")


@pytest.mark.parametrize("wait", ["soon", "", "nan", "inf", "1e999"])
async def test_a_wait_that_is_no_number_is_refused(tmp_path: Path, wait: str) -> None:
    async with api(tmp_path, FakeEngine()) as (_, http):
        answer = await http.get(f"/result/{await ask(http, 'Hello')}", params={"wait": wait}, headers=KEY)
        assert answer.status == 400
        assert "wait" in (await answer.json())["error"]["message"]
