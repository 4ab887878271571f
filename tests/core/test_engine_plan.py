"""`engine plan` shows what would be started, and a machine with a card - by its nvidia-smi - goes that very way."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from commands import building, engine
from commands.reading import HOME, read
from core.engine import EngineState
from core.vllm import VllmServer
from core.vllm_trouble import flags_of
from tests.core.engine_stand import CHILD

Ask = Callable[..., Awaitable[str]]
OUT_OF_MEMORY = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ask:
    """What `engine ...` prints, with the settings as they are delivered."""
    for name in [name for name in os.environ if name.startswith("FRONTDESK")]:
        monkeypatch.delenv(name)

    async def serve(*_: object) -> None:
        raise AssertionError("it needs no server")

    async def ask(*arguments: str) -> str:
        assert await engine.run(read(HOME / "config.toml", arguments), serve) == 0
        return capsys.readouterr().out

    return ask


@pytest.fixture
def with_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PATH on which nvidia-smi knows of two cards."""
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho '8192, NVIDIA T1000'\necho '24564, NVIDIA L4'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


async def test_a_described_card_is_planned_to_the_whole_command(ask: Ask) -> None:
    told = await ask("plan", "--gpu", "24")
    for words in (
        "24.0 GiB, of which vLLM may take 92%: 22.1 GiB",
        "12.9 GiB",
        "7.0 GiB",
        "24 KiB, and 24 KiB",
        "12.3",
    ):
        assert words in told
    command = told.splitlines()[-1]
    assert "-m vllm.entrypoints.openai.api_server --model openai/gpt-oss-20b" in command
    assert "--max-model-len 16384 --max-num-seqs 64 --max-num-batched-tokens 4096" in command


@pytest.mark.usefixtures("with_cards")
async def test_this_machine_is_planned_with_its_own_card(ask: Ask) -> None:
    told = await ask("plan")
    assert "openai/gpt-oss-20b on NVIDIA L4" in told
    assert "CUDA_VISIBLE_DEVICES=1" in told


@pytest.mark.usefixtures("with_cards")
async def test_cards_that_share_are_told(ask: Ask) -> None:
    told = await ask("plan", "--gpu", "12", "--count", "2", "--model", "openai/gpt-oss-20b")
    assert "of each of 2 cards" in told
    assert "--tensor-parallel-size 2" in told


async def test_a_machine_without_a_card(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"max_position_embeddings": 4096}')
    told = await ask("plan", "--cpu", "--memory", "16", "--cores", "4", "--model", str(tmp_path))
    assert "on 4 CPU cores" in told
    assert "16.0 GiB, of which 12.0 GiB are free" in told
    assert "--kv-cache-memory-bytes 4294967296 --max-model-len 4096" in told


def test_what_cannot_be_is_refused_with_the_numbers() -> None:
    """The whole way, in a process of its own."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("FRONTDESK")}
    command = [sys.executable, "main.py", "engine", "plan", "--gpu", "24", "--model", "openai/gpt-oss-120b"]
    told = subprocess.run(command, cwd=HOME, env=own, capture_output=True, text=True, check=False)
    assert told.returncode == 2
    assert "60.8 GiB for its weights" in told.stderr


@pytest.mark.parametrize("arguments", [(), ("plan", "--gpu", "0"), ("plan", "--gpu", "8", "--cpu"), ("start",)])
async def test_wrong_arguments_are_explained(
    ask: Ask, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    with pytest.raises(SystemExit) as ended:
        await ask(*arguments)
    assert ended.value.code == 2
    assert "usage: main.py engine" in capsys.readouterr().err


# The same way to a started engine, with a child in place of vLLM's Python


@pytest.fixture
async def started(tmp_path: Path, with_cards: None, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[VllmServer]:
    """The gateway's own supervisor on a machine with a card, where 64 replies at once are too many."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    python = tmp_path / ".venv-engine" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/started\necho "sees $CUDA_VISIBLE_DEVICES"\n'
        f'case "$*" in *"seqs 64"*) echo "{OUT_OF_MEMORY}"; exit 1;; esac\n'
        f'for last; do :; done\nexec {sys.executable} -S {CHILD} "$last"\n'
    )
    python.chmod(0o755)
    settings = tmp_path / "config.toml"
    settings.write_text(f'[ledger]\nurl = "sqlite:///{tmp_path}/frontdesk.db"\n')
    server = building.build_engine(replace(read(settings, ()), home=tmp_path), time.time).supervisor
    assert server is not None
    running = asyncio.create_task(server.run())
    yield server
    await server.stop()
    await running


async def test_a_card_that_runs_out_of_memory_serves_with_less(started: VllmServer, tmp_path: Path) -> None:
    async with asyncio.timeout(20):
        await started.wait_ready()
    assert started.state is EngineState.READY
    first, second = (flags_of(line.split()) for line in (tmp_path / "started").read_text().splitlines())
    assert first["model"] == second["model"] == "openai/gpt-oss-20b"
    assert (first["max-num-seqs"], first["max-model-len"]) == ("64", "16384")
    assert (second["max-num-seqs"], second["max-model-len"]) == ("32", "8192")
    assert second["gpu-memory-utilization"] == "0.87"
    kept = (tmp_path / "engine.log").read_text().splitlines()
    assert OUT_OF_MEMORY in kept
    assert kept.count("sees 1") == 2  # the larger card is the second one
