"""What the engine's own words mean: why it ended, whether memory ran out, and what would have fitted.

The words are vLLM's and PyTorch's (vLLM 0.32.0); a line of a progress or of a status is none of them.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable
from dataclasses import dataclass

TROUBLE = re.compile(r"\b(ERROR|CRITICAL|Traceback)\b|\w+Error: ")
REASONS = (  # what a log line holds -> what to do, the first that is found
    ("No module named", "the engine's environment is incomplete: run `make setup`"),
    ("unrecognized arguments", "[engine] args holds something this vLLM does not know"),
    ("not a valid model identifier", "[engine] model is neither a folder here nor a model on Hugging Face"),
    ("couldn't connect to", "the model is not here and Hugging Face cannot be reached: load it once, or name a folder"),
    ("gated repo", "the model's licence must be accepted on Hugging Face, and HF_TOKEN set"),
)
# vLLM also reports "Free memory on device ..." when all is well: only the comparison is a complaint.
IN_USE = re.compile(
    r"(?:Free memory on device|Available memory on node) .*?\(([\d.]+)/([\d.]+) GiB\) on startup is less than"
)
NO_CACHE = re.compile(r"No available memory for the cache blocks")
SHORT_CACHE = re.compile(r"larger than the available KV cache memory \(([\d.]+) GiB\)")
ESTIMATE = re.compile(r"estimated maximum model length is (\d+)")
CPU_CACHE = re.compile(r"on kv cache allocation is less than requested memory for kv")
CUDA = re.compile(r"CUDA out of memory|CUDA error: out of memory|torch\.(?:cuda\.)?OutOfMemoryError")
MEMORY = re.compile(r"can't allocate memory|Cannot allocate memory|\bMemoryError\b|std::bad_alloc")


@dataclass(frozen=True, slots=True)
class Shortage:
    """Memory ran out; what the words give of numbers."""

    words: str
    free_share: float = 0.0  # of the card, at the start; 0: not told
    context: int = 0  # tokens that vLLM says would fit; 0: not told
    of_cache: bool = False  # the model is in, but its cache is too small


KILLED = Shortage(
    "the system killed it, because memory ran out: free memory, lower [engine] max_num_seqs or max_model_len, "
    "or use a smaller model"
)


def shortage_in(line: str) -> Shortage | None:
    """Whether that line of the log says that memory ran out."""
    if found := IN_USE.search(line):
        free, total = float(found[1]), float(found[2])
        words = f"only {free:g} of {total:g} GiB were free: something else uses them; stop it, or lower [engine] "
        return Shortage(words + "gpu_memory_utilization", free_share=free / total if total else 0.0)
    if found := SHORT_CACHE.search(line):
        fits = ESTIMATE.search(line)
        words = f"{found[1]} GiB are left for its cache, less than one conversation of [engine] max_model_len takes: "
        return Shortage(words + "lower it", context=int(fits[1]) if fits else 0, of_cache=True)
    if NO_CACHE.search(line):
        words = "the model leaves no memory for its cache: use a smaller one, engine.quantization or more cards"
        return Shortage(words, of_cache=True)
    if CUDA.search(line):
        words = "the card's memory ran out: lower [engine] max_num_seqs, max_num_batched_tokens or "
        return Shortage(words + "gpu_memory_utilization")
    if CPU_CACHE.search(line) or MEMORY.search(line):
        return Shortage("memory ran out: free memory, lower [engine] max_model_len, or use a smaller model")
    return None


def is_trouble(line: str) -> bool:
    """Whether a line of the log is one that an operator wants to see."""
    return TROUBLE.search(line) is not None


def explain_end(code: int | None, log: Iterable[str]) -> str:
    """Why the server ended, from its exit status (128 + signal when killed) and its last lines."""
    lines = list(log)
    text = "\n".join(lines)
    for mark, advice in REASONS:
        if mark in text:
            return f"the engine ended: {advice}"
    if code == 128 + signal.SIGKILL:
        return "the engine was killed, by somebody or because memory ran out: use a smaller model, or a larger machine"
    errors = [line for line in lines if re.search(r"\w*(Error|Exception)\b", line)]
    last = (errors or lines or ["it printed nothing"])[-1]
    return f"the engine ended with status {code}: {last[-300:]}"


def differences(before: Iterable[str], after: Iterable[str]) -> str:
    """The flags that differ between two command lines, as "max-num-seqs 64 -> 32"; "" when none does."""
    old, new = flags_of(before), flags_of(after)
    changed = [flag for flag in new if new[flag] != old.get(flag)]
    return ", ".join(
        f"{flag} {old[flag]} -> {new[flag]}" if flag in old else f"{flag} {new[flag]}".strip() for flag in changed
    )


def flags_of(command: Iterable[str]) -> dict[str, str]:
    """The flags of a command line without their dashes, each with its value; "" for one that has none."""
    flags: dict[str, str] = {}
    name = ""
    for part in command:
        if part.startswith("--"):
            name, _, value = part.removeprefix("--").partition("=")
            flags[name] = value
        elif name:
            flags[name], name = part, ""
    return flags
