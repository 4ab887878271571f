"""What vLLM is started with, decided from settings, machine and model files alone; pure but for `read_model`.

The operator's word wins over every choice here: a setting over a default, `[engine] args` over a setting. A model that
cannot fit is refused before anything is started, with the numbers of core/vllm_memory.py.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from core.config import EngineSettings
from core.errors import ConfigError
from core.machine import Machine
from core.vllm_memory import (
    BLOCK,
    LEAST_CONTEXT,
    PROCESS_BYTES,
    Budget,
    Model,
    Sizes,
    Wish,
    card_memory,
    context_bytes,
    fit_card,
    fit_cpu,
    gib,
    numbers,
)
from core.vllm_trouble import Shortage

FLAGSHIP = "openai/gpt-oss-20b"
FLAGSHIP_MIB = 16 * 1024
SMALL = "SmolLM2-135M-Instruct"  # made by `make setup` from a package, so that no hub is needed
_GPT_OSS = {
    "model_type": "gpt_oss",
    "max_position_embeddings": 131072,
    "hidden_size": 2880,
    "intermediate_size": 2880,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "num_experts_per_tok": 4,
    "sliding_window": 128,
    "vocab_size": 201088,
    "quantization_config": {"quant_method": "mxfp4"},
}
# As published, so that a plan can be made before 14 GB are loaded: bytes of weights, layers.
KNOWN = {FLAGSHIP: (13_800_000_000, 24), "openai/gpt-oss-120b": (65_300_000_000, 36)}
SHARE_STEP = 0.05  # of a card's memory, given back when it ran out
LEAST_STEP = 512  # tokens; vLLM wants at least as many as replies at once


@dataclass(frozen=True, slots=True)
class EnginePlan:
    """How to start vLLM: without the program and the socket, which are the server's."""

    label: str  # for people
    flags: Mapping[str, str]  # ours and the settings'; "" for a flag without a value
    sizes: Sizes
    budget: Budget
    model: Model
    machine: Machine
    wish: Wish
    theirs: frozenset[str]  # the flags that the operator gave
    args: tuple[str, ...] = ()  # the operator's further ones
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def arguments(self) -> tuple[str, ...]:
        """Ours, less those that the operator gives, and then the operator's."""
        given = _names(self.args)
        ours = [part for flag, value in self.flags.items() if flag not in given for part in (flag, value) if part]
        return (*ours, *self.args)


def choose(wanted: str, machine: Machine, models: Path) -> str:
    """The model that *wanted* stands for: "auto" goes by the largest card; *models* is the folder of our own."""
    if wanted != "auto":
        return wanted
    card = machine.largest_card
    return FLAGSHIP if card and card.memory_mib >= FLAGSHIP_MIB else str(models / SMALL)


