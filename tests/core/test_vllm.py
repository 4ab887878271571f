"""The engine is kept running, says how it is, and leaves nothing behind - shown on real processes."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
import psutil
import pytest

from core.errors import EngineUnavailable
from core.vllm import Pace, pause_after, socket_folder
from core.vllm_plan import read_model
from tests.core.engine_stand import CHILD, FAILED, READY, RESTARTING, STARTING, STOPPED, serving

ROOT = Path(__file__).parents[2]


async def eventually(true: Callable[[], bool], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.02)


async def pids_in(file: Path) -> list[int]:
    await eventually(file.exists)
    return [int(pid) for pid in file.read_text().split()]


def gone(pids: list[int]) -> bool:
    def alive(pid: int) -> bool:
        try:
            return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False

    return not any(alive(pid) for pid in pids)


async def test_it_becomes_ready_and_says_so() -> None:
    async with serving("load=0.05") as engine:
        assert engine.server.state is STARTING
        await engine.server.wait_ready()
        assert engine.server.state is READY
        assert engine.server.detail.startswith("tiny on 2 CPU cores, loaded in ")
        await eventually(lambda: "done" in engine.lines)
        assert engine.lines[:3] == ["loading weights", "50 %", "done"]
    assert engine.states() == [STARTING, READY, STOPPED]
    assert engine.server.detail == "stopped"


async def test_while_it_loads_the_detail_tells_the_seconds() -> None:
    async with serving("load=30") as engine:
        await engine.until(STARTING)
        assert re.fullmatch(r"loading tiny on 2 CPU cores, \d+ s", engine.server.detail)
        assert not engine.task.done()


async def test_nobody_waits_for_a_stopped_engine() -> None:
    async with serving("load=30") as engine:
        await engine.until(STARTING)
        waiting = asyncio.create_task(engine.server.wait_ready())
        await engine.server.stop()
        with pytest.raises(EngineUnavailable):
            await waiting


async def test_a_crash_is_followed_by_a_new_start() -> None:
    async with serving("crash=0.15") as engine:
        note = await engine.until(RESTARTING)
        assert "status 3" in note
        assert "next start in" in note
        await engine.until(READY, times=2)
        await engine.server.wait_ready()
    assert engine.states()[:5] == [STARTING, READY, RESTARTING, STARTING, READY]


async def test_a_start_that_never_succeeds_is_told_as_failed_and_tried_on() -> None:
    async with serving("refuse") as engine:
        note = await engine.until(FAILED, times=2)
        assert "the model is no good" in note
        assert READY not in engine.states()
        assert engine.states()[:6] == [STARTING, RESTARTING, STARTING, RESTARTING, STARTING, FAILED]


async def test_a_missing_program_is_told() -> None:
    async with serving(program="/nonexistent/python") as engine:
        assert "cannot be started" in await engine.until(FAILED)


async def test_a_sick_server_is_started_again() -> None:
    async with serving("sick") as engine:
        assert "health check says 503" in await engine.until(RESTARTING)
        await engine.until(READY, times=2)


async def test_loading_has_an_end() -> None:
    async with serving("load=30", pace=Pace(first_pause=0.01, grace=0.3, probe=0.02, load=0.2)) as engine:
        assert "not ready after" in await engine.until(RESTARTING)


@pytest.mark.parametrize("wishes", [(), ("deaf",), ("child",), ("deaf", "child")], ids=" ".join)
async def test_stop_leaves_nothing(tmp_path: Path, wishes: tuple[str, ...]) -> None:
    async with serving(*wishes, f"pids={tmp_path / 'pids'}") as engine:
        await engine.server.wait_ready()
        pids = await pids_in(tmp_path / "pids")
        began = time.monotonic()
        await engine.server.stop()
        assert time.monotonic() - began < 3
        assert gone(pids)


async def test_cancelling_leaves_nothing(tmp_path: Path) -> None:
    async with serving("deaf", "child", f"pids={tmp_path / 'pids'}") as engine:
        await engine.server.wait_ready()
        pids = await pids_in(tmp_path / "pids")
        engine.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await engine.task
        assert gone(pids)
        assert engine.server.state is STOPPED


async def test_what_a_crash_leaves_is_ended_before_the_next_start(tmp_path: Path) -> None:
    async with serving("child", "crash=0.1", f"pids={tmp_path / 'pids'}") as engine:
        pids = await pids_in(tmp_path / "pids")
        await engine.until(RESTARTING)
        assert gone(pids)


async def test_killing_the_leash_ends_the_program_and_a_new_one_starts(tmp_path: Path) -> None:
    async with serving(f"pids={tmp_path / 'pids'}") as engine:
        await engine.server.wait_ready()
        (program,) = await pids_in(tmp_path / "pids")
        holder = psutil.Process(program).ppid()
        os.kill(holder, signal.SIGKILL)
        await engine.until(READY, times=2)
        assert gone([program, holder])


GATEWAY = """
import asyncio, os, sys
from core.vllm import Pace, VllmServer
server = VllmServer("x", lambda socket, shortage: [sys.executable, "-S", sys.argv[1], str(socket), *sys.argv[2:]],
    environment=os.environ, on_log=lambda line: None, on_state=lambda state, note: None, pace=Pace(grace=0.3))
