"""Every step says what it is doing while it does it, and a step that fails says why and what to do about it."""

from __future__ import annotations

import queue
import re
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

KEPT_LINES = 200
SHOWN_LINES = 8
QUIET_SECONDS = 15.0  # between two lines on a pipe, where a line cannot be overwritten
NO_VERSION = "no version of this package fits"


class SetupError(Exception):
    """The set-up cannot go on; the message says what happened and what to do."""


class ToolFailed(SetupError):
    """A program that the set-up ran ended badly."""

    def __init__(self, what: str, code: int, lines: Sequence[str]) -> None:
        self.meaning, advice = explain(lines, code)
        shown = "\n".join(f"    {line}" for line in telling(lines)) or "    (it printed nothing)"
        super().__init__(
            f"{what} failed (exit status {code}). Its last words:\n{shown}\nWhat it means: {self.meaning}.\n{advice}"
        )


# Searched in this order: pip ends a failure of the network with "No matching distribution", too.
EXPLANATIONS: tuple[tuple[str, str, str], ...] = (
    (
        r"No space left on device|Errno 28|Disk quota exceeded",
        "the disk is full (this folder's, pip's cache or the temporary folder)",
        "Free some space (`df -h . /tmp`), or point TMPDIR to a roomier disk; then run the same command again.",
    ),
    (
        r"DO NOT MATCH THE HASHES|Hashes are required|HashMismatch",
        "a package differs from the one that was locked: a damaged download, or a mirror that serves another file",
        "Run `python3 -m pip cache purge` and try again. If it stays, do not install it: compare the mirror with PyPI.",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|SSLError|SSLCertVerificationError",
        "the registry's certificate is not trusted here",
        "Behind a company proxy, name its certificate: `python3 -m pip config set global.cert FILE`; then try again.",
    ),
    (
        r"Temporary failure in name resolution|Name or service not known|NewConnectionError|Network is unreachable"
        r"|Connection refused|ConnectTimeout|ReadTimeout|Read timed out|Connection reset|ProxyError|ProtocolError"
        r"|IncompleteRead|Connection aborted",
        "the package registry could not be reached",
        "Check the network, or the mirror and proxy in `python3 -m pip config list`; then run the same command again. "
        "What is already downloaded is kept.",
    ),
    (
        r"No matching distribution found|Could not find a version",
        NO_VERSION,
        "The lock files hold for CPython 3.11 to 3.13 on 64-bit Linux (x86_64, and aarch64 where wheels exist). "
        "On such a machine, see whether the mirror in `python3 -m pip config list` has the package.",
    ),
    (
        r"Failed building wheel|Failed to build|error: command .* failed|metadata-generation-failed",
        "a package has no ready-made build for this machine and could not be compiled",
        "Use CPython 3.11 to 3.13 on 64-bit Linux with glibc (not musl), or install a C compiler and Python's headers.",
    ),
    (
        r"Permission denied|Errno 13|Read-only file system",
        "a file or folder here may not be written",
        "Make this folder your own (`ls -la`): an earlier run as root may have left files; nothing here needs root.",
    ),
    (
        r"MemoryError|Cannot allocate memory|Killed",
        "the machine ran out of memory",
        "Stop other programs or use a machine with more memory (4 GiB are enough); then run the same command again.",
    ),
)
UNKNOWN = (
    "this set-up does not know this failure",
    "The lines above are the tool's own. Running the same command again is safe: unfinished steps start over.",
)


def explain(lines: Sequence[str], code: int) -> tuple[str, str]:
    """What a tool's output means in plain words, and what to do."""
    text = "\n".join(lines) + ("\nKilled" if code in (-9, 137) else "")
    for pattern, meaning, advice in EXPLANATIONS:
        if re.search(pattern, text):
            return meaning, advice
    return UNKNOWN


