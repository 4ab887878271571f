"""What is found at the end of a trial: what people see, held against the ledger's word on every message."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from bench.drivers import Driver


@dataclass(slots=True)
class Account:
    """What became of the messages of one channel."""

    said: int = 0
    accepted: int = 0
    answered: int = 0  # seen whole, once
    apologised: int = 0
    throttled: int = 0
    unclear: int = 0  # the ledger says that nobody can know whether it was seen, and it was not
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    disordered: list[str] = field(default_factory=list)
    fragments: list[str] = field(default_factory=list)  # previews left on the screen: see docs/reliability.md

    @property
    def well(self) -> bool:
        """Every accepted message has exactly one ending, and nobody saw anything twice, torn or out of order."""
        told = self.answered + self.apologised + self.throttled + self.unclear
        return self.accepted == told and not (self.lost or self.doubled or self.torn or self.disordered)


def account_of(
    name: str, driver: Driver, said: Mapping[tuple[str, int], list[str]], words: str, ledger: Path
) -> Account:
    """The account of one channel; `words` stand between the two ends of each reply."""
    account, endings = Account(), _endings(name, ledger)
    for (channel, user), marks in said.items():
        if channel != name:
            continue
        seen = " ".join(" ".join(driver.seen(user)).split())
        whole = re.findall(rf"\[(q\d+-\d+;) {words} end \1\]", seen)
        account.torn += [
            f"{name}: {mark}"
            for mark in re.findall(r"end (q\d+-\d+;)", seen)
            if mark not in whole and endings.get(mark) != "unclear"
        ]
        account.fragments += [
            f"{name}: {text[:6]}" for text in driver.seen(user) if text.startswith("[q") and "end " not in text
        ]
        account.disordered += [f"{name}: {user}"] if whole != sorted(whole) else []
        for mark in marks:
            account.said += 1
            ends = seen.count(f"end {mark}")  # more than one: a part of it stands there twice
            times = ends if ends > 1 else whole.count(mark)
            _count(account, f"{name}: {mark}", times, endings.get(mark))
    return account


def _count(account: Account, label: str, seen: int, ending: str | None) -> None:
    if ending is None:  # never acknowledged: the platform told its user so, or will
        account.lost += [f"{label} (seen, and not in the ledger)"] if seen else []
        return
    account.accepted += 1
    if seen > 1:
        account.doubled.append(label)
    elif seen:
        account.answered += 1
    elif ending in {"apology", "throttled", "unclear"}:
        account.apologised += ending == "apology"
        account.throttled += ending == "throttled"
        account.unclear += ending == "unclear"
    else:
        account.lost.append(f"{label} ({ending})")


def _endings(name: str, ledger: Path) -> dict[str, str]:
    """The ledger's word on each message: its reply's kind, its own state, or "unclear"."""
    with closing(read_only(ledger)) as connection:
        rows = connection.execute(
            "SELECT m.text, m.state, coalesce(t.kind, ''), EXISTS (SELECT 1 FROM deliveries d WHERE"
            " d.turn_id = t.id AND (d.state = 'unclear' OR d.taken_by IS NOT NULL)) FROM messages m"
            " LEFT JOIN turns t ON t.id = m.turn_id WHERE m.channel = ? ORDER BY m.id",
            (name,),
        ).fetchall()
    endings = {}
    for text, state, kind, unclear in rows:
        for mark in re.findall(r"q\d+-\d+;", text):
            endings[mark] = "throttled" if state == "throttled" else "unclear" if unclear else kind or state
    return endings


def open_work(ledger: Path) -> tuple[int, list[str], int]:
    """Messages that wait or are being answered; WeChat users for whom a part waits; other parts on their way."""
    with closing(read_only(ledger)) as connection:
        (waiting,) = connection.execute(
            "SELECT count(*) FROM messages WHERE state IN ('waiting', 'running')"
        ).fetchone()
        rows = connection.execute(
            "SELECT d.channel, c.chat_id FROM deliveries d JOIN conversations c ON c.id = d.conversation_id"
            " WHERE d.state IN ('pending', 'sending')"
        ).fetchall()
    pulled = sorted({chat for channel, chat in rows if channel == "wechat"})
    return waiting, pulled, sum(channel != "wechat" for channel, _ in rows)


def read_only(ledger: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)
