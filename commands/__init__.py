"""One file per command of main.py beyond `run`; each has `async def run(plan, serve) -> int`, its exit status."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from core.channel import Channel
from core.config import ChannelSettings, Environment, Settings
from core.types import Bot
from core.versions import Workshop


@dataclass(frozen=True, slots=True)
class ChannelPlan:
    """One channel as the settings want it. `missing` is empty when it is on."""

    name: str
    kind: str
    settings: ChannelSettings
    missing: tuple[str, ...]
    switched_off: bool = False

    @property
    def on(self) -> bool:
        return not self.missing and not self.switched_off

    @property
    def wanted(self) -> str:
        """What would turn it on; "" when it is on."""
        if self.switched_off:
            return "enabled = false in its section"
        variables = [name for name in self.missing if name.isupper()]
        settings = [name for name in self.missing if not name.isupper()]
        places = [(variables, ".env"), (settings, "config.toml")]
        told = [f"{' and '.join(names)} in {place}" for names, place in places if names]
        return f"set {', '.join(told)}" if told else ""


class Build(Protocol):
    """How each adapter constructs its channel."""

    def __call__(self, name: str, settings: ChannelSettings, *, public_url: str) -> Channel:
        """No I/O happens here."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All that was read before anything is built."""

    home: Path  # the repository
    config: Path
    arguments: tuple[str, ...]  # what follows the command's name
    settings: Settings
    environment: Environment
    bots: Mapping[str, Bot]  # as their files are
    workshop: Workshop
    channels: tuple[ChannelPlan, ...]
    build: Callable[[ChannelPlan], Channel]

    @property
    def off(self) -> Mapping[str, str]:
        """The channels that are off, each with what would turn it on."""
        return {planned.name: planned.wanted for planned in self.channels if not planned.on}

    def path(self, written: str) -> Path:
        """A path in the settings: relative ones start at the folder of the settings file."""
        return self.config.parent / written

    @property
    def ledger_path(self) -> Path:
        return self.path(self.settings.ledger.url.removeprefix("sqlite:///"))


Ready = Callable[[str, Mapping[str, tuple[str, ...]]], None]  # the server's address, each channel's paths
Serve = Callable[[Plan, asyncio.Event, Ready], Awaitable[None]]
