"""The contract of core.ledger.Ledger, fifth part: what is taken back, what is voted, and what a channel remembers."""

from __future__ import annotations

import json
from dataclasses import replace

from core.ledger import Notice
from core.types import ConversationKey, MessageState
from tests.contract.ledgers import AT_ONCE, GENEROUS, Book, Store, key

STOP = Notice("All right.", "stopped", stop=True)


def thread(number: int, chat: str = "chat") -> ConversationKey:
    return replace(key(chat), thread_id=f"thread {number}")


async def state(book: Book, event: str) -> MessageState | None:
    return await book.ledger.state("web", event)


async def stop(book: Book, user: str = "user") -> None:
    message = book.message("/stop", user=user)
    await book.ledger.accept(message, GENEROUS, AT_ONCE, book.clock(), STOP)


async def test_a_stop_takes_back_what_waits(book: Book) -> None:
    await book.accept(book.message(event="one"))
    await book.accept(book.message(event="two"))
    await book.accept(book.message(chat="another", event="three"))
    await stop(book)
    assert [await state(book, event) for event in ("one", "two")] == [MessageState.WITHDRAWN] * 2
    assert (await book.take()).conversation == key("another")
    assert await book.claim() is None
    assert await book.send() == ["All right."]


async def test_a_stop_takes_back_what_was_handed_back_too(book: Book) -> None:
    await book.accept(book.message(event="one"))
    await book.ledger.release(await book.take(), book.clock(), counted=True)
    await stop(book)
    assert await state(book, "one") is MessageState.WITHDRAWN
    assert await book.claim() is None
    await book.accept(book.message("Another question"))
    turn = await book.take()
    assert (turn.text, turn.attempt) == ("Another question", 1)


async def test_a_stop_leaves_what_others_wrote(book: Book) -> None:
    await book.accept(book.message("mine", user="me"))
    await book.accept(book.message("theirs", user="other", event="theirs"))
    await stop(book, "me")
    turn = await book.take()
    assert (turn.text, turn.user_id) == ("theirs", "other")
    await book.commit(turn)
    assert await state(book, "theirs") is MessageState.ANSWERED


async def test_a_stop_leaves_a_running_turn_to_whoever_runs_it(book: Book) -> None:
    await book.accept(book.message(event="one"))
    turn = await book.take()
    await book.accept(book.message(event="two"))
    await stop(book)
    await book.commit(turn, "so far …")
    assert [await state(book, event) for event in ("one", "two")] == [MessageState.ANSWERED, MessageState.WITHDRAWN]
    assert await book.claim() is None


async def test_who_leaves_a_chat_leaves_its_threads(book: Book) -> None:
    for number in (1, 2):
        await book.accept(replace(book.message(event=f"waits {number}"), conversation=thread(number)))
    await book.accept(replace(book.message(event="handed back"), conversation=thread(3)))
    claimed = {turn.conversation.thread_id: turn for turn in [await book.take() for _ in range(3)]}
    await book.ledger.release(claimed["thread 3"], book.clock(), counted=True)
    await book.commit(claimed["thread 1"], "never sent")
    await book.accept(replace(book.message(event="next"), conversation=thread(2)))
    await book.accept(book.message(event="elsewhere", chat="another"))
    await book.ledger.withdraw(thread(1), book.clock())
    assert await state(book, "handed back") is MessageState.WITHDRAWN
    assert await state(book, "next") is MessageState.WITHDRAWN
    assert await state(book, "elsewhere") is MessageState.WAITING
    assert await book.send() == []
    await book.commit(claimed["thread 2"], parts=[])
    assert (await book.take()).conversation == key("another")
    assert await book.claim() is None
    counts = await book.ledger.counts()
    assert (counts.waiting, counts.pending_deliveries) == (0, 0)


