"""The contract of core.ledger.Ledger: users take turns, whatever they write and wherever, and nobody takes all places.

The order of claims is held against a model that is one line long: the least recently served user's oldest message,
people's before tasks.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from core.engine import TASKS
from core.types import Turn
from tests.contract.ledgers import GENEROUS, STORES, Book
from tests.contract.machines import BookMachine, Make, run

PLACES = 5
USERS = st.sampled_from("abcd")
NUMBERS = st.integers(min_value=0, max_value=20)


class FairMachine(BookMachine):
    """Who waits, who was served when, and who runs: beside the ledger."""

    def __init__(self, make: Make) -> None:
        super().__init__(make)
        self._waiting: dict[str, tuple[int, str]] = {}  # chat -> its oldest waiting message, and whose it is
        self._late: dict[str, list[tuple[int, str]]] = {}  # what came while a turn of the chat ran
        self._served: dict[str, float] = {}
        self._running: dict[str, Turn] = {}

    @rule(user=USERS, chat=NUMBERS)
    def write(self, user: str, chat: int) -> None:
        """Anybody in any chat: some are groups."""
        self._say(user, str(chat), "web")

    @rule(user=USERS, chat=NUMBERS)
    def ask(self, user: str, chat: int) -> None:
        """The same people's names, but a channel's users are its own."""
        self._say(f"task {user}", f"task {chat}", TASKS)

    def _say(self, user: str, name: str, channel: str) -> None:
        receipt = self._runner.run(self._book.accept(self._book.message(user=user, chat=name, channel=channel)))
        if name in self._running:
            self._late.setdefault(name, []).append((receipt.message_id, user))
        else:
            self._waiting.setdefault(name, (receipt.message_id, user))

    @rule(chats=st.integers(min_value=1, max_value=12), user=USERS)
    def flood(self, chats: int, user: str) -> None:
        for chat in range(100, 100 + chats):
            self.write(user, chat * 10 + ord(user))

    @rule(limit=st.integers(min_value=1, max_value=PLACES))
    def claim(self, limit: int) -> None:
        self._book.clock.advance(1)
        now, room = self._book.clock(), PLACES - len(self._running)
        limit = min(limit, room)
        expected = self._expected(limit, room, now)
        turns = self._runner.run(self._book.ledger.claim(now, 600.0, 20, limit, room))
        assert [turn.conversation.chat_id for turn in turns] == expected
        self._running |= {turn.conversation.chat_id: turn for turn in turns}

    def _expected(self, limit: int, room: int, now: float) -> list[str]:
        claimed: list[str] = []
        share = Counter(turn.user_id for turn in self._running.values())
        while len(claimed) < limit:
            left = room - len(claimed)
            order = sorted(
                (user.startswith("task"), self._served.get(user, 0.0), message, chat, user)
                for chat, (message, user) in self._waiting.items()
                if share[user] < left
            )
            if not order:
                break
            *_, chat, user = order[0]
            claimed.append(chat)
            del self._waiting[chat]
            share[user] += 1
            self._served[user] = now
        return claimed

    @precondition(lambda self: self._running)
    @rule(pick=NUMBERS)
    def commit(self, pick: int) -> None:
        chat = sorted(self._running)[pick % len(self._running)]
        self._runner.run(self._book.commit(self._running.pop(chat)))
        if late := self._late.pop(chat, []):
            self._waiting[chat] = late[0]

    @invariant()
    def a_newcomer_is_served_next(self) -> None:
        """Whatever the others wrote: while a place is free, somebody new gets it."""
        if len(self._running) < PLACES - 1 or len(Counter(turn.user_id for turn in self._running.values())) > 1:
            return
        assert len(self._running) < PLACES, "one user alone runs in every place"


@pytest.mark.parametrize("name", sorted(STORES))
def test_users_take_turns(name: str) -> None:
    run(FairMachine, STORES[name], examples=40, steps=25)


async def test_one_user_leaves_places_for_others(book: Book) -> None:
    for number in range(20):
        await book.accept(book.message(user="flood", chat=f"flood {number}"))
    flood = await book.ledger.claim(book.clock(), 60.0, 20, 16, 16)
    assert len(flood) == 8, "as many as stay free"
    assert not await book.ledger.claim(book.clock(), 60.0, 20, 8, 8)
    for number in range(10):
        await book.accept(book.message(user=f"calm {number}", chat=f"calm {number}"))
    calm = await book.ledger.claim(book.clock(), 60.0, 20, 8, 8)
    assert [turn.user_id for turn in calm] == [f"calm {number}" for number in range(8)]
    for turn in flood:
        await book.commit(turn)
    rest = await book.ledger.claim(book.clock(), 60.0, 20, 8, 8)
    assert [turn.user_id for turn in rest] == ["calm 8", "calm 9", *["flood"] * 3]


async def test_a_handed_back_turn_takes_no_place(book: Book) -> None:
    for number in range(4):
        await book.accept(book.message(user="one", chat=f"chat {number}"))
    first, second = await book.ledger.claim(book.clock(), 60.0, 20, 4, 4)
    await book.ledger.release(first, book.clock(), counted=True)
    await book.reopen()
    assert len(await book.ledger.claim(book.clock(), 60.0, 20, 4, 4)) == 2
    assert second.user_id == "one"


async def test_a_person_comes_before_a_batch_of_tasks(book: Book) -> None:
    """Also one who was served a moment ago, and one whose turn was handed back."""
    await book.accept(book.message(user="person 0", chat="chat 0"))
    await book.commit(await book.take())
    for number in range(20):
        await book.accept(book.message(user=f"task {number}", chat=f"task {number}", channel=TASKS))
    for number in range(3):
        await book.accept(book.message(user=f"person {number}", chat=f"chat {number}"))
    book.clock.advance(1)
    first, second = await book.ledger.claim(book.clock(), 60.0, 20, 2, 16)
    assert [first.user_id, second.user_id] == ["person 1", "person 2"]
    await book.ledger.release(first, book.clock(), counted=True)
    await book.reopen()
    claimed = await book.ledger.claim(book.clock(), 60.0, 20, 5, 16)
    assert [turn.user_id for turn in claimed] == ["person 0", "person 1", "person 2", "task 0", "task 1"]


async def test_the_place_in_line_counts_those_who_come_first(book: Book) -> None:
    busy = replace(GENEROUS, busy_after=1, busy=str)
    for number in range(5):
        await book.accept(book.message(user=f"task {number}", chat=f"task {number}", channel=TASKS))
    await book.accept(book.message(user="first", chat="first"))
    await book.accept(book.message(user="second", chat="second"), busy)
    await book.accept(book.message(user="last", chat="last", channel=TASKS), busy)
    assert [delivery.text for delivery in await book.due()] == ["2"]
    assert [delivery.text for delivery in await book.due(TASKS)] == ["8"]
