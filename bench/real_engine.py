"""A real vLLM for what is measured and tested, on a port of loopback, with the flags that `run` would give it here."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.stand import free_port
from core import leash, vllm_plan
from core.config import EngineSettings
from core.machine import look

LOADING_SECONDS = 300.0
LOG_TAIL = 2000  # characters of its last words


@contextmanager
def vllm(home: Path, source: str | None = None) -> Iterator[str]:
    """Yields its base_url. *source*: a model's folder; without one, what this machine gets by itself.

    Raises RuntimeError when it does not come up.
    """
    settings = EngineSettings()
    machine = look()
    source = source or vllm_plan.choose(settings.model, machine, home / "var" / "models")
    plan = vllm_plan.plan(settings, machine, vllm_plan.read_model(source, vllm_plan.hub(os.environ)))
    with served(home, plan.arguments, plan.environment) as base_url:
        yield base_url


@contextmanager
def served(home: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> Iterator[str]:
    """vLLM with these arguments. It ends with us, however we end: it runs on a leash."""
    python = home / ".venv-engine" / "bin" / "python"
    if not python.exists():
        raise RuntimeError("vLLM is not installed: run `make setup`")
    port = free_port()
    folder = tempfile.mkdtemp(prefix="frontdesk-engine-")
    log = Path(folder) / "vllm.log"
    holder = [sys.executable, "-I", "-S", leash.__file__, "5", folder]
    server = [str(python), "-m", "vllm.entrypoints.openai.api_server", *arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*holder, *server, "--host", "127.0.0.1", "--port", str(port)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
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
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    words = "ended" if process.poll() is not None else f"was not ready after {LOADING_SECONDS:.0f} s"
    raise RuntimeError(f"vLLM {words}: {log.read_text(errors='replace')[-LOG_TAIL:]}")