async def test_a_chat_that_moves_keeps_its_history_and_what_waits(book: Book) -> None:
    await book.answer("Blue")
    await book.accept(replace(book.message("In a thread"), conversation=thread(1)))
    await book.ledger.move(key(), "moved")
    await book.ledger.move(key(), "moved")
    await book.accept(book.message("And red?", chat="moved"))
    found = {turn.conversation: turn for turn in [await book.take() for _ in range(2)]}
    assert set(found) == {key("moved"), thread(1, "moved")}
    assert [entry.text for entry in await book.ledger.recall(found[key("moved")], 10)] == ["<Hello>", "Blue"]
    (delivery,) = await book.due()
    assert delivery.conversation == key("moved")


async def test_a_chat_does_not_move_over_one_that_is_there(book: Book) -> None:
    await book.answer("Old")
    await book.answer("New", chat="moved")
    await book.ledger.move(key(), "moved")
    assert [entry.text for entry in await book.ledger.transcript(key("moved"), 10)] == ["Hello", "New"]
    assert [entry.text for entry in await book.ledger.transcript(key(), 10)] == ["Hello", "Old"]


async def test_a_vote_is_kept_with_its_answer_and_the_newest_counts(book: Book, store: Store) -> None:
    turn = await book.answer("Blue")
    ledger, now = book.ledger, book.clock()
    assert await ledger.feedback(key(), turn.id, "user", "good", now)
    assert await ledger.feedback(key(), turn.id, "user", "bad", now)
    assert not await ledger.feedback(key("another"), turn.id, "user", "good", now), "of another conversation"
    assert not await ledger.feedback(key(), turn.id + 1, "user", "good", now)
    await book.accept("And red?")
    running = await book.take()
    assert not await ledger.feedback(key(), running.id, "user", "good", now), "not answered yet"
    await book.apologise(running)
    assert not await ledger.feedback(key(), running.id, "user", "good", now), "no answer of the model's"
    await ledger.close()
    votes = [json.loads(detail) for action, _, detail in store.audit() if action == "feedback"]
    said = {"channel": "web", "user": "user"}
    assert votes == [{**said, "vote": "good"}, {**said, "vote": "bad"}]


async def test_a_fact_outlives_a_restart_and_is_its_channels_own(book: Book) -> None:
    assert await book.ledger.kept("web", "account") is None
    await book.ledger.keep("web", "account", {"verified": False})
    await book.ledger.keep("web", "account", {"verified": True, "名": "店"})
    await book.reopen()
    assert await book.ledger.kept("web", "account") == {"verified": True, "名": "店"}
    assert await book.ledger.kept("other", "account") is None
    await book.ledger.keep("web", "account", None)
    assert await book.ledger.kept("web", "account") is None


async def test_what_was_cut_says_so(book: Book) -> None:
    await book.accept("Hello")
    turn = await book.take()
    await book.ledger.commit(turn, book.reply(turn, "Half an ans …", cut=True), ["Half an ans …"], None, book.clock())
    assert (await book.ledger.waiting_parts(key(), "r"))[0].cut
    (delivery,) = await book.due()
    assert delivery.cut
    assert [entry.cut for entry in await book.ledger.transcript(key(), 10)] == [False, True]


async def test_a_conversation_begun_anew_forgets_the_reply_that_was_being_written(book: Book) -> None:
    await book.answer("Old")
    await book.accept("A question of the old conversation")
    turn = await book.take()
    book.clock.advance(1)
    fresh = Notice("Afresh.", "new_conversation", fresh=True)
    await book.ledger.accept(book.message("/new"), GENEROUS, AT_ONCE, book.clock(), fresh)
    book.clock.advance(1)
    await book.commit(turn, "Still old")
    await book.accept("New")
    turn = await book.take()
    assert await book.ledger.recall(turn, 10) == ()
    assert turn.prompt_tokens == 0
    await book.commit(turn, "New answer")
    await book.accept("More")
    assert [entry.text for entry in await book.ledger.recall(await book.take(), 10)] == ["<New>", "New answer"]
