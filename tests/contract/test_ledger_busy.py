"""The contract of core.ledger.Ledger, sixth part: too much at once, and what fails again and again."""

from __future__ import annotations

from dataclasses import replace

from core.types import MessageState
from tests.contract.ledgers import GENEROUS, Book, key

TWO = replace(GENEROUS, busy_after=2, busy=lambda before: f"You are number {before}.")


async def test_who_comes_late_to_a_long_line_is_told_their_place_and_answered(book: Book) -> None:
    for number in range(1, 5):
        await book.accept(book.message(chat=f"chat {number}", user=f"user {number}"), TWO)
    assert sorted(await book.send()) == ["You are number 3.", "You are number 4."]
    for number in range(1, 5):
        turn = await book.take()
        assert turn.conversation == key(f"chat {number}"), "in line"
        await book.commit(turn, f"Answer {number}")
        assert await book.ledger.state("web", f"event-{number}") is MessageState.ANSWERED
    outcome = await book.ledger.outcome("web", "event-4")
    assert outcome is not None and outcome.text == "Answer 4", "the notice is not the answer"
    assert await book.send() == [f"Answer {number}" for number in range(1, 5)]


async def test_the_place_is_told_once_in_a_while(book: Book) -> None:
    for number in range(3):
        await book.accept(book.message(chat=f"chat {number}", user=f"user {number}"), TWO)
    await book.accept(book.message("Hello?", chat="chat 2", user="user 2"), TWO)
    assert await book.send() == ["You are number 3."]
    book.clock.advance(600)
    await book.accept(book.message("Anybody?", chat="chat 2", user="user 2"), TWO)
    assert await book.send() == ["You are number 3."]


async def test_who_was_served_just_now_is_last_in_line(book: Book) -> None:
    await book.answer(chat="chat 0")
    await book.send()
    await book.accept(book.message(chat="chat 0"), TWO)
    for number in (1, 2):
        await book.accept(book.message(chat=f"chat {number}", user=f"user {number}"), TWO)
    assert await book.send() == ["You are number 2."], "before the one who was served before"


async def test_what_fails_too_often_is_set_aside_with_its_reason(book: Book) -> None:
    await book.accept(book.message(event="poison"))
    turn = await book.take()
    await book.ledger.release(turn, book.clock(), counted=True, trouble="ZeroDivisionError")
    turn = await book.take()
    assert (turn.attempt, turn.trouble) == (2, "ZeroDivisionError")
    await book.ledger.release(turn, book.clock(), counted=False)
    turn = await book.take()
    assert (turn.attempt, turn.trouble) == (2, "ZeroDivisionError"), "a stop is no trouble"
    await book.ledger.commit(turn, book.reply(turn, "Sorry"), ["Sorry"], None, book.clock(), set_aside=True)
    assert await book.ledger.state("web", "poison") is MessageState.SET_ASIDE
    assert (await book.ledger.counts()).set_aside == 1
    assert await book.send() == ["Sorry"]
    assert await book.claim() is None


async def test_a_turn_whose_process_died_says_so(book: Book) -> None:
    await book.accept("Hello")
    await book.take()
    await book.reopen()
    assert "died" in (await book.take()).trouble
