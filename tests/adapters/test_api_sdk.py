"""The official OpenAI client takes our /v1 for OpenAI's: it streams, counts, and finds its own exceptions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from core.engine import EngineState
from core.errors import EngineRefused, EngineUnavailable
from core.types import Delta, Usage
from tests.adapters.api_house import Http, api
from tests.fakes import FakeEngine, Piece
from tests.rooms import GENEROUS

HI: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hi"}]
REPLY: list[Piece] = ["Good ", "day.", Delta(finish="stop", usage=Usage(7, 2, 3), model="m")]


@asynccontextmanager
async def sdk(http: Http, key: str = "key-one") -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=str(http.make_url("/v1")), api_key=key, max_retries=0) as client:
        yield client


async def test_a_whole_completion(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.enqueue(REPLY)
    async with api(tmp_path, engine) as (_, http), sdk(http) as client:
        completion = await client.chat.completions.create(model="support", messages=HI, temperature=0.5)
    assert completion.choices[0].message.content == "Good day."
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage is not None and completion.usage.prompt_tokens_details is not None
    assert (completion.usage.total_tokens, completion.usage.prompt_tokens_details.cached_tokens) == (9, 3)
    assert engine.requests[0].sampling.temperature == 0.5


async def test_a_streamed_completion_comes_as_it_is_written(tmp_path: Path) -> None:
    engine, gate = FakeEngine(), asyncio.Event()
    engine.enqueue([REPLY[0], gate, *REPLY[1:]])
    async with api(tmp_path, engine) as (_, http), sdk(http) as client:
        stream = await client.chat.completions.create(
            model="support", messages=HI, stream=True, stream_options={"include_usage": True}
        )
        text, usage, finish = "", None, None
        async for chunk in stream:
            for choice in chunk.choices:
                text += choice.delta.content or ""
                finish = choice.finish_reason or finish
            usage = chunk.usage or usage
            if text == "Good ":
                gate.set()  # what is to come is not written before this has arrived
    assert (text, finish) == ("Good day.", "stop")
    assert usage is not None and usage.total_tokens == 9


async def test_the_stream_s_own_face(tmp_path: Path) -> None:
    """The client's accumulating stream, which is strict about what chunks look like."""
    engine = FakeEngine()
    engine.enqueue(REPLY)
    async with (
        api(tmp_path, engine) as (_, http),
        sdk(http) as client,
        client.chat.completions.stream(model="support", messages=HI) as stream,
    ):
        whole = await stream.get_final_completion()
    assert whole.choices[0].message.content == "Good day."


async def test_models(tmp_path: Path) -> None:
    async with api(tmp_path, FakeEngine()) as (_, http), sdk(http) as client:
        assert [model.id async for model in client.models.list()] == ["support", "fake-model"]


async def test_errors_are_the_client_s_own(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with api(tmp_path, engine) as (_, http), sdk(http) as client, sdk(http, "wrong") as stranger:
        create = client.chat.completions.create
        with pytest.raises(openai.AuthenticationError) as stranger_s:
            await stranger.chat.completions.create(model="support", messages=HI)
        with pytest.raises(openai.NotFoundError) as unknown:
            await create(model="none", messages=HI)
        with pytest.raises(openai.BadRequestError) as wrong:
            await create(model="support", messages=HI, temperature=3)
        engine.enqueue([EngineRefused("no")])
        with pytest.raises(openai.BadRequestError):
            await create(model="support", messages=HI, stream=True)
        engine.enqueue([EngineUnavailable("gone")])
        with pytest.raises(openai.InternalServerError) as broken:
            await create(model="support", messages=HI)
    assert [error.value.code for error in (stranger_s, unknown, wrong, broken)] == [
        "invalid_api_key",
        "model_not_found",
        "invalid_request",
        "engine_unavailable",
    ]
    assert "temperature" in wrong.value.message


async def test_a_stream_that_breaks_off_is_an_error_and_not_an_end(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.enqueue(["Good ", EngineUnavailable("gone")])
    async with api(tmp_path, engine) as (_, http), sdk(http) as client:
        stream = await client.chat.completions.create(model="support", messages=HI, stream=True)
        with pytest.raises(openai.APIError, match="broke off"):
            async for _chunk in stream:
                pass


async def test_an_address_over_its_limit(tmp_path: Path) -> None:
    async with api(tmp_path, FakeEngine(), GENEROUS) as (_, http), sdk(http) as client:
        for _ in range(10):
            raw = await client.chat.completions.with_raw_response.create(model="support", messages=HI)
        assert raw.headers["x-ratelimit-remaining-requests"] == "0"
        with pytest.raises(openai.RateLimitError) as refused:
            await client.chat.completions.create(model="support", messages=HI)
        assert refused.value.response.headers["retry-after"] == "6"
        assert refused.value.code == "rate_limit_exceeded"


async def test_a_model_that_is_loading(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.switch(EngineState.STARTING)
    async with api(tmp_path, engine) as (_, http), sdk(http) as client:
        with pytest.raises(openai.InternalServerError):
            await client.chat.completions.create(model="support", messages=HI)
