"""`python main.py retry ID ... | --failed`: what was set aside or refused is tried again; `status` lists the ids."""

from __future__ import annotations

import sys
import time

from commands import Plan, Serve
from core.errors import LedgerError
from core.ledger import office

USAGE = "usage: main.py retry ID ... | --failed    (ids as `main.py status` shows them, such as m12 or d34)"


async def run(plan: Plan, serve: Serve) -> int:
    """Queue them, and have a running gateway look; 1 if one of them is not there to be tried."""
    names = list(plan.arguments)
    if not names or (names != ["--failed"] and any(name.startswith("-") for name in names)):
        print(USAGE, file=sys.stderr)
        return 2
    try:
        with office.opened(plan.ledger_path) as ledger:
            wanted = office.failed(ledger) if names == ["--failed"] else names
            done = office.retry(ledger, wanted, time.time())
    except LedgerError as error:
        print(error, file=sys.stderr)
        return 2
    running = office.tell_gateway(plan.ledger_path)
    print(f"to be tried again: {' '.join(done) or 'nothing'}{'' if running or not done else ', after the next start'}")
    missing = [name for name in wanted if name not in done]
    if missing:
        print(f"neither set aside nor refused: {' '.join(missing)}", file=sys.stderr)
    return 1 if missing else 0
