"""An operator finds every conversation by how it went, page by page, and sees all that became of it."""

from __future__ import annotations

import asyncio
import threading

from core.ledger import Admission
from core.ledger.archive import Item, Wanted
from core.ledger.console import ConsoleLedger
from core.ledger.sqlite import SqliteLedger
from core.ledger.writer import Connection
from core.throttle import Rate
from core.types import MessageState
from tests.contract.ledgers import GENEROUS, Book


def console(book: Book) -> ConsoleLedger:
    assert isinstance(book.ledger, SqliteLedger)
    return ConsoleLedger(book.ledger)


async def chats(book: Book, wanted: Wanted) -> list[object]:
    return [item["chat"] for item in (await console(book).conversations(wanted)).items]


async def test_the_newest_is_first_and_pages_hold_each_once(book: Book) -> None:
    for number in range(7):
        await book.accept(book.message(chat=f"c{number}"))
        book.clock.advance(1)
    for number in (0, 3):  # written to again: they come first, and only there
        await book.accept(book.message(chat=f"c{number}"))
    seen: list[object] = []
    wanted = Wanted(limit=2)
    while True:
        page = await console(book).conversations(wanted)
        seen += [item["chat"] for item in page.items]
        assert len(page.items) <= 2
        if page.next is None:
            break
        wanted = Wanted(limit=2, before=int(page.next))
    assert seen == ["c3", "c0", "c6", "c5", "c4", "c2", "c1"]


async def test_filters(book: Book) -> None:
    await book.answer(chat="answered")
    await book.send()
    await book.accept(book.message(chat="throttled"), Admission(Rate.per_minute(1, 1), None, str))
    await book.send()
    await book.answer(chat="refused")
    for delivery in await book.due():
        await book.ledger.fail(delivery.id, "blocked")
    await book.accept(book.message(chat="slack", channel="slack"))
    book.clock.advance(100)
    later = book.clock()
    await book.accept(book.message(chat="later"))
    assert await chats(book, Wanted(state="answered")) == ["refused", "answered"]
    assert await chats(book, Wanted(state="waiting")) == ["later", "slack"]
    assert await chats(book, Wanted(state="throttled")) == ["throttled"]
    assert await chats(book, Wanted(state="failed")) == ["refused"]
    assert await chats(book, Wanted(state="human")) == []
    assert await chats(book, Wanted(channel="slack")) == ["slack"]
    assert await chats(book, Wanted(bot="another")) == []
    assert await chats(book, Wanted(since=later)) == ["later"]
    assert await chats(book, Wanted(until=later, channel="slack")) == ["slack"]
    assert await chats(book, Wanted(until=later, limit=10)) == ["slack", "refused", "throttled", "answered"]


async def test_a_conversation_with_all_that_became_of_it(book: Book) -> None:
    await book.answer("First answer", chat="one", parts=["First", "answer"])
    (delivery,) = await book.due()
    await book.ledger.fail(delivery.id, "blocked")
    book.clock.advance(5)
    await book.accept(book.message("And now?", chat="one"))
    page = await console(book).entries(1, float("inf"), 10)
    said, replied, waits = page.items
    assert (said["text"], said["state"], waits["text"], waits["state"]) == ("Hello", "answered", "And now?", "waiting")
    assert (replied["text"], replied["turn_kind"], replied["model"]) == ("First answer", "answer", "test-model")
    assert (replied["prompt_tokens"], replied["completion_tokens"], replied["cached_tokens"]) == (30, 12, 8)
    deliveries = replied["deliveries"]
    assert isinstance(deliveries, list)
    assert [(part["state"], part["reason"]) for part in deliveries] == [("failed", "blocked"), ("pending", "")]
    assert page.next is None
    newest = await console(book).entries(1, float("inf"), 1)
    assert [entry["text"] for entry in newest.items] == ["And now?"]
    assert newest.next is not None
    older = await console(book).entries(1, newest.next, 10)
    assert [entry["text"] for entry in older.items] == ["Hello", "First answer"]
    about = await console(book).conversation(1)
    assert about is not None
    assert (about["chat"], about["users"]) == ("one", [{"id": 1, "user": "user", "blocked": False}])
    assert await console(book).conversation(99) is None


