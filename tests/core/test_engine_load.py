"""How busy the engines are: what one does not tell, or tells as nonsense, is unknown, and never an error."""

from __future__ import annotations

import json
from contextlib import aclosing
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from core.client import OpenAIEngine
from core.engine import EngineRequest, EngineState
from core.engine_metrics import FRESH_SECONDS, EngineMetrics, Load, Standing, load_of, source_of
from core.engine_simulator import EngineSimulator
from core.simulated_reply import Behaviour
from core.types import Sampling
from tests.core.test_engine_metrics import Telling
from tests.fakes import FakeClock, FakeEngine


def load_page(*replicas: tuple[int, int, float, int, int], old: str = "") -> bytes:
    """As vLLM's, of replicas with their running, waiting, cache, asked, found; `old`: earlier ones had "gpu_" there."""
    registry, labels = CollectorRegistry(), ["engine", "model_name"]
    used = "gpu_cache_usage_perc" if old else "kv_cache_usage_perc"
    running, waiting, cache = (
        Gauge(f"vllm:{name}", "Load", labels, registry=registry)
        for name in ("num_requests_running", "num_requests_waiting", used)
    )
    asked, found = (
        Counter(f"vllm:{old}prefix_cache_{name}", "Tokens", labels, registry=registry) for name in ("queries", "hits")
    )
    Gauge("vllm:num_requests_waiting_by_reason", "Load", [*labels, "reason"], registry=registry).labels(
        "0", "m", "capacity"
    ).set(70)
    for number, numbers in enumerate(replicas):
        of = (str(number), 'gpt-oss "20b"')
        running.labels(*of).set(numbers[0])
        waiting.labels(*of).set(numbers[1])
        cache.labels(*of).set(numbers[2])
        asked.labels(*of).inc(numbers[3])
        found.labels(*of).inc(numbers[4])
    return generate_latest(registry)


def test_a_load_is_what_vllm_tells() -> None:
    assert load_of(load_page((3, 2, 0.25, 1000, 900))) == Load(3, 2, 0.25, 0.9)
    assert load_of(load_page((3, 2, 0.25, 1000, 900), old="gpu_")) == Load(3, 2, 0.25, 0.9)
    assert load_of(load_page((0, 0, 0, 0, 0))) == Load(0, 0, 0, None)  # nothing was asked of its cache yet


def test_replicas_in_one_server_are_one_load() -> None:
    # Of the prompts' tokens a share is found, not of the replicas.
    assert load_of(load_page((3, 2, 0.25, 100, 90), (1, 5, 0.75, 900, 10))) == Load(4, 7, 0.5, 0.1)


def test_where_both_names_are_told_the_newer_counts() -> None:
    both = b"vllm:gpu_cache_usage_perc 0.9\nvllm:kv_cache_usage_perc 0.1\n"
    assert load_of(both) == load_of(both + b"vllm:gpu_cache_usage_perc 0.9\n") == Load(cache_used=0.1)


@pytest.mark.parametrize(
    "told",
    [
        b"",
        b"<html>vllm:num_requests_running 3</html>",
        b"sglang:num_running_reqs 3\n",
        b'vllm:num_requests_running_total 3\nvllm:num_requests_waiting_by_reason{reason="x"} 3\n',
        b"vllm:num_requests_running -1\nvllm:num_requests_waiting NaN\nvllm:kv_cache_usage_perc +Inf\n",
        b"vllm:num_requests_running 1e300\nvllm:num_requests_waiting " + b"9" * 5000,
        b'vllm:num_requests_running{engine="0} 3\nvllm:num_requests_waiting 3 3 3\n',
        b"vllm:kv_cache_usage_perc 25\n",  # no share
        b"vllm:prefix_cache_hits_total 5\n",
        b"vllm:prefix_cache_queries_total 0\nvllm:prefix_cache_hits_total 0\n",
    ],
)
def test_what_is_not_told_or_cannot_be_is_unknown(told: bytes) -> None:
    assert load_of(told) == Load()


names = st.sampled_from(
    [
        b"num_requests_running",
        b"num_requests_waiting",
        b"kv_cache_usage_perc",
        b"prefix_cache_queries_total",
        b"prefix_cache_hits_total",
    ]
)
values = st.one_of(st.floats().map(lambda value: str(value).encode()), st.binary(max_size=30))


@given(st.lists(st.tuples(names, values)), st.binary(max_size=100))
def test_whatever_an_engine_says_a_load_is_one_that_can_be_shown(told: list[tuple[bytes, bytes]], noise: bytes) -> None:
    load = load_of(b"\n".join(b"vllm:" + name + b" " + value for name, value in told) + noise)
    assert json.loads(json.dumps(asdict(load), allow_nan=False)) == asdict(load)
    assert all(count is None or count >= 0 for count in (load.running, load.waiting))
    assert all(share is None or 0 <= share <= 1 for share in (load.cache_used, load.cache_found))


async def test_each_engine_stands_there_with_its_load_or_without() -> None:
    busy, none, clock = Telling(load_page((3, 2, 0.25, 1000, 900))), Telling(status=404), FakeClock()
    engines = {"busy": FakeEngine(), "none": FakeEngine(), "gone": FakeEngine()}
    async with busy.open() as one, none.open() as two:
        sources = [source_of("busy", one), source_of("none", two), source_of("gone", "http://127.0.0.1:9/v1")]
        metrics = EngineMetrics(sources, clock, engines)
        engines["gone"].switch(EngineState.RESTARTING)
        assert await metrics.standing() == (
            Standing("busy", EngineState.READY, Load(3, 2, 0.25, 0.9)),
            Standing("none", EngineState.READY, Load()),
            Standing("gone", EngineState.RESTARTING, Load()),
        )
        await metrics.read()
        assert len(busy.asked) == 1, "one answer serves the page and Prometheus"
        engines["busy"].switch(EngineState.FAILED)
        assert (await metrics.standing())[0].state is EngineState.FAILED, "what we know ourselves is as it is now"
        clock.advance(FRESH_SECONDS)
        busy.status = 500
        assert (await metrics.standing())[0].load == Load(), "old numbers are none"


async def test_a_simulated_engine_tells_its_load_too() -> None:
    async with EngineSimulator(behaviour=Behaviour(cached_tokens=40)) as simulator:
        engine = OpenAIEngine(simulator.base_url)
        clock = FakeClock()
        metrics = EngineMetrics([source_of("one", simulator.base_url)], clock, {"one": engine})
        assert (await metrics.standing())[0].load == Load(0, 0, 0, None)
        simulator.script.extend((Behaviour(), Behaviour(tokens_per_second=1)))
        request = EngineRequest(({"role": "user", "content": "Hi"},), Sampling(), request_id="r-1")
        async with aclosing(engine.stream(request)) as deltas:
            assert [delta async for delta in deltas]
        async with aclosing(engine.stream(request)) as deltas:
            await anext(deltas)
            clock.advance(FRESH_SECONDS)
            assert (await metrics.standing())[0].load == Load(1, 0, 1 / 256, 0.4)
        await engine.close()
