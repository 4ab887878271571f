"""Where the engine's memory goes - weights, what a step needs, the cache that is left - and how much fits into it.

Sizes are bytes of one card, or of the machine where there is none. All is arithmetic from the model's own numbers,
made so that the first start fits; vLLM measures for itself, and `safer` of core/vllm_plan.py answers what it finds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from core.machine import GIB, Machine

PROCESS_BYTES = 3 * GIB  # vLLM's three processes on a CPU without weights and cache; 1.9 GiB measured
# Of each card, beside what the model's numbers give; estimates, to be replaced by what vLLM reports there.
CUDA_BYTES = GIB // 2  # the driver's context, kernels, workspaces of the libraries
GRAPH_BYTES = GIB  # compiled steps and CUDA graphs of up to 1024 tokens; none in eager mode
EXCHANGE_BYTES = GIB // 2  # buffers between cards that share a model
SAMPLING_BYTES = 20  # for each word of the vocabulary: logits, probabilities, their order, all in 32 or 64 bits

SHARE = 0.92  # of a card; vLLM's own default
BATCHES = (8192, 4096, 2048)  # tokens a step: the most, and vLLM's defaults for large and for small cards
SEQUENCES = (256, 128, 64, 32, 16)
LEAST_CONTEXT, USUAL_CONTEXT, CPU_CONTEXT = 2048, 8192, 8192
TYPICAL_TOKENS = 2048  # of a conversation: prompt with knowledge, history, reply
CPU_CACHE_GIB = 4  # more would be taken from the rest of the machine for nothing
BLOCK = 16  # tokens that the cache gives out together
BITS = {"mxfp4": 4.25, "gpt_oss_mxfp4": 4.25, "bitsandbytes": 4.5, "fp8": 8.0, "int8": 8.0, "experts_int8": 8.0}
WIDTHS = {"float32": 4, "float": 4}  # bytes of a number; all else takes 2


@dataclass(frozen=True, slots=True)
class Model:
    """What is known of a model before it is loaded; 0 and "" mean not known."""

    source: str  # a folder, or an id on Hugging Face
    name: str  # what it is served as
    local: bool
    weights: int = 0  # bytes, as stored
    context: int = 0  # the longest the model was made for, in tokens
    kind: str = ""  # model_type of its config.json
    token_bytes: int = 0  # of KV cache for each token, in 16 bits: layers that look at the whole context
    window: int = 0  # tokens that the other layers look back
    window_bytes: int = 0  # of KV cache for each token in those
    step_bytes: int = 0  # activations of each token of a step
    vocabulary: int = 0
    heads: int = 0  # of attention; cards that share the model must divide them
    kv_heads: int = 0
    quantised: str = ""  # the method of its files
    width: int = 2  # bytes of each weight in its files, where they are not quantised

    @property
    def is_gpt_oss(self) -> bool:
        return self.kind == "gpt_oss" or self.source.startswith("openai/gpt-oss")


@dataclass(frozen=True, slots=True)
class Wish:
    """The operator's own numbers; 0 and "" leave the choice to us."""

    context: int = 0
    sequences: int = 0
    batched: int = 0
    share: float = 0.0
    cards: int = 0
    quantization: str = ""
    dtype: str = ""
    eager: bool = False
    at_once: int = 16  # replies that the gateway asks for


@dataclass(frozen=True, slots=True)
class Sizes:
    """The numbers that vLLM is started with."""

    context: int  # 0: as vLLM finds it out
    sequences: int
    batched: int
    share: float
    cards: int  # that share the model; 0: none, a CPU
    eager: bool


@dataclass(frozen=True, slots=True)
class Budget:
    """Where the memory of each card (or of the machine) goes."""

    memory: int
    usable: int  # by vLLM
    weights: int
    runtime: int  # CUDA and its graphs, or vLLM's processes
    step: int  # activations and sampling of one step
    cache: int
    context: int  # of cache for one full context; 0: not known

    @property
    def contexts(self) -> float:
        """Full contexts that the cache holds at once."""
        return max(self.cache, 0) / self.context if self.context else 0.0