async def test_no_page_tears_a_moment_apart(book: Book) -> None:
    for _ in range(3):  # a message and its answer of one moment, as a command and its notice are
        await book.answer(chat="one")
        book.clock.advance(1)
    seen: list[object] = []
    before: float | None = float("inf")
    while before is not None:
        page = await console(book).entries(1, before, 1)
        seen = [(entry["kind"], entry["id"]) for entry in page.items] + seen
        before = page.next
    assert seen == [("message", 1), ("turn", 1), ("message", 2), ("turn", 2), ("message", 3), ("turn", 3)]


async def test_tickets_that_let_nobody_in_are_forgotten(book: Book) -> None:
    for name, until in (("old", 10.0), ("new", 30.0)):
        await book.ledger.keep("console", name, {"until": until})
    await book.ledger.keep("slack", "account", {"until": 1.0})
    await book.ledger.keep("console", "no end", {})
    await console(book).forget_tickets(20.0)
    kept = [await book.ledger.kept(*fact) for fact in (("console", "old"), ("console", "new"), ("slack", "account"))]
    assert kept == [None, {"until": 30.0}, {"until": 1.0}]
    assert await book.ledger.kept("console", "no end") == {}


async def test_an_opinion_is_kept_with_the_reply_and_in_the_record(book: Book) -> None:
    await book.answer(chat="one")
    assert await console(book).mark(1, "bad", "Too short", "console/operator", book.clock())
    assert not await console(book).mark(99, "bad", "", "console/operator", book.clock())
    (_, turn) = (await console(book).entries(1, float("inf"), 10)).items
    assert (turn["mark"], turn["note"]) == ("bad", "Too short")
    action, subject, detail = book.store.audit()[-1]
    assert (action, subject) == ("mark", "turn/1")
    assert "Too short" not in detail, "the record holds no text"


async def one(book: Book, user: int = 1) -> Item:
    found = await console(book).user(user, book.clock())
    assert found is not None
    return found


async def test_a_blocked_user_is_recorded_and_not_answered(book: Book) -> None:
    await book.accept(book.message("waits", event="before"))
    assert await console(book).block(1, "console/operator", book.clock(), blocked=True)
    assert await book.ledger.state("web", "before") is MessageState.WITHDRAWN
    receipt = await book.accept("Hello?")
    assert receipt.state is MessageState.BLOCKED
    assert await book.claim() is None
    assert await book.due() == (), "nobody is told"
    assert (await one(book))["blocked"] is True
    await console(book).block(1, "console/operator", book.clock(), blocked=False)
    assert (await book.accept("Hello again")).state is MessageState.WAITING
    assert [action for action, _, _ in book.store.audit() if "block" in action] == ["block", "unblock"]


async def test_a_user_has_limits_of_their_own(book: Book) -> None:
    strict = Admission(Rate.per_minute(60, 1), Rate.per_day(100), str)
    await book.accept("one", strict)
    assert await console(book).limit(1, 6000.0, None, "console/operator", book.clock())
    book.clock.advance(0.1)
    assert (await book.accept("two", strict)).state is MessageState.WAITING, "more than others"
    await console(book).limit(1, 0.5, None, "console/operator", book.clock())
    assert (await book.accept("three", strict)).state is MessageState.WAITING
    book.clock.advance(60)
    assert (await book.accept("four", strict)).state is MessageState.THROTTLED, "less than others"
    assert (await one(book))["limits"] == {"messages_per_minute": 0.5, "tokens_per_day": None}
    await console(book).limit(1, None, None, "console/operator", book.clock())
    book.clock.advance(120)
    assert (await book.accept("five", strict)).state is MessageState.WAITING
    assert (await one(book))["limits"] is None


async def test_the_tokens_of_a_day_may_be_ones_own(book: Book) -> None:
    usual = Admission(Rate.per_minute(600, 100), Rate.per_day(1_000_000), str)
    await book.accept("one", usual)
    await console(book).limit(1, None, 40, "console/operator", book.clock())
    await book.commit(await book.take(), tokens=usual.tokens)  # 42 tokens
    assert (await book.accept("two", usual)).state is MessageState.THROTTLED
    usage = (await one(book))["usage"]
    assert usage == {"messages_24h": 2, "tokens_24h": 42, "throttled_24h": 1}


