"""Forgets what is older than the operator wants to keep: in the background, in pieces so small that nobody waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from core.config import LedgerSettings
from core.errors import LedgerError
from core.ledger import Ledger

DAY = 86_400.0
EVERY_SECONDS = 3600.0
PIECE = 200  # rows of a kind in one transaction
PAUSE_SECONDS = 0.05  # between two pieces: the writer is the messages' first
NEVER = float("-inf")


class Retention:
    """The worker; without days in the settings it does nothing."""

    def __init__(self, ledger: Ledger, settings: LedgerSettings, clock: Callable[[], float]) -> None:
        self._ledger = ledger
        self._messages, self._audit = settings.keep_messages_days, settings.keep_audit_days
        self._clock = clock
        self._log = structlog.get_logger()

    async def run(self) -> None:
        """Forget, once an hour, until cancelled."""
        while self._messages or self._audit:
            try:
                count = await self.forget()
                self._log.info("forgotten", rows=count)
            except LedgerError as error:
                self._log.error("nothing_forgotten", reason=str(error))
            await asyncio.sleep(EVERY_SECONDS)

    async def forget(self) -> int:
        """Forget all that is too old now; how many rows that were. Raises LedgerError."""
        now, total = self._clock(), 0
        messages = now - self._messages * DAY if self._messages else NEVER
        audit = now - self._audit * DAY if self._audit else NEVER
        while count := await self._ledger.forget(messages, audit, now, PIECE):
            total += count
            await asyncio.sleep(PAUSE_SECONDS)
        return total
