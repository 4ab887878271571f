"""What vLLM is started with, decided from settings, machine and model files alone; pure but for `read_model`.

The operator's word wins over every choice here: a setting over a default, `[engine] args` over a setting. A model that
cannot fit is refused before anything is started, with the numbers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from core.config import EngineSettings
from core.errors import ConfigError
from core.machine import GIB, Card, Machine

FLAGSHIP = "openai/gpt-oss-20b"
FLAGSHIP_MIB = 16 * 1024
SMALL = "SmolLM2-135M-Instruct"  # made by `make setup` from a package, so that no hub is needed
KNOWN_WEIGHTS = {FLAGSHIP: 13_800_000_000, "openai/gpt-oss-120b": 65_300_000_000}  # MXFP4, as published
PROCESS_BYTES = 3 * GIB  # vLLM's three processes on a CPU without weights and cache; 1.9 GiB measured
CARD_RESERVE = 1.5 * GIB  # activations and CUDA itself, inside vLLM's share of the card
CPU_CONTEXT, CPU_SEQUENCES = 8192, 16


@dataclass(frozen=True, slots=True)
class Model:
    """What is known of a model before it is loaded; 0 and "" mean not known."""

    source: str  # a folder, or an id on Hugging Face
    name: str  # what it is served as
    local: bool
    weights: int = 0  # bytes
    context: int = 0  # the longest the model was made for, in tokens
    kind: str = ""  # model_type of its config.json
    token_bytes: int = 0  # of KV cache for each token, in 16 bits

    @property
    def is_gpt_oss(self) -> bool:
        return self.kind == "gpt_oss" or self.source.startswith("openai/gpt-oss")


@dataclass(frozen=True, slots=True)
class EnginePlan:
    """How to start vLLM: without the program and the socket, which are the server's."""

    label: str  # for people
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CardPlan:
    """What suits a card of so much memory (gpt-oss-20b: 12.9 GiB of weights, 24 KiB a token of cache)."""

    below_mib: int
    context: int
    sequences: int
    batched_tokens: int


CARD_PLANS = (
    CardPlan(below_mib=20 * 1024, context=8192, sequences=32, batched_tokens=2048),
    CardPlan(below_mib=32 * 1024, context=16384, sequences=64, batched_tokens=4096),
    CardPlan(below_mib=64 * 1024, context=32768, sequences=128, batched_tokens=8192),
    CardPlan(below_mib=1 << 30, context=65536, sequences=256, batched_tokens=8192),
)
CARD_SHARE = 0.92


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
    known = Model(source, source, local=False, weights=KNOWN_WEIGHTS.get(source, 0))
    snapshots = sorted((hub / f"models--{source.replace('/', '--')}" / "snapshots").glob("*/config.json"))
    return _read_folder(snapshots[-1].parent, known) if snapshots else known


def _read_folder(folder: Path, model: Model) -> Model:
    about = folder / "config.json"
    config = json.loads(about.read_text()) if about.is_file() else {}
    weights = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    return Model(
        model.source,
        model.name,
        model.local,
        weights=KNOWN_WEIGHTS.get(model.source, weights),  # a half-downloaded snapshot would look small
        context=int(config.get("max_position_embeddings", 0)),
        kind=str(config.get("model_type", "")),
        token_bytes=_token_bytes(config),
    )