async def test_users_are_found_by_id(book: Book) -> None:
    for name in ("anna", "annika", "100%", "10050"):
        await book.accept(book.message(user=name, chat=name), GENEROUS)
    listed = await console(book).users("ann", "", 2**62, 10)
    assert [item["user"] for item in listed.items] == ["annika", "anna"]
    assert [item["user"] for item in (await console(book).users("100%", "", 2**62, 10)).items] == ["100%"]
    first = await console(book).users("", "", 2**62, 3)
    rest = await console(book).users("", "", int(first.next or 0), 3)
    assert [item["user"] for item in (*first.items, *rest.items)] == ["10050", "100%", "annika", "anna"]


async def test_statistics_count_what_happened_when(book: Book) -> None:
    began = book.clock()
    await book.accept("one")
    book.clock.advance(2)
    await book.commit(await book.take())
    book.clock.advance(60)
    await book.accept("two")
    await book.apologise(await book.take())
    await book.accept("three", Admission(Rate.per_minute(1, 1), None, str))
    told = await console(book).series(began, began + 120, 60)
    series, totals = told["series"], told["totals"]
    assert isinstance(series, dict)
    assert isinstance(totals, dict)
    assert series["accepted"] == [1, 2]
    assert (series["answered"], series["apologised"]) == ([1, 0], [0, 1])
    assert (series["reply_p50"], totals["reply_p95"]) == ([2.0, None], 2.0)
    assert totals["completion_tokens"] == 12
    earlier = await console(book).series(began + 60, began + 120, 60)
    assert earlier["totals"] != totals


async def test_what_is_stuck_is_tried_again(book: Book) -> None:
    await book.answer(chat="one")
    (delivery,) = await book.due()
    await book.ledger.fail(delivery.id, "blocked")
    (stuck,) = await console(book).stuck()
    assert (stuck.id, stuck.state, stuck.reason, stuck.conversation) == ("d1", "failed", "blocked", 1)
    assert await console(book).retry(["d1", "d9"], "console/operator", book.clock()) == ["d1"]
    assert await book.send() == ["Answer"]
    assert await console(book).retry(None, "console/operator", book.clock()) == []
    assert [action for action, _, _ in book.store.audit()].count("retry") == 1


async def test_erasing_beside_the_gateway(book: Book) -> None:
    await book.answer("Secret", chat="one")
    await book.send()
    assert await console(book).erase("web", "user", "console/operator", book.clock()) == 1
    assert [item["last_text"] for item in (await console(book).conversations(Wanted())).items] == [""]
    assert (await console(book).users("", "", 2**62, 10)).items == []
    assert (await book.accept("Hello again")).state is MessageState.WAITING
    assert "console/operator" in next(detail for action, _, detail in book.store.audit() if action == "erase")


async def test_a_change_shows_in_the_pulse(book: Book) -> None:
    await book.answer(chat="one")
    before, quiet = await console(book).pulse(), await console(book).pulse()
    assert before == quiet
    first = await console(book).pulse_of(1)
    await book.accept(book.message(chat="two"))
    after = await console(book).pulse()
    assert {number for number, state in after.items() if before.get(number) != state} == {2}
    await console(book).mark(1, "good", "", "console/operator", book.clock())
    assert {number for number, state in (await console(book).pulse()).items() if after.get(number) != state} == {1}
    assert await console(book).pulse_of(1) != first


async def test_a_page_is_of_one_moment_whatever_is_said_meanwhile(book: Book) -> None:
    assert isinstance(book.ledger, SqliteLedger)
    await book.accept(book.message())
    begun, said = threading.Event(), threading.Event()

    def looks_twice(connection: Connection) -> list[int]:
        counts = []
        for _ in range(2):
            counts += [count for (count,) in connection.execute("SELECT count(*) FROM messages")]
            begun.set()
            assert said.wait(10)
        return counts

    looking = asyncio.create_task(book.ledger.browse(looks_twice))
    await asyncio.to_thread(begun.wait, 10)
    await book.accept(book.message())
    said.set()
    assert await looking == [1, 1]
    assert len(await chats(book, Wanted())) == 1
