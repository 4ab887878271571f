"""The engine is started with what suits model and machine, the operator's word wins, and what cannot fit is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from core.config import EngineSettings
from core.errors import ConfigError
from core.machine import GIB, Card, Machine
from core.vllm_plan import FLAGSHIP, EnginePlan, Model, choose, plan, read_model

LAPTOP = Machine(memory_total=16 * GIB, memory_available=12 * GIB, cores=(0, 1), cpus=2.0)
SMALL = Model("var/models/SmolLM2-135M-Instruct", "SmolLM2-135M-Instruct", True, 269_000_000, 8192, "llama", 23040)
BIG = Model(FLAGSHIP, FLAGSHIP, False, 13_800_000_000, 131072, "gpt_oss")


def with_cards(*gibs: int) -> Machine:
    return replace(LAPTOP, cards=tuple(Card(size * 1024, f"Card {size} GB") for size in gibs))


def value(plan: EnginePlan, flag: str) -> str:
    assert plan.arguments.count(flag) == 1
    return plan.arguments[plan.arguments.index(flag) + 1]


# Which model


def test_auto_goes_by_the_largest_card(tmp_path: Path) -> None:
    assert choose("auto", LAPTOP, tmp_path) == str(tmp_path / "SmolLM2-135M-Instruct")
    assert choose("auto", with_cards(8), tmp_path) == str(tmp_path / "SmolLM2-135M-Instruct")
    assert choose("auto", with_cards(8, 16), tmp_path) == FLAGSHIP
    assert choose("Qwen/Qwen3-0.6B", with_cards(80), tmp_path) == "Qwen/Qwen3-0.6B"


def test_a_folder_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "config.json").write_text(
        json.dumps(
            {
                "max_position_embeddings": 2048,
                "model_type": "gpt_oss",
                "num_hidden_layers": 4,
                "num_attention_heads": 8,
                "num_key_value_heads": 2,
                "hidden_size": 128,
            }
        )
    )
    (folder / "a.safetensors").write_bytes(b"x" * 100)
    (folder / "b.safetensors").write_bytes(b"x" * 50)
    model = read_model(str(folder), tmp_path)
    assert model == Model(str(folder), "tiny", True, 150, 2048, "gpt_oss", 2 * 2 * 4 * 2 * 16)
    assert model.is_gpt_oss


def test_a_snapshot_in_the_hub_cache_is_read(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--Qwen--Qwen3-0.6B" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text(json.dumps({"max_position_embeddings": 40960, "model_type": "qwen3"}))
    (snapshot / "model.safetensors").write_bytes(b"x" * 70)
    assert read_model("Qwen/Qwen3-0.6B", tmp_path) == Model(
        "Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B", False, 70, 40960, "qwen3"
    )


def test_a_model_still_to_be_loaded_is_known_by_name_or_not_at_all(tmp_path: Path) -> None:
    assert read_model(FLAGSHIP, tmp_path).weights == 13_800_000_000
    assert read_model("someone/something", tmp_path).weights == 0


@pytest.mark.parametrize("source", ["/nowhere/SmolLM2-135M-Instruct", "~/no-such-model", "gpt-oss-20b"])
def test_a_model_that_is_nowhere_is_refused(tmp_path: Path, source: str) -> None:
    with pytest.raises(ConfigError, match="there is no model at"):
        read_model(source, tmp_path)


# With what


def test_on_a_cpu() -> None:
    made = plan(EngineSettings(), LAPTOP, SMALL)
    assert made.label == "SmolLM2-135M-Instruct on 2 CPU cores"
    assert value(made, "--model") == SMALL.source
    assert value(made, "--served-model-name") == "SmolLM2-135M-Instruct"
    assert value(made, "--dtype") == "bfloat16"
    assert value(made, "--max-model-len") == "8192"
    assert value(made, "--max-num-seqs") == "16"
    assert value(made, "--block-size") == "32"
    assert "--enforce-eager" in made.arguments
    assert "--reasoning-parser" not in made.arguments
    assert made.environment["VLLM_CPU_KVCACHE_SPACE"] == "2"  # 1.4 GiB are half of 16 full contexts
    assert made.environment["HF_HUB_OFFLINE"] == "1"
    assert made.environment["VLLM_NO_USAGE_STATS"] == "1"


def test_the_model_bounds_the_context() -> None:
    assert value(plan(EngineSettings(), LAPTOP, replace(SMALL, context=2048)), "--max-model-len") == "2048"


def test_little_memory_gets_a_small_cache() -> None:
    tight = replace(LAPTOP, memory_available=5 * GIB)
    assert plan(EngineSettings(), tight, SMALL).environment["VLLM_CPU_KVCACHE_SPACE"] == "1"


@pytest.mark.parametrize(
    ("size", "context", "sequences"),
    [(16, "8192", "32"), (24, "16384", "64"), (48, "32768", "128"), (80, "65536", "256")],
)
def test_the_flagship_by_card(size: int, context: str, sequences: str) -> None:
    made = plan(EngineSettings(), with_cards(size), BIG)
    assert value(made, "--reasoning-parser") == "openai_gptoss"
    assert value(made, "--max-model-len") == context
    assert value(made, "--max-num-seqs") == sequences
    assert value(made, "--gpu-memory-utilization") == "0.92"
    assert "HF_HUB_OFFLINE" not in made.environment
    assert "VLLM_CPU_KVCACHE_SPACE" not in made.environment
    assert "--enforce-eager" not in made.arguments


def test_an_unknown_model_gets_a_large_cache() -> None:
    assert plan(EngineSettings(), LAPTOP, replace(SMALL, token_bytes=0)).environment["VLLM_CPU_KVCACHE_SPACE"] == "4"


def test_a_setting_wins_over_our_choice() -> None:
    settings = EngineSettings(
        max_model_len=1000, max_num_seqs=7, gpu_memory_utilization=0.5, dtype="auto", max_concurrency=400
    )
    made = plan(settings, with_cards(80), BIG)
    assert value(made, "--max-model-len") == "1000"
    assert value(made, "--max-num-seqs") == "7"
    assert value(made, "--gpu-memory-utilization") == "0.5"
    assert value(made, "--dtype") == "auto"


def test_as_many_at_once_as_the_gateway_sends() -> None:
    assert value(plan(EngineSettings(max_concurrency=40), LAPTOP, SMALL), "--max-num-seqs") == "40"


def test_the_operators_arguments_win_over_everything() -> None:
    args = ("--max_model_len=512", "--no-enforce-eager", "--served-model-name", "bot", "--enable-lora")
    made = plan(EngineSettings(max_model_len=1000, args=args), LAPTOP, SMALL)
    assert made.arguments[-len(args) :] == args
    assert "--max-model-len" not in made.arguments
    assert "--enforce-eager" not in made.arguments
    assert value(made, "--served-model-name") == "bot"


# What cannot be


def test_too_big_for_the_memory_is_refused_with_the_numbers() -> None:
    with pytest.raises(ConfigError) as caught:
        plan(EngineSettings(), LAPTOP, BIG)
    for number in ("12.9 GiB for its weights", "1.0 GiB for its cache", "12.0 GiB of 16.0 GiB"):
        assert number in str(caught.value)
    assert 'engine.mode = "remote"' in str(caught.value)


def test_too_big_for_the_card_is_refused_unless_spread_or_quantised() -> None:
    with pytest.raises(ConfigError, match=r"12\.9 GiB of weights, but 1 of 2 Card 12 GB with 12\.0 GiB"):
        plan(EngineSettings(), with_cards(12, 12), BIG)
    assert value(plan(EngineSettings(tensor_parallel_size=2), with_cards(12, 12), BIG), "--tensor-parallel-size") == "2"
    assert plan(EngineSettings(quantization="fp8"), with_cards(12), BIG)


def test_an_unknown_size_is_not_refused() -> None:
    assert plan(EngineSettings(), LAPTOP, replace(BIG, weights=0))
