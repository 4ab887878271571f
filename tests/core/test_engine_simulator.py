"""The simulated engine as benchmarks use it: a process of its own that says where it is and when it spoke first."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import aclosing
from pathlib import Path

import aiohttp
import orjson
from hypothesis import given
from hypothesis import strategies as st

from core.client import OpenAIEngine
from core.engine import EngineRequest
from core.engine_simulator import EngineSimulator
from core.simulated_reply import Behaviour, Fault, split
from core.types import Sampling

ROOT = Path(__file__).parents[2]
REQUEST = EngineRequest(messages=({"role": "user", "content": "Hi"},), sampling=Sampling(), request_id="r-1")


@given(st.text(max_size=80), st.integers(min_value=1, max_value=50))
def test_a_text_is_cut_into_pieces_that_make_it_whole(text: str, pieces: int) -> None:
    parts = split(text, pieces)
    assert "".join(parts) == text
    assert len(parts) == min(pieces, len(text))
    assert all(parts)


async def test_as_a_process() -> None:
    command = [sys.executable, "-m", "core.engine_simulator", "--pieces", "7", "--reply", "A reply of some words"]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    assert process.stdout
    async with asyncio.timeout(30):
        base_url = orjson.loads(await process.stdout.readline())["base_url"]
        engine = OpenAIEngine(base_url)
        async with aclosing(engine.stream(REQUEST)) as deltas:
            texts = [delta.text async for delta in deltas if delta.text]
        async with aiohttp.ClientSession() as http, http.get(f"{base_url.removesuffix('/v1')}/records") as answer:
            records = await answer.json()
        await engine.close()
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    assert ("".join(texts), len(texts)) == ("A reply of some words", 7)
    assert records["answered"] == 1
    assert list(records["first_tokens"]) == ["r-1"]


async def test_what_it_records_is_bounded_and_stop_is_no_abort() -> None:
    async with EngineSimulator(keep=3) as simulator:
        engine = OpenAIEngine(simulator.base_url)
        for number in range(5):
            request = EngineRequest(REQUEST.messages, REQUEST.sampling, request_id=f"r-{number}")
            async with aclosing(engine.stream(request)) as deltas:
                assert [delta async for delta in deltas]
        assert list(simulator.first_tokens) == ["r-2", "r-3", "r-4"]
        assert [call.request_id for call in simulator.calls] == ["r-2", "r-3", "r-4"]
        simulator.behaviour = Behaviour(fault=Fault.HANG)
        waiting = asyncio.create_task(anext(engine.stream(REQUEST)))
        async with asyncio.timeout(10):
            async with aiohttp.ClientSession() as http, http.get(f"{simulator.base_url[:-3]}/health") as answer:
                assert answer.status == 200
            await simulator.called(6)
        await simulator.stop()
        assert isinstance((await asyncio.gather(waiting, return_exceptions=True))[0], Exception)
        assert list(simulator.aborts) == []
        await engine.close()
