"""The engines' own numbers: passed on under their names, whole or not at all, and no engine can spoil what is ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from core.engine import EngineState
from core.engine_metrics import FRESH_SECONDS, PAGE_LIMIT, EngineMetrics, Source, gather, source_of
from core.http import Face, application
from tests.fakes import FakeClock, FakeEngine
from tests.rooms import rooms
from tests.serving import HouseServer


def page(running: float = 3, model: str = "gpt-oss-20b") -> bytes:
    """As vLLM writes it: with prometheus_client, a label `engine` of its own, and numbers of the process."""
    registry = CollectorRegistry()
    labels = ["model_name", "engine"]
    Gauge("vllm:num_requests_running", "Requests", labels, registry=registry).labels(model, "0").set(running)
    Counter("vllm:prompt_tokens", "Tokens", labels, registry=registry).labels(model, "0").inc(7)
    seconds = Histogram("vllm:time_to_first_token_seconds", "Seconds", labels, buckets=(0.1, 1), registry=registry)
    seconds.labels(model, "0").observe(0.5)
    Info("vllm:cache_config", "Settings", ["engine"], registry=registry).labels("0").info({"gpu_memory": "0.9"})
    Gauge("process_resident_memory_bytes", "Bytes", registry=registry).set(1e9)
    return generate_latest(registry)


def read(text: bytes) -> dict[str, float]:
    """Every sample, as Prometheus' own parser reads it."""
    return {
        f"{sample.name}{dict(sorted(sample.labels.items()))}": sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


class Telling:
    """A server with a /metrics."""

    def __init__(self, body: bytes = b"", status: int = 200) -> None:
        self.body, self.status = body, status
        self.asked: list[str] = []
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        self.came = asyncio.Event()

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.headers.get("Authorization", ""))
        self.came.set()
        await self.goes_on.wait()
        if self.status == 302:
            raise web.HTTPFound("/elsewhere")
        return web.Response(body=self.body, status=self.status)

    async def elsewhere(self, _: web.Request) -> web.Response:
        return web.Response(body=self.body)

    @asynccontextmanager
    async def open(self, uds: Path | None = None) -> AsyncIterator[str]:
        """Its base_url, as of an engine."""
        app = web.Application()
        app.router.add_get("/metrics", self.answer)
        app.router.add_get("/elsewhere", self.elsewhere)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await (web.UnixSite(runner, uds) if uds else web.TCPSite(runner, "127.0.0.1", 0)).start()
        try:
            yield "http://engine/v1" if uds else f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        finally:
            self.goes_on.set()
            await runner.cleanup()


def test_one_engine_is_shown_as_it_is() -> None:
    text = gather({"vllm": page()})
    skipped = ("_info{", "_created{")
    own = {
        key: value
        for key, value in read(page()).items()
        if key.startswith("vllm:") and not any(ending in key for ending in skipped)
    }
    assert read(text) == own
    assert len(own) > 6
    assert b"gpu_memory" not in text  # words, not numbers
    assert b"process_" not in text  # of the process, and ours has such numbers, too
    assert gather({"one": b"", "two": b""}) == b""


def test_of_several_each_sample_says_whose_it_is() -> None:
    text = gather({"http://one:8000/v1": page(1), "http://two:8000/v1": page(2), "http://gone:8000/v1": b""})
    found = read(text)
    for name, running in (("http://one:8000/v1", 1), ("http://two:8000/v1", 2)):
        labels = {"engine": name, "exported_engine": "0", "model_name": "gpt-oss-20b"}
        assert found[f"vllm:num_requests_running{labels}"] == running
    assert text.count(b"# TYPE vllm:num_requests_running gauge") == 1  # the format wants a metric in one piece
    assert len(found) == 2 * len(read(gather({"one": page()})))


@pytest.mark.parametrize(
    "line",
    [
        b'vllm:x{engine="0"} 12abc',
        b"vllm:x 1 2 3",
        b'vllm:x{a="unclosed} 1',
        b"vllm:x +-e",
        b"vllm:x 0x10",
        b"frontdesk_messages_waiting 99",
        b"vllm:y 1",  # of no metric that was announced
        b'vllm:x{a="\xff"',
        b"<html>",
    ],
)
def test_a_line_that_is_none_is_left_out(line: bytes) -> None:
    assert gather({"one": b"# TYPE vllm:x gauge\n" + line + b"\nvllm:x 1\n"}) == b"# TYPE vllm:x gauge\nvllm:x 1\n"


