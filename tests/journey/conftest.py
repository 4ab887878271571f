"""One real vLLM for all journeys that do not kill it, with the model that this machine gets by itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.real_engine import vllm as running

HOME = Path(__file__).resolve().parent.parent.parent


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
