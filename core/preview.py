"""Shows one growing reply at the channel's pace: the newest text only, never twice the same, silent after the first
refusal.

A preview is lossy and never the record. But the platform's message it made is: its reference is on disk before the
reply is committed, so that the final text lands in that same message, after a crash too. It never overtakes an earlier
reply that is still on its way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from core.channel import Channel
from core.errors import DeliveryError, LedgerError
from core.killing import Passing, pass_by
from core.ledger import Ledger
from core.types import Draft, Turn

BEHIND_SECONDS = 0.1  # between two looks whether an earlier reply has left


class Preview:
    """The preview of one turn. `show` is cheap and never waits; `finish` returns the reference of what is shown."""

    def __init__(
        self,
        channel: Channel,
        ledger: Ledger,
        turn: Turn,
        clock: Callable[[], float],
        passing: Passing = pass_by,
    ) -> None:
        self._passing = passing
        self._channel = channel
        self._ledger = ledger
        self._turn = turn
        self._clock = clock
        self._text = ""
        self._changed = asyncio.Event()
        self._ending = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._log = structlog.get_logger().bind(channel=channel.name, turn=turn.id)
        self._behind = turn.behind and not turn.reference
        self._unclear = False  # a first text may be there whose answer was lost
        self.reference = turn.reference
        self.shown = False  # this attempt's text has been seen by the user

    def show(self, text: str) -> None:
        """The whole visible text so far."""
        self._text = text
        if self._channel.traits.preview_seconds is None or self._ending.is_set():
            return
        self._changed.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def finish(self) -> str:
        """Stop showing; a preview on its way is waited for, since its reference counts."""
        self._ending.set()
        self._changed.set()
        if self._task is not None:
            await self._task
        if self._unclear:
            await self._look()
        return self.reference

    async def _run(self) -> None:
        last_text = ""
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._ending.is_set():
                return
            text = self._text
            if text == last_text:
                continue
            started = self._clock()
            if self._behind and await self._overtakes():
                self._changed.set()
                continue
            draft = Draft(self._turn.id, self._turn.conversation, self._turn.address, text, self.reference)
            try:
                reference = await self._channel.preview(draft)
                if reference is not None:
                    self._passing("shown")
                    self.shown = True
                    await self._record(reference)
            except (DeliveryError, LedgerError) as error:
                self._log.info("preview_stopped", reason=str(error))
                self._unclear = not self.reference and isinstance(error, DeliveryError) and error.unclear
                return
            last_text = text
            await self._pause(started)

    async def _look(self) -> None:
        """So that the final text lands in that message."""
        try:
            reference = await self._channel.find(self._turn, await self._ledger.references(self._turn))
            if reference is not None:
                await self._record(reference)
                self._log.info("preview_found")
        except (DeliveryError, LedgerError) as error:
            self._log.info("preview_not_looked_for", reason=str(error))

    async def _overtakes(self) -> bool:
        """Look whether the earlier reply has left by now; if it has not, after a while."""
        try:
            self._behind = await self._ledger.behind(self._turn)
        except LedgerError as error:
            self._log.info("preview_waits", reason=str(error))
        if self._behind:
            await self._wait(BEHIND_SECONDS)
        return self._behind

    async def _record(self, reference: str) -> None:
        if reference != self.reference:
            self.reference = reference
            await self._ledger.previewed(self._turn, reference)

    async def _pause(self, started: float) -> None:
        pace = self._channel.traits.preview_seconds or 0.0
        remaining = started + pace - self._clock()
        if remaining > 0:
            await self._wait(remaining)

    async def _wait(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._ending.wait(), seconds)
        except TimeoutError:
            return
