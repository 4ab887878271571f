"""`python main.py engine plan`: what vLLM would be started with, and the arithmetic of its memory.

    engine plan [--model ID] [--gpu GIB [--count N] | --cpu [--memory GIB] [--cores N]]

Without `--gpu` and `--cpu` for this machine, else for the one described. Nothing is started and nothing loaded.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from commands import Plan, Serve
from core import vllm_plan
from core.machine import GIB, Card, Machine, look
from core.vllm_memory import gib
from core.vllm_plan import EnginePlan

WIDTH = 120  # characters, where there is no terminal
LEFT_FOR_US = 0.75  # of a described machine's memory: what a system and the gateway leave


async def run(plan: Plan, serve: Serve) -> int:
    """Print the plan. Raises ConfigError when the model cannot fit."""
    asked = _asked(plan.arguments)
    console = Console(highlight=False, soft_wrap=True)
    if plan.settings.engine.mode == "remote":
        console.print('engine.mode is "remote": nothing is started here. This would be started in mode "vllm":\n')
    made = planned(plan, described(asked), asked.model or plan.settings.engine.model)
    show(made, console)
    return 0


def _asked(arguments: tuple[str, ...]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="main.py engine", description="What the engine is started with, and why.")
    parser.add_argument("action", choices=("plan",))
    parser.add_argument("--model", default="", help="a Hugging Face id, or a folder (default: the settings')")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--gpu", type=_positive, help="a machine with cards of so many GiB")
    kind.add_argument("--cpu", action="store_true", help="a machine without a card")
    parser.add_argument("--count", type=_whole, default=1, help="of how many of those cards")
    parser.add_argument("--memory", type=_positive, default=0.0, help="of how many GiB of memory (default: this one's)")
    parser.add_argument("--cores", type=_whole, default=0, help="of how many CPU cores (default: this one's)")
    return parser.parse_args(arguments)


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < 1e6:
        raise argparse.ArgumentTypeError(f"{text} is no size")
    return number


def _whole(text: str) -> int:
    return int(_positive(text))


def described(asked: argparse.Namespace) -> Machine:
    """This machine, or the one that the arguments describe."""
    here = look()
    total = int(asked.memory * GIB) or here.memory_total
    free = int(total * LEFT_FOR_US) if asked.memory else here.memory_available
    cores = tuple(range(asked.cores)) or here.cores
    cpus = float(asked.cores) or here.cpus
    cards = here.cards
    if asked.gpu:
        cards = (Card(int(asked.gpu * 1024), f"card of {asked.gpu:g} GiB"),) * asked.count
    return Machine(total, free, cores, cpus, () if asked.cpu else cards)


def planned(plan: Plan, machine: Machine, model: str) -> EnginePlan:
    """Exactly what the gateway would decide there."""
    source = vllm_plan.choose(model, machine, plan.home / "var" / "models")
    known = vllm_plan.read_model(source, vllm_plan.hub(plan.environment))
    return vllm_plan.plan(plan.settings.engine, machine, known)


def show(made: EnginePlan, console: Console) -> None:
    """The memory, the flags with their reasons, the command line."""
    console.print(_two(made.label, arithmetic(made), console))
    console.print()
    table = _table("flag", "value", "why", console=console)
    for flag, value in made.flags.items():
        table.add_row(escape(flag), escape(value), escape(_why(made, flag)))
    for part in made.args:
        table.add_row(escape(part), "", "engine.args")
    console.print(table)
    console.print("\nThe whole command:")
    words = [f"{name}={shlex.quote(value)}" for name, value in made.environment.items()]
    words += [".venv-engine/bin/python -m vllm.entrypoints.openai.api_server", shlex.join(made.arguments)]
    console.print(escape(" ".join((*words, "--uds", "SOCKET"))))


def _table(*headings: str, console: Console) -> Table:
    table = Table(show_edge=False, pad_edge=False, width=None if console.is_terminal else WIDTH)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _two(heading: str, rows: Mapping[str, str], console: Console) -> Table:
    table = _table(heading, "", console=console)
    for name, value in rows.items():
        table.add_row(escape(name), escape(value))
    return table


def arithmetic(made: EnginePlan) -> dict[str, str]:
    """Where the memory goes, line by line."""
    sizes, budget, model = made.sizes, made.budget, made.model
    each = f" of each of {sizes.cards} cards" if sizes.cards > 1 else ""
    rows = {}
    if sizes.cards:
        rows["memory" + each] = f"{gib(budget.memory)}, of which vLLM may take {sizes.share:.0%}: {gib(budget.usable)}"
    else:
        rows["memory"] = f"{gib(budget.memory)}, of which {gib(budget.usable)} are free"
    known = "not known before it is loaded"
    rows["- weights"] = gib(budget.weights) if model.weights else known
    graphs = "CUDA" if sizes.eager else "CUDA, compiled steps and graphs"
    rows["- reserve"] = f"{gib(budget.runtime)}, {graphs if sizes.cards else 'the processes of vLLM'}"
    if sizes.cards:
        rows["- one step"] = f"{gib(budget.step)}, {sizes.batched:,} tokens, sampling for {sizes.sequences}"
    if model.weights:
        rows["= cache"] = gib(budget.cache) if sizes.cards else f"{gib(budget.cache)} of what is left"
    if not budget.context:
        rows["context"] = known
        return rows
    windowed = f", and {model.window_bytes / 1024:g} KiB for those near its end" if model.window_bytes else ""
    rows["cache of a token"] = f"{model.token_bytes / 1024:g} KiB{windowed}"
    rows["context"] = f"{sizes.context:,} tokens, {budget.context / 2**20:,.0f} MiB{each} at most"
    rows["full contexts at once"] = f"{budget.contexts:.1f}"
    rows["tokens of cache"] = f"{int(budget.contexts * sizes.context):,}"
    return rows


def _why(made: EnginePlan, flag: str) -> str:
    if flag in made.theirs:
        return "your setting"
    sizes, budget = made.sizes, made.budget
    half = f"half of the {made.wish.at_once} replies that engine.max_concurrency asks for should"
    eager = "the memory of CUDA graphs is needed for the cache" if sizes.cards else "compiling gains little on a CPU"
    return {
        "--served-model-name": "what the API lists",
        "--disable-uvicorn-access-log": "the gateway logs each call itself",
        "--enable-prompt-tokens-details": "each reply says what of its prompt was in the cache",
        "--reasoning-parser": "the model's reasoning comes apart, and is never shown",
        "--scheduling-policy": "people in the channels come before API calls",
        "--gpu-memory-utilization": "vLLM's share of the card",
        "--tensor-parallel-size": "one card does not hold the model; these share it",
        "--max-model-len": f"{budget.contexts:.1f} full ones fit at once; {half}"
        if budget.context
        else "vLLM finds out what fits",
        "--max-num-seqs": "as many ordinary conversations fit, and no fewer than the gateway asks for",
        "--max-num-batched-tokens": "a step takes an eighth of what the weights leave, or less",
        "--enforce-eager": eager,
        "--kv-cache-memory-bytes": f"{half} fit; at most half of what is free",
        "--block-size": "a prefix is found again in whole blocks; the default of 128 forgets up to 127 tokens",
        "--dtype": "half the memory of 32 bits",
    }.get(flag, "")
