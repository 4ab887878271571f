"""The contract of core.ledger.Ledger against a model: whatever happens in whatever order, each message has one outcome.

Also: one running turn in each conversation, and the order in which things were said, through losses and restarts.
"""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from core.errors import TurnLost
from core.types import Delivery, InboundMessage, MessageState, Turn
from tests.contract.ledgers import GENEROUS, STORES
from tests.contract.machines import BookMachine, Make, run

CHATS = st.sampled_from(["a", "b", "c"])
USERS = st.sampled_from(["u", "v"])
PICK = st.integers(min_value=0, max_value=1000)


class LedgerMachine(BookMachine):
    """What the world has seen of the ledger, beside the ledger."""

    def __init__(self, make: Make) -> None:
        super().__init__(make)
        self._accepted: list[tuple[InboundMessage, int]] = []  # with its row
        self._open: dict[str, list[int]] = {}  # chat -> rows that wait for an answer, in order
        self._running: dict[str, Turn] = {}
        self._lost: list[Turn] = []
        self._replies: dict[int, str] = {}  # row -> the one reply to it
        self._queued: dict[str, list[str]] = {}  # chat -> texts to send, in order
        self._sending: dict[str, Delivery] = {}
        self._begun: set[str] = set()

    def teardown(self) -> None:
        self._runner.run(self._drain())
        super().teardown()

    # Rules

    @rule(chat=CHATS, user=USERS)
    def accept(self, chat: str, user: str) -> None:
        message = self._book.message(f"question {len(self._accepted)}", chat=chat, user=user)
        receipt = self._runner.run(self._book.accept(message))
        assert (receipt.state, receipt.duplicate) == (MessageState.WAITING, False)
        assert receipt.message_id not in {row for _, row in self._accepted}
        self._accepted.append((message, receipt.message_id))
        self._open.setdefault(chat, []).append(receipt.message_id)

    @precondition(lambda self: self._accepted)
    @rule(pick=PICK)
    def redeliver(self, pick: int) -> None:
        message, row = self._accepted[pick % len(self._accepted)]
        receipt = self._runner.run(self._book.accept(message, GENEROUS))
        assert (receipt.message_id, receipt.duplicate) == (row, True)

    @rule(most=st.integers(min_value=1, max_value=3))
    def claim(self, most: int) -> None:
        turn = self._runner.run(self._book.claim(most))
        if turn is None:
            assert all(chat in self._running for chat, rows in self._open.items() if rows)
            return
        chat = turn.conversation.chat_id
        assert chat not in self._running
        rows = [message.id for message in turn.messages]
        assert rows == self._open[chat][:most]
        self._running[chat] = turn

    @precondition(lambda self: self._running)
    @rule(pick=PICK, answer=st.booleans(), parts=st.integers(min_value=0, max_value=2))
    def commit(self, pick: int, parts: int, *, answer: bool) -> None:
        chat, turn = self._pick_running(pick)
        texts = [f"reply {turn.id}, part {part}" for part in range(parts)]
        self._runner.run(self._commit(chat, turn, texts, answer=answer))

    @precondition(lambda self: self._running)
    @rule(pick=PICK, counted=st.booleans())
    def release(self, pick: int, *, counted: bool) -> None:
        chat, turn = self._pick_running(pick)
        self._runner.run(self._book.ledger.release(turn, self._book.clock(), counted=counted))
        del self._running[chat]
        if counted:  # an uncounted try gives its number to the next one
            self._lost.append(turn)

    @precondition(lambda self: self._lost)
    @rule(pick=PICK)
    def commit_what_was_lost(self, pick: int) -> None:
        with pytest.raises(TurnLost):
            self._runner.run(self._book.commit(self._lost[pick % len(self._lost)], "from the grave"))

    @rule()
    def run_out_of_lease(self) -> None:
        self._book.clock.advance(100)
        assert self._runner.run(self._book.ledger.reclaim(self._book.clock())) == len(self._running)
        self._lose_all()

    @rule()
    def restart(self) -> None:
        self._runner.run(self._book.reopen())
        self._lose_all()
        for chat in self._begun & self._sending.keys():  # the channel cannot repeat them unseen
            del self._queued[chat][0]
        self._sending.clear()
        self._begun.clear()

    @rule()
    def take_due(self) -> None:
        for delivery in self._runner.run(self._book.due()):
            chat = delivery.conversation.chat_id
            assert chat not in self._sending
            assert delivery.text == self._queued[chat][0]
            self._sending[chat] = delivery

    @precondition(lambda self: self._sending)
    @rule()
    def begin_a_send(self) -> None:
        chat, delivery = next(iter(self._sending.items()))
        self._runner.run(self._book.ledger.begin(delivery.id))
        self._begun.add(chat)

    @precondition(lambda self: self._sending)
    @rule(how=st.sampled_from(["sent", "postponed", "failed"]))
    def end_a_send(self, how: str) -> None:
        chat, delivery = self._sending.popitem()
        self._begun.discard(chat)
        ledger, now = self._book.ledger, self._book.clock()
        if how == "postponed":
            self._runner.run(ledger.postpone(delivery.id, now, "later"))
            return
        ended = ledger.sent(delivery.id, "r", now) if how == "sent" else ledger.fail(delivery.id, "no")
        self._runner.run(ended)
        del self._queued[chat][0]

    # What always holds

    @invariant()
    def the_counts_are_right(self) -> None:
        counts = self._runner.run(self._book.ledger.counts())
        held = sum(len(turn.messages) for turn in self._running.values())
        assert counts.running == len(self._running)
        assert counts.waiting == sum(map(len, self._open.values())) - held
        assert counts.pending_deliveries == sum(map(len, self._queued.values()))

    # Not rules

    def _pick_running(self, pick: int) -> tuple[str, Turn]:
        chats = sorted(self._running)
        chat = chats[pick % len(chats)]
        return chat, self._running[chat]

    def _lose_all(self) -> None:
        self._lost.extend(self._running.values())
        self._running.clear()

    async def _commit(self, chat: str, turn: Turn, texts: list[str], *, answer: bool) -> None:
        if answer:
            await self._book.commit(turn, f"reply {turn.id}", parts=texts)
            self._queued.setdefault(chat, []).extend(texts)
        else:
            await self._book.apologise(turn, f"reply {turn.id}")
            self._queued.setdefault(chat, []).append(f"reply {turn.id}")
        for message in turn.messages:
            assert message.id not in self._replies
            self._replies[message.id] = f"reply {turn.id}"
            self._open[chat].remove(message.id)
        del self._running[chat]
        self._lost.append(turn)

    async def _drain(self) -> None:
        """Whatever happened before, everything accepted gets its one answer, and everything queued leaves in order."""
        self._book.clock.advance(100)
        await self._book.reopen(repeatable=["web"])
        self._lose_all()
        while turn := await self._book.claim():
            chat = turn.conversation.chat_id
            self._running[chat] = turn
            await self._commit(chat, turn, [f"last {turn.id}"], answer=True)
        assert len(self._replies) == len(self._accepted)
        for message, row in self._accepted:
            outcome = await self._book.ledger.outcome("web", message.event_id)
            assert outcome is not None
            assert (outcome.message_id, outcome.state) == (row, MessageState.ANSWERED)
            assert outcome.text == self._replies[row]
        while batch := await self._book.due():
            for delivery in batch:
                assert delivery.text == self._queued[delivery.conversation.chat_id].pop(0)
                await self._book.ledger.sent(delivery.id, "r", self._book.clock())
        assert not any(self._queued.values())


@pytest.mark.parametrize("name", sorted(STORES))
def test_no_order_of_events_breaks_a_promise(name: str) -> None:
    run(LedgerMachine, STORES[name], examples=30, steps=30)
