"""`python main.py status`: what became of the messages in the ledger, and what is stuck; the gateway may run or not."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from commands import Plan, Serve
from core.errors import LedgerError
from core.ledger import office


async def run(plan: Plan, serve: Serve) -> int:
    """Print the report; 1 if something waits for the operator."""
    try:
        with office.opened(plan.ledger_path) as ledger:
            report = office.report(ledger)
    except LedgerError as error:
        print(error, file=sys.stderr)
        return 2
    console = Console(highlight=False)
    states = report.messages
    accepted = sum(states.values())
    console.print(f"accepted {accepted}: " + ", ".join(f"{count} {state}" for state, count in sorted(states.items())))
    if report.oldest_waiting_at is not None:
        console.print(f"the oldest has been waiting for {time.time() - report.oldest_waiting_at:.0f} s")
    parts = ", ".join(f"{count} {state}" for state, count in sorted(report.deliveries.items()))
    console.print(f"deliveries: {parts or 'none'}")
    for channel, state, reason, count in report.reasons:
        console.print(f"  {count} {state} on {channel}: {reason}", markup=False)
    if report.stuck:
        table = Table("id", "channel", "what", "reason", "since")
        for stuck in report.stuck:
            since = time.strftime("%Y-%m-%d %H:%M", time.localtime(stuck.at))
            table.add_row(stuck.id, stuck.channel, stuck.state, escape(stuck.reason), since)
        console.print(table)
        console.print("`python main.py retry ID ...` tries them again, `retry --failed` all but the unclear ones")
    return 1 if report.stuck else 0
