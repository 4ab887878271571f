"""The API over real HTTP: tasks are durable and private to their key, completions have OpenAI's shape, limits hold."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pytest

from adapters.api.answers import result_of
from core.config import ThrottleSettings
from core.engine import EngineState
from core.errors import EngineRefused, EngineUnavailable
from core.types import ConversationKey, Delta, MessageState, Outcome, Usage
from tests.adapters.api_house import KEY, OTHER, api, ask, result
from tests.fakes import FakeEngine
from tests.rooms import GENEROUS


async def test_a_task_is_answered(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.enqueue(["It is ", "on its way.", Delta(finish="stop", usage=Usage(11, 4, 8), model="m")])
    async with api(tmp_path, engine) as (_, http):
        body = await result(http, await ask(http, "Where is my order?"))
        assert body["status"] == "answered"
        assert body["answer"] == "It is on its way."
        assert body["usage"] == {
            "prompt_tokens": 11,
            "completion_tokens": 4,
            "total_tokens": 15,
            "prompt_tokens_details": {"cached_tokens": 8},
        }


async def test_a_task_survives_a_restart(tmp_path: Path) -> None:
    loading = FakeEngine()
    loading.switch(EngineState.STARTING)
    async with api(tmp_path, loading) as (_, http):
        task = await ask(http, "Hello")
        assert (await result(http, task, "0"))["status"] == "waiting"
    async with api(tmp_path, FakeEngine()) as (_, http):
        assert (await result(http, task))["answer"] == "Certainly."


@pytest.mark.parametrize(
    ("state", "status"), [(MessageState.SET_ASIDE, "answered"), (MessageState.WITHDRAWN, "withdrawn")]
)
def test_a_task_ends_in_a_word_that_its_caller_knows(state: MessageState, status: str) -> None:
    outcome = Outcome(1, ConversationKey("api", "support", "c"), "u", state, text="Sorry", kind="apology")
    assert result_of("t", outcome).status == status


async def test_a_conversation_goes_on_by_its_name_and_belongs_to_its_key(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with api(tmp_path, engine) as (_, http):
        await result(http, await ask(http, "First", conversation="c1"))
        await result(http, await ask(http, "Second", conversation="c1"))
        assert len(engine.requests[1].messages) == 4
        answer = await http.post("/ask", json={"text": "Third", "conversation": "c1"}, headers=OTHER)
        task = (await answer.json())["task_id"]
        assert (await http.get(f"/result/{task}", headers=KEY)).status == 404
        await http.get(f"/result/{task}?wait=20", headers=OTHER)
        assert len(engine.requests[2].messages) == 2


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic key-one"}])
async def test_no_route_without_a_key(tmp_path: Path, headers: dict[str, str]) -> None:
    async with api(tmp_path, FakeEngine()) as (_, http):
        for method, path in (
            ("POST", "/ask"),
            ("GET", "/result/x"),
            ("POST", "/v1/chat/completions"),
            ("GET", "/v1/models"),
        ):
            answer = await http.request(method, path, headers=headers, json={})
            assert answer.status == 401, path
            assert "error" in await answer.json()


async def test_requests_per_minute_and_address(tmp_path: Path) -> None:
    async with api(tmp_path, FakeEngine(), GENEROUS) as (house, http):
        statuses = [(await http.post("/ask", json={"text": "x"}, headers=KEY)).status for _ in range(12)]
        assert statuses == [202] * 10 + [429] * 2
        refused = await http.post("/ask", json={"text": "x"}, headers=KEY)
        assert refused.headers["Retry-After"] == "6"
        house.clock.advance(6.1)
        assert (await http.post("/ask", json={"text": "x"}, headers=KEY)).status == 202


async def test_an_over_limit_user_is_told(tmp_path: Path) -> None:
    throttle = ThrottleSettings(messages_per_minute=6, burst=1, tokens_per_day=0, requests_per_minute_per_ip=100)
    async with api(tmp_path, FakeEngine(), throttle) as (_, http):
        await ask(http, "one", user="u")
        answer = await http.post("/ask", json={"text": "two", "user": "u"}, headers=KEY)
        assert answer.status == 429
        assert (await answer.json())["error"]["message"] == "[throttled en]"
        await ask(http, "one", user="v")


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"{", "JSON"),
        (b"{}", "text"),
        (b'{"text": ""}', "text"),
        (b'{"text": " \\n"}', "text"),
        (b'{"text": "x", "botname": "y"}', "botname"),
        (b'{"text": 5}', "text"),
    ],
)
async def test_a_wrong_ask_names_what_is_wrong(tmp_path: Path, body: bytes, named: str) -> None:
    async with api(tmp_path, FakeEngine()) as (_, http):
        answer = await http.post("/ask", data=body, headers=KEY)
        assert answer.status == 400
        assert named in (await answer.json())["error"]["message"]


async def test_a_whole_completion(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.enqueue([Delta(reasoning="hm"), "Good ", "day.", Delta(finish="stop", usage=Usage(7, 2), model="m")])
    async with api(tmp_path, engine) as (_, http):
        body = {"model": "support", "messages": [{"role": "user", "content": "Hi"}], "temperature": 0.5, "stop": "END"}
        answer = await (await http.post("/v1/chat/completions", json=body, headers=KEY)).json()
    assert answer["object"] == "chat.completion"
    assert answer["choices"] == [
        {"index": 0, "message": {"role": "assistant", "content": "Good day."}, "finish_reason": "stop"}
    ]
    assert answer["usage"]["total_tokens"] == 9
    request = engine.requests[0]
    assert [message["role"] for message in request.messages] == ["system", "user"]
    assert (request.sampling.temperature, request.sampling.stop) == (0.5, ("END",))


async def test_the_raw_model_gets_no_prompt_of_ours(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with api(tmp_path, engine) as (_, http):
        models = await (await http.get("/v1/models", headers=KEY)).json()
        assert [model["id"] for model in models["data"]] == ["support", "fake-model"]
        parts = [{"type": "text", "text": "H"}, {"type": "text", "text": "i"}]
        body = {"model": "fake-model", "messages": [{"role": "user", "content": parts}]}
        assert (await http.post("/v1/chat/completions", json=body, headers=KEY)).status == 200
        assert engine.requests[0].messages == ({"role": "user", "content": "Hi"},)


async def events(answer: object) -> list[dict[str, object] | str]:
    text = await answer.text()  # type: ignore[attr-defined]
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    return [line if line == "[DONE]" else orjson.loads(line) for line in lines]


async def test_a_streamed_completion(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.enqueue(["Good ", "day.", Delta(finish="length", usage=Usage(7, 2))])
    body = {
        "model": "support",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    async with api(tmp_path, engine) as (_, http):
        answer = await http.post("/v1/chat/completions", json=body, headers=KEY)
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        *chunks, done = await events(answer)
    assert done == "[DONE]"
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]  # type: ignore[index]
    assert deltas == [{"role": "assistant", "content": ""}, {"content": "Good "}, {"content": "day."}, {}]
    assert chunks[-2]["choices"][0]["finish_reason"] == "length"  # type: ignore[index]
    assert chunks[-1]["usage"]["total_tokens"] == 9  # type: ignore[index]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_caller_who_leaves_stops_the_generation(tmp_path: Path, *, stream: bool) -> None:
    """Also of a model that thinks, when there is nothing to write."""
    engine = FakeEngine()
    never = asyncio.Event()
    engine.enqueue(["Good ", never, "day."])
    body = {"model": "support", "messages": [{"role": "user", "content": "Hi"}], "stream": stream}
    async with api(tmp_path, engine) as (house, http):
        call = asyncio.ensure_future(http.post("/v1/chat/completions", json=body, headers=KEY))
        await engine.called(1)
        if stream:
            answer = await call
            await answer.content.readuntil(b"Good ")
            answer.close()
        call.cancel()
        await house.until(lambda: bool(engine.aborted))
        assert engine.running == 0


@pytest.mark.parametrize(("failure", "status"), [(EngineUnavailable("gone"), 503), (EngineRefused("no"), 400)])
async def test_an_engine_that_fails_first_is_an_error_status(tmp_path: Path, failure: Exception, status: int) -> None:
    engine = FakeEngine(default=[failure])
    async with api(tmp_path, engine) as (_, http):
        for stream in (False, True):
            body = {"model": "support", "messages": [{"role": "user", "content": "Hi"}], "stream": stream}
            assert (await http.post("/v1/chat/completions", json=body, headers=KEY)).status == status


async def test_an_engine_that_fails_in_the_middle_says_so_in_the_stream(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.enqueue(["Good ", EngineUnavailable("gone")])
    body = {"model": "support", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    async with api(tmp_path, engine) as (_, http):
        *_, last = await events(await http.post("/v1/chat/completions", json=body, headers=KEY))
        assert isinstance(last, dict) and "error" in last


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"model": "unknown"}, 404),
        ({"messages": []}, 400),
        ({"messages": [{"role": "wizard", "content": "x"}]}, 400),
        ({"temperature": 3}, 400),
        ({"n": 2}, 400),
        ({"tools": [{"type": "function"}]}, 400),
        ({"n": True}, 400),
        ({"max_tokens": 0}, 400),
        ({"max_tokens": 10**30}, 400),
        ({"max_tokens": 1.5}, 400),
        ({"temperature": "0.5"}, 400),
        ({"stream": "yes"}, 400),
    ],
)
async def test_what_we_cannot_do_is_refused(tmp_path: Path, change: dict[str, object], status: int) -> None:
    body = {"model": "support", "messages": [{"role": "user", "content": "Hi"}], **change}
    async with api(tmp_path, FakeEngine()) as (_, http):
        answer = await http.post("/v1/chat/completions", json=body, headers=KEY)
        assert answer.status == status
        assert (await answer.json())["error"]["message"]


async def test_a_whole_number_may_be_written_as_any(tmp_path: Path) -> None:
    engine = FakeEngine()
    body = {"model": "support", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5.0, "n": 1.0}
    async with api(tmp_path, engine) as (_, http):
        assert (await http.post("/v1/chat/completions", json=body, headers=KEY)).status == 200
    assert engine.requests[0].sampling.max_tokens == 5
    assert isinstance(engine.requests[0].sampling.max_tokens, int)


async def test_a_model_that_is_loading_is_503(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.switch(EngineState.STARTING)
    body = {"model": "support", "messages": [{"role": "user", "content": "Hi"}]}
    async with api(tmp_path, engine) as (_, http):
        assert (await http.post("/v1/chat/completions", json=body, headers=KEY)).status == 503
