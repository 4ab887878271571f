"""A ledger beside a model of it: what the state machines of the contract have in common."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from tests.contract.ledgers import Book, Store
from tests.examples import part_of

Make = Callable[[Path], Store]


class BookMachine(RuleBasedStateMachine):
    """An open book in a folder of its own, driven from rules, which are not async."""

    def __init__(self, make: Make) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._folder = tempfile.TemporaryDirectory()
        self._book = Book(make(Path(self._folder.name)))
        self._runner.run(self._book.open())

    def teardown(self) -> None:
        self._runner.run(self._book.ledger.close())
        self._runner.close()
        self._folder.cleanup()


def run(machine: Callable[[Make], BookMachine], make: Make, *, examples: int, steps: int) -> None:
    """Draw so many runs, or a part of them, of so many steps."""
    run_state_machine_as_test(
        lambda: machine(make),  # type: ignore[arg-type]  # it is only called
        settings=settings(
            max_examples=part_of(examples),
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
