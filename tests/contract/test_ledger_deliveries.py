"""The contract of core.ledger.Ledger, third part: what is said leaves in order, never twice where that would show."""

from __future__ import annotations

from core.types import ReplyKind
from tests.contract.ledgers import Book, key


async def test_parts_leave_in_order_one_at_a_time(book: Book) -> None:
    await book.answer("x", parts=["one", "two", "three"])
    for number, text in enumerate(("one", "two", "three"), 1):
        (delivery,) = await book.due()
        assert (delivery.text, delivery.part, delivery.parts, delivery.attempts) == (text, number, 3, 0)
        assert (delivery.conversation, delivery.kind) == (key(), ReplyKind.ANSWER)
        assert await book.due() == ()
        assert await book.ledger.next_due_at("web") is None
        await book.ledger.sent(delivery.id, f"r{number}", book.clock())
    assert await book.due() == ()
    assert (await book.ledger.counts()).pending_deliveries == 0


async def test_conversations_leave_side_by_side_and_replies_in_order(book: Book) -> None:
    for chat in ("a", "b"):
        await book.answer(f"{chat}1", chat=chat, parts=[f"{chat}1", f"{chat}2"])
    await book.answer("a3", chat="a")
    assert [delivery.text for delivery in await book.due(limit=1)] == ["a1"]
    assert [delivery.text for delivery in await book.due()] == ["b1"]
    await book.reopen(repeatable=["web"])
    assert sorted(await book.send()) == ["a1", "a2", "a3", "b1", "b2"]


async def test_a_channel_gets_its_own_deliveries(book: Book) -> None:
    await book.answer("for web")
    assert await book.due("telegram") == ()
    assert await book.ledger.next_due_at("telegram") is None
    assert await book.ledger.next_due_at("web") == book.clock()


async def test_a_postponed_part_holds_back_those_after_it(book: Book) -> None:
    await book.answer("x", parts=["one", "two"])
    await book.answer("y", parts=["three"])
    await book.answer("z", chat="other")
    first, other = await book.due()
    await book.ledger.sent(other.id, "r", book.clock())
    await book.ledger.postpone(first.id, book.clock() + 30, "flood limit")
    assert await book.due() == ()
    assert await book.ledger.next_due_at("web") == book.clock() + 30
    book.clock.advance(29)
    assert await book.due() == ()
    book.clock.advance(1)
    (again,) = await book.due()
    assert (again.id, again.attempts) == (first.id, 1)
    await book.ledger.sent(again.id, "r", book.clock())
    assert await book.send() == ["two", "three"]


async def test_a_failed_part_lets_those_after_it_go(book: Book) -> None:
    await book.answer("x", parts=["one", "two", "three"])
    (delivery,) = await book.due()
    await book.ledger.fail(delivery.id, "refused")
    (delivery,) = await book.due()
    assert not await book.ledger.doubt(delivery.id, "no answer")
    assert await book.send() == ["three"]
    assert (await book.ledger.counts()).failed_deliveries == 2
    await book.reopen(repeatable=["web"])
    assert await book.due() == ()


async def test_a_send_that_had_not_begun_is_sent_after_a_crash(book: Book) -> None:
    await book.answer("x", parts=["one", "two"])
    await book.due()
    await book.reopen()
    assert (await book.ledger.counts()).failed_deliveries == 0
    assert await book.send() == ["one", "two"]


async def test_a_send_that_is_tried_again_begins_anew(book: Book) -> None:
    await book.answer("x", parts=["one"])
    (delivery,) = await book.due()
    await book.ledger.begin(delivery.id)
    await book.ledger.postpone(delivery.id, book.clock(), "429")
    await book.due()
    await book.reopen()
    assert await book.send() == ["one"]


async def test_a_send_cut_off_by_a_crash_is_not_repeated_where_it_would_show_twice(book: Book) -> None:
    await book.answer("x", parts=["one", "two"])
    (delivery,) = await book.due()
    await book.ledger.begin(delivery.id)
    await book.reopen()
    counts = await book.ledger.counts()
    assert (counts.pending_deliveries, counts.failed_deliveries) == (1, 1)
    assert await book.send() == ["two"]


