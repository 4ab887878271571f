"""Each safeguard of the ledger is needed: taken away, by a trigger in the database, it makes the proof fail."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from bench.proof import Proof, Trial
from core.ledger.sqlite import SqliteLedger

HOME = Path(__file__).resolve().parent.parent.parent
pytestmark = pytest.mark.process

KEY = """
CREATE TRIGGER sabotage AFTER INSERT ON messages
BEGIN UPDATE messages SET event_id = event_id || '#' || NEW.id WHERE id = NEW.id; END;
"""
LEASE = """
CREATE TRIGGER sabotage AFTER INSERT ON turns WHEN NEW.state = 'running'
BEGIN UPDATE turns SET lease_until = 9e999 WHERE id = NEW.id; END;
CREATE TRIGGER sabotage_again AFTER UPDATE OF lease_until ON turns WHEN NEW.lease_until < 9e999
BEGIN UPDATE turns SET lease_until = 9e999 WHERE id = NEW.id; END;
"""
ONE_COMMIT = """
CREATE TRIGGER sabotage BEFORE INSERT ON deliveries WHEN NEW.turn_id % 2
BEGIN SELECT RAISE(IGNORE); END;
"""
REFERENCE = """
CREATE TRIGGER sabotage AFTER UPDATE OF reference ON turns WHEN NEW.reference <> '' AND NEW.state = 'running'
BEGIN UPDATE turns SET reference = '' WHERE id = NEW.id; END;
CREATE TRIGGER sabotage_of_the_look AFTER UPDATE OF trouble ON turns WHEN NEW.trouble LIKE '%died'
BEGIN UPDATE turns SET trouble = 'something else' WHERE id = NEW.id; END;
"""
BEGUN = """
CREATE TRIGGER sabotage AFTER UPDATE OF begun ON deliveries WHEN NEW.begun
BEGIN UPDATE deliveries SET begun = 0 WHERE id = NEW.id; END;
"""


@pytest.mark.parametrize(
    ("sabotage", "kill_at", "shows"),
    [
        pytest.param(KEY, "accepted:3", "doubled", id="the unique key of a message"),
        pytest.param(LEASE, "claimed:3", "lost", id="the lease of a turn"),
        pytest.param(ONE_COMMIT, "committed:3", "lost", id="one transaction for a reply and its deliveries"),
        pytest.param(REFERENCE, "written:3", "fragments", id="the recorded preview, and the look for one that is not"),
        pytest.param(BEGUN, "delivered:2", "doubled", id="the record of a send that began"),
    ],
)
async def test_without_it_the_proof_fails(tmp_path: Path, sabotage: str, kill_at: str, shows: str) -> None:
    """With it, test_proof.py passes at the same point."""
    ledger = SqliteLedger(tmp_path / "bench.db")
    await ledger.open(0.0, frozenset())
    await ledger.close()
    with closing(sqlite3.connect(tmp_path / "bench.db")) as connection:
        connection.executescript(sabotage)
    trial = Trial(24, 2, kill_at=kill_at, faults=False, channels=("telegram",), patience=8.0)
    if sabotage == BEGUN:  # one person, answers of two parts: the second delivery is a message of its own
        trial = replace(trial, messages=3, words=900)
    accounts = await Proof(HOME, tmp_path, trial).run()
    assert getattr(accounts["telegram"], shows), accounts
