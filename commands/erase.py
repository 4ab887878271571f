"""`python main.py erase CHANNEL USER_ID`: a person's words, replies and names go; what became of them stays."""

from __future__ import annotations

import sys
import time

from commands import Plan, Serve
from core.errors import LedgerError
from core.ledger import erasure, office


async def run(plan: Plan, serve: Serve) -> int:
    """Erase, and say how much there was; 1 if nobody is known by that id."""
    if len(plan.arguments) != 2:
        print("usage: main.py erase CHANNEL USER_ID    (the user's id on that channel's platform)", file=sys.stderr)
        return 2
    channel, user_id = plan.arguments
    try:
        with office.opened(plan.ledger_path) as ledger:
            count = erasure.erase(ledger, channel, user_id, time.time())
    except LedgerError as error:
        print(error, file=sys.stderr)
        return 2
    finally:
        office.tell_gateway(plan.ledger_path)  # what others said beside them may wait again
    print(f"erased: {count} messages and the replies to them" if count else f"{channel} knows nobody of that id")
    return 0 if count else 1