async def main():
    running = asyncio.create_task(server.run())
    await server.wait_ready()
    print(server.socket, flush=True)
    await running
asyncio.run(main())
"""


async def test_kill_9_of_the_gateway_leaves_nothing(tmp_path: Path) -> None:
    wishes = ["deaf", "child", f"pids={tmp_path / 'pids'}"]
    with subprocess.Popen(
        [sys.executable, "-c", GATEWAY, str(CHILD), *wishes], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as gateway:
        assert gateway.stdout is not None
        socket = Path(await asyncio.to_thread(gateway.stdout.readline)).parent
        pids = await pids_in(tmp_path / "pids")
        assert not gone(pids)
        gateway.kill()
        await eventually(lambda: gone(pids))
        await eventually(lambda: not socket.exists())


def test_sockets_have_short_private_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    folder = socket_folder()
    assert len(bytes(folder / "engine.sock")) <= 107
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.rmdir()


def test_pauses_double_up_to_a_ceiling() -> None:
    assert [pause_after(failures, Pace()) for failures in (0, 1, 2, 3, 4, 5, 6, 7, 8, 1000)] == [
        1, 1, 2, 4, 8, 16, 32, 60, 60, 60,
    ]  # fmt: skip


REAL_GATEWAY = """
import asyncio, os, sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from core.config import EngineSettings
from core.machine import look
from core.vllm import VllmServer, server_command
from core.vllm_plan import plan, read_model
made = plan(EngineSettings(), look(program="none"), read_model(sys.argv[1], Path("none")))
small = 64 * 2**20  # of cache: a third of one context
made = replace(made, flags={**made.flags, "--kv-cache-memory-bytes": str(small)},
    budget=replace(made.budget, cache=small))
server = VllmServer(made.label, partial(server_command, Path(".venv-engine/bin/python"), made),
    environment={**made.environment, **os.environ}, on_log=lambda line: print(line, file=sys.stderr),
    on_state=lambda state, note: print(state, note, file=sys.stderr))
async def main():
    running = asyncio.create_task(server.run())
    await server.wait_ready()
    print(server.socket, flush=True)
    await running
asyncio.run(main())
"""


@pytest.mark.engine
async def test_the_real_vllm_gets_what_fits_and_answers_and_survives_no_kill_9_of_the_gateway() -> None:
    """Its first start has too small a cache: what it says of that is understood, and the second one comes up."""
    model = ROOT / "var" / "models" / "SmolLM2-135M-Instruct"
    with subprocess.Popen(
        [sys.executable, "-c", REAL_GATEWAY, str(model)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as gateway:
        assert gateway.stdout is not None
        socket = Path((await asyncio.to_thread(gateway.stdout.readline)).strip())
        processes = psutil.Process(gateway.pid).children(recursive=True)
        body = {"model": model.name, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 5}
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket))) as http,
            http.post("http://engine/v1/chat/completions", json=body) as answer,
        ):
            assert (await answer.json())["usage"]["completion_tokens"] > 0
            async with http.get("http://engine/v1/models") as listed:
                context = (await listed.json())["data"][0]["max_model_len"]
        fits = 64 * 2**20 // read_model(str(model), ROOT).token_bytes
        assert fits - 3 * 32 < context <= fits  # our arithmetic and vLLM's agree, but for blocks that are not full
        assert len(processes) >= 3  # the leash, the server, the engine's core
        gateway.kill()
        await eventually(lambda: gone([process.pid for process in processes]), 30)
        await eventually(lambda: not socket.parent.exists())
