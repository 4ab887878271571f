"""The leash hands on how its program ended, and lets it go first when memory runs out."""

from __future__ import annotations

import subprocess
import sys

import pytest

from core import leash


def run_leash(*program: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", leash.__file__, "0.2", "/nonexistent/folder", *program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        said = holder.stdout.read()  # without closing its standard input, which would end it
        return subprocess.CompletedProcess(command, holder.wait(), said)


@pytest.mark.parametrize(
    ("program", "status"), [("raise SystemExit(7)", 7), ("pass", 0), ("import os; os.kill(os.getpid(), 9)", 137)]
)
def test_the_leash_hands_the_exit_status_on(program: str, status: int) -> None:
    assert run_leash(sys.executable, "-S", "-c", program).returncode == status


def test_the_engine_goes_first_when_memory_runs_out() -> None:
    show = "print(open('/proc/self/oom_score_adj').read().strip())"
    assert run_leash(sys.executable, "-S", "-c", show).stdout.strip() == leash.OOM_SCORE
