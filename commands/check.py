"""`python main.py check [--live]`: a line for each thing that must hold before the house opens; exit 1 if one does not.

Without `--live` no platform is called; with it each configured one is asked whether it knows us as it should.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
from rich.console import Console
from rich.markup import escape

from commands import ChannelPlan, Plan, Serve
from commands.building import shown
from core import vllm_plan
from core.channel import Finding
from core.client import OpenAIEngine
from core.errors import ConfigError, EngineError
from core.machine import look

DISK_GIB = 1.0  # for the ledger; a million messages take about as much
SECONDS = 15.0  # for each question to the outside


async def run(plan: Plan, serve: Serve) -> int:
    """Print the findings as they come; 1 if any is not well."""
    if plan.arguments not in ((), ("--live",)):
        print("usage: main.py check [--live]", file=sys.stderr)
        return 2
    console = Console(highlight=False)
    failed = 0
    async for finding in findings(plan, live=bool(plan.arguments)):
        failed += not finding.ok
        mark = "[green]ok  [/]" if finding.ok else "[red]FAIL[/]"
        remedy = f" [bold]-> {escape(finding.remedy)}[/]" if finding.remedy else ""
        console.print(f"{mark} {finding.subject:<14} {escape(finding.detail)}{remedy}", soft_wrap=True)
    return 1 if failed else 0


async def findings(plan: Plan, *, live: bool) -> AsyncIterator[Finding]:
    """Everything that can be looked at from outside, in the order of the start."""
    yield Finding("settings", True, f"{plan.config.name} read, bots: {', '.join(plan.bots)}")
    yield secrets(plan)
    yield await port(plan)
    yield disk(plan.ledger_path)
    for finding in await engine(plan):
        yield finding
    for channel in plan.channels:
        if not channel.on:
            yield Finding(channel.name, True, f"off ({channel.wanted})")
        elif not live:
            yield Finding(channel.name, True, "on; `check --live` asks the platform about it")
        else:
            for finding in await platform(plan, channel):
                yield finding


def secrets(plan: Plan) -> Finding:
    """Secrets are in the environment and nobody else may read `.env`."""
    dotenv = plan.environment.dotenv
    if dotenv.exists() and dotenv.stat().st_mode & 0o077:
        return Finding("secrets", False, f"others on this machine may read {dotenv.name}", f"chmod 600 {dotenv.name}")
    on = [channel.name for channel in plan.channels if channel.on]
    return Finding("secrets", True, f"complete for {', '.join(on)}" if on else "no channel has its secrets")


async def port(plan: Plan) -> Finding:
    """The port is free, or it is ours already."""
    host, number = plan.settings.server.host, plan.settings.server.port
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, number))
        except OSError as error:
            reason = error.strerror
        else:
            return Finding("port", True, f"{host}:{number} is free")
    where = "127.0.0.1" if host in {"0.0.0.0", "::", ""} else host
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=3)) as http,
            http.get(f"http://{where}:{number}/healthz") as answer,
        ):
            ours = answer.status == 200 and (await answer.json()).get("status") == "ok"
    except (aiohttp.ClientError, TimeoutError, ValueError):
        ours = False
    if ours:
        return Finding("port", True, f"Frontdesk runs on {host}:{number} already")
    return Finding("port", False, f"{host}:{number}: {reason}", "stop what uses it, or set server.port")


def disk(ledger: Path) -> Finding:
    """There is room for the ledger, in a folder we may write to."""
    folder = next(parent for parent in ledger.parents if parent.exists())
    free = shutil.disk_usage(folder).free / 2**30
    if free < DISK_GIB:
        return Finding("disk", False, f"{free:.1f} GiB free at {folder}", "make room, or move ledger.url")
    return Finding("disk", True, f"{free:.0f} GiB free for the ledger")


async def engine(plan: Plan) -> list[Finding]:
    """The engine can be started (or reached), and the model fits the machine."""
    settings = plan.settings.engine
    if settings.mode == "remote":
        return list(await asyncio.gather(*(remote(plan, url) for url in settings.addresses)))
    python = plan.home / ".venv-engine" / "bin" / "python"
    found = Finding("engine", True, "vLLM's environment is there")
    if not python.exists():
        found = Finding("engine", False, "vLLM is not installed", "run `make setup`")
    try:
        machine = look()
        model = vllm_plan.read_model(
            vllm_plan.choose(settings.model, machine, plan.home / "var" / "models"), vllm_plan.hub(plan.environment)
        )
        decided = vllm_plan.plan(settings, machine, model)
    except ConfigError as error:
        return [found, Finding("model", False, "; ".join(error.problems))]
    memory = machine.memory_total / 2**30
    return [
        found,
        Finding("model", True, f"{decided.label} fits this machine ({memory:.0f} GiB, {machine.cpus:g} cores)"),
    ]


async def remote(plan: Plan, url: str) -> Finding:
    """That remote server answers and names a model."""
    settings = plan.settings.engine
    model = "" if settings.model == "auto" else settings.model
    client = OpenAIEngine(url, model=model, api_key=settings.api_key)
    try:
        async with asyncio.timeout(SECONDS):
            await client.wait_ready()
    except (TimeoutError, EngineError):
        return Finding("engine", False, client.detail, "start the server, or mend its address and key in [engine]")
    finally:
        await client.close()
    return Finding("engine", True, f"{shown(url)} serves {client.model}")


async def platform(plan: Plan, channel: ChannelPlan) -> list[Finding]:
    """The platform knows us, and sends us what it should."""
    built = plan.build(channel)
    try:
        async with asyncio.timeout(SECONDS):
            return await built.check()
    except TimeoutError:
        return [Finding(channel.name, False, f"no answer in {SECONDS:.0f} s", "is the network up?")]
    finally:
        await built.close()
