"""One real vLLM for all journeys that do not kill it, with the model that this machine gets by itself; and another one
for those that want it, with a small model of gpt-oss's make; and each platform in turn."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bench.drivers import DRIVERS, Driver
from bench.real_engine import vllm as running

HOME = Path(__file__).resolve().parent.parent.parent
MAKING_SECONDS = 120.0


@pytest.fixture(params=sorted(DRIVERS))
async def driver(request: pytest.FixtureRequest) -> AsyncIterator[Driver]:
    async with DRIVERS[request.param]() as built:
        yield built


@pytest.fixture(scope="session")
def engine_environment() -> Path:
    """vLLM's Python. Without it a journey is skipped, but fails where CI is set: there it must not pass unseen."""
    python = HOME / ".venv-engine" / "bin" / "python"
    if not python.exists():
        words = "vLLM is not installed: run `make setup`"
        if os.environ.get("CI"):
            pytest.fail(words)
        pytest.skip(words)
    return python


@pytest.fixture(scope="session")
def vllm(engine_environment: Path) -> Iterator[str]:
    """Its base_url. It ends with the tests, however they end: it runs on a leash."""
    with running(HOME) as base_url:
        yield base_url


@pytest.fixture(scope="module")
def gpt_oss_folder(engine_environment: Path) -> Iterator[Path]:
    """The small model of setup/tiny_gpt_oss.py."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "tiny-gpt-oss"
        command = [str(engine_environment), "-m", "setup.tiny_gpt_oss", str(made)]
        subprocess.run(command, cwd=HOME, timeout=MAKING_SECONDS, check=True)
        yield made


@pytest.fixture(scope="module")
def gpt_oss(gpt_oss_folder: Path) -> Iterator[str]:
    """The base_url of a vLLM with that model. It ends with the module, because two are much for a small machine."""
    with running(HOME, str(gpt_oss_folder)) as base_url:
        yield base_url
