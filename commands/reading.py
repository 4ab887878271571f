"""Reads the settings, the bots and each channel's section into a plan; all mistakes are named at once."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from bots.bot import Loaded, load_all
from bots.workshop import Workshop
from commands import ChannelPlan, Plan
from core.channel import Channel
from core.config import ChannelSettings, Environment, Settings, channel_tables, load, read_table, section
from core.errors import ConfigError

HOME = Path(__file__).resolve().parent.parent


def read(config: Path, arguments: tuple[str, ...]) -> Plan:
    """Read settings, bots and channel sections. Raises ConfigError with every mistake in all of them."""
    environment = Environment(config.parent / ".env", os.environ)
    table = read_table(config)
    problems: list[str] = []
    settings: Settings | None = None
    bots: dict[str, Loaded] = {}
    try:
        settings = load(config, environment)
    except ConfigError as error:
        problems += error.problems
    try:
        bots = load_all(HOME / "bots")
    except ConfigError as error:
        problems += error.problems
    kinds = sorted(path.parent.name for path in (HOME / "adapters").glob("*/settings.py"))
    sections: dict[str, Mapping[str, object]] = {kind: {} for kind in kinds} | channel_tables(settings, table)
    planned = []
    for name, section_table in sections.items():
        path = "api" if name == "api" else f"channels.{name}"
        wanted = section_table.get("bot")
        if bots and wanted is not None and wanted not in bots:
            problems.append(f"{path}.bot: no bot {wanted!r} in bots/; there are {', '.join(bots)}")
        try:
            planned.append(_plan_channel(name, path, section_table, kinds, environment))
        except ConfigError as error:
            problems += error.problems
    if problems or settings is None:
        raise ConfigError(problems)
    build = partial(_build_channel, public_url=settings.server.public_url)
    known = {name: loaded.bot for name, loaded in bots.items()}
    return Plan(HOME, config, arguments, settings, environment, known, Workshop(bots), tuple(planned), build)


def _plan_channel(
    name: str, path: str, table: Mapping[str, object], kinds: Sequence[str], environment: Environment
) -> ChannelPlan:
    kind = str(table.get("kind") or name)
    if kind not in kinds or (kind == "api") != (name == "api"):
        raise ConfigError([f"{path}: no channel of kind {kind!r}; set kind to one of {', '.join(kinds)}"])
    model: type[ChannelSettings] = importlib.import_module(f"adapters.{kind}.settings").Settings
    settings = section(path, model, table, environment)
    missing = tuple(settings.missing())
    if settings.enabled is True and missing:
        raise ConfigError([f"{path}: it is switched on, but {variable} is not set" for variable in missing])
    return ChannelPlan(name, kind, settings, missing, switched_off=settings.enabled is False)


def _build_channel(planned: ChannelPlan, *, public_url: str) -> Channel:
    module = importlib.import_module(f"adapters.{planned.kind}.channel")
    channel: Channel = module.build(planned.name, planned.settings, public_url=public_url)
    return channel
