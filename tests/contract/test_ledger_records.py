"""The contract of core.ledger.Ledger, fourth part: what the operator sees of it."""

from __future__ import annotations

import dataclasses
import json

from core.audit import AuditEntry
from core.ledger import Admission
from core.throttle import Rate
from tests.contract.ledgers import AT_ONCE, Book, Store, key

ONE = Admission(Rate.per_minute(60, 1), None, lambda refusal: f"Too many {refusal.reason}.")


async def test_the_queues_are_counted(book: Book) -> None:
    start = book.clock()
    counts = await book.ledger.counts()
    assert dataclasses.astuple(counts) == (0, 0, None, 0, 0, 0)
    await book.accept(book.message(chat="a"), burst=AT_ONCE)
    book.clock.advance(5)
    await book.accept(book.message(chat="b"))
    assert dataclasses.astuple(await book.ledger.counts()) == (2, 0, start, 0, 0, 0)
    turn = await book.take()
    assert dataclasses.astuple(await book.ledger.counts()) == (1, 1, start + 5, 0, 0, 0)
    await book.ledger.release(turn, book.clock() + 60, counted=False)
    assert dataclasses.astuple(await book.ledger.counts()) == (2, 0, start, 0, 0, 0)
    await book.commit(await book.take(), parts=["1", "2"])
    assert dataclasses.astuple(await book.ledger.counts())[3:] == (2, 0, 0)
    (delivery,) = await book.due()
    assert (await book.ledger.counts()).pending_deliveries == 2
    await book.ledger.fail(delivery.id, "blocked")
    assert dataclasses.astuple(await book.ledger.counts())[3:] == (1, 1, 0)


async def test_every_input_and_output_is_audited_without_its_text(book: Book, store: Store) -> None:
    message = book.message("a secret question")
    await book.accept(message, ONE)
    await book.accept(message, ONE)
    await book.accept(book.message("too much"), ONE)
    turn = await book.take()
    await book.commit(turn, "a secret answer")
    await book.ledger.record(AuditEntry("start", "gateway", {}), book.clock())
    await book.ledger.close()
    rows = store.audit()
    assert [row[0] for row in rows] == ["message", "message", "reply", "reply", "start"]
    assert json.loads(rows[2][2])["kind"] == "notice", "that the user was told is an output, too"
    assert rows[3][1] == f"turn/{turn.id}"
    detail = json.loads(rows[0][2])
    assert (detail["conversation"], detail["event"], detail["state"]) == (str(key()), message.event_id, "waiting")
    assert json.loads(rows[1][2])["state"] == "throttled"
    assert "secret" not in str(rows)


async def test_a_well_store_says_nothing(book: Book) -> None:
    assert await book.ledger.check() == ""