def hub(environment: Mapping[str, str]) -> Path:
    """Where huggingface_hub keeps what it downloads (its HF_HUB_CACHE and HF_HOME)."""
    home = Path(environment.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    return Path(environment["HF_HUB_CACHE"]) if "HF_HUB_CACHE" in environment else home / "hub"


def read_model(source: str, hub: Path) -> Model:
    """What the model's files say: its folder, or its snapshot in the Hugging Face cache *hub*, if any."""
    folder = Path(source).expanduser()
    if folder.is_dir():
        return _read_folder(folder, Model(str(folder), folder.resolve().name, local=True))
    if source.startswith(("/", ".", "~")) or source.count("/") != 1:
        remedy = "run `make setup`" if folder.name == SMALL else "name a folder, or an id such as openai/gpt-oss-20b"
        raise ConfigError([f"engine.model: there is no model at {source}; {remedy}"])
    known = Model(source, source, local=False)
    if source in KNOWN:
        weights, layers = KNOWN[source]
        config = {**_GPT_OSS, "num_hidden_layers": layers, "layer_types": ["sliding_attention", "full"] * (layers // 2)}
        known = replace(known, weights=weights, **numbers(config))
    snapshots = sorted((hub / f"models--{source.replace('/', '--')}" / "snapshots").glob("*/config.json"))
    return _read_folder(snapshots[-1].parent, known) if snapshots else known


def _read_folder(folder: Path, model: Model) -> Model:
    about = folder / "config.json"
    config: dict[str, Any] = json.loads(about.read_text()) if about.is_file() else {}
    weights = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    # A half-downloaded snapshot would look small.
    return replace(model, weights=model.weights or weights, **numbers(config))


def plan(settings: EngineSettings, machine: Machine, model: Model) -> EnginePlan:
    """How to serve *model* here. Raises ConfigError, with the numbers, when it cannot fit."""
    words = operator_words(settings)
    wish = _wish(words, settings)
    flags: dict[str, str] = {
        "--model": model.source,
        "--served-model-name": model.name,
        # The gateway logs each call itself, and asks for the cache's hits in each reply's usage.
        "--disable-uvicorn-access-log": "",
        "--enable-prompt-tokens-details": "",
    }
    environment = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}  # a self-hosted bot tells nobody that it exists
    if model.local:
        environment["HF_HUB_OFFLINE"] = "1"
    if model.is_gpt_oss:
        flags["--reasoning-parser"] = "openai_gptoss"
    if settings.by_priority:
        flags["--scheduling-policy"] = "priority"
    if machine.cards:
        sizes, budget = fit_card(model, wish, machine)
        if not settings.args:
            _refuse_card(model, machine, sizes, budget)
        made, environment = _card_flags(sizes), environment | _visible(machine, sizes)
        card = machine.largest_card
        where = f"{sizes.cards} x {card.name}" if card and sizes.cards > 1 else f"{card.name if card else ''}"
    else:
        sizes, budget = fit_cpu(model, wish, machine)
        _refuse_cpu(model, machine, budget)
        made, where = _cpu_flags(sizes, budget), f"{machine.cpus:.0f} CPU cores"
    flags |= made | {flag: words[flag] for flag in words if flag not in _names(settings.args)}
    theirs = frozenset(words) | _names(settings.args)
    label = f"{model.name} on {where}"
    return EnginePlan(label, flags, sizes, budget, model, machine, wish, theirs, settings.args, environment)


def safer(made: EnginePlan, shortage: Shortage) -> EnginePlan:
    """The same with less memory, after it ran out: by what vLLM said was free or would fit, else halves.
    The operator's own numbers stay."""
    sizes = made.sizes
    if sizes.cards and shortage.free_share:
        share = max(math.floor(shortage.free_share * 100 - 1) / 100, 0.01)  # a hundredth for what comes and goes
        less = _card_flags(fit_card(made.model, replace(made.wish, share=share), made.machine)[0])
    else:
        half = max(min(LEAST_CONTEXT, sizes.context), sizes.context // 2)
        context = min(shortage.context // BLOCK * BLOCK or half, sizes.context or shortage.context)
        sequences = max(1, sizes.sequences // 2)
        batched = max(LEAST_STEP, sequences, sizes.batched // 2)
        share = sizes.share if shortage.of_cache else round(sizes.share - SHARE_STEP, 2)
        smaller = Sizes(context, sequences, batched, share, sizes.cards, eager=True)
        one = context_bytes(made.model, context, batched)
        cache = made.budget.cache if shortage.of_cache else max(one, made.budget.cache // 2)
        less = _card_flags(smaller) if sizes.cards else _cpu_flags(smaller, replace(made.budget, cache=cache))
        less["--max-num-batched-tokens"] = str(batched)
    lowered = {flag: value for flag, value in less.items() if flag not in made.theirs}
    return replace(made, flags={**made.flags, **lowered})


def operator_words(settings: EngineSettings) -> dict[str, str]:
    """The flags that the operator gives, and their values: the settings', then those among `args`, which win."""
    values: dict[str, object] = {
        "--max-model-len": settings.max_model_len,
        "--max-num-seqs": settings.max_num_seqs,
        "--max-num-batched-tokens": settings.max_num_batched_tokens,
        "--gpu-memory-utilization": settings.gpu_memory_utilization,
        "--tensor-parallel-size": settings.tensor_parallel_size,
        "--quantization": settings.quantization,
        "--dtype": settings.dtype,
    }
    words = {flag: str(value) for flag, value in values.items() if value}
    following = (*settings.args[1:], "--")
    for part, after in zip(settings.args, following, strict=False):
        name, _, value = part.partition("=")
        if name.startswith("--"):
            words[name.replace("_", "-")] = value or ("" if after.startswith("--") else after)
    return words


def _names(args: Sequence[str]) -> frozenset[str]:
    """The flags in *args*; a negation counts as the flag that it negates."""
    names = {part.partition("=")[0].replace("_", "-") for part in args if part.startswith("--")}
    return frozenset(names | {f"--{name.removeprefix('--no-')}" for name in names if name.startswith("--no-")})


def _wish(words: Mapping[str, str], settings: EngineSettings) -> Wish:
    """What of the operator's words the arithmetic can use: plain numbers, and names."""

    def number(flag: str) -> float:
        text = words.get(flag, "")
        return float(text) if text.replace(".", "", 1).isdigit() else 0.0

    return Wish(
        context=int(number("--max-model-len")),
        sequences=int(number("--max-num-seqs")),
        batched=int(number("--max-num-batched-tokens")),
        share=number("--gpu-memory-utilization"),
        cards=int(number("--tensor-parallel-size")),
        quantization=words.get("--quantization", ""),
        dtype=words.get("--dtype", ""),
        eager="--enforce-eager" in words,
        at_once=settings.max_concurrency,
    )


def _cpu_flags(sizes: Sizes, budget: Budget) -> dict[str, str]:
    return {
        "--dtype": "bfloat16",
        "--enforce-eager": "",  # compiling: ready after 108 s instead of 29 s, and hardly faster then
        # A prefix is found again in whole blocks. The CPU's own choice of 128 tokens forgets 64 of them a turn.
        "--block-size": "32",
        "--kv-cache-memory-bytes": str(budget.cache),
        "--max-model-len": str(sizes.context),
        "--max-num-seqs": str(sizes.sequences),
    }


def _card_flags(sizes: Sizes) -> dict[str, str]:
    flags = {
        "--gpu-memory-utilization": str(sizes.share),
        "--max-model-len": str(sizes.context or "auto"),
        "--max-num-seqs": str(sizes.sequences),
        "--max-num-batched-tokens": str(sizes.batched),
    }
    if sizes.cards > 1:
        flags["--tensor-parallel-size"] = str(sizes.cards)
    return flags | ({"--enforce-eager": ""} if sizes.eager else {})


def _visible(machine: Machine, sizes: Sizes) -> dict[str, str]:
    """Which cards vLLM sees, where they differ: by itself it would take the first ones."""
    if len({card.memory_mib for card in machine.cards}) == 1 or sizes.cards > len(machine.cards):
        return {}
    order = sorted(range(len(machine.cards)), key=lambda index: -machine.cards[index].memory_mib)
    chosen = ",".join(str(index) for index in sorted(order[: sizes.cards]))
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": chosen}  # nvidia-smi counts by the bus


def _refuse_card(model: Model, machine: Machine, sizes: Sizes, budget: Budget) -> None:
    """Raise ConfigError when not even one conversation fits."""
    if not model.weights or (budget.contexts >= 1 if budget.context else budget.cache > 0):
        return
    card, size = machine.largest_card, card_memory(machine, sizes.cards)
    room = sizes.cards * (budget.usable - budget.runtime - budget.step)
    one = f" and {gib(sizes.cards * budget.context)} for one context of {sizes.context:,}" if budget.context else ""
    raise ConfigError(
        [
            f"engine.model: {model.name} needs {gib(sizes.cards * budget.weights)} for its weights{one}, but "
            f"{sizes.cards} of {len(machine.cards)} {card.name if card else ''} with {gib(size)} leaves {gib(room)} "
            'for them. Set a smaller model, engine.quantization, engine.max_model_len, or engine.mode = "remote".'
        ]
    )


def _refuse_cpu(model: Model, machine: Machine, budget: Budget) -> None:
    """Raise ConfigError when there is no room for a cache, or it holds not even one conversation."""
    needed = max(budget.context, 2**30)
    if budget.cache >= needed:
        return
    raise ConfigError(
        [
            f"engine.model: {model.name} needs {gib(budget.weights)} for its weights, {gib(needed)} for its cache and "
            f"{gib(PROCESS_BYTES)} for vLLM itself, but only {gib(machine.memory_available)} of "
            f"{gib(machine.memory_total)} memory is free. Set a smaller model, free memory, "
            'or set engine.mode = "remote" and engine.base_url.'
        ]
    )
