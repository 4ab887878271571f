"""`python main.py bench`: measures the bars side by side in one run and prints a table with a verdict for each."""

from __future__ import annotations

import asyncio
import platform
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import measures
from bench.measures import Row
from commands import Plan, Serve
from core.machine import look


async def run(plan: Plan, serve: Serve) -> int:
    """Measure all; with `--write FILE`, leave the table there as Markdown too."""
    console = Console()
    rows: list[Row] = []
    for name, measure in (
        ("start and memory", measures.start(plan.home)),
        ("accepting", measures.accepting(plan.home)),
        ("first text, 1 user", measures.first_text(plan.home, 1, 40)),
        ("first text, 32 users", measures.first_text(plan.home, 32, 6)),
        ("cost of a message", measures.cost(plan.home)),
    ):
        console.print(f"measuring: {name} ...", style="dim")
        rows += await measure
    table = Table("what", "measured", "bar", "")
    for row in rows:
        table.add_row(row.what, row.measured, row.bar, _verdict(row))
    console.print(table)
    if plan.arguments[:1] == ("--write",) and len(plan.arguments) == 2:
        await asyncio.to_thread(Path(plan.arguments[1]).write_text, markdown(rows), encoding="utf-8")
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
