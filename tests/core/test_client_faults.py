"""Every way a server fails is an EngineError, in a known time, with the text so far already yielded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession, web

from core.client import OpenAIEngine
from core.engine import EngineRequest, EngineState
from core.engine_simulator import EngineSimulator
from core.errors import EngineError, EngineRefused, EngineTimeout, EngineUnavailable, PromptTooLong
from core.simulated_reply import Behaviour, Fault
from core.types import Sampling

SECRET = "my parcel 8812734 never came"
REQUEST = EngineRequest(messages=({"role": "user", "content": SECRET},), sampling=Sampling())


@pytest.fixture
async def simulator() -> AsyncIterator[EngineSimulator]:
    async with EngineSimulator() as server:
        yield server


async def read(engine: OpenAIEngine, texts: list[str]) -> None:
    async for delta in engine.stream(REQUEST):
        texts.append(delta.text)  # noqa: PERF401  # what came before the error is wanted


async def fail(engine: OpenAIEngine) -> tuple[str, EngineError]:
    """The text that came, and the error that ended it."""
    texts: list[str] = []
    try:
        with pytest.raises(EngineError) as caught:
            await read(engine, texts)
    finally:
        await engine.close()
    assert "8812734" not in str(caught.value)
    assert "8812734" not in engine.detail
    return "".join(texts), caught.value


@pytest.mark.parametrize(
    ("fault", "error", "state"),
    [
        (Fault.RESET, EngineUnavailable, EngineState.RESTARTING),
        (Fault.BUSY, EngineUnavailable, EngineState.READY),
        (Fault.FAILED, EngineUnavailable, EngineState.READY),
        (Fault.TOO_LONG, PromptTooLong, EngineState.READY),
    ],
)
async def test_before_the_first_token(
    simulator: EngineSimulator, fault: Fault, error: type[EngineError], state: EngineState
) -> None:
    simulator.script.append(Behaviour(fault=fault))
    engine = OpenAIEngine(simulator.base_url)
    await engine.wait_ready()
    texts: list[str] = []
    with pytest.raises(error):
        await read(engine, texts)
    assert texts == []
    assert engine.state is state
    await engine.close()


async def test_a_prompt_that_is_really_too_long() -> None:
    async with EngineSimulator(context_tokens=100) as simulator:
        _, error = await fail(OpenAIEngine(simulator.base_url))
        assert isinstance(error, PromptTooLong)


async def test_hanging_before_the_first_token_and_silence_after_it(simulator: EngineSimulator) -> None:
    simulator.script.append(Behaviour(fault=Fault.HANG))
    text, error = await fail(OpenAIEngine(simulator.base_url, first_token_seconds=0.05))
    assert (text, type(error)) == ("", EngineTimeout)
    assert "first token" in str(error)

    simulator.script.append(Behaviour(fault=Fault.SILENCE, fault_after=0))
    text, error = await fail(OpenAIEngine(simulator.base_url, first_token_seconds=0.05))
    assert (text, type(error)) == ("", EngineTimeout)
    assert "first token" in str(error)

    simulator.script.append(Behaviour(fault=Fault.SILENCE, fault_after=4))
    text, error = await fail(OpenAIEngine(simulator.base_url, silence_seconds=0.05))
    assert text
    assert isinstance(error, EngineTimeout)
    assert "silent" in str(error)


@pytest.mark.parametrize("fault", [Fault.CUT, Fault.ERROR_EVENT])
async def test_in_the_middle_the_text_so_far_is_kept(simulator: EngineSimulator, fault: Fault) -> None:
    simulator.script.append(Behaviour(fault=fault, fault_after=4, tokens_per_second=200))
    text, error = await fail(OpenAIEngine(simulator.base_url))
    assert text.startswith("This")
    assert type(error) is EngineUnavailable


async def test_a_stream_without_finish_and_done_was_cut(simulator: EngineSimulator) -> None:
    simulator.script.append(Behaviour(finish=False, done=False))
    text, error = await fail(OpenAIEngine(simulator.base_url))
    assert text.startswith("This")
    assert isinstance(error, EngineUnavailable)


async def test_no_connection_in_time_is_unavailable() -> None:
    # 192.0.2.0/24 answers nobody (RFC 5737); some networks refuse it at once, which is the same error.
    _, error = await fail(OpenAIEngine("http://192.0.2.1:9/v1", model="m", connect_seconds=0.05))
    assert type(error) is EngineUnavailable


async def test_an_unknown_host_is_unavailable() -> None:
    _, error = await fail(OpenAIEngine("http://engine.invalid/v1", model="m"))
    assert type(error) is EngineUnavailable


async def test_a_server_that_is_no_engine() -> None:
    async def redirect(_: web.Request) -> web.Response:
        raise web.HTTPFound("https://elsewhere.example/v1/chat/completions")

    async def refuse(_: web.Request) -> web.Response:
        raise web.HTTPBadRequest(text="messages: field required")

    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<html>welcome</html>")

    app = web.Application()
    app.router.add_post("/moved/v1/chat/completions", redirect)
    app.router.add_post("/page/v1/chat/completions", page)
    app.router.add_get("/page/v1/models", page)
    app.router.add_post("/bare/v1/chat/completions", refuse)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    base = f"http://127.0.0.1:{runner.addresses[0][1]}"

    _, error = await fail(OpenAIEngine(f"{base}/moved/v1", model="m"))
    assert isinstance(error, EngineRefused)
    assert "final address" in str(error)
    _, error = await fail(OpenAIEngine(f"{base}/page/v1", model="m"))
    assert isinstance(error, EngineUnavailable)
    _, error = await fail(OpenAIEngine(f"{base}/page/v1"))
    assert "check base_url" in str(error)
    _, error = await fail(OpenAIEngine(f"{base}/nothing/v1"))
    assert "base_url" in str(error)
    for model in ("m", ""):
        engine = OpenAIEngine(f"{base}/bare/v1", model=model)
        await engine.wait_ready()  # it lists no models, but takes calls
        assert (engine.state, engine.model) == (EngineState.READY, model or "default")
        await engine.close()
    await runner.cleanup()


async def test_a_router_whose_list_is_gone_with_one_of_its_engines_is_asked_for_a_token() -> None:
    """As vllm-router 0.1.17: GET /models goes to the same engine always; without that one the answer is 500."""
    gone = "Request failed: error sending request for url"
    async with EngineSimulator(context_tokens=4096) as other:
        app = web.Application()
        answers: dict[str, int] = {}

        async def models(_: web.Request) -> web.Response:
            if status := answers.get("models"):
                return web.Response(status=status, text=gone)
            return web.json_response({"data": [{"id": "simulated", "max_model_len": 4096}]})

        async def completions(request: web.Request) -> web.Response:
            if status := answers.get("completions"):
                return web.Response(status=status, text=gone)
            async with (
                ClientSession() as http,
                http.post(f"{other.base_url}/chat/completions", data=await request.read()) as answer,
            ):
                return web.Response(body=await answer.read(), content_type=answer.content_type)

        app.router.add_get("/v1/models", models)
        app.router.add_post("/v1/chat/completions", completions)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        engine = OpenAIEngine(url, pauses=(0.001,))

        answers["models"] = 500
        await engine.look()
        assert (engine.state, other.received) == (EngineState.STARTING, 0)  # it knows of no model to ask
        named = OpenAIEngine(url, model="simulated")
        await named.look()
        assert (named.state, other.answered) == (EngineState.READY, 1)
        await named.close()
        answers.clear()
        await engine.look()
        answers["models"] = 500
        await engine.look()
        assert (engine.state, engine.model, engine.context_tokens) == (EngineState.READY, "simulated", 4096)
        assert [call.body["max_tokens"] for call in other.calls] == [1, 1]
        answers["completions"] = 500
        await engine.look()
        assert engine.state is EngineState.RESTARTING
        assert "HTTP 500" in engine.detail
        del answers["completions"]
        async with asyncio.timeout(10):
            await engine.wait_ready()
        answers["models"] = 503  # no engine at all: nothing is worth a token
        await engine.look()
        assert (engine.state, other.received) == (EngineState.RESTARTING, 3)
        await engine.close()
        await runner.cleanup()
