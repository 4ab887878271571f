"""What `run` shows when the house is open: each channel, what would turn the others on, the engine, the addresses."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from commands import Plan
from commands.building import shown

HOUSE_DOOR = "/console"
WIDTH = 140  # characters, where there is no terminal


def show(plan: Plan, address: str, paths: Mapping[str, tuple[str, ...]]) -> None:
    """Print the start-up table to stdout."""
    public = plan.settings.server.public_url or address
    table = Table(title=f"Frontdesk is open at {address}", title_justify="left", show_edge=False, pad_edge=False)
    for heading in ("channel", "", "where, or what turns it on"):
        table.add_column(heading, overflow="fold")
    for channel in plan.channels:
        if channel.on:
            table.add_row(
                channel.name, "[green]on[/]", public + next(path for path in paths[channel.name] if path != "/")
            )
        else:
            table.add_row(channel.name, "[dim]off[/]", f"[dim]{channel.wanted}[/]")
    engine = plan.settings.engine
    where = (
        f"{', '.join(map(shown, engine.addresses))}, asked now"
        if engine.mode == "remote"
        else f"vLLM, loading {engine.model}; messages wait"
    )
    table.add_row("engine", "[yellow]starting[/]", where)
    if "console" in paths:
        table.add_row("console", "[green]on[/]", _console(plan, address))
    table.add_row("health", "", f"{address}/readyz (JSON), {address}/metrics")
    # On a pipe there is no width to ask for, and a folded table is read by nobody.
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else WIDTH).print(table)
    link = next(iter(paths.get("console", ())), HOUSE_DOOR)
    if link != HOUSE_DOOR and sys.stdout.isatty():
        print(f"\nThe console, for one person and once: {address}{link}")  # whole: a table would fold it


def _console(plan: Plan, address: str) -> str:
    """Where it is, and how to come in. A link that lets somebody in is shown to a person, never to a log."""
    if plan.settings.console.password is not None:
        return f"{address}{HOUSE_DOOR}"
    if sys.stdout.isatty():
        return f"{address}{HOUSE_DOOR}, by the link below"
    return f"{address}{HOUSE_DOOR}; set {plan.settings.console.password_env} in .env to sign in"
