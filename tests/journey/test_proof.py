"""The proof in short: kills at any moment, and at each named point between two steps; every message has one ending.

The long form is `python main.py prove`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.account import Account
from bench.proof import Proof, Trial
from bench.stand import NotStartedError, gateway
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
    trial = Trial(30, 3, kill_at=f"{point}:3", faults=False)
    if point == "sending":  # second parts are messages of their own; an edit of what grew never begins
        trial = replace(trial, channels=("telegram", "slack"), words=900)
    for name, account in (await prove(tmp_path, trial)).items():
        # What WeChat's third request took with it is known to nobody.
        if point not in {"sending", "delivered"} and name != "wechat":
            assert account.unclear == 0, (point, name, account)


async def test_a_gateway_that_ends_before_it_answers_says_with_what(tmp_path: Path) -> None:
    with pytest.raises(NotStartedError) as caught:
        async with gateway(HOME, tmp_path, {"FRONTDESK__SERVER__PORT": "none"}):
            pass
    assert caught.value.status > 0  # a kill at a kill point is below
    assert "server.port" in (tmp_path / "gateway.log").read_text()
