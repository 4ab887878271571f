"""A gateway's ledger in a process of its own, to be killed or starved: `python ledger_process.py FILE accept|starve`.

Prints one line for each thing that is on disk, and nothing that is not.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from pathlib import Path

from core.errors import LedgerError
from core.ledger import Admission, Burst
from core.ledger.sqlite import SqliteLedger
from core.throttle import Rate
from core.types import ConversationKey, InboundMessage

ADMISSION = Admission(Rate.per_minute(60, 1_000_000), None, lambda refusal: refusal.reason)
BURST = Burst(0.0, 0.0, 20)
ROOM = 400_000  # bytes a file may have: above the shared-memory file, far below one checkpoint


async def accept(ledger: SqliteLedger, event: str) -> None:
    message = InboundMessage(event, ConversationKey("web", "support", event), event, "x" * 2000)
    receipt = await ledger.accept(message, ADMISSION, BURST, 1.0)
    print("again" if receipt.duplicate else "accepted", event, flush=True)


async def accept_forever(ledger: SqliteLedger, lane: int) -> None:
    number = 0
    while True:
        number += 1
        await accept(ledger, f"{lane}-{number}")


async def starve(ledger: SqliteLedger) -> None:
    """Accept until the disk is full, try again in vain, then with room again."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, hard))
    number = 0
    try:
        while number < 1000:
            number += 1
            await accept(ledger, f"e{number}")
    except LedgerError:
        print("refused", f"e{number}", flush=True)
    try:
        await accept(ledger, "while-full")
    except LedgerError:
        print("refused while-full", flush=True)
    for _ in range(20):  # one page may still fit
        if problem := await ledger.check():
            break
    print("check", problem, flush=True)
    counts = await ledger.counts()
    print("waiting", counts.waiting, flush=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    for event in (f"e{number}", "while-full", "after"):
        await accept(ledger, event)
    print("check", await ledger.check(), flush=True)


async def main(path: Path, what: str) -> None:
    ledger = SqliteLedger(path)
    await ledger.open(0.0, frozenset())
    if what == "starve":
        await starve(ledger)
        await ledger.close()
    else:
        await asyncio.gather(*(accept_forever(ledger, lane) for lane in range(4)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
