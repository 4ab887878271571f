"""The facts of this machine as the kernel and the driver give them: what may be used, not what is built in.

A container or a systemd unit may use less than the machine has; the limits of cgroup v2 and the CPU affinity count.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

GIB = 2**30
DRIVER_SECONDS = 20.0  # nvidia-smi wakes a sleeping card in a few seconds; a broken driver may hang for ever


@dataclass(frozen=True, slots=True)
class Card:
    """One NVIDIA card."""

    memory_mib: int
    name: str


@dataclass(frozen=True, slots=True)
class Machine:
    """What a process started here may use. Sizes in bytes."""

    memory_total: int
    memory_available: int
    cores: tuple[int, ...]  # the numbers of the logical CPUs we may run on
    cpus: float  # how many of them at a time: a quota may be smaller than the list
    cards: tuple[Card, ...] = ()

    @property
    def largest_card(self) -> Card | None:
        return max(self.cards, key=lambda card: card.memory_mib, default=None)


def parse_meminfo(text: str) -> tuple[int, int]:
    """Total and available bytes of /proc/meminfo."""
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    total, available = (int(fields.get(name, "0").split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    return total, available


def parse_cards(text: str) -> tuple[Card, ...]:
    """The cards of `nvidia-smi --query-gpu=memory.total,name --format=csv,noheader,nounits`."""
    cards = []
    for line in text.splitlines():
        memory, _, name = line.partition(",")
        if memory.strip().isdigit():  # "[N/A]" and "No devices were found" are no cards
            cards.append(Card(int(memory), name.strip()))
    return tuple(cards)


def find_cards(program: str = "nvidia-smi", visible: str = "") -> tuple[Card, ...]:
    """The NVIDIA cards here; none when the driver's program is absent or does not answer.

    *visible*: the numbers of those that may be used (CUDA_VISIBLE_DEVICES), which nvidia-smi itself does not heed.
    """
    if shutil.which(program) is None:
        return ()
    query = [program, "--query-gpu=memory.total,name", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=DRIVER_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    cards = parse_cards(answer.stdout) if answer.returncode == 0 else ()
    numbers = {int(part) for part in visible.split(",") if part.strip().isdigit()}
    return tuple(card for number, card in enumerate(cards) if not numbers or number in numbers)


def look(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup"), program: str = "nvidia-smi") -> Machine:
    """This machine, now. Blocks for as long as nvidia-smi takes."""
    total, available = parse_meminfo(_read(proc / "meminfo"))
    cores = tuple(sorted(os.sched_getaffinity(0)))
    cpus = float(len(cores))
    for group in _groups(_read(proc / "self" / "cgroup"), cgroups):
        if limit := _number(_read(group / "memory.max")):
            total = min(total, limit)
            available = min(available, max(0, limit - _used(group)))
        quota, _, period = _read(group / "cpu.max").partition(" ")
        if _number(quota) and _number(period):
            cpus = min(cpus, _number(quota) / _number(period))
    return Machine(total, available, cores, cpus, find_cards(program, os.environ.get("CUDA_VISIBLE_DEVICES", "")))


def oom_kills(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """How many processes the kernel has killed for memory so far, in our cgroup or, without one, on the machine."""
    for line in _read(proc / "self" / "cgroup").splitlines():
        if line.startswith("0::/"):
            events = _read(cgroups / line.removeprefix("0::/") / "memory.events")
            if events:
                return _field(events, "oom_kill")
    return _field(_read(proc / "vmstat"), "oom_kill")


def _field(text: str, name: str) -> int:
    """The number after *name* in lines as "name number"."""
    fields = dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
    return _number(fields.get(name, "0"))


def _groups(membership: str, root: Path) -> Iterator[Path]:
    """Our cgroup and all above it: each of them may hold the tightest limit."""
    for line in membership.splitlines():
        if line.startswith("0::/"):
            group = root / line.removeprefix("0::/")
            yield group
            yield from (parent for parent in group.parents if parent == root or root in parent.parents)


def _used(group: Path) -> int:
    """Memory in use that cannot be had back: the page cache counts as used, but is given up on demand."""
    return max(0, _number(_read(group / "memory.current")) - _field(_read(group / "memory.stat"), "inactive_file"))


def _read(path: Path) -> str:
    """The file's text; "" where this kernel or container does not have it."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _number(text: str) -> int:
    """The number in *text*; 0 for "max" and nothing, which both mean no limit."""
    return int(text) if text.strip().isdigit() else 0