def _token_bytes(config: Mapping[str, int]) -> int:
    heads = config.get("num_attention_heads", 0)
    size = config.get("head_dim") or (config.get("hidden_size", 0) // heads if heads else 0)
    return 2 * 2 * config.get("num_hidden_layers", 0) * config.get("num_key_value_heads", heads) * size


def plan(settings: EngineSettings, machine: Machine, model: Model) -> EnginePlan:
    """How to serve *model* here. Raises ConfigError, with the numbers, when it cannot fit."""
    card = machine.largest_card
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
    if card:
        flags |= _card_flags(settings, machine, card, model)
        where = f"{card.name}"
    else:
        cache = _cpu_cache_gib(settings, machine, model)
        flags |= _cpu_flags(settings, model)
        environment |= {"VLLM_CPU_KVCACHE_SPACE": str(cache)}
        where = f"{machine.cpus:.0f} CPU cores"
    flags |= _operator_flags(settings)
    return EnginePlan(f"{model.name} on {where}", _arguments(flags, settings.args), environment)


def _operator_flags(settings: EngineSettings) -> dict[str, str]:
    values: dict[str, object] = {
        "--max-model-len": settings.max_model_len,
        "--max-num-seqs": settings.max_num_seqs,
        "--max-num-batched-tokens": settings.max_num_batched_tokens,
        "--gpu-memory-utilization": settings.gpu_memory_utilization,
        "--tensor-parallel-size": settings.tensor_parallel_size,
        "--quantization": settings.quantization,
        "--dtype": settings.dtype,
    }
    return {flag: str(value) for flag, value in values.items() if value}


def _arguments(flags: Mapping[str, str], operator: Sequence[str]) -> tuple[str, ...]:
    """Ours, less those that the operator gives, and then the operator's."""
    theirs = {part.partition("=")[0].replace("_", "-") for part in operator if part.startswith("--")}
    theirs |= {f"--{name.removeprefix('--no-')}" for name in theirs if name.startswith("--no-")}
    ours = [part for flag, value in flags.items() if flag not in theirs for part in (flag, value) if part]
    return (*ours, *operator)


def _cpu_flags(settings: EngineSettings, model: Model) -> dict[str, str]:
    return {
        "--dtype": "bfloat16",
        "--enforce-eager": "",  # compiling: ready after 108 s instead of 29 s, and hardly faster then
        # A prefix is found again in whole blocks. The CPU's own choice of 128 tokens forgets 64 of them a turn.
        "--block-size": "32",
        "--max-model-len": str(min(CPU_CONTEXT, model.context or CPU_CONTEXT)),
        "--max-num-seqs": str(max(CPU_SEQUENCES, settings.max_concurrency)),
    }


def _card_flags(settings: EngineSettings, machine: Machine, card: Card, model: Model) -> dict[str, str]:
    suits = next(suit for suit in CARD_PLANS if card.memory_mib < suit.below_mib)
    share = settings.gpu_memory_utilization or CARD_SHARE
    used = settings.tensor_parallel_size or 1
    room = used * (card.memory_mib * 2**20 * share - CARD_RESERVE)
    if model.weights > room and not settings.quantization and not settings.args:
        raise ConfigError(
            [
                f"engine.model: {model.name} has {gib(model.weights)} of weights, but {used} of {len(machine.cards)} "
                f"{card.name} with {gib(card.memory_mib * 2**20)} leaves {gib(room)} for them. Set a smaller model, "
                "engine.tensor_parallel_size (to spread it over several cards), engine.quantization, "
                'or engine.mode = "remote".'
            ]
        )
    return {
        "--gpu-memory-utilization": str(CARD_SHARE),
        "--max-model-len": str(min(suits.context, model.context or suits.context)),
        "--max-num-seqs": str(max(suits.sequences, settings.max_concurrency)),
        "--max-num-batched-tokens": str(suits.batched_tokens),
    }


def _cpu_cache_gib(settings: EngineSettings, machine: Machine, model: Model) -> int:
    """GiB of memory for the KV cache, which vLLM takes at once: 4, 2 or 1, as is needed and leaves room to breathe."""
    context = settings.max_model_len or min(CPU_CONTEXT, model.context or CPU_CONTEXT)
    # Half of the worst case: all replies at once, each with a full context, do not come together.
    needed = max(CPU_SEQUENCES, settings.max_concurrency) * context * model.token_bytes / 2 or 4 * GIB
    left = machine.memory_available - model.weights - PROCESS_BYTES
    for size in (4, 2, 1):
        fits = size * GIB <= (left if size == 1 else left / 2)
        if fits and needed > size // 2 * GIB:
            return size
    raise ConfigError(
        [
            f"engine.model: {model.name} needs {gib(model.weights)} for its weights, {gib(GIB)} for its cache and "
            f"{gib(PROCESS_BYTES)} for vLLM itself, but only {gib(machine.memory_available)} of "
            f"{gib(machine.memory_total)} memory is free. Set a smaller model, free memory, "
            'or set engine.mode = "remote" and engine.base_url.'
        ]
    )


def gib(size: float) -> str:
    return f"{size / GIB:.1f} GiB"
