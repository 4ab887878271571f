"""Whatever runs on the leash ends when the gateway does, children and grandchildren too - after `kill -9` as well.

    python leash.py GRACE_SECONDS FOLDER PROGRAM [ARGUMENT ...]

Runs PROGRAM and waits. Standard input is a pipe whose other end only the gateway holds: when it closes, however the
gateway ended, everything that PROGRAM started gets SIGTERM, and SIGKILL after GRACE_SECONDS; then FOLDER (the one of
the socket) is removed. The same happens, without the folder, when PROGRAM ends by itself or SIGTERM comes; the exit
status is PROGRAM's (128 + signal when one killed it). A process of its own, so it imports nothing of the house.
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
OOM_SCORE = "500"  # of 1000: when memory runs out the engine goes, and the gateway stays and starts it again
STEP_SECONDS = 0.05


def prctl(option: int, value: int) -> None:
    """Linux only; elsewhere the pipe alone keeps the promise."""
    if sys.platform == "linux" and ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")


def descendants(root: int) -> set[int]:
    """Every process below *root* that is still alive. As orphans come to us (subreaper), none can slip away."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:  # it ended while we looked
            continue
        if state != "Z":
            children.setdefault(int(parent), []).append(int(entry.name))
    found: set[int] = set()
    waiting = list(children.get(root, ()))
    while waiting:
        pid = waiting.pop()
        found.add(pid)
        waiting += children.get(pid, ())
    return found


def send(pids: set[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def reap(program: int) -> int | None:
    """Buries whatever has ended; the exit status of *program* if that was among it."""
    status = None
    while True:
        try:
            pid, code = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status
        if pid == 0:
            return status
        if pid == program:
            ended = os.waitstatus_to_exitcode(code)
            status = ended if ended >= 0 else 128 - ended


def end_all(program: int, grace: float, clock: Callable[[], float] = time.monotonic) -> int | None:
    """SIGTERM to all that is left, SIGKILL after *grace* seconds; returns when nothing is left."""
    status = None
    ours = os.getpid()
    send(descendants(ours), signal.SIGTERM)
    deadline = clock() + grace
    while left := descendants(ours):
        if clock() >= deadline:
            send(left, signal.SIGKILL)  # again each time round: one of them may just have forked
        time.sleep(STEP_SECONDS)
        ended = reap(program)
        status = status if ended is None else ended
    ended = reap(program)
    return status if ended is None else ended


def prepare_program() -> None:
    """Runs in the new process, before PROGRAM."""
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)  # should somebody kill the leash itself
    try:
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)
    except OSError:  # some containers forbid it, and the engine runs without it as well
        return


def wake_pipe() -> int:
    """The reading end of a pipe that gets a byte whenever a child ends or SIGTERM comes."""

    def note(_number: int, _frame: FrameType | None) -> None:
        """The byte in the pipe is the news."""

    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, note)
    return reading


def main(arguments: Sequence[str]) -> int:
    grace, folder, command = float(arguments[0]), arguments[1], arguments[2:]
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    wake = wake_pipe()
    try:
        # preexec_fn is safe here: this process has one thread.
        program = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=prepare_program)  # noqa: PLW1509
    except OSError as error:
        print(f"leash: {command[0]} cannot be started: {error}", file=sys.stderr)  # noqa: T201
        return 127
    status: int | None = None
    gateway_is_gone = told_to_end = False
    while status is None and not gateway_is_gone and not told_to_end:
        readable, _, _ = select.select([sys.stdin.fileno(), wake], [], [])
        if wake in readable:
            told_to_end = bool({signal.SIGTERM, signal.SIGINT} & set(os.read(wake, 512)))
            status = reap(program.pid)
        if sys.stdin.fileno() in readable:
            gateway_is_gone = not os.read(sys.stdin.fileno(), 512)
    ended = end_all(program.pid, grace)
    status = status if ended is None else ended
    if gateway_is_gone:
        shutil.rmtree(folder, ignore_errors=True)
    program.returncode = status  # it is buried already; subprocess must not look for it
    return 0 if status is None else status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
