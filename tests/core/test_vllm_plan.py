"""The engine is started with what suits model and machine, the operator's word wins, and what cannot fit is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from core.config import EngineSettings
from core.errors import ConfigError
from core.machine import GIB, Card, Machine
from core.vllm_memory import Model, gib, numbers
from core.vllm_plan import FLAGSHIP, EnginePlan, choose, plan, read_model, safer
from core.vllm_trouble import Shortage

LAPTOP = Machine(memory_total=16 * GIB, memory_available=12 * GIB, cores=(0, 1), cpus=2.0)
SMALL = Model("var/models/SmolLM2-135M-Instruct", "SmolLM2-135M-Instruct", True, 269_000_000, 8192, "llama", 23040)
BIG = read_model(FLAGSHIP, Path("/nowhere"))  # as it is known before it is loaded
OPERATING = Path(__file__).parents[2] / "docs" / "operating.md"
CUDA, SHORT = Shortage("words"), Shortage("words", context=4109, of_cache=True)


def with_cards(*gibs: int) -> Machine:
    return replace(LAPTOP, cards=tuple(Card(size * 1024, f"Card {size} GB") for size in gibs))


def shown(made: EnginePlan) -> tuple[str, ...]:
    """A row of the table in docs/operating.md, less the card."""
    sizes, budget = made.sizes, made.budget
    numbers = (sizes.context, sizes.sequences, sizes.batched)
    return (gib(budget.cache), *(f"{number:,}" for number in numbers), f"{budget.contexts:.0f}")


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
    read = Model(str(folder), "tiny", True, 150, 2048, "gpt_oss", 2 * 2 * 4 * 2 * 16, heads=8, kv_heads=2)
    assert model == read
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
    assert value(made, "--kv-cache-memory-bytes") == str(2 * GIB)  # 1.4 GiB are half of 16 full contexts
    assert value(made, "--scheduling-policy") == "priority"
    assert made.environment["HF_HUB_OFFLINE"] == "1"
    assert made.environment["VLLM_NO_USAGE_STATS"] == "1"


def test_the_model_bounds_the_context() -> None:
    assert value(plan(EngineSettings(), LAPTOP, replace(SMALL, context=2048)), "--max-model-len") == "2048"


def test_little_memory_gets_a_small_cache() -> None:
    tight = replace(LAPTOP, memory_available=5 * GIB)
    assert value(plan(EngineSettings(), tight, SMALL), "--kv-cache-memory-bytes") == str(GIB)


def test_the_flagships_numbers_are_arithmetic() -> None:
    """12.9 GiB of weights; 24 layers, half of them with a window; keys and values of 8 heads of 64 in 16 bits."""
    assert (BIG.token_bytes, BIG.window, BIG.window_bytes) == (12 * 2 * 8 * 64 * 2, 128, 12 * 2 * 8 * 64 * 2)
    budget = plan(EngineSettings(), with_cards(24), BIG).budget
    assert budget.usable == int(24 * GIB * 0.92)
    assert budget.cache == budget.usable - 13_800_000_000 - budget.runtime - budget.step
    # All of 16,384 tokens in half of the layers; in the others the window, and two steps of 4,096 on their way.
    assert budget.context == 16384 * 24576 + (127 + 2 * 4096 + 16) * 24576


@pytest.mark.parametrize("size", [16, 24, 40, 48, 80, 141])
def test_the_flagship_by_card(size: int) -> None:
    made = plan(EngineSettings(), with_cards(size), BIG)
    assert made.budget.contexts >= (8 if size > 16 else 1)
    assert made.sizes.sequences >= 16
    assert made.sizes.eager == (size == 16)  # there the graphs' memory is needed for one context
    assert value(made, "--reasoning-parser") == "openai_gptoss"
    assert value(made, "--gpu-memory-utilization") == "0.92"
    assert "HF_HUB_OFFLINE" not in made.environment
    assert "--kv-cache-memory-bytes" not in made.arguments
    assert "--tensor-parallel-size" not in made.arguments


def test_the_table_in_the_document_is_what_is_computed() -> None:
    lines = OPERATING.read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines if "GB |" in line]
    assert [row[0] for row in rows] == ["16 GB", "24 GB", "2 x 24 GB", "40 GB", "48 GB", "80 GB", "141 GB"]
    for name, *cells in rows:
        count, _, size = name.removesuffix(" GB").rpartition(" x ")
        cards = with_cards(*[int(size)] * int(count or 1))
        made = plan(EngineSettings(tensor_parallel_size=int(count or 0)), cards, BIG)
        assert tuple(cells) == shown(made), name


def test_more_replies_at_once_get_shorter_contexts() -> None:
    few, many = (plan(EngineSettings(max_concurrency=count), with_cards(80), BIG).sizes for count in (16, 64))
    assert few.context > many.context
    assert plan(EngineSettings(max_concurrency=400), with_cards(80), BIG).sizes.sequences == 400


def test_an_unknown_model_gets_a_large_cache() -> None:
    made = plan(EngineSettings(), LAPTOP, replace(SMALL, token_bytes=0))
    assert value(made, "--kv-cache-memory-bytes") == str(4 * GIB)


def test_what_is_not_loaded_yet_is_left_to_vllm_on_a_card() -> None:
    made = plan(EngineSettings(), with_cards(24), Model("someone/thing", "someone/thing", False))
    assert value(made, "--max-model-len") == "auto"
    assert made.sizes.cards == 1


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


def test_too_big_for_the_card_is_refused_with_the_numbers() -> None:
    with pytest.raises(ConfigError) as caught:
        plan(EngineSettings(), with_cards(12), BIG)
    for number in ("12.9 GiB for its weights", "for one context of 2,048", "1 of 1 Card 12 GB with 12.0 GiB leaves"):
        assert number in str(caught.value)


def test_an_unknown_size_is_not_refused() -> None:
    assert plan(EngineSettings(), LAPTOP, replace(BIG, weights=0))
    assert plan(EngineSettings(), with_cards(4), replace(BIG, weights=0))


def test_the_operators_arguments_are_not_judged() -> None:
    assert plan(EngineSettings(args=("--cpu-offload-gb", "8")), with_cards(12), BIG)


# Several cards, other numbers


def test_cards_share_what_one_does_not_hold() -> None:
    made = plan(EngineSettings(), with_cards(12, 12), BIG)
    assert value(made, "--tensor-parallel-size") == "2"
    assert made.label == f"{FLAGSHIP} on 2 x Card 12 GB"
    assert made.budget.weights == BIG.weights // 2
    assert "--tensor-parallel-size" not in plan(EngineSettings(), with_cards(24, 24), BIG).arguments
    assert value(plan(EngineSettings(tensor_parallel_size=2), with_cards(24, 24), BIG), "--tensor-parallel-size") == "2"


def test_only_so_many_cards_share_as_divide_the_heads() -> None:
    larger = read_model("openai/gpt-oss-120b", Path("/nowhere"))
    assert plan(EngineSettings(), with_cards(24, 24, 24, 24), larger).sizes.cards == 4
    with pytest.raises(ConfigError, match="2 of 3 Card 24 GB"):
        plan(EngineSettings(), with_cards(24, 24, 24), larger)


def test_of_cards_that_differ_the_largest_are_taken() -> None:
    made = plan(EngineSettings(), with_cards(8, 24), BIG)
    assert made.budget.memory == 24 * GIB
    assert made.environment["CUDA_VISIBLE_DEVICES"] == "1"
    assert made.environment["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert "CUDA_VISIBLE_DEVICES" not in plan(EngineSettings(), with_cards(24, 24), BIG).environment


def test_quantisation_and_width_count() -> None:
    config = {"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "hidden_size": 4096}
    config |= {"max_position_embeddings": 40960, "intermediate_size": 14336, "vocab_size": 128256}
    plain = replace(Model("x/8b", "x/8b", False, 16 * GIB), **numbers(config))
    with pytest.raises(ConfigError, match=r"16\.0 GiB for its weights"):
        plan(EngineSettings(), with_cards(16), plain)
    assert plan(EngineSettings(quantization="fp8"), with_cards(16), plain).budget.weights == 8 * GIB
    assert plan(EngineSettings(args=("--quantization", "fp8")), with_cards(16), plain).budget.weights == 8 * GIB
    assert plan(EngineSettings(dtype="float32"), with_cards(48), plain).budget.weights == 32 * GIB
    done = replace(plain, weights=5 * GIB, quantised="awq")
    assert plan(EngineSettings(dtype="float32"), with_cards(16), done).budget.weights == 5 * GIB
    wide = replace(plain, **numbers({**config, "torch_dtype": "float32"}))
    assert plan(EngineSettings(), with_cards(16), wide).budget.weights == 8 * GIB


def test_the_context_shrinks_to_what_a_small_memory_holds() -> None:
    heavy = replace(SMALL, token_bytes=300_000)
    made = plan(EngineSettings(), replace(LAPTOP, memory_available=5 * GIB), heavy)
    assert made.sizes.context == 2048
    with pytest.raises(ConfigError, match=r"2\.3 GiB for its cache"):
        plan(EngineSettings(max_model_len=8192), replace(LAPTOP, memory_available=5 * GIB), heavy)


# With less, once memory ran out


def test_less_on_a_card_is_half_and_eager() -> None:
    made = safer(plan(EngineSettings(), with_cards(24), BIG), CUDA)
    assert value(made, "--max-num-seqs") == "32"
    assert value(made, "--max-num-batched-tokens") == "2048"
    assert value(made, "--max-model-len") == "8192"
    assert value(made, "--gpu-memory-utilization") == "0.87"
    assert "--enforce-eager" in made.arguments


def test_what_vllm_said_would_fit_is_taken() -> None:
    made = safer(plan(EngineSettings(), with_cards(24), BIG), SHORT)
    assert value(made, "--max-model-len") == "4096"
    assert value(made, "--gpu-memory-utilization") == "0.92"  # a cache that is too small gets no larger by giving back


def test_a_card_in_use_is_planned_anew_with_what_is_free() -> None:
    made = safer(plan(EngineSettings(), with_cards(24), BIG), Shortage("words", free_share=0.7503))
    assert value(made, "--gpu-memory-utilization") == "0.74"
    assert value(made, "--max-num-seqs") == "32"
    assert int(value(made, "--max-model-len")) >= 8192


def test_less_on_a_cpu() -> None:
    before = plan(EngineSettings(), LAPTOP, SMALL)
    made = safer(before, CUDA)
    assert value(made, "--max-model-len") == "4096"
    assert value(made, "--max-num-seqs") == "8"
    assert value(made, "--kv-cache-memory-bytes") == str(GIB)
    assert value(safer(before, SHORT), "--max-model-len") == "4096"
    assert value(safer(before, SHORT), "--kv-cache-memory-bytes") == str(2 * GIB)


def test_the_operators_numbers_are_not_lowered() -> None:
    settings = EngineSettings(max_num_seqs=50, args=("--max-model-len=32000",), gpu_memory_utilization=0.9)
    made = safer(plan(settings, with_cards(24), BIG), CUDA)
    assert value(made, "--max-num-seqs") == "50"
    assert value(made, "--gpu-memory-utilization") == "0.9"
    assert made.arguments[-1] == "--max-model-len=32000"
    assert "--max-model-len" not in made.arguments
    assert value(made, "--max-num-batched-tokens") == "2048"
