"""What `main.py bench` compares and counts is what it says: both ways ask the same; what holds the loop is named."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest

from bench.directly import WAYS, asking, stand_of
from bench.sides import WORDS, direct
from bench.watched import Phase, read
from core.engine_simulator import EngineSimulator
from core.simulated_reply import Behaviour

HOME = Path(__file__).resolve().parent.parent.parent
DELTAS = 20
WHOLE = 0.05 + DELTAS / 20  # seconds until the engine has written all of a reply
WINDOW = 0.5  # seconds: shorter than a reply, so each user asks once
PROGRAM = """
import asyncio, signal, sys, time

def burn():
    until = time.thread_time() + 0.02
    while time.thread_time() < until:
        pass

async def main():
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, print)  # so that signals wake the loop, as in main.py
    print("open", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    burn()                             # the loop's own work
    await asyncio.sleep(0)
    time.sleep(0.02)                   # it only stands still
    await asyncio.sleep(0)
    print("done", flush=True)
    await asyncio.to_thread(sys.stdin.readline)

asyncio.run(main())
"""


def phase_in(path: Path) -> Phase:
    deadline = time.monotonic() + 10
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return read(path)


def test_a_callback_that_holds_the_loop_is_named_and_one_that_stands_still_is_not(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    words = [sys.executable, "-m", "bench.watched", str(tmp_path), str(program)]
    with subprocess.Popen(words, cwd=HOME, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        process.send_signal(signal.SIGUSR2)
        phase_in(tmp_path / "1.json")
        print(file=process.stdin, flush=True)
        assert process.stdout.readline() == "done\n"
        process.send_signal(signal.SIGUSR2)
        phase = phase_in(tmp_path / "2.json")
        process.communicate("\n", timeout=10)
    assert process.returncode == 0
    assert phase.wall_long > phase.long >= 1
    held = phase.held[0]
    assert held.what == "main"
    assert re.search(r"program\.py:\d+ burn", held.where)
    assert 0.02 <= held.worst == phase.worst


def asked(engine: EngineSimulator) -> str:
    """The newest call without what differs from question to question, and from minute to minute."""
    body = engine.calls[-1].body
    return re.sub("|".join((*WORDS, r"\d+")), "#", orjson.dumps(body, option=orjson.OPT_SORT_KEYS).decode())


@pytest.mark.process
async def test_every_way_asks_the_engine_the_same_and_counts_the_whole_reply() -> None:
    engine = EngineSimulator(behaviour=Behaviour(pieces=DELTAS, tokens_per_second=20.0, first_token_seconds=0.05))
    async with engine, stand_of(HOME, engine.base_url) as stand:
        straight = await direct(stand, 2, WINDOW)
        expected = asked(engine)
        assert "#" in expected
        for channel, way in WAYS.items():
            through = await asking(stand, channel)(2, WINDOW)
            assert asked(engine) == expected, channel
            assert (through.replies, through.tokens) == (straight.replies, straight.tokens) == (2, 2 * DELTAS), channel
            assert all(0.05 <= first < through.seconds for first in through.firsts), channel
            if way.grows:
                assert all(first < WHOLE for first in through.firsts), channel
