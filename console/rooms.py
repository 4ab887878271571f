"""What the console needs of the house behind it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from core.config import ThrottleSettings
from core.engine import Engine
from core.engine_metrics import Standing
from core.ledger import Counts
from core.ledger.console import ConsoleLedger
from core.rehearsal import Rehearsal
from core.types import Bot
from core.versions import Versions


@dataclass(frozen=True, slots=True)
class Rooms:
    """Handed over by whoever builds the house."""

    ledger: ConsoleLedger
    counts: Callable[[], Awaitable[Counts]]
    growing: Callable[[int], tuple[int, str] | None]  # conversation -> the turn being written there, its text so far
    engine: Engine
    engines: Callable[[], Awaitable[Sequence[Standing]]]  # each that it consists of, with its own numbers
    on: tuple[str, ...]  # channels
    off: Mapping[str, str]  # channel -> what would turn it on
    bots: Mapping[str, Bot]  # as they answer now
    versions: Versions
    rehearsal: Rehearsal
    throttle: ThrottleSettings
    look_again: Callable[[], None]  # the ledger was changed from here
    clock: Callable[[], float]
