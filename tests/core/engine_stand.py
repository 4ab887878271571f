"""A supervised server for the tests of core/vllm*.py: the child process behind it, and all it told."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from core.engine import EngineState
from core.vllm import Pace, VllmServer
from core.vllm_trouble import Shortage

CHILD = Path(__file__).with_name("engine_child.py")
QUICK = Pace(
    first_pause=0.01,
    longest_pause=0.04,
    steady=60.0,
    grace=0.3,
    probe=0.02,
    watch=0.05,
    deaf=5.0,
    proof=0.1,
    token=0.4,
)
STARTING, READY, RESTARTING, FAILED, STOPPED = EngineState


@dataclass
class Watched:
    """A running server, and all it told."""

    server: VllmServer
    task: asyncio.Task[None]
    told: list[tuple[EngineState, str]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def states(self) -> list[EngineState]:
        return [state for state, _ in self.told]

    async def until(self, state: EngineState, times: int = 1) -> str:
        """The note of that state's n-th coming."""
        async with asyncio.timeout(10):
            while self.states().count(state) < times:
                await asyncio.sleep(0.01)
        return [note for seen, note in self.told if seen is state][times - 1]


@contextlib.asynccontextmanager
async def serving(
    *wishes: str,
    pace: Pace = QUICK,
    program: str = sys.executable,
    less: tuple[str, ...] | None = None,
    kills: Callable[[], int] = lambda: 0,
) -> AsyncIterator[Watched]:
    """The child with those *wishes*; with *less* instead once it is started with less memory."""
    told: list[tuple[EngineState, str]] = []
    lines: list[str] = []

    def command(socket: Path, shortage: Shortage | None = None) -> list[str]:
        size = ["--max-num-seqs", "8" if shortage else "16"]
        return [program, "-S", str(CHILD), str(socket), *((less or wishes) if shortage else wishes), *size]

    server = VllmServer(
        "tiny on 2 CPU cores",
        command,
        environment=os.environ,
        on_log=lines.append,
        on_state=lambda state, note: told.append((state, note)),
        pace=pace,
        kills=kills,
    )
    watched = Watched(server, asyncio.create_task(server.run()), told, lines)
    try:
        yield watched
    finally:
        if not watched.task.done():
            await server.stop()
        await asyncio.gather(watched.task, return_exceptions=True)
        assert not server.socket.parent.exists()
