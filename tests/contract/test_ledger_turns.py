"""The contract of core.ledger.Ledger, second part: a turn is closed once, by the one who holds it, in one piece."""

from __future__ import annotations

import dataclasses

import pytest

from core.errors import LedgerError, TurnLost
from core.types import Entry, HistoryEntry, MessageState, Reply, ReplyKind, Turn, Usage
from tests.contract.ledgers import Book, key


async def lost(book: Book, turn: Turn) -> None:
    """The turn's holder can change nothing any more."""
    before = await book.ledger.counts()
    with pytest.raises(TurnLost):
        await book.commit(turn, "of the wrong one")
    with pytest.raises(TurnLost):
        await book.ledger.previewed(turn, "of the wrong one")
    await book.ledger.release(turn, 0.0, counted=True)
    assert await book.ledger.counts() == before


# Leases


async def test_a_lease_that_ran_out_hands_the_turn_to_another(book: Book) -> None:
    await book.accept("Hello")
    first = await book.take()
    book.clock.advance(60)
    assert await book.ledger.reclaim(book.clock()) == 0
    book.clock.advance(1)
    assert await book.ledger.reclaim(book.clock()) == 1
    await lost(book, first)
    second = await book.take()
    assert (second.id, second.attempt, second.messages) == (first.id, 2, first.messages)
    await lost(book, first)
    await book.commit(second, "of the right one")
    await lost(book, second)
    outcome = await book.ledger.outcome("web", "event-1")
    assert outcome is not None
    assert outcome.text == "of the right one"


async def test_a_renewed_lease_holds(book: Book) -> None:
    for chat in ("a", "b"):
        await book.accept(book.message(chat=chat))
    kept, dropped = await book.take(), await book.take()
    book.clock.advance(50)
    await book.ledger.renew([kept.id], book.clock() + 60)
    book.clock.advance(50)
    assert await book.ledger.reclaim(book.clock()) == 1
    await lost(book, dropped)
    await book.commit(kept)


@pytest.mark.parametrize(("counted", "attempt"), [(True, 2), (False, 1)])
async def test_a_turn_is_handed_back_for_later(book: Book, *, counted: bool, attempt: int) -> None:
    await book.accept("Hello")
    turn = await book.take()
    await book.ledger.release(turn, book.clock() + 5, counted=counted)
    assert await book.ledger.state("web", "event-1") is MessageState.WAITING
    assert await book.ledger.next_ready_at() == book.clock() + 5
    await book.accept("Anybody there?")
    assert await book.claim() is None
    book.clock.advance(5)
    again = await book.take()
    assert (again.id, again.attempt, again.text) == (turn.id, attempt, "Hello\nAnybody there?")
    await book.commit(again)
    assert await book.ledger.state("web", "event-2") is MessageState.ANSWERED


async def test_what_a_dead_process_left_running_is_in_the_inbox_again(book: Book) -> None:
    await book.accept("Hello")
    turn = await book.take()
    await book.accept("Still there?")
    await book.reopen()
    await lost(book, turn)
    again = await book.take()
    assert (again.id, again.attempt, again.text) == (turn.id, 2, "Hello\nStill there?")


# Previews


async def test_the_final_text_lands_in_the_preview_after_a_crash_too(book: Book) -> None:
    await book.accept("Hello")
    turn = await book.take()
    await book.ledger.previewed(turn, "platform-message-9")
    await book.reopen()
    again = await book.take()
    assert again.reference == "platform-message-9"
    await book.commit(again, parts=["one", "two"])
    (delivery,) = await book.due()
    assert (delivery.part, delivery.reference) == (1, "platform-message-9")
    await book.ledger.sent(delivery.id, "platform-message-9", book.clock())
    (delivery,) = await book.due()
    assert (delivery.part, delivery.reference) == (2, "")


async def test_the_recorded_reference_counts_though_the_turn_in_hand_is_older(book: Book) -> None:
    await book.accept("Hello")
    turn = await book.take()
    assert turn.reference == ""
    await book.ledger.previewed(turn, "shown")
    await book.commit(turn)
    (delivery,) = await book.due()
    assert delivery.reference == "shown"


