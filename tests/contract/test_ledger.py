"""The contract of core.ledger.Ledger, first part: what comes in is on disk, once, and claimed in a fair order."""

from __future__ import annotations

import dataclasses

import pytest

from core.ledger import Admission, Burst, Refusal
from core.throttle import Rate
from core.types import MessageState, ReplyKind
from tests.contract.ledgers import Book

BURST = Burst(wait_seconds=0.5, cap_seconds=2.0, messages=4)


def strict(messages: float = 60, burst: float = 2, tokens: Rate | None = None) -> Admission:
    return Admission(Rate.per_minute(messages, burst), tokens, lambda refusal: f"Too many {refusal.reason}.", 60.0)


# Accept


async def test_an_accepted_message_is_there_after_reopening(book: Book) -> None:
    receipt = await book.accept(book.message("Where is my order?", event="e1"))
    assert receipt.state is MessageState.WAITING
    assert not receipt.duplicate
    await book.reopen()
    assert await book.ledger.state("web", "e1") is MessageState.WAITING
    turn = await book.take()
    assert turn.text == "Where is my order?"
    assert [message.id for message in turn.messages] == [receipt.message_id]


async def test_a_message_keeps_all_that_was_said_of_it(book: Book) -> None:
    message = dataclasses.replace(book.message("你好\n\x00\U0001f600"), language="zh", address={"a": [1, {"b": None}]})
    await book.accept(message)
    await book.reopen()
    turn = await book.take()
    (stored,) = turn.messages
    assert (stored.text, stored.language, stored.address) == (message.text, "zh", message.address)
    assert (stored.user_id, stored.accepted_at) == ("user", book.clock())
    assert (turn.conversation, turn.language, turn.attempt, turn.reference) == (message.conversation, "", 1, "")


@pytest.mark.parametrize("between", ["waiting", "reopened", "running", "answered"])
async def test_a_redelivery_finds_the_same_row(book: Book, between: str) -> None:
    message = book.message()
    first = await book.accept(message)
    if between == "reopened":
        await book.reopen()
    if between in ("running", "answered"):
        turn = await book.take()
        if between == "answered":
            await book.commit(turn)
    again = await book.accept(message)
    assert (again.message_id, again.duplicate) == (first.message_id, True)
    assert again.state == await book.ledger.state("web", message.event_id)
    assert (await book.ledger.counts()).waiting == (1 if between in ("waiting", "reopened") else 0)


async def test_the_same_event_id_on_two_channels_is_two_messages(book: Book) -> None:
    one = await book.accept(book.message(event="7", channel="web"))
    two = await book.accept(book.message(event="7", channel="web_de"))
    assert one.message_id != two.message_id
    assert not two.duplicate


# Throttle


async def test_a_burst_is_admitted_then_refused_then_refilled(book: Book) -> None:
    states = [(await book.accept(f"m{index}", strict())).state for index in range(3)]
    assert states == [MessageState.WAITING, MessageState.WAITING, MessageState.THROTTLED]
    book.clock.advance(1.0)  # 60 a minute: one more
    assert (await book.accept("after a second", strict())).state is MessageState.WAITING
    assert (await book.accept("too soon", strict())).state is MessageState.THROTTLED
    assert (await book.take()).text == "m0\nm1\nafter a second"


async def test_limits_belong_to_one_user_and_survive_a_restart(book: Book) -> None:
    for index in range(2):
        await book.accept(f"m{index}", strict())
    await book.reopen()
    assert (await book.accept("third", strict())).state is MessageState.THROTTLED
    other = book.message(user="other", chat="other")
    assert (await book.accept(other, strict())).state is MessageState.WAITING


async def test_a_redelivery_costs_nothing_and_keeps_its_state(book: Book) -> None:
    first, second, third = (book.message() for _ in range(3))
    for message in (first, first, first, second):
        assert (await book.accept(message, strict())).state is MessageState.WAITING
    assert (await book.accept(third, strict())).state is MessageState.THROTTLED
    book.clock.advance(100)
    assert (await book.accept(third, strict())).state is MessageState.THROTTLED


async def test_a_throttled_user_is_told_once_per_window(book: Book) -> None:
    asked: list[Refusal] = []

    def notice(refusal: Refusal) -> str:
        asked.append(refusal)
        return f"Please wait {refusal.seconds:.0f} s"

    admission = Admission(Rate.per_minute(1, 1), None, notice, notice_seconds=30.0)
    await book.accept("fine", admission)
    for index in range(5):
        await book.accept(book.message(event=f"over-{index}"), admission)
    assert asked == [Refusal("messages", 60.0)]
    (delivery,) = await book.due()
    assert (delivery.text, delivery.kind, delivery.parts) == ("Please wait 60 s", ReplyKind.NOTICE, 1)
    assert delivery.address["to"] == "chat"
    book.clock.advance(30.0)
    await book.accept("over again", admission)
    assert [round(refusal.seconds) for refusal in asked] == [60, 30]
    outcome = await book.ledger.outcome("web", "over-0")
    assert outcome is not None
    assert (outcome.state, outcome.text, outcome.kind) == (MessageState.THROTTLED, "Please wait 60 s", ReplyKind.NOTICE)


async def test_a_throttled_message_is_never_claimed(book: Book) -> None:
    await book.accept("one", strict(burst=1))
    await book.accept("two", strict(burst=1))
    assert (await book.take()).text == "one"
    assert await book.claim() is None
    assert (await book.ledger.counts()).waiting == 0


