"""Fault injection is off unless asked for, refuses what it does not know, and hits the point that is named."""

from __future__ import annotations

import subprocess
import sys

import pytest

from core.errors import ConfigError
from core.killing import KILL_AT, POINTS, SLOW_AT, pass_by, passing


def test_nothing_is_asked_for() -> None:
    assert passing({}) is pass_by
    assert passing({KILL_AT: ""}) is pass_by


@pytest.mark.parametrize("variable", [KILL_AT, SLOW_AT])
@pytest.mark.parametrize("wanted", ["nowhere", "taken:", "taken:x", "taken:-1", "taken:nan", ":1", "taken:inf"])
def test_what_is_not_understood_stops_the_start(variable: str, wanted: str) -> None:
    if wanted == "taken:":
        passing({variable: wanted})  # the first time
        return
    with pytest.raises(ConfigError, match=variable):
        passing({variable: wanted})


@pytest.mark.parametrize("point", POINTS)
def test_the_process_dies_at_the_nth_passing(point: str) -> None:
    program = (
        f"from core.killing import passing\npassed = passing({{'{KILL_AT}': '{point}:2', '{SLOW_AT}': '{point}:0'}})\n"
        f"passed('other'); passed('{point}'); print('once', flush=True); passed('{point}'); print('twice')"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (-9, "once\n")
