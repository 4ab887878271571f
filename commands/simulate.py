"""`main.py simulate telegram|slack|wechat`: a channel without an account, against one's own bots, engine and limits.

The platform is its simulator on loopback; every other channel is off and the ledger is a fresh file beside the
operator's, so that no platform is called and a running gateway is not disturbed.
"""

from __future__ import annotations

import asyncio
import fcntl
import importlib
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from commands import ChannelPlan, Plan, Serve
from commands.simulate_page.server import PageServer
from commands.simulate_page.side import Side
from commands.simulate_page.slack import SlackSide
from commands.simulate_page.telegram import TelegramSide
from commands.simulate_page.wechat import WeChatSide
from core.channel import Channel
from core.config import Environment, section
from core.errors import ConfigError

SIDES: Mapping[str, Callable[[], Side]] = {"telegram": TelegramSide, "slack": SlackSide, "wechat": WeChatSide}
DRAIN_SECONDS = 2.0  # Ctrl-C means now: what the simulator's users still wait for does not matter


async def run(plan: Plan, serve: Serve) -> int:
    """Serve the simulated channel and its page until Ctrl-C. Raises ConfigError."""
    sections = {channel.name: channel for channel in plan.channels if channel.kind in SIDES}
    chosen = sections.get(plan.arguments[0]) if len(plan.arguments) == 1 else None
    if chosen is None:
        print(f"usage: main.py simulate {'|'.join(sections)}", file=sys.stderr)
        return 2
    if chosen.settings.bot not in plan.bots:
        raise ConfigError([f"channels.{chosen.name}.bot: no bot {chosen.settings.bot!r} in bots/"])
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    side = SIDES[chosen.kind]()
    bot = plan.bots[chosen.settings.bot]
    async with AsyncExitStack() as stack:
        stack.push_async_callback(side.stop)
        await side.start()
        page = await stack.enter_async_context(PageServer(side, platform=chosen.kind, title=bot.title))

        def ready(address: str, paths: Mapping[str, tuple[str, ...]]) -> None:
            side.meet(address, paths[chosen.name])
            page.watch(address)
            print(f"Open {page.url}/ - you are the customers of {chosen.name}. Ctrl-C ends it.", flush=True)

        await serve(simulated(plan, chosen, side), stop, ready)
    return 0


def simulated(plan: Plan, chosen: ChannelPlan, side: Side) -> Plan:
    """The plan with this one channel, pointed at its simulator. Raises ConfigError when the ledger is in use."""
    model = type(chosen.settings)
    values = {**chosen.settings.model_dump(), **side.credentials(chosen.settings), "enabled": True}
    # The real variables are out of reach: the made-up credentials are all there are.
    nothing = Environment(Path(os.devnull), {})
    only = ChannelPlan(chosen.name, chosen.kind, section(f"channels.{chosen.name}", model, values, nothing), ())
    ledger = plan.ledger_path.with_name(f"simulate-{chosen.name}.db")
    _forget(ledger)
    settings = plan.settings
    here = settings.server.model_copy(
        update={"host": "127.0.0.1", "port": 0, "public_url": "", "drain_seconds": DRAIN_SECONDS}
    )
    url = settings.ledger.model_copy(update={"url": f"sqlite:///{ledger}"})
    others = (replace(channel, switched_off=True) for channel in plan.channels if channel is not chosen)
    return replace(
        plan,
        settings=settings.model_copy(update={"server": here, "ledger": url}),
        channels=(only, *others),
        build=_build,
    )


def _build(planned: ChannelPlan) -> Channel:
    # Without the operator's public address: a platform told of it would write there.
    channel: Channel = importlib.import_module(f"adapters.{planned.kind}.channel").build(
        planned.name, planned.settings, public_url=""
    )
    return channel


def _forget(ledger: Path) -> None:
    """Remove the ledger of the last time: the simulator counts its messages from the start again."""
    lock = ledger.with_name(f"{ledger.name}.lock")
    if not lock.exists():
        return
    with lock.open("r+b") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError([f"{ledger.name}: this channel is being simulated already"]) from None
        for ending in ("", "-wal", "-shm"):
            ledger.with_name(ledger.name + ending).unlink(missing_ok=True)
