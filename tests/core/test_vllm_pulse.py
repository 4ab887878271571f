"""An engine that answers /health and makes no token is started again; one that writes or reads is left in peace."""

from __future__ import annotations

import asyncio

import pytest

from core.vllm_pulse import tokens
from tests.core.engine_stand import READY, RESTARTING, Watched, serving


async def looks(engine: Watched, times: int) -> None:
    """Until its numbers were read so often."""
    async with asyncio.timeout(10):
        while engine.lines.count("looked") < times:
            await asyncio.sleep(0.01)


async def test_an_idle_engine_is_asked_for_one_token_at_a_time() -> None:
    async with serving() as engine:
        await looks(engine, 4)
        assert engine.lines.count("asked") >= 3  # the one that we asked for is no sign that replies are written
        assert RESTARTING not in engine.states()


async def test_one_that_writes_replies_is_not_asked() -> None:
    async with serving("writing") as engine:
        await looks(engine, 5)
        assert engine.lines.count("asked") == 1  # at the first look there is nothing to compare with
        assert RESTARTING not in engine.states()


async def test_one_that_makes_no_token_is_started_again() -> None:
    async with serving("mute") as engine:
        assert "answers /health, but made no token in 0.4 s" in await engine.until(RESTARTING)
        await engine.until(READY, times=2)


async def test_one_that_only_reads_a_long_prompt_is_not() -> None:
    async with serving("reading") as engine:
        await looks(engine, 6)  # two each time: before the call, and after it took too long
        assert RESTARTING not in engine.states()


@pytest.mark.parametrize(("wish", "said"), [("broken", "a call with HTTP 500"), ("mute", "made no token")])
async def test_without_statistics_the_token_alone_counts(wish: str, said: str) -> None:
    async with serving(wish, "unmeasured") as engine:
        assert said in await engine.until(RESTARTING)


async def test_a_stop_does_not_wait_for_the_token() -> None:
    async with serving("mute") as engine:
        async with asyncio.timeout(10):
            while "asked" not in engine.lines:
                await asyncio.sleep(0.01)
        async with asyncio.timeout(3):
            await engine.server.stop()


def test_tokens_are_summed_over_all_engines() -> None:
    text = 'vllm:generation_tokens_total{engine="0"} 3.0\nvllm:generation_tokens_total{engine="1"} 1e+03\n'
    assert tokens(f"{text}vllm:prompt_tokens_total 7.0") == 1003.0
    assert tokens("") == 0.0
