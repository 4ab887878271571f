"""Frontdesk's way in: reads the settings, builds the objects top to bottom, runs them; it alone names the classes.

python main.py [run|check|chat|simulate|bench|prove|status|retry|backup|erase|audit|keys|engine] [--config FILE]
"""

from __future__ import annotations

import setup.own_python  # noqa: F401 # isort: skip - first, because the other imports need what is set up there

import argparse
import asyncio
import gc
import importlib
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog
from aiohttp import web

from commands import Plan, Ready
from commands.building import build_engine
from commands.reading import HOME, read
from commands.run import show
from console.console import Console
from console.rooms import Rooms
from core import logs
from core.channel import Channel
from core.clock import SteadyClock
from core.dialogue import Dialogue
from core.engine import Engine
from core.engine_metrics import EngineMetrics
from core.errors import ConfigError
from core.gateway import Bell, House
from core.http import Face, address_of, application, listen, runner_of
from core.killing import passing
from core.ledger.console import ConsoleLedger
from core.ledger.office import LOOK_AGAIN
from core.ledger.sqlite import SqliteLedger
from core.ledger.versions import VersionBook
from core.memory import collect_seldom
from core.metrics import Metrics
from core.rehearsal import Rehearsal
from core.retention import Retention
from core.runtime import Runtime
from core.throttle import Rate
from core.types import Bot
from core.versions import Versions
from core.vllm import VllmServer

