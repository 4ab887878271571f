"""What one delta costs the gateway: the same replies, cut into more of them.

The same text in the same time, so that as many previews are shown, gives the price of a delta alone; the longer reply
at the same pace holds the previews of the longer time, too. Under watch, what is done once a delta shows as a count.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.channels import words
from bench.drivers import Telegram
from bench.measures import Row
from bench.stand import engine, gateway
from bench.watched import Phase
from bench.watching import watched

FEW, MANY = 40, 200  # deltas of a reply
TEXT = words(1_000)
PACE = 20.0  # deltas a second
PATIENCE = 60.0
LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Shape:
    """How a reply comes."""

    deltas: int
    per_second: float


SHORT, DENSE, LONG = Shape(FEW, PACE), Shape(MANY, PACE * MANY / FEW), Shape(MANY, PACE)


async def deltas(home: Path, users: int = 50, rounds: int = 3) -> list[Row]:
    """CPU and calls a message for each shape, measured in turn and back; then the counts of the first two."""
    spent = dict.fromkeys((SHORT, DENSE, LONG), (0.0, 0))
    for shape in (SHORT, DENSE, LONG, LONG, DENSE, SHORT):
        cpu, calls = await _spent(home, shape, users, rounds)
        spent[shape] = spent[shape][0] + cpu, spent[shape][1] + calls
    messages = 2 * users * rounds
    each = {shape: cpu / messages for shape, (cpu, _) in spent.items()}
    calls_of = {shape: calls / messages for shape, (_, calls) in spent.items()}
    more = MANY - FEW
    few, many = await _counted(home, SHORT, users), await _counted(home, DENSE, users)
    parses = (many.parses - few.parses) / users / more
    commits, pieces = (many.commits - few.commits) / users / more, (many.pieces - few.pieces) / users / more
    return [
        Row(
            f"gateway CPU per further delta, {FEW} to {MANY} in the same time, {users} users",
            f"{(each[DENSE] - each[SHORT]) / more * 1e6:.0f} us "
            f"({each[SHORT] * 1000:.1f} to {each[DENSE] * 1000:.1f} ms a message)",
            "",
            None,
        ),
        Row(
            f"  the same at the same pace, {FEW / PACE:.0f} to {MANY / PACE:.0f} s, previews of that time included",
            f"{(each[LONG] - each[SHORT]) / more * 1e6:.0f} us ({each[LONG] * 1000:.1f} ms a message)",
            "",
            None,
        ),
        Row(
            "  calls to the platform per message meanwhile",
            ", ".join(f"{calls_of[shape]:.1f}" for shape in (SHORT, DENSE, LONG)),
            "",
            None,
        ),
        Row("  JSON documents read per further delta", f"{parses:.2f}", "1", round(parses, 1) == 1.0),
        Row(
            "  commits of the ledger per further delta; pieces of work in them",
            f"{commits:.4f}; {pieces:.4f} (a message: {many.commits / users:.1f}; {many.pieces / users:.1f})",
            "none",
            pieces < 0.01,
        ),
    ]


async def _spent(home: Path, shape: Shape, users: int, rounds: int) -> tuple[float, int]:
    """Seconds of the gateway's CPU, and calls to the platform."""
    async with _stand(home, shape) as (telegram, settings, folder), gateway(home, folder, settings) as house:
        telegram.meet(house.address)
        await _round(telegram, users, 1)  # warm
        before, calls = house.cpu_seconds(), _calls(telegram)
        for number in range(2, rounds + 2):
            await _round(telegram, users, number)
        return house.cpu_seconds() - before, _calls(telegram) - calls


async def _counted(home: Path, shape: Shape, users: int) -> Phase:
    async with _stand(home, shape) as (telegram, settings, folder), watched(home, folder, settings) as watch:
        telegram.meet(watch.house.address)
        await _round(telegram, users, 1)
        await watch.phase()
        await _round(telegram, users, 2)
        return await watch.phase()


@asynccontextmanager
async def _stand(home: Path, shape: Shape) -> AsyncIterator[tuple[Telegram, dict[str, str], Path]]:
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncExitStack() as stack:
            model = await stack.enter_async_context(
                engine(
                    home,
                    reply=TEXT,
                    pieces=str(shape.deltas),
                    tokens_per_second=str(shape.per_second),
                    first_token_seconds="0.1",
                )
            )
            telegram = await stack.enter_async_context(Telegram())
            yield telegram, telegram.settings() | {"FRONTDESK__ENGINE__BASE_URL": model}, Path(folder)


async def _round(telegram: Telegram, users: int, number: int) -> None:
    """Everybody asks at once, and reads the whole reply; it is the user's `number`th."""
    for user in range(users):
        await telegram.say(user, f"Question {number}, please?")
    await telegram.simulator.until(
        lambda: all(_whole(telegram.seen(user), number) for user in range(users)), seconds=PATIENCE
    )
    await asyncio.sleep(LOOK_SECONDS)  # what follows the last send belongs to the message, too


def _whole(seen: list[str], number: int) -> bool:
    return len(seen) == number and seen[-1].split() == TEXT.split()


def _calls(telegram: Telegram) -> int:
    return sum(telegram.simulator.counts[name] for name in ("sendMessage", "editMessageText"))
