"""Runs a program as it is, its event loop under watch: `python -m bench.watched FOLDER main.py run`.

Each callback of the loop is held against the CPU time of the loop's thread: on busy cores the clock would count what
other processes took. A callback that goes on is looked into by an alarm, so that it can be named. SIGUSR2 begins a
phase anew and leaves the last one's summary in FOLDER, as 1.json, 2.json ...
"""

from __future__ import annotations

import asyncio
import gc
import json
import runpy
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import orjson

from core.ledger.writer import Connection, Writer

HOME = Path(__file__).resolve().parent.parent
PHASE = signal.SIGUSR2
LONG = 0.005  # seconds: a callback that takes longer is named
LOOK, AGAIN = 0.003, 0.002  # seconds into a callback when it is first looked into, and then each time
STEP = 1e-5  # seconds: how finely times are counted
STEPS = 20_000  # what takes longer than that many counts as that many
NAMED = 1_000  # different long callbacks kept of a phase
DEPTH = 5  # of our own functions named


@dataclass(slots=True)
class Held:
    """All long callbacks of one kind: seconds of CPU; of them those of garbage collections, in the worst."""

    what: str  # the callback, or the coroutine that a task runs
    where: str  # what it was doing when it was looked into, innermost first
    count: int = 0
    worst: float = 0.0
    collecting: float = 0.0


@dataclass(slots=True)
class Phase:
    """What happened between two signals. Times are seconds, of CPU unless named otherwise."""

    callbacks: int = 0
    cpu: float = 0.0
    worst: float = 0.0
    p999: float = 0.0
    long: int = 0
    wall_worst: float = 0.0
    wall_long: int = 0
    collections: int = 0  # of garbage, in any thread
    collecting_worst: float = 0.0  # by the clock: whoever collects holds up every thread
    commits: int = 0  # of the ledger
    pieces: int = 0  # of work in them
    parses: int = 0  # of JSON, in all of the process
    held: list[Held] = field(default_factory=list)  # the worst first


def read(path: Path) -> Phase:
    """A phase from its file."""
    fields = orjson.loads(path.read_bytes())
    return Phase(**fields | {"held": [Held(**held) for held in fields["held"]]})


class Watch:
    """Counts for one process; `install` it before the loop runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = 0
        self._asked = False
        self._current: float | None = None  # when the callback now running began, in CPU time
        self._seen: list[str] = []  # what it did when it was looked into
        self._collecting = 0.0  # CPU time of collections in it
        self._collecting_since = (0.0, 0.0)
        self._begin()

    def _begin(self) -> None:
        self.phase = Phase()
        self._steps = [0] * (STEPS + 1)
        self._held: dict[tuple[str, str], Held] = {}

    def install(self) -> None:
        signal.signal(PHASE, self._ask)
        signal.signal(signal.SIGALRM, self._look)
        gc.callbacks.append(self._collected)
        orjson.loads, json.loads = self._parsing(orjson.loads), self._parsing(json.loads)
        self._count_commits()
        self._time_callbacks()

    # --- what is counted --------------------------------------------------------------------------------------------

    def _time_callbacks(self) -> None:
        run, cpu_time, wall_time, alarm = asyncio.Handle._run, time.thread_time, time.perf_counter, signal.setitimer
        real = signal.ITIMER_REAL

        def timed(handle: asyncio.Handle) -> None:
            callback = handle._callback  # type: ignore[attr-defined]
            wall, began = wall_time(), cpu_time()
            self._current = began
            alarm(real, LOOK, AGAIN)
            try:
                run(handle)
            finally:
                alarm(real, 0)
                self._current = None
                self._count(callback, cpu_time() - began, wall_time() - wall)

        asyncio.Handle._run = timed  # type: ignore[method-assign, assignment]

    def _count(self, callback: Callable[..., object] | None, cpu: float, wall: float) -> None:
        phase = self.phase
        phase.callbacks += 1
        phase.cpu += cpu
        self._steps[min(STEPS, int(cpu / STEP))] += 1
        phase.worst, phase.wall_worst = max(phase.worst, cpu), max(phase.wall_worst, wall)
        if wall > LONG:
            phase.wall_long += 1
            if cpu > LONG:
                phase.long += 1
                self._name(callback, cpu)
        self._collecting = 0.0
        if self._seen:
            self._seen = []
        if self._asked:
            self._asked = False
            self._write()

    def _name(self, callback: Callable[..., object] | None, cpu: float) -> None:
        owner = getattr(callback, "__self__", None)
        named: Any = owner.get_coro() if isinstance(owner, asyncio.Task) else callback
        what = getattr(named, "__qualname__", repr(named)).replace("<locals>.", "")
        where = self._seen[0] if self._seen else "not seen"
        held = self._held.setdefault((what, where), Held(what, where)) if len(self._held) < NAMED else Held("", "")
        held.count += 1
        if cpu > held.worst:
            held.worst, held.collecting = cpu, self._collecting

    def _count_commits(self) -> None:
        commit = Writer._commit

        def counted(writer: Writer, connection: Connection, batch: list[Any]) -> None:
            self.phase.commits += 1
            self.phase.pieces += len(batch)
            commit(writer, connection, batch)

        Writer._commit = counted  # type: ignore[method-assign, assignment]

    def _parsing(self, parse: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*given: Any, **more: Any) -> Any:
            self.phase.parses += 1
            return parse(*given, **more)

        return counted

    def _collected(self, stage: str, _: dict[str, int]) -> None:
        if stage == "start":
            self._collecting_since = time.perf_counter(), time.thread_time()
            return
        wall, cpu = self._collecting_since
        self.phase.collections += 1
        self.phase.collecting_worst = max(self.phase.collecting_worst, time.perf_counter() - wall)
        if threading.current_thread() is threading.main_thread():
            self._collecting += time.thread_time() - cpu

    def _look(self, _: int, frame: FrameType | None) -> None:
        """The alarm: what is running, if it has run for so long and was not merely kept from it."""
        if self._current is None or time.thread_time() - self._current < LOOK / 2:
            return
        ours: list[str] = []
        while frame is not None and len(ours) < DEPTH:
            path = Path(frame.f_code.co_filename)
            if path.is_relative_to(HOME) and ".venv" not in path.parts and path != Path(__file__):
                ours.append(f"{path.relative_to(HOME)}:{frame.f_lineno} {frame.f_code.co_name}")
            elif not ours:
                ours.append(f"{path.parent.name}/{path.name}:{frame.f_lineno} {frame.f_code.co_name}")
            frame = frame.f_back
        self._seen.append(" in ".join(ours))

    # --- phases -----------------------------------------------------------------------------------------------------

    def _ask(self, *_: object) -> None:
        self._asked = True  # the signal wakes the loop, whose next callback ends the phase

    def _write(self) -> None:
        phase, left = self.phase, self.phase.callbacks / 1000
        for step in range(STEPS, -1, -1):
            left -= self._steps[step]
            if left < 0:
                phase.p999 = (step + 1) * STEP
                break
        phase.held = sorted(self._held.values(), key=lambda held: -held.worst)
        self._number += 1
        unfinished = self._folder / "unfinished"
        unfinished.write_bytes(orjson.dumps(asdict(phase)))
        unfinished.rename(self._folder / f"{self._number}.json")
        self._begin()


def main(folder: str, program: str, *arguments: str) -> None:
    """Run the program as if it had been started itself."""
    Watch(Path(folder)).install()
    sys.argv = [program, *arguments]
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])
