"""Stand-ins that keep the ports' promises, so that nothing of ours has to be patched in a test.

An engine that says what it is told to, a clock that stands still, a channel that keeps what its users see.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Sequence

from aiohttp import web

from core.channel import Finding, Gateway, Traits
from core.engine import EngineRequest, EngineState
from core.errors import DeliveryError, EngineUnavailable
from core.types import COMMANDS, Bot, ConversationKey, Delivery, Delta, Draft, Prompt, Turn, Usage

# A text, a whole delta (reasoning, finish ...), an exception to raise, or an event to wait for before going on.
Piece = str | Delta | Exception | asyncio.Event

PHRASES = (
    "apology_empty",
    "apology_engine",
    "apology_late",
    "brief",
    "busy",
    "cut_mark",
    "edited",
    "greeting",
    "help",
    "human_noted",
    "new_conversation",
    "stopped",
    "unreadable",
    "feedback_bad",
    "feedback_good",
    "fetch_answer",
    "go_on",
    "more_follows",
    "fetch_more",
    "all_fetched",
    "still_writing",
    "suggested_1",
    "suggested_2",
    "suggested_3",
    "suggested_title",
    "throttled",
    "throttled_tokens",
)


class FakeClock:
    """Seconds since the epoch, as told."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class _Tally:
    """A count that can be waited for."""

    def __init__(self) -> None:
        self._count = 0
        self._changed = asyncio.Event()

    def add(self) -> None:
        self._count += 1
        self._changed.set()

    async def reach(self, count: int) -> None:
        async with asyncio.timeout(10):
            while self._count < count:
                self._changed.clear()
                await self._changed.wait()


def _set_event() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


class FakeEngine:
    """A core.engine.Engine. Each call takes the next enqueued reply, or `default` when none is left.

    `hold()` makes every call wait before its first piece until `resume()`; an asyncio.Event among the pieces holds one
    call at that place. While the state is not READY, calls raise EngineUnavailable.
    """

    def __init__(self, default: Sequence[Piece] = ("Certainly.",), *, context_tokens: int = 8192) -> None:
        self.default = tuple(default)
        self.requests: list[EngineRequest] = []
        self.aborted: list[EngineRequest] = []  # closed before their end
        self.running = 0
        self.looks = 0
        self.state = EngineState.READY
        self.detail = ""
        self.model = "fake-model"
        self.models: tuple[str, ...] = ("fake-model", "fake-adapter")
        self.context_tokens = context_tokens
        self._replies: deque[tuple[Piece, ...]] = deque()
        self._gate, self._ready = _set_event(), _set_event()
        self._called = _Tally()

    def enqueue(self, pieces: Iterable[Piece]) -> None:
        """The next reply. A last delta with `finish` and usage is added when the pieces do not bring one."""
        self._replies.append(tuple(pieces))

    def hold(self) -> None:
        self._gate.clear()

    def resume(self) -> None:
        self._gate.set()

    def switch(self, state: EngineState, detail: str = "") -> None:
        self.state, self.detail = state, detail
        if state is EngineState.READY:
            self._ready.set()
        else:
            self._ready.clear()

    async def called(self, count: int) -> None:
        """Wait until `count` calls have begun, since the start."""
        await self._called.reach(count)

    async def wait_ready(self) -> None:
        await self._ready.wait()

    async def look(self) -> None:
        self.looks += 1

    async def close(self) -> None:
        self.switch(EngineState.STOPPED, "closed")

    async def stream(self, request: EngineRequest) -> AsyncGenerator[Delta, None]:
        pieces = self._replies.popleft() if self._replies and self.state is EngineState.READY else self.default
        self.requests.append(request)
        self._called.add()
        if self.state is not EngineState.READY:
            raise EngineUnavailable(self.detail or f"the engine is {self.state}")
        self.running += 1
        ended = False
        try:
            await self._gate.wait()
            words = 0
            for piece in pieces:
                if isinstance(piece, asyncio.Event):
                    await piece.wait()
                    continue
                if isinstance(piece, Exception):
                    ended = True
                    raise piece
                delta = Delta(text=piece) if isinstance(piece, str) else piece
                words += len(delta.text.split())
                ended = bool(delta.finish)
                yield delta
                if ended:
                    return
            ended = True
            prompt = sum(len(message["content"].split()) for message in request.messages)
            yield Delta(finish="stop", usage=Usage(prompt, words), model=self.model)
        finally:
            self.running -= 1
            if not ended:
                self.aborted.append(request)