# Commit


async def test_a_commit_is_the_reply_the_history_the_deliveries_and_the_usage(book: Book) -> None:
    await book.accept("Hello")
    turn = await book.take()
    await book.commit(turn, "Good day.", parts=["Good", "day."])
    await book.reopen()
    outcome = await book.ledger.outcome("web", "event-1")
    assert outcome is not None
    assert (outcome.state, outcome.user_id, outcome.text) == (MessageState.ANSWERED, "user", "Good day.")
    assert (outcome.kind, outcome.cut, outcome.model) == (ReplyKind.ANSWER, False, "test-model")
    assert outcome.usage == Usage(30, 12, 8)
    assert await book.send() == ["Good", "day."]
    await book.accept("And now?")
    following = await book.take()
    assert (following.language, following.prompt_tokens) == ("en", 42)
    history = await book.ledger.recall(following, 10)
    assert [(entry.role, entry.text) for entry in history] == [("user", "<Hello>"), ("assistant", "Good day.")]


async def test_a_commit_that_fails_leaves_everything_as_it_was(book: Book) -> None:
    await book.accept("Hello")
    turn = await book.take()
    unwritable: list[str] = ["fine", object()]  # type: ignore[list-item]  # found only when the last rows are written
    with pytest.raises(LedgerError):
        await book.commit(turn, parts=unwritable)
    assert await book.ledger.state("web", "event-1") is MessageState.RUNNING
    assert await book.due() == ()
    assert await book.ledger.recall(turn, 10) == ()
    assert await book.ledger.transcript(turn.conversation, 10) == (
        Entry(f"m{turn.messages[0].id}", "user", "Hello", book.clock(), event_id="event-1", pending=True),
    )
    await book.commit(turn, "Second try")
    assert await book.send() == ["Second try"]


async def test_only_answers_enter_the_history(book: Book) -> None:
    await book.answer("One.")
    await book.accept("Hello")
    await book.apologise(await book.take())
    await book.accept("Again")
    turn = await book.take()
    assert [entry.text for entry in await book.ledger.recall(turn, 10)] == ["<Hello>", "One."]
    assert (turn.language, turn.prompt_tokens) == ("en", 42)
    assert await book.send() == ["One.", "Sorry"]


async def test_a_reply_without_parts_is_recorded_and_sends_nothing(book: Book) -> None:
    await book.answer("Only for those who ask", parts=[])
    assert await book.due() == ()
    outcome = await book.ledger.outcome("web", "event-1")
    assert outcome is not None
    assert outcome.text == "Only for those who ask"


async def test_a_reply_goes_to_the_newest_message(book: Book) -> None:
    for _ in range(3):
        await book.accept("m")
    turn = await book.take()
    await book.commit(turn)
    (delivery,) = await book.due()
    assert delivery.address == turn.messages[2].address == {"to": "chat", "event": 3}
    assert delivery.turn_id == turn.id


# Recall


async def test_recall_gives_the_newest_entries_oldest_first(book: Book) -> None:
    for index in range(4):
        await book.answer(f"Answer {index}")
    await book.accept("Hello")
    turn = await book.take()
    whole = await book.ledger.recall(turn, 100)
    assert [entry.text for entry in whole if entry.role == "assistant"] == [f"Answer {index}" for index in range(4)]
    assert await book.ledger.recall(turn, 3) == whole[-3:]
    assert all(isinstance(entry, HistoryEntry) for entry in whole)


async def test_recall_starts_where_the_last_answer_said(book: Book) -> None:
    for index in range(3):
        await book.answer(f"Answer {index}")
    await book.accept("Hello")
    turn = await book.take()
    whole = await book.ledger.recall(turn, 100)
    cut_here = whole[4].id
    reply = Reply("Answer 3", user_text="u", model_text="Answer 3", history_from=cut_here)
    await book.ledger.commit(turn, reply, [], None, book.clock())
    await book.accept("Hello")
    turn = await book.take()
    assert turn.history_from == cut_here
    kept = await book.ledger.recall(turn, 100)
    assert kept[:2] == whole[4:]
    assert [entry.text for entry in kept[2:]] == ["u", "Answer 3"]


