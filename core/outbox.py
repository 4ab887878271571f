"""Carries committed replies to one platform: parts in order, conversations side by side, every ending recorded.

One outbox per channel, so that a slow platform holds up no other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import structlog

from core.channel import Channel
from core.errors import DeliveryError, LedgerError
from core.killing import Passing, pass_by
from core.ledger import Ledger
from core.metrics import Metrics
from core.types import Delivery

PAUSE_CEILING = 60.0  # seconds between two tries of a part
RECORD_SECONDS = 1.0  # between two tries to record what became of a part
PULL_SECONDS = 5.0  # between two looks whether a channel that was pulled from has learnt to be pushed to
ATTEMPTS = 1500  # about a day of a platform that refuses


class Outbox:
    """The worker of one channel."""

    def __init__(
        self,
        channel: Channel,
        ledger: Ledger,
        metrics: Metrics,
        clock: Callable[[], float],
        repeats: int = 0,
        passing: Passing = pass_by,
    ) -> None:
        self._passing = passing
        self._channel = channel
        self._ledger = ledger
        self._metrics = metrics
        self._clock = clock
        self._repeats = repeats  # of a send that the platform may have taken
        self._wake = asyncio.Event()
        self._ending = False
        self._under_way: set[asyncio.Task[None]] = set()
        self._log = structlog.get_logger().bind(channel=channel.name)

    def wake(self) -> None:
        """Something may be due."""
        self._wake.set()

    async def run(self) -> None:
        """Deliver until `stop`; then send what is committed by then and finish what is under way."""
        while not self._ending:
            self._wake.clear()
            try:
                await self._round()
            except LedgerError as error:
                self._log.error("outbox_waits_for_ledger", reason=str(error))
                await self._sleep(1.0)
            except Exception:  # noqa: BLE001 - the worker outlives our bugs
                self._log.exception("outbox_crashed")
                await self._sleep(1.0)
        try:
            while not self._channel.traits.pull and (self._under_way or await self._take_up()):
                await asyncio.wait(self._under_way)
        except LedgerError as error:
            self._log.error("outbox_ends_early", reason=str(error))  # the next start sends the rest

    def stop(self) -> None:
        """Take up nothing that is committed later."""
        self._ending = True
        self._wake.set()

    async def _round(self) -> None:
        room = self._room()
        if self._channel.traits.pull:
            await self._sleep(PULL_SECONDS)
        elif room <= 0:
            await self._wake.wait()
        elif await self._take_up() < room:
            due_at = await self._ledger.next_due_at(self._channel.name)
            await self._sleep(None if due_at is None else max(0.0, due_at - self._clock()))

    def _room(self) -> int:
        return self._channel.traits.parallel - len(self._under_way)

    async def _take_up(self) -> int:
        """Begin to send what is due; how many that are."""
        deliveries = await self._ledger.due(self._channel.name, self._clock(), self._room())
        for delivery in deliveries:
            task = asyncio.create_task(self._carry(delivery))
            self._under_way.add(task)
            task.add_done_callback(self._done)
        return len(deliveries)

    def _done(self, task: asyncio.Task[None]) -> None:
        if len(self._under_way) >= self._channel.traits.parallel:
            self._wake.set()  # the worker waits for room
        self._under_way.discard(task)

    async def _sleep(self, seconds: float | None) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
        except TimeoutError:
            return

    async def _carry(self, delivery: Delivery) -> None:
        try:
            record = await self._deliver(delivery)
        except LedgerError as error:
            # Raised before the send: `begin` could not be recorded.
            record = self._refused(delivery, DeliveryError(f"the ledger: {error}", retryable=True))
        except Exception:  # noqa: BLE001 - the worker must outlive a bug in a channel
            self._log.exception("delivery_crashed", delivery=delivery.id)
            record = partial(self._ledger.doubt, delivery.id, "a bug in the channel; see the log")
        await self._recorded(delivery, record)

    async def _recorded(self, delivery: Delivery, record: Callable[[], Awaitable[object]]) -> None:
        """Until its ending is on disk it is nobody else's: a full disk must not have it sent twice, or never."""
        while True:
            try:
                more = await record()
            except LedgerError as error:
                self._log.error("delivery_not_recorded", delivery=delivery.id, reason=str(error))
                await asyncio.sleep(RECORD_SECONDS)
            else:
                break
        if more is not False:  # the conversation's next part was waiting for this one, or its time has changed
            self._wake.set()

    async def _deliver(self, delivery: Delivery) -> Callable[[], Awaitable[object]]:
        """Send it; returns how its ending is to be recorded."""
        log = self._log.bind(delivery=delivery.id, turn=delivery.turn_id, part=delivery.part)
        started = self._clock()
        self._passing("taken")
        try:
            reference = await self._channel.deliver(delivery)
        except DeliveryError as error:
            return self._refused(delivery, error)
        self._passing("delivered")
        self._metrics.sent.labels(self._channel.name).inc()
        log.info("delivered", kind=delivery.kind.value, ms=round((self._clock() - started) * 1000))
        return partial(self._ledger.sent, delivery.id, reference, self._clock())

    def _refused(self, delivery: Delivery, error: DeliveryError) -> Callable[[], Awaitable[object]]:
        attempts = delivery.attempts + 1
        pause = error.retry_after if error.retry_after is not None else min(PAUSE_CEILING, 2.0 ** min(attempts, 10) / 2)
        if error.unclear:
            repeats = ATTEMPTS if error.retryable else self._repeats
            return partial(self._doubted, delivery, error.reason, repeats, self._clock() + pause)
        again = error.retryable and attempts < ATTEMPTS
        self._log.warning("delivery_refused", delivery=delivery.id, reason=error.reason, again=again, unclear=False)
        if again:
            return partial(self._ledger.postpone, delivery.id, self._clock() + pause, error.reason)
        self._metrics.failed.labels(self._channel.name).inc()
        return partial(self._ledger.fail, delivery.id, error.reason)

    async def _doubted(self, delivery: Delivery, reason: str, repeats: int, again_at: float) -> None:
        again = await self._ledger.doubt(delivery.id, reason, repeats, again_at)
        self._log.warning("delivery_refused", delivery=delivery.id, reason=reason, again=again, unclear=True)
        if not again:
            self._metrics.failed.labels(self._channel.name).inc()