@given(st.binary(max_size=200), st.sampled_from([b"", b"# TYPE vllm:x counter\n", b"# TYPE vllm:x counter\nvllm:x{"]))
def test_whatever_an_engine_says_ours_can_still_be_read(noise: bytes, before: bytes) -> None:
    assert isinstance(read(b"ours 1\n" + gather({"one": before + noise, "two": page()})), dict)


async def test_it_is_asked_at_the_origin_with_its_key_and_not_more_often_than_needed() -> None:
    telling, clock = Telling(page()), FakeClock()
    async with telling.open() as url:
        metrics = EngineMetrics([source_of("one", url, SecretStr("key-1"))], clock)
        first, second = await asyncio.gather(metrics.read(), metrics.read())
        assert read(first) == read(second) == read(gather({"one": page()}))
        assert telling.asked == ["Bearer key-1"]
        clock.advance(FRESH_SECONDS)
        telling.body = page(5)
        assert b"} 5.0" in await metrics.read()
        assert len(telling.asked) == 2
    clock.advance(FRESH_SECONDS)
    assert await metrics.read() == b""  # gone


async def test_it_is_asked_through_its_socket(tmp_path: Path) -> None:
    source = Source("vllm", "http://engine/metrics", uds=tmp_path / "engine.sock")
    assert await EngineMetrics([source], FakeClock()).read() == b""  # it is still loading
    async with Telling(page()).open(tmp_path / "engine.sock"):
        assert read(await EngineMetrics([source], FakeClock()).read()) == read(gather({"vllm": page()}))


@pytest.mark.parametrize("status", [404, 500, 302])
async def test_one_that_has_none_is_passed_over(status: int) -> None:
    async with Telling(page(1), status).open() as none, Telling(page(2)).open() as some:
        found = read(await EngineMetrics([source_of("none", none), source_of("some", some)], FakeClock()).read())
        assert {key for key in found if "'some'" in key} == set(found)
        assert found


async def test_one_that_hangs_holds_up_nobody_for_long() -> None:
    hanging = Telling(page())
    hanging.goes_on.clear()
    async with hanging.open() as slow, Telling(page(2)).open() as quick:
        metrics = EngineMetrics([source_of("slow", slow), source_of("quick", quick)], FakeClock(), seconds=0.2)
        async with asyncio.timeout(5):
            assert b'engine="quick"' in await metrics.read()
        assert hanging.came.is_set()


async def test_a_page_without_end_is_cut_between_two_metrics() -> None:
    endless = page() + b"# TYPE vllm:last gauge\n" + b'vllm:last{a="1"} 1\n' * PAGE_LIMIT
    async with Telling(endless).open() as url:
        text = await EngineMetrics([source_of("one", url)], FakeClock()).read()
        assert read(text) == read(gather({"one": page()}))


def test_all_of_them_together_are_bounded() -> None:
    pages = {f"engine-{number}": page(model="m" * 1000) for number in range(40)}
    text = gather(pages)
    assert 0 < len(text) <= PAGE_LIMIT
    assert read(text)


async def test_each_engine_is_said_to_be_ready_or_not_as_it_is_now() -> None:
    engines, strange = {"one": FakeEngine(), 'two "\\\n': FakeEngine()}, """{'engine': 'two "\\\\\\n'}"""
    metrics = EngineMetrics([], FakeClock(), engines)
    ready, away = "frontdesk_engine_ready{'engine': 'one'}", f"frontdesk_engine_ready{strange}"
    assert read(await metrics.read()) == {ready: 1, away: 1}
    engines['two "\\\n'].switch(EngineState.RESTARTING)
    assert read(await metrics.read()) == {ready: 1, away: 0}


async def test_they_stand_beside_ours_and_cannot_make_them_fail(tmp_path: Path) -> None:
    telling, clock = Telling(page()), FakeClock()
    async with rooms(tmp_path) as house, telling.open() as url:
        beside = EngineMetrics([source_of("one", url)], clock).read
        face = Face(
            on=(),
            off={},
            ledger=house.ledger,
            engine=house.engine,
            metrics=house.metrics,
            clock=house.clock,
            beside=beside,
        )
        async with TestClient(HouseServer(application([], face, 1000))) as http:
            ours = b"# TYPE frontdesk_messages_waiting counter\nfrontdesk_messages_waiting 5\n"
            for telling.body in (page(), b"\xff\x00", ours):
                clock.advance(FRESH_SECONDS)
                answer = await http.get("/metrics")
                assert answer.status == 200
                found = read(await answer.read())
                assert found["frontdesk_messages_waiting{}"] == 0
                theirs = [key for key in found if key.startswith("vllm:")]
                assert bool(theirs) is telling.body.startswith(b"# HELP vllm")
