"""`engine plan` shows what would be started, and a machine with a card - by its nvidia-smi - goes that very way."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from commands import building
from commands.reading import HOME, read
from core.engine import EngineState
from core.vllm import VllmServer
from core.vllm_trouble import flags_of
from tests.core.engine_stand import CHILD

OUT_OF_MEMORY = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."


def ask(*arguments: str, path: str = os.environ["PATH"]) -> subprocess.CompletedProcess[str]:
    """`main.py engine ...` in a process of its own, with the settings as they are delivered."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("FRONTDESK")}
    command = [sys.executable, "main.py", "engine", *arguments]
    return subprocess.run(command, cwd=HOME, env={**own, "PATH": path}, capture_output=True, text=True, check=False)


@pytest.fixture
def with_cards(tmp_path: Path) -> str:
    """A PATH on which nvidia-smi knows of two cards."""
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho '8192, NVIDIA T1000'\necho '24564, NVIDIA L4'\n")
    program.chmod(0o755)
    return f"{program.parent}:{os.environ['PATH']}"


def test_a_described_card_is_planned_to_the_whole_command() -> None:
    told = ask("plan", "--gpu", "24")
    assert told.returncode == 0, told.stderr
    for words in (
        "24.0 GiB, of which vLLM may take 92%: 22.1 GiB",
        "12.9 GiB",
        "7.0 GiB",
        "24 KiB, and 24 KiB",
        "12.3",
    ):
        assert words in told.stdout
    command = told.stdout.splitlines()[-1]
    assert "-m vllm.entrypoints.openai.api_server --model openai/gpt-oss-20b" in command
    assert "--max-model-len 16384 --max-num-seqs 64 --max-num-batched-tokens 4096" in command


def test_this_machine_is_planned_with_its_own_card(with_cards: str) -> None:
    told = ask("plan", path=with_cards)
    assert told.returncode == 0, told.stderr
    assert "openai/gpt-oss-20b on NVIDIA L4" in told.stdout
    assert "CUDA_VISIBLE_DEVICES=1" in told.stdout


def test_cards_that_share_are_told(with_cards: str) -> None:
    told = ask("plan", "--gpu", "12", "--count", "2", "--model", "openai/gpt-oss-20b")
    assert "of each of 2 cards" in told.stdout
    assert "--tensor-parallel-size 2" in told.stdout


def test_a_machine_without_a_card(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"max_position_embeddings": 4096}')
    told = ask("plan", "--cpu", "--memory", "16", "--cores", "4", "--model", str(tmp_path))
    assert told.returncode == 0, told.stderr
    assert "on 4 CPU cores" in told.stdout
    assert "16.0 GiB, of which 12.0 GiB are free" in told.stdout
    assert "--kv-cache-memory-bytes 4294967296 --max-model-len 4096" in told.stdout


def test_what_cannot_be_is_refused_with_the_numbers() -> None:
    told = ask("plan", "--gpu", "24", "--model", "openai/gpt-oss-120b")
    assert told.returncode == 2
    assert "60.8 GiB for its weights" in told.stderr


@pytest.mark.parametrize("arguments", [(), ("plan", "--gpu", "0"), ("plan", "--gpu", "8", "--cpu"), ("start",)])
def test_wrong_arguments_are_explained(arguments: tuple[str, ...]) -> None:
    told = ask(*arguments)
    assert told.returncode == 2
    assert "usage: main.py engine" in told.stderr


# The same way to a started engine, with a child in place of vLLM's Python


@pytest.fixture
async def started(tmp_path: Path, with_cards: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[VllmServer]:
    """The gateway's own supervisor on a machine with a card, where 64 replies at once are too many."""
    monkeypatch.setenv("PATH", with_cards)
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