async def test_conversations_do_not_see_each_other(book: Book) -> None:
    await book.answer("For one", chat="one")
    await book.accept(book.message("Hello", chat="two"))
    turn = await book.take()
    assert await book.ledger.recall(turn, 10) == ()
    threaded = dataclasses.replace(book.message("Hello", chat="one"))
    threaded = dataclasses.replace(threaded, conversation=dataclasses.replace(threaded.conversation, thread_id="t"))
    await book.accept(threaded)
    assert await book.ledger.recall(await book.take(), 10) == ()


# What users and callers see


async def test_the_transcript_is_in_the_order_of_the_conversation(book: Book) -> None:
    await book.answer("One.")
    book.clock.advance(1)
    await book.accept("second")
    turn = await book.take()
    book.clock.advance(1)
    await book.accept("third")
    book.clock.advance(1)
    await book.commit(turn, "Two.")
    entries = await book.ledger.transcript(key(), 10)
    said = [(entry.role, entry.text, entry.pending) for entry in entries]
    assert said == [
        ("user", "Hello", False),
        ("bot", "One.", False),
        ("user", "second", False),
        ("user", "third", True),
        ("bot", "Two.", False),
    ]
    assert entries[2].event_id == "event-2"
    assert entries[4].kind == ReplyKind.ANSWER
    assert len({entry.id for entry in entries}) == 5
    assert await book.ledger.transcript(key(), 2) == entries[-2:]
    assert await book.ledger.transcript(key("nobody"), 10) == ()


async def test_what_was_never_accepted_has_no_outcome(book: Book) -> None:
    assert await book.ledger.outcome("web", "nothing") is None
    assert await book.ledger.state("web", "nothing") is None


async def test_an_open_message_has_a_state_and_no_reply_yet(book: Book) -> None:
    await book.accept("Hello")
    for expected in (MessageState.WAITING, MessageState.RUNNING):
        outcome = await book.ledger.outcome("web", "event-1")
        assert outcome is not None
        assert (outcome.state, outcome.text, outcome.kind) == (expected, "", "")
        assert await book.ledger.state("web", "event-1") is expected
        await book.claim()


async def test_a_closed_ledger_refuses(book: Book) -> None:
    await book.ledger.close()
    with pytest.raises(LedgerError):
        await book.accept("Hello")
    with pytest.raises(LedgerError):
        await book.ledger.counts()
    assert await book.ledger.check() != ""
    await book.ledger.close()  # twice is once


async def test_many_turns_are_claimed_at_once_in_the_same_order(book: Book) -> None:
    """Least recently served user first, also inside one claim; fewer than asked for means that no more is ready."""
    for number in range(3):
        await book.accept(book.message(f"first {number}", chat=f"a{number}", user="one"))
    await book.accept(book.message("second", chat="b", user="two"))
    two = await book.ledger.claim(book.clock(), 60.0, 20, 2)
    assert [turn.text for turn in two] == ["first 0", "second"]
    rest = await book.ledger.claim(book.clock(), 60.0, 20, 10)
    assert [turn.text for turn in rest] == ["first 1", "first 2"]


async def test_commit_and_sent_say_whether_the_conversation_goes_on(book: Book) -> None:
    await book.accept("one")
    first = await book.take()
    await book.accept("two")
    assert await book.ledger.commit(first, Reply("yes"), ["part 1", "part 2"], None, book.clock())
    second = await book.take()
    (part,) = await book.due()
    assert await book.ledger.sent(part.id, "r", book.clock()), "part 2 waits"
    (part,) = await book.due()
    assert not await book.ledger.sent(part.id, "r", book.clock())
    assert not await book.ledger.commit(second, Reply("yes"), ["x"], None, book.clock())
