"""The workers between inbox and outbox: every claimed turn is committed or handed back, at start, in work and at the
end.

Turns are claimed only while the engine is ready, so that messages wait in the inbox, on disk, and not in memory.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial

import structlog

from core.channel import Channel
from core.config import DialogueSettings
from core.dialogue import Dialogue
from core.engine import Engine, EngineState
from core.errors import DeliveryError, EngineUnavailable, LedgerError, TurnLost
from core.gateway import Bell
from core.killing import Passing, pass_by
from core.ledger import Ledger
from core.memory import give_back
from core.metrics import Metrics
from core.outbox import Outbox
from core.types import Reply, Turn

TROUBLE_SECONDS = 1.0  # a worker's pause after something went wrong
ENGINE_LOOKS = 5  # seconds between two questions to an idle engine
REDELIVERED_SECONDS = 48 * 3600.0
RETRY_SECONDS = 1.0  # after the engine went away under a turn, times the attempt
TIDY_SECONDS = 20.0  # between two looks for memory to give back
UNTIDY = 3  # looks at a busy house until it is tidied beside the replies


class Runtime:
    """Starts, feeds and drains the workers."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        engine: Engine,
        dialogue: Dialogue,
        channels: Mapping[str, Channel],
        settings: DialogueSettings,
        concurrency: int,
        metrics: Metrics,
        bell: Bell,
        clock: Callable[[], float],
        wall: Callable[[], float],
        passing: Passing = pass_by,
    ) -> None:
        self._passing = passing
        self._ledger = ledger
        self._engine = engine
        self._dialogue = dialogue
        self._channels = channels
        self._settings = settings
        self._concurrency = concurrency
        self._metrics = metrics
        self._bell = bell
        self._clock = clock
        self._wall = wall
        self._outboxes = {
            name: Outbox(channel, ledger, metrics, clock, settings.repeat_unclear, passing)
            for name, channel in channels.items()
        }
        self._turns: dict[int, asyncio.Task[None]] = {}
        self._workers: list[asyncio.Task[None]] = []
        self._senders: list[asyncio.Task[None]] = []
        self._inbox = asyncio.Event()
        self._untidy = 0  # looks since all was collected
        self._held = False  # somebody is ready who has enough turns running
        self._alarm: asyncio.TimerHandle | None = None
        self._log = structlog.get_logger()

    def wake(self, channel: str, seconds: float = 0.0) -> None:
        """A message was accepted on this channel and is ready in so many seconds (or its notice is queued)."""
        if seconds <= 0:
            self._inbox.set()
            self._outboxes[channel].wake()
        elif self._alarm is None:  # one alarm at a time: whoever it wakes asks the ledger when the next is ready
            self._alarm = asyncio.get_running_loop().call_later(seconds, self._ring)

    def look_again(self) -> None:
        """Somebody else changed the ledger."""
        self._inbox.set()
        for outbox in self._outboxes.values():
            outbox.wake()

    def _ring(self) -> None:
        self._alarm = None
        self._inbox.set()

    def start(self) -> None:
        self._senders = [asyncio.create_task(outbox.run()) for outbox in self._outboxes.values()]
        self._workers = [
            asyncio.create_task(self._keep_on(work))
            for work in (self._claim_turns, self._keep_leases, self._watch_engine, self._tidy)
        ]

    async def drain(self, seconds: float) -> None:
        """Claim nothing more, give running turns and deliveries `seconds`, hand the rest back."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        running = list(self._turns.values())
        if running:
            self._log.info("draining", turns=len(running))
            _, late = await asyncio.wait(running, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for outbox in self._outboxes.values():
            outbox.stop()
        if self._senders:
            _, late = await asyncio.wait(self._senders, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _keep_on(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do it again and again; neither a full disk nor a bug of ours may end a worker."""
        while True:
            try:
                await work()
            except (LedgerError, EngineUnavailable) as error:
                self._log.error("worker_waits", work=work.__name__, reason=str(error))
                await asyncio.sleep(TROUBLE_SECONDS)
            except Exception:  # noqa: BLE001 - a worker outlives our bugs
                self._log.exception("worker_crashed", work=work.__name__)
                await asyncio.sleep(TROUBLE_SECONDS)

    async def _claim_turns(self) -> None:
        self._inbox.clear()
        room = self._concurrency - len(self._turns)
        if room <= 0:
            await self._inbox.wait()
            return
        await self._engine.wait_ready()
        lease, merge = self._settings.lease_seconds, self._settings.merge_messages
        now, self._held = self._clock(), True  # until it is known: a turn may end while we ask
        turns = await self._ledger.claim(now, lease, merge, room, room)
        if turns:
            self._passing("claimed")
        for turn in turns:
            task = asyncio.create_task(self._run(turn, self._turns.get(turn.id)))
            self._turns[turn.id] = task
            task.add_done_callback(partial(self._turn_ended, turn.id))
        if len(turns) < room:
            ready_at = await self._ledger.next_ready_at()
            self._held = ready_at is not None and ready_at <= now
            if self._held:
                ready_at = await self._ledger.next_ready_at(now)
            await self._sleep(None if ready_at is None else max(0.0, ready_at - self._clock()))

    def _turn_ended(self, turn_id: int, task: asyncio.Task[None]) -> None:
        if self._held or len(self._turns) >= self._concurrency:
            self._inbox.set()  # the worker waits for room
        if self._turns.get(turn_id) is task:
            del self._turns[turn_id]

    async def _sleep(self, seconds: float | None) -> None:
        try:
            await asyncio.wait_for(self._inbox.wait(), seconds)
        except TimeoutError:
            return

    async def _run(self, turn: Turn, earlier: asyncio.Task[None] | None) -> None:
        log = self._log.bind(turn=turn.id, conversation=turn.conversation_id, channel=turn.conversation.channel)
        try:
            if earlier is not None:  # it was held up for longer than its lease, and would write over what comes now
                earlier.cancel()
                await asyncio.wait([earlier])
            await self._answer(turn, log)
        except asyncio.CancelledError:
            await asyncio.shield(self._hand_back(turn, 0.0, counted=False))
            log.info("turn_handed_back", attempt=turn.attempt)
            raise
        except TurnLost:
            log.warning("turn_lost", attempt=turn.attempt)
        except EngineUnavailable as error:
            log.warning("turn_waits_for_engine", attempt=turn.attempt, reason=str(error))
            await self._hand_back(turn, RETRY_SECONDS * turn.attempt, counted=True, trouble=f"no engine: {error}")
        except LedgerError as error:
            log.error("turn_not_committed", reason=str(error))  # its lease runs out, and it is claimed again
        except Exception as error:
            log.exception("turn_crashed", attempt=turn.attempt)
            await self._hand_back(turn, RETRY_SECONDS * turn.attempt, counted=True, trouble=type(error).__name__)

    async def _answer(self, turn: Turn, log: structlog.stdlib.BoundLogger) -> None:
        channel = self._channels.get(turn.conversation.channel)
        if channel is None or not self._dialogue.knows(turn.conversation.bot):
            # Switched off or removed since the message came: it waits for them to be there again.
            log.warning("turn_waits", reason="its channel or its bot is off")
            await self._hand_back(turn, 60.0, counted=False)
            return
        turn = await self._found(turn, channel)
        if turn.attempt > self._settings.attempts:
            log.error("turn_set_aside", attempts=self._settings.attempts, reason=turn.trouble)
            reply, more = await self._dialogue.set_aside(turn, channel)
        elif self._is_late(turn):
            reply, more = await self._dialogue.apologise(turn, channel, "apology_late", "late")
        else:
            reply, more = await self._dialogue.answer(turn, channel)
        self._measure(turn, reply)
        if more:
            self._inbox.set()  # what was written meanwhile in this conversation may be claimed now
        self._outboxes[channel.name].wake()
        self._bell.ring(turn.conversation)
        log.info(
            "answered",
            kind=reply.kind.value,
            messages=len(turn.messages),
            reason=reply.reason,
            prompt_tokens=reply.usage.prompt_tokens,
            cached_tokens=reply.usage.cached_tokens,
            completion_tokens=reply.usage.completion_tokens,
            ms=round((self._clock() - turn.messages[0].accepted_at) * 1000),
        )

    async def _found(self, turn: Turn, channel: Channel) -> Turn:
        """The turn with the reference of what a process that died had shown of it, and could not record any more."""
        if not turn.died or turn.reference or channel.traits.preview_seconds is None:
            return turn
        known = await self._ledger.references(turn)
        try:
            reference = await channel.find(turn, known)
        except DeliveryError as error:
            self._log.info("preview_not_looked_for", turn=turn.id, reason=error.reason)
            return turn
        if reference is None:
            return turn
        await self._ledger.previewed(turn, reference)
        self._log.info("preview_found", turn=turn.id)
        return replace(turn, reference=reference)

    def _is_late(self, turn: Turn) -> bool:
        """Whether it came through an outage, ours or the platform's: an answer would pretend that it is still new."""
        newest = turn.messages[-1]
        # Platforms deliver again for a day; what claims to be older says nothing of when it was written.
        sent_at = newest.sent_at if newest.sent_at > newest.accepted_at - REDELIVERED_SECONDS else newest.accepted_at
        limit = self._settings.answer_within_hours * 3600
        # By the machine's clock of now, too: ours keeps the time of its start, and that may have been wrong.
        now = min(self._clock(), self._wall())
        return bool(limit) and now - min(sent_at, newest.accepted_at) > limit

    def _measure(self, turn: Turn, reply: Reply) -> None:
        self._metrics.answered.labels(turn.conversation.channel, reply.kind.value).inc()
        self._metrics.reply.observe(self._clock() - turn.messages[0].accepted_at)
        if reply.first_text_seconds is not None:
            self._metrics.first_text.observe(reply.first_text_seconds)

    async def _hand_back(self, turn: Turn, seconds: float, *, counted: bool, trouble: str = "") -> None:
        try:
            await self._ledger.release(turn, self._clock() + seconds, counted=counted, trouble=trouble)
        except LedgerError as error:
            self._log.error("turn_not_handed_back", turn=turn.id, reason=str(error))  # its lease runs out
        self._inbox.set()

    async def _keep_leases(self) -> None:
        """Renew what runs; take back what nobody renews."""
        await asyncio.sleep(self._settings.lease_seconds / 3)
        if self._turns:
            await self._ledger.renew(list(self._turns), self._clock() + self._settings.lease_seconds)
        if await self._ledger.reclaim(self._clock()):
            self._inbox.set()

    async def _tidy(self) -> None:
        await asyncio.sleep(TIDY_SECONDS)
        self._untidy += 1
        if not self._turns or self._untidy >= UNTIDY:
            self._untidy = 0
            gc.collect()  # a few milliseconds of everybody's time, here where nobody waits for a reply if that can be
        await asyncio.to_thread(give_back)  # nobody waits for it meanwhile

    async def _watch_engine(self) -> None:
        """Nobody may have to write for us to notice that the engine went, or came back."""
        await self._engine.wait_ready()
        for _ in range(ENGINE_LOOKS):
            await asyncio.sleep(1.0)
            if self._engine.state is not EngineState.READY:
                return
        await self._engine.look()
