"""`python main.py keys create NAME [--bots A,B] [--rate N] | list | revoke ID`: who may call the API.

What is changed counts at once, also for a gateway that runs.
"""

from __future__ import annotations

import argparse
import sys
import time

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from commands import Plan, Serve
from core.errors import LedgerError
from core.ledger import keys, office
from core.ledger.audit import write_operated
from core.ledger.writer import Connection


async def run(plan: Plan, serve: Serve) -> int:
    """0 when done, 1 if there is no such key, 2 when the ledger cannot be read."""
    wanted = _parser().parse_args(plan.arguments)
    try:
        with office.opened(plan.ledger_path) as ledger:
            if wanted.what == "create":
                return _create(ledger, plan, wanted)
            if wanted.what == "revoke":
                return _revoke(ledger, wanted.id)
            return _list(ledger)
    except LedgerError as error:
        print(error, file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="main.py keys")
    whats = parser.add_subparsers(dest="what", required=True)
    creating = whats.add_parser("create", help="make a key; it is shown once")
    creating.add_argument("name", help="whose it is, for your own memory")
    creating.add_argument(
        "--bots", default="", help="the only bots it may ask, as a,b; without: all, and the raw model"
    )
    creating.add_argument("--rate", type=float, default=None, help="requests a minute")
    whats.add_parser("list", help="all keys, without their secrets")
    revoking = whats.add_parser("revoke", help="it opens nothing any more")
    revoking.add_argument("id", type=int, help="as `keys list` shows it")
    return parser


def _create(ledger: Connection, plan: Plan, wanted: argparse.Namespace) -> int:
    bots = [bot.strip() for bot in wanted.bots.split(",") if bot.strip()]
    if wrong := keys.flaw(wanted.name, bots, wanted.rate, plan.bots):
        print(wrong, file=sys.stderr)
        return 2
    now = time.time()
    with ledger:
        ledger.execute("BEGIN IMMEDIATE")
        key, secret = keys.create(ledger, keys.CHANNEL, wanted.name.strip(), bots, wanted.rate, now)
        detail = {"name": key.name, "bots": bots, "requests_per_minute": wanted.rate}
        write_operated(ledger, "key_created", f"key/{key.id}", detail, now)
    print(secret, flush=True)
    print(f"key {key.id} for {key.name}; it is not shown again", file=sys.stderr)
    return 0


def _revoke(ledger: Connection, number: int) -> int:
    now = time.time()
    with ledger:
        ledger.execute("BEGIN IMMEDIATE")
        key = keys.revoke(ledger, keys.CHANNEL, number, now)
        if key is not None:
            write_operated(ledger, "key_revoked", f"key/{key.id}", {"name": key.name}, now)
    if key is None:
        print(f"there is no key {number} that opens anything; see `keys list`", file=sys.stderr)
        return 1
    print(f"key {number} for {key.name} opens nothing any more")
    return 0


def _list(ledger: Connection) -> int:
    table = Table("id", "name", "bots", "requests a minute", "created", "revoked", "in the audit record")
    for key in keys.listed(ledger, keys.CHANNEL):
        rate = "" if key.requests_per_minute is None else f"{key.requests_per_minute:g}"
        revoked = "" if key.revoked_at is None else _day(key.revoked_at)
        table.add_row(
            str(key.id),
            escape(key.name),
            ", ".join(key.bots) or "all",
            rate,
            _day(key.created_at),
            revoked,
            key.fingerprint,
        )
    Console(highlight=False).print(table)
    return 0


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
