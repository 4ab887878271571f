"""What holds for every test: nothing here changes what one checks, only what it costs."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator

import pytest
import structlog
from hypothesis import HealthCheck, settings

# No random example has a time to keep: it would fail where the machine is busy with something else. What is said on the
# command line or of CI stays.
settings.register_profile("house", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")


def pytest_configure() -> None:
    """An exception in a log line is shown as Python shows it: the default, with every local variable, takes 0.3 s."""
    readable = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*structlog.get_config()["processors"][:-1], readable])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Half as many again as there are cores: a test of sockets and timers waits as long as it works."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + (cores + 1) // 2


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """The thousands of collected tests stay until the end: frozen, they are not walked through again by every full
    garbage collection. What the tests themselves leave is found all the same, a little later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()
        gc.set_threshold(5_000, 20, 10)