class CollectingChannel:
    """A core.channel.Channel that keeps what it was given, and what its users see of it."""

    def __init__(self, name: str = "web", traits: Traits | None = None) -> None:
        self.name = name
        self.traits = traits or Traits(text_limit=4000, preview_seconds=0.0)
        self.started = False
        self.previews: list[Draft] = []  # shown
        self.deliveries: list[Delivery] = []  # taken
        self.attempts: list[Delivery] = []  # tried, refused ones included
        self.gate = _set_event()  # clear it to keep previews and deliveries on their way
        self.refused = 0  # of both
        self._preview_errors: deque[DeliveryError] = deque()
        self._delivery_errors: deque[DeliveryError] = deque()
        self._screens: dict[ConversationKey, dict[str, str]] = {}
        self._references = 0
        self._previewed = _Tally()
        self._delivered = _Tally()

    def fail_previews(self, *errors: DeliveryError) -> None:
        """Refuse the next ones, each with one of these errors; with one that is unclear, it is shown all the same."""
        self._preview_errors.extend(errors)

    def fail_deliveries(self, *errors: DeliveryError) -> None:
        """Refuse the next ones, each with one of these errors."""
        self._delivery_errors.extend(errors)

    def screen(self, conversation: ConversationKey) -> list[str]:
        """What the user sees of the bot's side, oldest first; a delivery into a preview replaces it."""
        return list(self._screens.get(conversation, {}).values())

    async def previewed(self, count: int) -> None:
        """Wait until so many have been shown, since the start."""
        await self._previewed.reach(count)

    async def delivered(self, count: int) -> None:
        """Wait until so many have been taken, since the start."""
        await self._delivered.reach(count)

    def routes(self, gateway: Gateway) -> Iterable[web.RouteDef]:
        return ()

    async def start(self) -> None:
        self.started = True

    async def close(self) -> None:
        self.started = False

    async def preview(self, draft: Draft) -> str | None:
        await self.gate.wait()
        if self._preview_errors:
            self.refused += 1
            error = self._preview_errors.popleft()
            if error.unclear:
                self._show(draft.conversation, draft.reference, draft.text)
            raise error
        self.previews.append(draft)
        reference = self._show(draft.conversation, draft.reference, draft.text)
        self._previewed.add()
        return reference

    async def find(self, turn: Turn, known: frozenset[str]) -> str | None:
        unknown = [reference for reference in self._screens.get(turn.conversation, {}) if reference not in known]
        return unknown[-1] if unknown else None

    async def deliver(self, delivery: Delivery) -> str:
        await self.gate.wait()
        self.attempts.append(delivery)
        if self._delivery_errors:
            self.refused += 1
            raise self._delivery_errors.popleft()
        self.deliveries.append(delivery)
        reference = self._show(delivery.conversation, delivery.reference, delivery.text)
        self._delivered.add()
        return reference

    async def check(self) -> list[Finding]:
        return [Finding(self.name, ok=True, detail="collects")]

    def _show(self, conversation: ConversationKey, reference: str, text: str) -> str:
        if not reference:
            self._references += 1
            reference = f"{self.name}-{self._references}"
        self._screens.setdefault(conversation, {})[reference] = text
        return reference


def make_bot(name: str = "support") -> Bot:
    """English and Chinese; each phrase says its own name and language, so that a test sees which one was said."""
    return Bot(
        name=name,
        default_language="en",
        prompts={
            "en": Prompt("You answer customers of a shop.", "It is {current_time}."),
            "zh": Prompt("你为一家商店的顾客解答问题。", "现在是 {current_time}。"),
        },
        commands={**{f"/{name}": name for name in COMMANDS}, "转人工": "human"},
        phrases={language: {phrase: f"[{phrase} {language}]" for phrase in PHRASES} for language in ("en", "zh")},
        version="0123456789ab",
    )