async def test_a_spent_day_of_tokens_refuses_until_enough_has_grown_back(book: Book) -> None:
    tokens = Rate.per_day(40)  # one token in 2,160 s; the answer below costs 42
    await book.accept("first", strict(burst=9, tokens=tokens))
    await book.commit(await book.take(), tokens=tokens)
    assert (await book.accept("second", strict(burst=9, tokens=tokens))).state is MessageState.THROTTLED
    (_, notice) = await book.send()
    assert notice == "Too many tokens."
    book.clock.advance(3 * 2160)
    assert (await book.accept("third", strict(burst=9, tokens=tokens))).state is MessageState.WAITING


async def test_a_notice_that_cannot_be_written_leaves_nothing_behind(book: Book) -> None:
    def broken(refusal: Refusal) -> str:
        raise KeyError(refusal.reason)

    await book.accept("one", strict(burst=1))
    message = book.message()
    with pytest.raises(KeyError):
        await book.accept(message, Admission(Rate.per_minute(1, 1), None, broken))
    assert await book.ledger.state("web", message.event_id) is None
    receipt = await book.accept(message, strict(burst=1))
    assert (receipt.state, receipt.duplicate) == (MessageState.THROTTLED, False)
    assert len(await book.due()) == 1


# Burst


async def test_a_burst_is_waited_for_and_becomes_one_turn(book: Book) -> None:
    start = book.clock()
    await book.accept("Hi", burst=BURST)
    assert await book.ledger.next_ready_at() == start + 0.5
    book.clock.advance(0.25)
    await book.accept("my order", burst=BURST)
    assert await book.ledger.next_ready_at() == start + 0.75
    book.clock.advance(0.25)
    assert await book.claim() is None
    book.clock.advance(0.25)
    assert (await book.take()).text == "Hi\nmy order"
    assert await book.ledger.next_ready_at() is None


async def test_a_burst_waits_no_longer_than_its_cap(book: Book) -> None:
    start = book.clock()
    long = dataclasses.replace(BURST, messages=100)
    for _ in range(5):
        await book.accept("and", burst=long)
        book.clock.advance(0.375)
    assert await book.ledger.next_ready_at() == start + 2.0
    book.clock.advance(0.125)
    assert (await book.take()).text == "and\nand\nand\nand\nand"


async def test_the_cap_also_bounds_the_first_wait(book: Book) -> None:
    await book.accept("alone", burst=Burst(wait_seconds=5.0, cap_seconds=1.0, messages=20))
    assert await book.ledger.next_ready_at() == book.clock() + 1.0


async def test_a_full_burst_is_ready_at_once(book: Book) -> None:
    for index in range(3):
        await book.accept(f"m{index}", burst=BURST)
    assert await book.claim() is None
    await book.accept("m3", burst=BURST)
    assert (await book.take()).text == "m0\nm1\nm2\nm3"


async def test_a_turn_takes_no_more_messages_than_asked(book: Book) -> None:
    for index in range(5):
        await book.accept(f"m{index}")
    turn = await book.claim(merge_messages=3)
    assert turn is not None
    assert turn.text == "m0\nm1\nm2"
    await book.ledger.release(turn, book.clock(), counted=True)
    again = await book.claim(merge_messages=3)
    assert again is not None
    assert again.text == turn.text
    await book.commit(again)
    assert (await book.take()).text == "m3\nm4"


async def test_a_message_that_must_not_wait_makes_its_conversation_ready(book: Book) -> None:
    await book.accept("Hi", burst=BURST)
    await book.accept(book.message("now", merge=False), burst=BURST)
    assert await book.ledger.next_ready_at() == book.clock()
    await book.accept("and more", burst=BURST)  # what is ready stays ready
    assert (await book.take()).text == "Hi\nnow\nand more"


# Order


async def test_the_least_recently_served_user_is_first(book: Book) -> None:
    for user in ("a", "b", "c"):
        await book.accept(book.message(user, user=user, chat=user))
        book.clock.advance(1)
    served = []
    for _ in range(3):
        turn = await book.take()
        served.append(turn.user_id)
        await book.commit(turn)
        book.clock.advance(1)
    assert served == ["a", "b", "c"]
    for user in ("c", "b", "a"):
        await book.accept(book.message(user, user=user, chat=user))
    assert [(await book.take()).user_id for _ in range(3)] == ["a", "b", "c"]


async def test_fifty_waiting_messages_of_one_user_delay_no_other(book: Book) -> None:
    for index in range(50):
        await book.accept(book.message(user="flood", chat=f"flood-{index}"))
    flood = await book.take()
    book.clock.advance(1)
    await book.accept(book.message(user="calm", chat="calm"))
    assert (await book.take()).user_id == "calm"
    book.clock.advance(1)
    await book.commit(flood)
    await book.accept(book.message(user="late", chat="late"))
    assert [(await book.take()).user_id for _ in range(2)] == ["late", "flood"]


async def test_fairness_survives_a_restart(book: Book) -> None:
    await book.answer(chat="one")
    book.clock.advance(1)
    await book.accept(book.message(user="user", chat="two"))
    await book.accept(book.message(user="other", chat="three"))
    await book.reopen()
    assert [(await book.take()).user_id for _ in range(2)] == ["other", "user"]


async def test_a_conversation_has_one_running_turn(book: Book) -> None:
    await book.accept("first")
    running = await book.take()
    await book.accept("second")
    await book.accept("third")
    assert await book.claim() is None
    assert await book.ledger.next_ready_at() is None
    await book.commit(running)
    following = await book.take()
    assert following.text == "second\nthird"
    assert following.id != running.id
