"""`python main.py bench [NAME ...]`: measures the bars in one run and prints a table with a verdict for each."""

from __future__ import annotations

import argparse
import asyncio
import platform
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import channels, deltas, dialogues, directly, fairness, growth, loop, measures, soak
from bench.chart import chart
from bench.measures import Row
from commands import Plan, Serve
from core.machine import look

MEASURES: dict[str, Callable[[Path], Awaitable[list[Row]]]] = {
    "start": measures.start,
    "accepting": measures.accepting,
    "first-text-1": partial(measures.first_text, users=1, rounds=40),
    "first-text-32": partial(measures.first_text, users=32, rounds=6),
    "cost": measures.cost,
    "deltas": deltas.deltas,
    "loop": loop.loop,
    "fairness": fairness.fairness,
    "telegram": channels.telegram,
    "wechat": channels.wechat,
    "growth": growth.growth,
    "line": growth.line,
    "soak": soak.soak,
    "directly": directly.directly,
    "dialogues": dialogues.dialogues,
}
# Pieces of these, for when they are named.
PARTS: dict[str, Callable[[Path], Awaitable[list[Row]]]] = {
    f"directly-{channel}": partial(directly.directly, channels=(channel,)) for channel in directly.WAYS
}


async def run(plan: Plan, serve: Serve) -> int:
    """Measure all, or what is named; `--write FILE` and `--chart FILE` leave it there, too."""
    parser = argparse.ArgumentParser(prog="main.py bench")
    names = ", ".join((*MEASURES, *PARTS))
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {names}; all without")
    parser.add_argument("--write", type=Path, help="leave the table there, as Markdown")
    parser.add_argument("--chart", type=Path, help="draw the ratios there, as SVG")
    wanted = parser.parse_args(plan.arguments)
    if unknown := set(wanted.names) - MEASURES.keys() - PARTS.keys():
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {names}")
    console = Console()
    rows: list[Row] = []
    for name, measure in (MEASURES | PARTS).items():
        if name in (wanted.names or MEASURES):
            console.print(f"measuring: {name} ...", style="dim")
            rows += await measure(plan.home)
    table = Table("what", "measured", "bar", "")
    for row in rows:
        table.add_row(row.what, row.measured, row.bar, _verdict(row))
    console.print(table)
    if wanted.write is not None:
        await asyncio.to_thread(wanted.write.write_text, markdown(rows), encoding="utf-8")
    if wanted.chart is not None:
        await asyncio.to_thread(wanted.chart.write_text, chart(rows), encoding="utf-8")
    return 0


def _verdict(row: Row) -> str:
    return "" if row.met is None else "met" if row.met else "MISSED"


def markdown(rows: list[Row]) -> str:
    """The table as it stands in docs/benchmarks.md."""
    machine = look()
    memory = machine.memory_total / 2**30
    lines = [
        f"Measured on {machine.cpus:g} cores, {memory:.0f} GiB, Python {platform.python_version()}, no GPU.",
        "",
        "| what | measured | bar | |",
        "|---|---|---|---|",
        *(f"| {row.what.strip()} | {row.measured} | {row.bar} | {_verdict(row)} |" for row in rows),
    ]
    return "\n".join(lines) + "\n"
