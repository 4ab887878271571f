"""`python main.py backup FILE`: a consistent, checked copy of the ledger in one file, while the gateway goes on."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from commands import Plan, Serve
from core.errors import LedgerError
from core.ledger import office
from core.ledger.audit import operated, readable
from core.ledger.writer import sqlite3


async def run(plan: Plan, serve: Serve) -> int:
    """Copy, check, and say how large the copy is."""
    if len(plan.arguments) != 1 or plan.arguments[0].startswith("-"):
        print("usage: main.py backup FILE", file=sys.stderr)
        return 2
    target = Path(plan.arguments[0])
    try:
        size = await asyncio.to_thread(_copy, plan.ledger_path, target)
    except (LedgerError, OSError) as error:
        print(f"no backup was made: {error}", file=sys.stderr)
        return 2
    print(f"{target}: {size / 2**20:.1f} MiB, checked.")
    print(f"To restore, stop Frontdesk and put it at {plan.ledger_path}, without -wal and -shm beside it.")
    return 0


def _copy(ledger: Path, target: Path) -> int:
    with office.opened(ledger) as connection:
        if not target.exists():  # else there is no backup to tell of
            try:
                operated(connection, "backup", "ledger", {"file": readable(target.absolute())}, time.time())
            except sqlite3.Error as error:  # as on a full disk, where a copy is wanted most
                print(f"the audit record does not show this backup: {error}", file=sys.stderr)
        office.backup(connection, target)
    return target.stat().st_size