COMMANDS = (
    *("run", "check", "chat", "simulate", "bench", "prove", "status"),
    *("retry", "backup", "erase", "audit", "keys", "engine"),
)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="main.py", description="A self-hosted customer-service bot.")
    parser.add_argument("command", nargs="?", default="run", choices=COMMANDS, help="default: run")
    parser.add_argument("--config", type=Path, help="the settings file (default: FRONTDESK_CONFIG, else config.toml)")
    known, rest = parser.parse_known_args(arguments)
    if rest and known.command == "run":
        parser.error(f"unknown argument {rest[0]}")
    config = known.config or Path(os.environ.get("FRONTDESK_CONFIG") or HOME / "config.toml")
    try:
        plan = read(config.resolve(), tuple(rest))
        if known.command == "run":
            logs.configure(plan.settings.log)
            return asyncio.run(run(plan))
        logs.configure(plan.settings.log.model_copy(update={"level": "warning"}))  # commands speak for themselves
        command = importlib.import_module(f"commands.{known.command}")
        status: int = asyncio.run(command.run(plan, serve))
        return status
    except ConfigError as error:
        print(f"Frontdesk cannot start; please mend this in {config.name}, .env or bots/:", file=sys.stderr)
        for problem in error.problems:
            print(f"  - {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


async def run(plan: Plan) -> int:
    """Serve until SIGTERM or Ctrl-C, then drain."""
    # Every open page and platform connection takes a descriptor; the usual soft limit of 1024 is soon reached.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(plan, stop, partial(show, plan))
    return 0


@dataclass(frozen=True, slots=True)
class Built:
    """The house as constructed, before anything in it runs."""

    ledger: SqliteLedger
    versions: Versions
    engine: Engine
    supervisor: VllmServer | None
    channels: Mapping[str, Channel]
    runtime: Runtime
    console: Console | None
    clock: Callable[[], float]
    app: web.Application
    paths: Mapping[str, tuple[str, ...]]


def build(plan: Plan) -> Built:
    """Construct everything, top to bottom. No I/O but looking at the machine."""
    settings, clock, passed = plan.settings, SteadyClock(), passing(os.environ)
    metrics, bell = Metrics(), Bell()
    ledger = SqliteLedger(plan.ledger_path, passed, masking=settings.audit.mask)
    engine, supervisor, theirs = build_engine(plan, clock)
    channels = {planned.name: plan.build(planned) for planned in plan.channels if planned.on}
    throttle = settings.throttle
    tokens = Rate.per_day(throttle.tokens_per_day) if throttle.tokens_per_day else None
    bots = dict(plan.bots)
    versions = Versions(bots, plan.workshop, VersionBook(ledger), clock)
    dialogue = Dialogue(engine, ledger, bots, settings.dialogue, tokens, clock, passed)
    runtime = Runtime(
        ledger=ledger,
        engine=engine,
        dialogue=dialogue,
        channels=channels,
        settings=settings.dialogue,
        concurrency=settings.engine.max_concurrency,
        metrics=metrics,
        bell=bell,
        clock=clock,
        wall=time.time,
        passing=passed,
    )
    house = House(
        ledger=ledger,
        engine=engine,
        dialogue=dialogue,
        bots=bots,
        throttle=throttle,
        settings=settings.dialogue,
        trusted_proxies=settings.server.trusted_proxies,
        metrics=metrics,
        wake=runtime.wake,
        bell=bell,
        clock=clock,
        passing=passed,
    )
    routes = {name: tuple(channel.routes(house)) for name, channel in channels.items()}
    console = None
    if settings.console.enabled:
        rooms = _rooms(plan, ledger, engine, theirs, dialogue, runtime, bots, versions, tuple(channels), clock)
        console = Console(settings.console, rooms, house, secure=settings.server.public_url.startswith("https:"))
        routes["console"] = tuple(console.routes())
    on, off = tuple(channels), plan.off
    face = Face(on=on, off=off, ledger=ledger, engine=engine, metrics=metrics, beside=theirs.read, clock=clock)
    paths = {name: tuple(dict.fromkeys(route.path for route in own)) for name, own in routes.items()}
    app = application(routes.values(), face, settings.server.body_limit_kib * 1024)
    return Built(ledger, versions, engine, supervisor, channels, runtime, console, clock, app, paths)


def _rooms(
    plan: Plan,
    ledger: SqliteLedger,
    engine: Engine,
    theirs: EngineMetrics,
    dialogue: Dialogue,
    runtime: Runtime,
    bots: Mapping[str, Bot],
    versions: Versions,
    on: tuple[str, ...],
    clock: Callable[[], float],
) -> Rooms:
    """What the console sees of the house."""
    return Rooms(
        ledger=ConsoleLedger(ledger),
        counts=ledger.counts,
        growing=dialogue.growing,
        engine=engine,
        engines=theirs.standing,
        on=on,
        off=plan.off,
        bots=bots,
        versions=versions,
        rehearsal=Rehearsal(engine, plan.settings.dialogue, clock),
        throttle=plan.settings.throttle,
        look_again=runtime.look_again,
        clock=clock,
    )


async def serve(plan: Plan, stop: asyncio.Event, ready: Ready) -> None:
    """Open the house, call `ready` with its address once it accepts, run until `stop`, drain. Raises ConfigError."""
    built, settings, log = build(plan), plan.settings, structlog.get_logger()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(built.ledger.close)
        repeatable = frozenset(name for name, channel in built.channels.items() if channel.traits.repeatable)
        await built.ledger.open(time.time(), repeatable, settings.dialogue.repeat_unclear)
        await built.versions.adopt()
        stack.push_async_callback(built.engine.close)
        runner = runner_of(built.app)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = await listen(runner, settings.server.host, settings.server.port)
        built.runtime.start()
        asyncio.get_running_loop().add_signal_handler(LOOK_AGAIN, built.runtime.look_again)
        retention = asyncio.create_task(Retention(built.ledger, settings.ledger, built.clock).run())
        stack.callback(retention.cancel)
        address = address_of(runner, settings.server.host)
        if built.console is not None:
            looking = asyncio.create_task(built.console.run())
            stack.push_async_callback(asyncio.wait, [looking])
            stack.callback(looking.cancel)
            ready(address, {**built.paths, "console": (built.console.link() or "/console",)})
        else:
            ready(address, built.paths)
        log.info("accepting", address=address)
        collect_seldom()
        gc.freeze()  # what is loaded stays: a full collection that looks through it would hold up everybody for 50 ms
        if built.supervisor is not None:
            supervising = asyncio.create_task(built.supervisor.run())
            stack.push_async_callback(asyncio.wait, [supervising])
            stack.push_async_callback(built.supervisor.stop)
        for channel in built.channels.values():
            # In the background: a platform that does not answer holds up neither the others nor a stop.
            starting = asyncio.create_task(channel.start())
            starting.add_done_callback(_started)
            stack.push_async_callback(_close, channel, starting)
        await stop.wait()
        log.info("stopping")
        await site.stop()
        await built.runtime.drain(settings.server.drain_seconds)
    log.info("stopped")


async def _close(channel: Channel, starting: asyncio.Task[None]) -> None:
    starting.cancel()
    await asyncio.wait([starting])
    await channel.close()


def _started(starting: asyncio.Task[None]) -> None:
    if not starting.cancelled() and (error := starting.exception()) is not None:
        structlog.get_logger().error("channel_start_crashed", exc_info=error)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
