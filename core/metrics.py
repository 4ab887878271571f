"""The house's numbers for Prometheus, in a registry of their own: counts and times, never a user or a text."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from core.engine import EngineState
from core.ledger import Counts

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160)


class Metrics:
    """Counters are advanced where things happen; gauges are set when somebody asks."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        registry = self._registry
        self.accepted = Counter("frontdesk_messages_accepted", "Messages put on disk", ["channel"], registry=registry)
        self.duplicates = Counter(
            "frontdesk_messages_duplicate", "Redeliveries recognised", ["channel"], registry=registry
        )
        self.throttled = Counter(
            "frontdesk_messages_throttled", "Messages over a user's limit", ["channel"], registry=registry
        )
        self.answered = Counter("frontdesk_turns_answered", "Turns committed", ["channel", "kind"], registry=registry)
        self.sent = Counter("frontdesk_deliveries_sent", "Parts a platform has taken", ["channel"], registry=registry)
        self.failed = Counter("frontdesk_deliveries_failed", "Parts given up", ["channel"], registry=registry)
        self.first_text = Histogram(
            "frontdesk_first_text_seconds", "Acceptance to the first visible text", buckets=SECONDS, registry=registry
        )
        self.reply = Histogram(
            "frontdesk_reply_seconds", "Acceptance to the committed reply", buckets=SECONDS, registry=registry
        )
        self._waiting = Gauge("frontdesk_messages_waiting", "Messages in the inbox", registry=registry)
        self._oldest = Gauge("frontdesk_oldest_waiting_seconds", "Age of the oldest waiting message", registry=registry)
        self._running = Gauge("frontdesk_turns_running", "Turns being answered", registry=registry)
        self._pending = Gauge("frontdesk_deliveries_pending", "Parts in the outbox", registry=registry)
        self._given_up = Gauge(
            "frontdesk_deliveries_given_up", "Parts failed or of unknown fate, ever", registry=registry
        )
        self._set_aside = Gauge("frontdesk_messages_set_aside", "Messages set aside, ever", registry=registry)
        self._engine = Gauge("frontdesk_engine_state", "1 for the state the engine is in", ["state"], registry=registry)

    def render(self, counts: Counts, engine: EngineState, now: float) -> bytes:
        """The exposition format, with the gauges as they stand now."""
        self._waiting.set(counts.waiting)
        self._oldest.set(now - counts.oldest_waiting_at if counts.oldest_waiting_at is not None else 0.0)
        self._running.set(counts.running)
        self._pending.set(counts.pending_deliveries)
        self._given_up.set(counts.failed_deliveries)
        self._set_aside.set(counts.set_aside)
        for state in EngineState:
            self._engine.labels(state.value).set(float(state is engine))
        return generate_latest(self._registry)
