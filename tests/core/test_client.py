"""The client against a real server: what it asks and yields, that closing it stops the engine, when it is ready."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from core.client import OpenAIEngine
from core.engine import Engine, EngineRequest, EngineState
from core.engine_simulator import EngineSimulator
from core.errors import EngineRefused, EngineUnavailable
from core.simulated_reply import Behaviour, Fault
from core.types import Delta, Sampling, Usage


def ask(text: str = "Where is my order?", **fields: object) -> EngineRequest:
    return EngineRequest(messages=({"role": "user", "content": text},), sampling=Sampling(), **fields)  # type: ignore[arg-type]


async def read(engine: OpenAIEngine, request: EngineRequest | None = None) -> list[Delta]:
    async with aclosing(engine.stream(request or ask())) as deltas:
        return [delta async for delta in deltas]


def text(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas)


@pytest.fixture
async def simulator() -> AsyncIterator[EngineSimulator]:
    async with EngineSimulator(behaviour=Behaviour(reply=lambda _: "您好，your parcel is on its way 📦")) as server:
        yield server


@pytest.fixture
async def engine(simulator: EngineSimulator) -> AsyncIterator[OpenAIEngine]:
    client = OpenAIEngine(simulator.base_url, pauses=(0.001,))
    yield client
    await client.close()


class Watcher:
    """A supervisor whose state the test sets."""

    def __init__(self) -> None:
        self.state = EngineState.STARTING
        self.detail = "loading the model"
        self._ready = asyncio.Event()

    def set(self, state: EngineState, detail: str = "") -> None:
        self.state, self.detail = state, detail
        (self._ready.set if state is EngineState.READY else self._ready.clear)()

    async def wait_ready(self) -> None:
        await self._ready.wait()


async def test_a_reply_grows_and_ends_with_one_last_delta(engine: OpenAIEngine) -> None:
    fulfils: Engine = engine
    deltas = await read(engine)
    assert text(deltas) == "您好，your parcel is on its way 📦"
    assert len(deltas) > 20
    assert [delta for delta in deltas if delta.finish or delta.usage] == deltas[-1:]
    assert deltas[-1].finish == "stop"
    assert deltas[-1].usage == Usage(8, len(deltas) - 1)
    assert {delta.model for delta in deltas} == {fulfils.model} == {"simulated"}


async def test_what_goes_over_the_wire(simulator: EngineSimulator) -> None:
    engine = OpenAIEngine(simulator.base_url + "/", model="lora", api_key=SecretStr(" key-1\n"))
    request = ask(request_id="r-1", session_id="hash", extra={"priority": 3})
    await read(engine, request)
    await engine.close()
    (call,) = simulator.calls
    assert (call.request_id, call.session_id, call.authorization) == ("r-1", "hash", "Bearer key-1")
    assert call.body["model"] == "lora"
    assert call.body["priority"] == 3
    assert call.body["messages"] == [{"role": "user", "content": "Where is my order?"}]
    assert "r-1" in simulator.first_tokens


async def test_through_a_unix_socket(tmp_path: Path) -> None:
    simulator = EngineSimulator(context_tokens=2048)
    await simulator.start(uds=tmp_path / "engine.sock")
    engine = OpenAIEngine(simulator.base_url, uds=tmp_path / "engine.sock")
    await engine.wait_ready()
    assert (engine.state, engine.model, engine.context_tokens) == (EngineState.READY, "simulated", 2048)
    assert "which was: Hello" in text(await read(engine, ask("Hello")))
    await engine.close()
    await simulator.stop()
    assert not (tmp_path / "engine.sock").exists()


@pytest.mark.parametrize(
    "change",
    [
        Behaviour(line_end=b"\r\n", comments=True),
        Behaviour(write_bytes=1),
        Behaviour(write_bytes=7, line_end=b"\r\n"),
        Behaviour(usage=False),
        Behaviour(done=False),
        Behaviour(finish=False),
        Behaviour(role=False, usage=False, done=False),
    ],
)
async def test_servers_differ(simulator: EngineSimulator, engine: OpenAIEngine, change: Behaviour) -> None:
    simulator.behaviour = replace(change, reply=simulator.behaviour.reply)
    deltas = await read(engine)
    assert text(deltas) == "您好，your parcel is on its way 📦"
    assert deltas[-1].finish == "stop"
    assert (deltas[-1].usage is not None) is change.usage


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
async def test_reasoning_is_kept_apart(simulator: EngineSimulator, engine: OpenAIEngine, field: str) -> None:
    simulator.script.append(Behaviour(reply=lambda _: "Yes.", reasoning="The user asks", reasoning_field=field))
    deltas = await read(engine)
    assert "".join(delta.reasoning for delta in deltas) == "Theuserasks"
    assert text(deltas) == "Yes."


async def test_an_empty_reply_and_one_that_the_limit_ends(simulator: EngineSimulator, engine: OpenAIEngine) -> None:
    simulator.script.append(Behaviour(reply=lambda _: ""))
    assert [(delta.text, delta.finish) for delta in await read(engine)] == [("", "stop")]
    short = EngineRequest(messages=ask().messages, sampling=Sampling(max_tokens=5))
    deltas = await read(engine, short)
    assert (len(deltas), deltas[-1].finish) == (6, "length")


async def test_connections_are_used_again(simulator: EngineSimulator) -> None:
    engine = OpenAIEngine(simulator.base_url, connections=1, first_token_seconds=5)
    for _ in range(3):
        await read(engine)
    first, second = await asyncio.gather(read(engine), read(engine))  # one connection: the second waits for it
    assert text(first) == text(second)
    assert len({call.connection for call in simulator.calls}) == 1
    await engine.close()


async def test_closing_the_stream_aborts_the_generation(simulator: EngineSimulator, engine: OpenAIEngine) -> None:
    simulator.behaviour = Behaviour(tokens_per_second=50, reply=lambda _: "word " * 2000, pieces=2000)
    deltas = engine.stream(ask(request_id="r-closed"))
    assert (await anext(deltas)).text
    await deltas.aclose()
    async with asyncio.timeout(10):
        await simulator.aborted("r-closed")
    assert engine.state is EngineState.READY


@pytest.mark.parametrize("fault", [Fault.NONE, Fault.HANG, Fault.SILENCE])
async def test_cancelling_the_task_aborts_the_generation(
    simulator: EngineSimulator, engine: OpenAIEngine, fault: Fault
) -> None:
    simulator.behaviour = Behaviour(fault=fault, tokens_per_second=50, reply=lambda _: "word " * 2000, pieces=2000)
    task = asyncio.create_task(read(engine, ask(request_id="r-cancelled")))
    async with asyncio.timeout(10):
        await simulator.called(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await simulator.aborted("r-cancelled")


async def test_it_waits_for_a_server_that_is_not_there_yet(simulator: EngineSimulator, engine: OpenAIEngine) -> None:
    await simulator.stop()
    assert engine.state is EngineState.STARTING
    with pytest.raises(EngineUnavailable, match="refused"):
        await read(engine)
    assert (engine.state, engine.model, engine.context_tokens) == (EngineState.STARTING, "", 0)
    assert "refused the connection" in engine.detail
    waiting = [asyncio.create_task(engine.wait_ready()) for _ in range(3)]
    await simulator.start()
    async with asyncio.timeout(10):
        await asyncio.gather(*waiting)
    assert (engine.state, engine.model, engine.context_tokens) == (EngineState.READY, "simulated", 8192)
    assert text(await read(engine))


async def test_a_server_that_dies_is_noticed_and_found_again(simulator: EngineSimulator, engine: OpenAIEngine) -> None:
    await engine.wait_ready()
    await simulator.stop()
    with pytest.raises(EngineUnavailable):
        await read(engine)
    assert engine.state is EngineState.RESTARTING
    await simulator.start()
    async with asyncio.timeout(10):
        await engine.wait_ready()
    assert text(await read(engine))


async def test_a_loading_server_is_waited_for(simulator: EngineSimulator, engine: OpenAIEngine) -> None:
    ready, simulator.behaviour = simulator.behaviour, Behaviour(fault=Fault.LOADING)
    with pytest.raises(EngineUnavailable, match="503"):
        await read(engine)
    assert engine.state is EngineState.STARTING
    waiting = asyncio.create_task(engine.wait_ready())
    simulator.behaviour = ready
    async with asyncio.timeout(10):
        await waiting


async def test_a_wrong_key_is_said_and_nothing_else_is_given_away() -> None:
    async with EngineSimulator(api_key="right") as simulator:
        url = simulator.base_url.replace("//", "//user:hidden@")
        engine = OpenAIEngine(url, api_key=SecretStr("wrong-key"), pauses=(0.001,))
        with pytest.raises(EngineRefused, match="401"):
            await read(engine)
        assert engine.state is EngineState.FAILED
        assert "set the engine's API key" in engine.detail
        assert "wrong-key" not in engine.detail
        assert "hidden" not in engine.detail
        await engine.close()


async def test_the_supervisor_decides_and_a_broken_call_is_believed_before_it_does(simulator: EngineSimulator) -> None:
    watcher = Watcher()
    engine = OpenAIEngine(simulator.base_url, supervisor=watcher, pauses=(0.001,))
    assert (engine.state, engine.detail) == (EngineState.STARTING, "loading the model")
    waiting = asyncio.create_task(engine.wait_ready())
    watcher.set(EngineState.READY)
    async with asyncio.timeout(10):
        await waiting
    assert engine.state is EngineState.READY
    watcher.set(EngineState.FAILED, "the model does not fit")
    assert (engine.state, engine.detail) == (EngineState.FAILED, "the model does not fit")
    watcher.set(EngineState.READY)
    await simulator.stop()
    with pytest.raises(EngineUnavailable):
        await read(engine)
    assert (watcher.state, engine.state) == (EngineState.READY, EngineState.RESTARTING)
    await simulator.start()
    async with asyncio.timeout(10):
        await engine.wait_ready()
    await engine.close()
    with pytest.raises(EngineUnavailable, match="closed"):
        await read(engine)
    assert str(engine.state) == "stopped"


async def test_it_knows_all_models_that_are_served_and_speaks_to_the_one_that_is_asked() -> None:
    async with EngineSimulator(adapters=("polite", "terse")) as server:
        engine = OpenAIEngine(server.base_url)
        await engine.wait_ready()
        assert (engine.model, engine.models) == ("simulated", ("simulated", "polite", "terse"))
        assert (await read(engine, ask(model="terse")))[-1].model == "terse"
        assert (await read(engine))[-1].model == "simulated"
        await engine.close()


async def test_the_marks_of_gpt_oss_are_taken_out_however_they_are_cut(
    simulator: EngineSimulator, engine: OpenAIEngine
) -> None:
    leak = "<|channel|>analysis<|message|>INNERMOST<|end|><|start|>assistant<|channel|>final<|message|>2 < 3<|return|>"
    for pieces in (1, 5, len(leak)):
        simulator.script.append(Behaviour(reply=lambda _: leak, pieces=pieces))
        assert text(await read(engine)) == "2 < 3"
    simulator.script.append(Behaviour(reply=lambda _: "1 <"))
    deltas = await read(engine)
    assert text(deltas) == "1 <" and deltas[-1].finish == "stop", "what was held back comes before the end"
