"""`python main.py prove [--messages N] [--kills N] [--seed N] [--at POINT]`: no message is lost, none answered twice.

A gateway of its own, with a ledger in a temporary folder, is killed again and again; nothing of the operator's is used.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.account import Account
from bench.proof import Proof, Trial
from commands import Plan, Serve
from core.killing import POINTS

WIDTH = 140
COLUMNS = (
    *("accepted", "answered", "apologised", "throttled", "unclear"),
    *("lost", "doubled", "torn", "disordered", "fragments"),
)


async def run(plan: Plan, serve: Serve) -> int:
    """Print the account as a table; 1 if it does not come out even."""
    parser = argparse.ArgumentParser(prog="main.py prove")
    parser.add_argument("--messages", type=int, default=300, help="from people of all channels together")
    parser.add_argument("--kills", type=int, default=20, help="kill -9 of the gateway")
    parser.add_argument("--seed", type=int, default=1, help="repeats what people do and what fails")
    parser.add_argument("--at", choices=POINTS, default="", help="kill at this point instead of at any moment")
    wanted = parser.parse_args(plan.arguments)
    kill_at = f"{wanted.at}:3" if wanted.at else ""
    trial = Trial(wanted.messages, wanted.kills, wanted.seed, kill_at)
    console = Console(width=None if sys.stdout.isatty() else WIDTH)  # a pipe has no width to ask for
    console.print(f"{trial.messages} messages, {trial.kills} kills, seed {trial.seed} ...", style="dim")
    with tempfile.TemporaryDirectory(prefix="frontdesk-proof-") as folder:
        proof = Proof(plan.home, Path(folder), trial)
        accounts = await proof.run()
    console.print(table(accounts))
    console.print(f"kill -9 of the gateway: {proof.kills}")
    for account in accounts.values():
        for words in (account.lost, account.doubled, account.torn, account.disordered):
            console.print(*words, sep="\n", end="\n" if words else "")
    return 0 if all(account.well for account in accounts.values()) else 1


def table(accounts: dict[str, Account]) -> Table:
    """A row for each channel."""
    shown = Table("channel", "said", *COLUMNS)
    for name, account in accounts.items():
        cells = [getattr(account, column) for column in COLUMNS]
        shown.add_row(name, str(account.said), *(str(len(cell) if isinstance(cell, list) else cell) for cell in cells))
    return shown
