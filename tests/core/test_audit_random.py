"""Whatever is done to the ledger in whatever order, by the gateway or beside it, the audit record holds."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from core.audit import AuditEntry
from core.errors import TurnLost
from core.ledger import Admission, erasure, office
from core.ledger.audit import operated
from core.ledger.sqlite import SqliteLedger
from core.ledger.writer import Connection
from core.throttle import Rate
from core.types import Turn
from tests.contract.ledgers import AT_ONCE, Book, SqliteStore, key
from tests.core.audit_house import path, sound, verdict
from tests.examples import part_of

CHATS = st.sampled_from(["a", "b", "13800138000"])
USERS = st.sampled_from(["u", "v", "anna@shop.example"])
STRICT = Admission(Rate.per_minute(6, 3), None, lambda _: "Slowly.")


class AuditMachine(RuleBasedStateMachine):
    """The ledger, an operator beside it, and somebody who notes the record's head now and then."""

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._folder = tempfile.TemporaryDirectory()
        self._book = Book(SqliteStore(Path(self._folder.name)))
        self._runner.run(self._book.open())
        self._running: list[Turn] = []
        self._noted: list[tuple[int, bytes]] = []

    def teardown(self) -> None:
        self._runner.run(self._book.ledger.close())
        self._runner.close()
        self._folder.cleanup()

    @rule(chat=CHATS, user=USERS, count=st.integers(min_value=1, max_value=5))
    def accept(self, chat: str, user: str, count: int) -> None:
        async def all_at_once() -> None:
            messages = [self._book.message(chat=chat, user=user) for _ in range(count)]
            await asyncio.gather(*(self._book.accept(message, STRICT, AT_ONCE) for message in messages))

        self._runner.run(all_at_once())

    @rule(set_aside=st.booleans())
    def answer(self, set_aside: bool) -> None:
        turn = self._runner.run(self._book.claim())
        if turn is not None:
            reply = self._book.reply(turn, "Answer")
            commit = self._book.ledger.commit(turn, reply, ["Answer"], None, self._book.clock(), set_aside=set_aside)
            self._runner.run(commit)
            self._runner.run(self._book.ledger.feedback(key("a"), turn.id, "u", "good", self._book.clock()))

    @rule()
    def begin_a_turn(self) -> None:
        turn = self._runner.run(self._book.claim())
        if turn is not None:
            self._running.append(turn)

    @rule()
    def commit_an_older_turn(self) -> None:
        """It may have been lost meanwhile: to an erasure, to a restart."""
        if self._running:
            try:
                self._runner.run(self._book.commit(self._running.pop()))
            except TurnLost:
                return

    @rule()
    def fail_after_a_row(self) -> None:
        ledger = self._book.ledger
        assert isinstance(ledger, SqliteLedger)

        def work(connection: Connection) -> None:
            ledger.audit(connection, AuditEntry("undone", "x", {}), self._book.clock())
            raise ValueError("undone")

        async def beside() -> None:
            accepted = self._book.accept(self._book.message(chat="a"))
            await asyncio.gather(ledger.write(work), accepted, return_exceptions=True)

        self._runner.run(beside())

    @rule(user=USERS)
    def erase(self, user: str) -> None:
        with office.opened(path(self._book)) as ledger:
            erasure.erase(ledger, "web", user, self._book.clock())

    @rule(number=st.integers(min_value=1, max_value=20))
    def retry(self, number: int) -> None:
        with office.opened(path(self._book)) as ledger:
            office.retry(ledger, [f"m{number}", f"d{number}"], self._book.clock())

    @rule()
    def operate(self) -> None:
        with office.opened(path(self._book)) as ledger:
            operated(ledger, "backup", "ledger", {"file": "x"}, self._book.clock())

    @rule(seconds=st.integers(min_value=-50, max_value=300))
    def pass_time(self, seconds: int) -> None:
        self._book.clock.advance(seconds)

    @rule(limit=st.integers(min_value=1, max_value=30), age=st.integers(min_value=0, max_value=400))
    def forget(self, limit: int, age: int) -> None:
        now = self._book.clock()
        self._runner.run(self._book.ledger.forget(now - age, now - age, now, limit))

    @rule()
    def restart(self) -> None:
        self._runner.run(self._book.reopen())

    @rule()
    def note_the_head(self) -> None:
        found = sound(self._book)
        self._noted.append((found.begins_after + found.rows, found.head))

    @invariant()
    def it_holds(self) -> None:
        found = sound(self._book)
        for row, head in self._noted[-3:]:
            if row >= found.begins_after:
                assert verdict(self._book, head).noted_at == row


def test_the_record_holds_whatever_is_done() -> None:
    run_state_machine_as_test(
        AuditMachine,
        settings=settings(
            max_examples=part_of(25),
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
