"""When memory runs out the engine's own words are understood, and answered by one start with less - and no loop."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from core.machine import oom_kills
from core.vllm_trouble import differences, explain_end, is_trouble, shortage_in
from tests.core.engine_stand import FAILED, READY, RESTARTING, STARTING, serving

# Lines as vLLM 0.32.0 and PyTorch print them.
IN_USE = (
    "(EngineCore pid=9) ERROR 11-26 12:00:00 [core.py:1090] ValueError: Free memory on device cuda:0 (17.73/23.64 GiB) "
    "on startup is less than desired GPU memory utilization (0.92, 21.75 GiB). Decrease GPU memory utilization or "
    "reduce GPU memory used by other processes."
)
SHORT = (
    "(EngineCore pid=9) ERROR 11-26 12:00:00 [core.py:1090] ValueError: To serve at least one request with the model's "
    "max seq len (131072), (3.38 GiB KV cache is needed, which is larger than the available KV cache memory (1.21 "
    "GiB). Based on the available memory, the estimated maximum model length is 40973. Try increasing "
    "`gpu_memory_utilization` (which also controls CPU memory on the CPU backend) or decreasing `max_model_len` when "
    "initializing the engine."
)
NONE_LEFT = "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when"
LOADING = (
    "(EngineCore pid=9) ERROR 11-26 12:00:00 [core.py:1090] torch.OutOfMemoryError: CUDA out of memory. Tried to "
    "allocate 2.00 GiB. GPU 0 has a total capacity of 23.64 GiB of which 1.02 GiB is free."
)
SAMPLER = (
    "RuntimeError: CUDA out of memory occurred when warming up sampler with 256 dummy requests. Please try lowering"
)
NODE = (
    "ValueError: Available memory on node 0 (6.00/24.00 GiB) on startup is less than desired CPU memory utilization "
    "(0.92, 22.08 GiB)."
)
NODE_CACHE = (
    "ValueError: Available memory on node 0 (0.81/16.0 GiB) on kv cache allocation is less than requested memory for "
    "kv (2.0 GiB). Decrease --kv-cache-memory-bytes, VLLM_CPU_KVCACHE_SPACE, or reduce CPU memory used by others."
)
ALLOCATOR = (
    "RuntimeError: [enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you"
)
# vLLM says this when all is well.
STATUS = (
    "INFO 11-26 12:00:00 [gpu_worker.py:1030] Free memory on device (23.2/23.64 GiB) on startup. Desired GPU memory "
    "utilization is (0.92, 21.75 GiB). Actual usage is 13.9 GiB for consumed memory (weights + non-torch), 0.7 GiB"
)


@pytest.mark.parametrize(
    ("line", "share", "context", "of_cache"),
    [
        (IN_USE, 0.75, 0, False),
        (SHORT, 0, 40973, True),
        (NONE_LEFT, 0, 0, True),
        (LOADING, 0, 0, False),
        (SAMPLER, 0, 0, False),
        (NODE, 0.25, 0, False),
        (NODE_CACHE, 0, 0, False),
        (ALLOCATOR, 0, 0, False),
    ],
)
def test_a_shortage_is_found_with_its_numbers(line: str, share: float, context: int, of_cache: bool) -> None:
    found = shortage_in(line)
    assert found
    assert (round(found.free_share, 2), found.context, found.of_cache) == (share, context, of_cache)
    assert found.words


@pytest.mark.parametrize("line", [STATUS, "INFO loading weights", "ERROR ValueError: no such model", ""])
def test_all_else_is_none(line: str) -> None:
    assert shortage_in(line) is None


def test_vllm_still_says_it_in_these_words() -> None:
    """A new vLLM with other words would leave a shortage unseen."""
    package = next(Path(__file__).parents[2].glob(".venv-engine/lib/python3*/site-packages/vllm/v1"), None)
    if package is None:
        missing = "vLLM is not installed: run `make setup`"
        if os.environ.get("CI"):  # there it must not pass unseen
            pytest.fail(missing)
        pytest.skip(missing)  # `make unit` installs no engine
    words = {
        "worker/utils.py": ("Free memory on device", "is less than desired GPU memory utilization"),
        "core/kv_cache_utils.py": (
            "No available memory for the cache blocks",
            "which is larger than the available KV cache",
            "the estimated maximum model length is",
        ),
        "worker/gpu_model_runner.py": ("CUDA out of memory occurred when warming up sampler",),
        "worker/cpu_worker.py": ("Available memory on node", "allocation is less than requested memory for kv"),
    }
    for name, phrases in words.items():
        source = (package / name).read_text()
        assert not [phrase for phrase in phrases if phrase not in source], name


@pytest.mark.parametrize(
    ("code", "lines", "said"),
    [
        (1, ["ModuleNotFoundError: No module named 'vllm'"], "make setup"),
        (137, ["INFO loading"], "memory ran out"),
        (1, ["a", "RuntimeError: Engine core initialization failed.", "b"], "status 1: RuntimeError: Engine core"),
        (2, [], "status 2: it printed nothing"),
    ],
)
def test_the_end_is_explained(code: int, lines: list[str], said: str) -> None:
    assert said in explain_end(code, lines)


def test_an_error_is_trouble_and_progress_is_none() -> None:
    assert is_trouble(LOADING)
    assert not is_trouble(STATUS)


def test_what_differs_is_told_by_flag() -> None:
    before = ["python", "-m", "vllm", "--max-num-seqs", "64", "--max-model-len=8192", "--uds", "x"]
    after = ["python", "-m", "vllm", "--max-num-seqs", "32", "--max-model-len=8192", "--enforce-eager", "--uds", "x"]
    assert differences(before, after) == "max-num-seqs 64 -> 32, enforce-eager"
    assert differences(before, before) == ""


# What the supervisor does about it

TRACEBACK = "\n".join(f"(APIServer pid=8)   File 'x.py', line {number}, in run" for number in range(80))


def said(folder: Path, line: str) -> str:
    """The wish that prints *line*, and after it more than the supervisor keeps."""
    file = folder / "said"
    file.write_text(f"{line}\n{TRACEBACK}\n(APIServer pid=8) RuntimeError: Engine core initialization failed.")
    return f"say={file}"


@pytest.mark.parametrize("line", [IN_USE, SHORT, NONE_LEFT, LOADING, SAMPLER, NODE_CACHE, ALLOCATOR])
async def test_one_start_with_less_and_it_runs(tmp_path: Path, line: str) -> None:
    found = shortage_in(line)
    assert found
    async with serving(said(tmp_path, line), less=("load=0",)) as engine:
        note = await engine.until(RESTARTING)
        assert found.words in note
        assert "trying with less: max-num-seqs 16 -> 8" in note
        assert (await engine.until(READY)).endswith("with less: max-num-seqs 16 -> 8")
    assert engine.states()[:4] == [STARTING, RESTARTING, STARTING, READY]


async def test_a_second_shortage_is_told_as_failed_and_not_lowered_again(tmp_path: Path) -> None:
    async with serving(said(tmp_path, LOADING)) as engine:
        note = await engine.until(FAILED, times=2)
        assert "the card's memory ran out" in note
        assert "with less memory, too" in note
    assert engine.states()[:6] == [STARTING, RESTARTING, STARTING, FAILED, STARTING, FAILED]


async def test_a_shortage_under_load_keeps_it_on_less(tmp_path: Path) -> None:
    """It was ready before, and after the next crash, of whatever kind, it is not started with the old numbers."""
    async with serving("crash=0.15", said(tmp_path, LOADING).replace("say", "last"), less=("crash=0.15",)) as engine:
        assert "the card's memory ran out" in await engine.until(RESTARTING)
        assert "status 3" in await engine.until(RESTARTING, times=2)
        await engine.until(READY, times=3)
        assert engine.lines.count("with --max-num-seqs 16") == 1
        assert engine.lines.count("with --max-num-seqs 8") == 2


async def test_what_the_kernel_killed_for_memory_is_a_shortage(tmp_path: Path) -> None:
    proc, group = machine(tmp_path, kills=0)
    kills = partial(oom_kills, proc, tmp_path / "cgroup")
    async with serving(f"kill={group / 'memory.events'}", less=("load=0",), kills=kills) as engine:
        assert "the system killed it, because memory ran out" in await engine.until(RESTARTING)
        await engine.until(READY)
    assert oom_kills(proc, tmp_path / "cgroup") == 1


async def test_somebodys_kill_is_no_shortage(tmp_path: Path) -> None:
    async with serving(f"kill={tmp_path / 'elsewhere'}") as engine:
        note = await engine.until(RESTARTING)
        assert "was killed" in note
        assert "with less" not in note


def machine(folder: Path, kills: int) -> tuple[Path, Path]:
    """Its /proc, and the folder of our cgroup."""
    proc, group = folder / "proc", folder / "cgroup" / "ours"
    (proc / "self").mkdir(parents=True)
    group.mkdir(parents=True)
    (proc / "self" / "cgroup").write_text("0::/ours\n")
    (group / "memory.events").write_text(f"oom 0\noom_kill {kills}\n")
    return proc, group
