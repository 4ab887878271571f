"""One real vLLM for all journeys that do not kill it, with the model that this machine gets by itself."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.stand import free_port
from core import leash, vllm_plan
from core.config import EngineSettings
from core.machine import look

HOME = Path(__file__).resolve().parent.parent.parent
LOADING_SECONDS = 300.0


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
    settings = EngineSettings()
    machine = look()
    source = vllm_plan.choose(settings.model, machine, HOME / "var" / "models")
    plan = vllm_plan.plan(settings, machine, vllm_plan.read_model(source, vllm_plan.hub(os.environ)))
    port = free_port()
    folder = tempfile.mkdtemp(prefix="frontdesk-test-")
    log = Path(folder) / "vllm.log"
    holder = [sys.executable, "-I", "-S", leash.__file__, "5", folder]
    server = [str(engine_environment), "-m", "vllm.entrypoints.openai.api_server", *plan.arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*holder, *server, "--host", "127.0.0.1", "--port", str(port)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **plan.environment},
            start_new_session=True,
        )
    try:
        _wait_until_ready(port, process, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        if process.stdin is not None:
            process.stdin.close()
        process.wait(30)


def _wait_until_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + LOADING_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"vLLM ended: {log.read_text(errors='replace')[-2000:]}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    pytest.fail(f"vLLM was not ready after {LOADING_SECONDS:.0f} s: {log.read_text(errors='replace')[-2000:]}")