async def test_a_send_in_doubt_is_repeated_as_often_as_the_operator_wants(book: Book) -> None:
    await book.answer("x", parts=["one", "two"])
    (delivery,) = await book.due()
    assert await book.ledger.doubt(delivery.id, "no answer", repeats=2, again_at=book.clock() + 3)
    assert await book.due() == (), "not before its time, and its conversation waits for it"
    book.clock.advance(3)
    (delivery,) = await book.due()
    await book.ledger.begin(delivery.id)
    await book.reopen(repeats=2)  # a crash is the same doubt
    (delivery,) = await book.due()
    assert delivery.text == "one"
    assert not await book.ledger.doubt(delivery.id, "no answer", repeats=2, again_at=book.clock())
    assert (await book.ledger.counts()).failed_deliveries == 1
    assert await book.send() == ["two"]


async def test_a_send_cut_off_by_a_crash_is_repeated_into_its_preview(book: Book) -> None:
    await book.accept("Hello")
    turn = await book.take()
    await book.ledger.previewed(turn, "shown")
    await book.commit(turn, parts=["one", "two"])
    await book.due()
    await book.reopen()
    (again,) = await book.due()
    assert (again.text, again.reference, again.attempts) == ("one", "shown", 1)


async def test_a_send_cut_off_by_a_crash_is_repeated_where_that_is_safe(book: Book) -> None:
    await book.answer("x", parts=["one"])
    await book.accept(book.message(channel="chat", chat="c"))
    await book.commit(await book.take(), "y")
    for channel in ("web", "chat"):
        (delivery,) = await book.due(channel)
        await book.ledger.begin(delivery.id)
    await book.reopen(repeatable=["web"])
    assert [delivery.text for delivery in await book.due("web")] == ["one"]
    assert await book.due("chat") == ()
    assert (await book.ledger.counts()).failed_deliveries == 1


async def test_what_was_sent_stays_sent(book: Book) -> None:
    await book.answer("x", parts=["one", "two"])
    await book.send()
    await book.reopen(repeatable=["web"])
    assert await book.due() == ()


# Pull channels


async def test_parts_are_handed_over_once_and_shown_again_to_the_same_request(book: Book) -> None:
    await book.answer("x", parts=["one", "two"])
    parts = await book.ledger.waiting_parts(key(), "request-1")
    assert [part.text for part in parts] == ["one", "two"]
    ids = [part.id for part in parts]
    assert await book.ledger.hand_over(ids[:1], "request-1", book.clock()) == {ids[0]}
    assert await book.ledger.hand_over(ids[:1], "request-1", book.clock()) == {ids[0]}
    await book.reopen()
    assert [part.text for part in await book.ledger.waiting_parts(key(), "request-1")] == ["one"]
    assert [part.text for part in await book.ledger.waiting_parts(key(), "request-2")] == ["two"]
    assert (await book.ledger.counts()).pending_deliveries == 1


async def test_two_requests_never_get_the_same_part(book: Book) -> None:
    await book.answer("x", parts=["one", "two"])
    ids = [part.id for part in await book.ledger.waiting_parts(key(), "request-1")]
    assert await book.ledger.hand_over(ids, "request-1", book.clock()) == set(ids)
    assert await book.ledger.hand_over(ids, "request-2", book.clock()) == set()
    assert await book.ledger.waiting_parts(key(), "request-2") == ()
    assert [part.id for part in await book.ledger.waiting_parts(key(), "request-1")] == ids


async def test_a_part_on_its_way_or_of_another_conversation_is_not_handed_over(book: Book) -> None:
    await book.answer("x", parts=["one"])
    await book.answer("y", chat="other", parts=["two"])
    (mine,) = await book.ledger.waiting_parts(key(), "r")
    assert mine.text == "one"
    await book.due(limit=1)
    assert await book.ledger.waiting_parts(key(), "r") == ()
    assert await book.ledger.hand_over([mine.id], "r", book.clock()) == set()
