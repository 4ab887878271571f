"""The machine is seen as the kernel tells it, containers included."""

from __future__ import annotations

import os
from pathlib import Path

from core.machine import Card, find_cards, look, oom_kills, parse_cards, parse_meminfo

MEMINFO = "MemTotal:       16000000 kB\nMemFree:         1000000 kB\nMemAvailable:    8000000 kB\n"


def machine_files(tmp_path: Path, group: str, **files: str) -> tuple[Path, Path]:
    proc, cgroups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text(MEMINFO)
    (proc / "self" / "cgroup").write_text(f"1:name=systemd:/elsewhere\n0::{group}\n")
    folder = cgroups / group.lstrip("/")
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name.replace("_", ".", 1)).write_text(text)
    return proc, cgroups


def test_memory_is_read_in_bytes() -> None:
    assert parse_meminfo(MEMINFO) == (16_000_000 * 1024, 8_000_000 * 1024)


def test_cards_are_read() -> None:
    text = "24564, NVIDIA GeForce RTX 4090\n81559, NVIDIA H100 80GB HBM3\n"
    assert parse_cards(text) == (Card(24564, "NVIDIA GeForce RTX 4090"), Card(81559, "NVIDIA H100 80GB HBM3"))
    assert parse_cards("[N/A], NVIDIA Thor\nNo devices were found\n") == ()


def test_without_the_driver_there_are_no_cards(tmp_path: Path) -> None:
    assert find_cards("no-such-program-here") == ()
    broken = tmp_path / "nvidia-smi"
    broken.write_text("#!/bin/sh\necho '24564, Broken'\nexit 9\n")
    broken.chmod(0o755)
    assert find_cards(str(broken)) == ()


def test_the_driver_is_asked(tmp_path: Path) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho '24564, NVIDIA L4'\n")
    program.chmod(0o755)
    assert find_cards(str(program)) == (Card(24564, "NVIDIA L4"),)


def test_cards_that_are_hidden_from_us_are_not_counted(tmp_path: Path) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho '24564, NVIDIA L4'\necho '81559, NVIDIA H100'\necho '24564, NVIDIA L4'\n")
    program.chmod(0o755)
    assert [card.memory_mib for card in find_cards(str(program), "0,2")] == [24564, 24564]
    assert len(find_cards(str(program), "GPU-8932f937")) == 3  # by name: not ours to resolve


def test_a_machine_without_limits(tmp_path: Path) -> None:
    proc, cgroups = machine_files(tmp_path, "/", memory_max="max", cpu_max="max 100000")
    machine = look(proc, cgroups, "no-such-program-here")
    assert machine.memory_total == 16_000_000 * 1024
    assert machine.memory_available == 8_000_000 * 1024
    assert machine.cores == tuple(sorted(os.sched_getaffinity(0)))
    assert machine.cpus == len(machine.cores)
    assert machine.largest_card is None


def test_the_tightest_limit_above_us_counts(tmp_path: Path) -> None:
    limits = {"memory_max": str(4 * 2**30), "memory_current": str(3 * 2**30), "memory_stat": f"inactive_file {2**30}\n"}
    proc, cgroups = machine_files(tmp_path, "/system.slice/frontdesk.service", memory_max="max")
    for name, text in {**limits, "cpu_max": "50000 100000"}.items():
        (cgroups / "system.slice" / name.replace("_", ".", 1)).write_text(text)
    machine = look(proc, cgroups, "no-such-program-here")
    assert machine.memory_total == 4 * 2**30
    assert machine.memory_available == 2 * 2**30  # what the page cache holds can be had back
    assert machine.cpus == 0.5


def test_what_the_kernel_killed_for_memory_is_counted(tmp_path: Path) -> None:
    proc, cgroups = machine_files(tmp_path, "/ours", memory_events="low 0\noom 3\noom_kill 2\noom_group_kill 1\n")
    (proc / "vmstat").write_text("pgfault 9\noom_kill 40\n")
    assert oom_kills(proc, cgroups) == 2
    (cgroups / "ours" / "memory.events").unlink()
    assert oom_kills(proc, cgroups) == 40  # of the whole machine: better than nothing
    assert oom_kills(tmp_path, tmp_path) == 0


def test_a_kernel_without_these_files_is_no_error(tmp_path: Path) -> None:
    machine = look(tmp_path, tmp_path, "no-such-program-here")
    assert (machine.memory_total, machine.memory_available) == (0, 0)


def test_this_machine() -> None:
    machine = look()
    assert 0 < machine.memory_available <= machine.memory_total
    assert machine.cpus > 0