def numbers(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `Model` that a config.json gives."""
    text: Mapping[str, Any] = config.get("text_config", config)
    heads, hidden = text.get("num_attention_heads") or 0, text.get("hidden_size") or 0
    kv_heads = text.get("num_key_value_heads") or heads
    size = text.get("head_dim") or (hidden // heads if heads else 0)
    layers = text.get("num_hidden_layers") or 0
    windowed = list(text.get("layer_types") or ()).count("sliding_attention")
    layer_bytes = 2 * 2 * kv_heads * size  # a key and a value, 16 bits each
    inner = text.get("moe_intermediate_size") or text.get("intermediate_size") or 0
    routed = text.get("num_experts_per_tok") or 1
    # Of one layer at a time: hidden states and their copies, queries, keys, values and the answer, gate, up and down.
    step = 2 * (4 * hidden + 2 * (heads + kv_heads) * size + routed * (3 * inner + hidden)) if heads and inner else 0
    return {
        "context": int(text.get("max_position_embeddings") or 0),
        "kind": str(config.get("model_type", "")),
        "token_bytes": layer_bytes * (layers - windowed),
        "window": int(text.get("sliding_window") or 0) if windowed else 0,
        "window_bytes": layer_bytes * windowed,
        "step_bytes": step,
        "vocabulary": int(text.get("vocab_size") or 0),
        "heads": heads,
        "kv_heads": kv_heads,
        "quantised": str((config.get("quantization_config") or {}).get("quant_method", "")),
        "width": WIDTHS.get(str(text.get("dtype") or text.get("torch_dtype") or ""), 2),
    }


def loaded(model: Model, wish: Wish) -> int:
    """The weights as they stand in memory: their files, unless the operator has them converted."""
    if model.quantised:
        return model.weights
    count = model.weights / model.width
    if wish.quantization:
        return int(count * BITS.get(wish.quantization, 8.0) / 8)
    return int(count * WIDTHS.get(wish.dtype, 2))


def context_bytes(model: Model, tokens: int, in_flight: int, cards: int = 1, width: int = 2) -> int:
    """Cache that one conversation of so many tokens holds at worst; *in_flight* of them are still being computed."""
    windowed = min(model.window - 1 + in_flight + BLOCK, tokens) if model.window_bytes else 0
    whole = tokens * model.token_bytes + windowed * model.window_bytes
    return whole * width // 2 // max(min(cards, model.kv_heads or cards), 1)


def shares(model: Model, wish: Wish, machine: Machine) -> Iterator[int]:
    """Numbers of cards that could share the model, the smallest first."""
    if wish.cards:
        yield wish.cards
        return
    for cards in range(1, len(machine.cards) + 1):
        if model.heads % cards == 0 if model.heads else cards & (cards - 1) == 0:
            yield cards


def card_memory(machine: Machine, cards: int) -> int:
    """Of each of the *cards* largest: the smallest of them counts for all, as each holds an equal part."""
    sizes = sorted((card.memory_mib for card in machine.cards), reverse=True)
    return sizes[min(cards, len(sizes)) - 1] * 2**20


def card_budget(model: Model, wish: Wish, memory: int, sizes: Sizes) -> Budget:
    """Where a card's memory goes with these numbers."""
    runtime = CUDA_BYTES + (0 if sizes.eager else GRAPH_BYTES) + (EXCHANGE_BYTES if sizes.cards > 1 else 0)
    step = sizes.batched * model.step_bytes + sizes.sequences * model.vocabulary * SAMPLING_BYTES
    usable, weights = int(memory * sizes.share), loaded(model, wish) // sizes.cards
    # While one step is computed the next is prepared, so that two of them hold their tokens.
    one = context_bytes(model, sizes.context, 2 * sizes.batched, sizes.cards, WIDTHS.get(wish.dtype, 2))
    return Budget(memory, usable, weights, runtime, step, usable - weights - runtime - step, one)


def fit_card(model: Model, wish: Wish, machine: Machine) -> tuple[Sizes, Budget]:
    """The fewest cards that hold it, compiled if that fits; at worst what comes nearest, with less than a context."""
    usual = wish.context or min(USUAL_CONTEXT, model.context or USUAL_CONTEXT)
    tried: list[tuple[Sizes, Budget]] = []
    for cards in shares(model, wish, machine):
        for eager in (True,) if wish.eager else (False, True):
            sizes, budget = _fill(model, wish, card_memory(machine, cards), cards, eager=eager)
            tried.append((sizes, budget))
            holds = budget.contexts >= 1 and sizes.context >= usual if budget.context else budget.cache > 0
            if holds or not model.weights:
                return sizes, budget
    short = [made for made in tried if made[1].contexts >= 1]  # a short context, if that is all there is
    if short:
        return max(short, key=lambda made: made[0].context)
    return max(tried, key=lambda made: made[1].cache)


def _fill(model: Model, wish: Wish, memory: int, cards: int, *, eager: bool) -> tuple[Sizes, Budget]:
    """Tokens a step, replies at once and the context, in this order, for that many cards."""

    def measure(context: int, sequences: int, batched: int) -> tuple[Sizes, Budget]:
        sizes = Sizes(context, sequences, batched, wish.share or SHARE, cards, eager)
        return sizes, card_budget(model, wish, memory, sizes)

    room = measure(0, 0, 0)[1].cache
    # An eighth of what the weights leave: a longer step than that takes more from the cache than it gives.
    roomy = [size for size in BATCHES if model.step_bytes and size * model.step_bytes <= room / 8]
    batched = wish.batched or (roomy or [BATCHES[-1]])[0]
    typical = context_bytes(model, TYPICAL_TOKENS, 2 * batched, cards)
    enough = [size for size in SEQUENCES if typical and measure(0, size, batched)[1].cache >= size * typical]
    sequences = wish.sequences or max((enough or [SEQUENCES[-1]])[0], wish.at_once)
    if wish.context or not (model.token_bytes and model.context and model.weights):
        return measure(wish.context, sequences, batched)
    lengths = contexts_of(model.context)
    half = [size for size in lengths if measure(size, sequences, batched)[1].contexts >= wish.at_once / 2]
    one = [size for size in lengths if size <= USUAL_CONTEXT and measure(size, sequences, batched)[1].contexts >= 1]
    return measure(max((half or [0])[0], (one or [lengths[-1]])[0]), sequences, batched)


def contexts_of(longest: int) -> list[int]:
    """The lengths to try: what the model was made for, and powers of two below it."""
    powers = [1 << power for power in range(30, 10, -1)]
    return [longest, *(size for size in powers if LEAST_CONTEXT <= size < longest)]


def fit_cpu(model: Model, wish: Wish, machine: Machine) -> tuple[Sizes, Budget]:
    """On the machine's own memory; at worst with less than a context, or a cache of less than nothing."""
    sequences = wish.sequences or max(SEQUENCES[-1], wish.at_once)
    batched = wish.batched or BATCHES[-1]
    width = WIDTHS.get(wish.dtype, 2)
    weights = loaded(model, wish)
    left = machine.memory_available - weights - PROCESS_BYTES
    wanted = wish.context or min(CPU_CONTEXT, model.context or CPU_CONTEXT)
    for context in (wanted,) if wish.context else [wanted, *contexts_of(wanted)[1:]]:
        one = context_bytes(model, context, batched, width=width)
        # Half of the worst case: all replies at once, each with a full context, do not come together.
        needed = math.ceil(sequences * one / 2 / GIB) or CPU_CACHE_GIB
        cache = min(needed, CPU_CACHE_GIB, max(left // 2 // GIB, 1)) * GIB
        if one <= cache:
            break
    sizes = Sizes(context, sequences, batched, wish.share, 0, eager=wish.eager)
    usable = machine.memory_available
    # A step's activations are among what was measured of the processes.
    return sizes, Budget(machine.memory_total, usable, weights, PROCESS_BYTES, 0, min(cache, left), one)


def gib(size: float) -> str:
    return f"{size / GIB:.1f} GiB"