def telling(lines: Sequence[str]) -> list[str]:
    """The few lines of a tool's output that say most: its errors, or else its end."""
    kept = [line.rstrip() for line in lines if line.strip() and not line.startswith("[notice]")]
    errors = [line for line in kept if re.match(r"\s*(ERROR|error|fatal|\w*Error\b)", line)]
    return [line[:300] for line in (errors or kept)[-SHOWN_LINES:]]


@dataclass
class Console:
    """Shows one step at a time: a line that is rewritten on a terminal, a few lines on a pipe."""

    out: TextIO = field(default_factory=lambda: sys.stderr)
    clock: Callable[[], float] = time.monotonic
    head: str = ""
    began: float = 0.0
    shown_at: float = 0.0

    def say(self, text: str) -> None:
        print(text, file=self.out, flush=True)

    def begin(self, head: str, size: str) -> None:
        self.head, self.began, self.shown_at = head, self.clock(), self.clock()
        self.say(f"{head}: {size}")

    def show(self, now: str) -> None:
        seconds = self.clock() - self.began
        if self.out.isatty():
            print(f"\r\033[K    {now}, {seconds:.0f} s"[:110], end="", file=self.out, flush=True)
        elif self.clock() - self.shown_at >= QUIET_SECONDS:
            self.shown_at = self.clock()
            self.say(f"    {now}, {seconds:.0f} s")

    def end(self, verdict: str = "done") -> None:
        erase = "\r\033[K" if self.out.isatty() else ""
        self.say(f"{erase}    {verdict} in {self.clock() - self.began:.0f} s")


@dataclass
class PipProgress:
    """Turns pip's own lines into one that says how far it is."""

    packages: int
    met: int = 0
    megabytes: float = 0.0
    installing: bool = False

    def __call__(self, line: str) -> str:
        if re.match(r"(Collecting|Processing|Ignoring|Requirement already satisfied)\b", line):
            self.met += 1
        if size := re.match(r"\s+Downloading .*\((\d[\d.]*) (kB|MB|GB)\)", line):
            self.megabytes += float(size[1]) * {"kB": 0.001, "MB": 1.0, "GB": 1000.0}[size[2]]
        self.installing = self.installing or line.startswith("Installing collected")
        loaded = f"{min(self.met, self.packages)} of {self.packages} packages, {self.megabytes:.0f} MB downloaded"
        return f"{loaded}, unpacking them all" if self.installing else loaded


def run_tool(
    what: str,
    command: Sequence[str | Path],
    *,
    console: Console,
    progress: Callable[[str], str],
    env: Mapping[str, str],
) -> None:
    """Runs *command*, shows what *progress* makes of each of its lines, and raises ToolFailed when it fails."""
    kept: deque[str] = deque(maxlen=KEPT_LINES)
    try:
        with subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=env,
        ) as tool:
            code = _follow(tool, what, console, progress, kept)
    except OSError as error:
        raise ToolFailed(what, 127, [str(error)]) from error
    if code:
        raise ToolFailed(what, code, list(kept))


def _follow(
    tool: subprocess.Popen[str], what: str, console: Console, progress: Callable[[str], str], kept: deque[str]
) -> int:
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=_read_lines, args=(tool, lines), daemon=True).start()
    now = what
    try:
        while (line := _next_line(lines)) is not None:
            if line:
                kept.append(line)
                now = progress(line)
            console.show(now)
        return tool.wait()
    finally:
        if tool.poll() is None:
            tool.kill()  # Ctrl-C: nothing goes on behind the person's back


def _read_lines(tool: subprocess.Popen[str], lines: queue.SimpleQueue[str | None]) -> None:
    for line in tool.stdout or ():
        lines.put(line)
    lines.put(None)


def _next_line(lines: queue.SimpleQueue[str | None]) -> str | None:
    """The next line; an empty one after a second without any, so that the clock on the screen goes on."""
    try:
        return lines.get(timeout=1.0)
    except queue.Empty:
        return ""
