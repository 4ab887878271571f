"""The proof in short: kills at any moment, and at each named point between two steps; every message has one ending.

The long form is `python main.py prove`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.proof import Account, Proof, Trial
from core.killing import POINTS

HOME = Path(__file__).resolve().parent.parent.parent
pytestmark = pytest.mark.process


async def prove(folder: Path, trial: Trial) -> dict[str, Account]:
    proof = Proof(HOME, folder, trial)
    accounts = await proof.run()
    assert proof.kills >= trial.kills // 2, "it was killed"
    for name, account in accounts.items():
        assert account.well, (trial, name, account)
        assert account.said, name
    return accounts


async def test_no_message_is_lost_or_answered_twice(tmp_path: Path) -> None:
    accounts = await prove(tmp_path, Trial(messages=120, kills=10, seed=7))
    accepted = sum(account.accepted for account in accounts.values())
    assert accepted >= 100
    assert sum(account.answered for account in accounts.values()) >= accepted / 2


@pytest.mark.parametrize("point", POINTS)
async def test_no_point_between_two_steps_loses_or_doubles_anything(tmp_path: Path, point: str) -> None:
    accounts = await prove(tmp_path, Trial(messages=30, kills=3, kill_at=f"{point}:4", faults=False))
    for name, account in accounts.items():
        if point not in {"sending", "delivered", "handed_over"}:
            assert account.unclear == 0, (point, name, account)
        if point not in {"shown", "sending", "delivered"}:
            assert not account.fragments, (point, name, account)
