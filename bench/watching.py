"""A gateway under watch (bench/watched.py), and what it counted in each phase."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.stand import Gateway, gateway
from bench.watched import PHASE, Phase, read

PATIENCE = 30.0


@dataclass(slots=True)
class Watched:
    """The gateway, and the folder in which its phases stand."""

    house: Gateway
    folder: Path
    number: int = 0

    async def phase(self) -> Phase:
        """End the phase that runs now, and begin the next. Raises TimeoutError when the gateway does not say."""
        self.number += 1
        written = self.folder / f"{self.number}.json"
        self.house.process.send_signal(PHASE)
        async with asyncio.timeout(PATIENCE):
            while not written.exists():  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.02)
        return await asyncio.to_thread(read, written)


@asynccontextmanager
async def watched(home: Path, folder: Path, settings: Mapping[str, str]) -> AsyncIterator[Watched]:
    """As `gateway` of bench/stand.py."""
    phases = folder / "phases"
    phases.mkdir()
    through = ("-m", "bench.watched", str(phases))
    async with gateway(home, folder, dict(settings) | {"PYTHONPATH": str(home)}, through=through) as house:
        yield Watched(house, phases)
