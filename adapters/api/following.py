"""Who follows a task: each open stream tells its changes and its growing answer, in bounded memory, and ends with it.

Nothing is kept for those who come later: the ledger has the state, and the next piece of the answer all of its text.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import orjson
from aiohttp import web

from adapters.api.answers import OPEN, STATUS, Task, result_of
from adapters.api.door import limits
from core.channel import Gateway
from core.errors import RequestError
from core.types import ConversationKey, MessageState, Outcome

STREAMS = 1_000  # open at the same time; each takes a file descriptor
LOOK_SECONDS = 5.0  # without news: look whether the state has changed, and keep the connection warm
RETRY_SECONDS = 5.0
EVENT_STREAM = "text/event-stream"
STREAM_HEADERS = {
    "Content-Type": f"{EVENT_STREAM}; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would collect an answer before passing it on
}


def wants_events(accept: str) -> bool:
    """Whether an Accept header names event streams."""
    return any(media.partition(";")[0].strip().lower() == EVENT_STREAM for media in accept.split(","))


def event(name: str, value: object) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps(value))


class Reader:
    """One open stream: the newest text of its conversation, and whether something has happened since it looked."""

    def __init__(self) -> None:
        self.text = ""
        self.closed = False
        self._news = asyncio.Event()

    def grow(self, text: str) -> None:
        self.text = text
        self._news.set()

    def close(self) -> None:
        self.closed = True
        self._news.set()

    def nudge(self, _: object = None) -> None:
        self._news.set()

    async def news(self, seconds: float) -> bool:
        """Wait for some; False when there were none for so long."""
        try:
            await asyncio.wait_for(self._news.wait(), seconds)
        except TimeoutError:
            return False
        self._news.clear()
        return True


class Board:
    """The open streams by conversation."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._readers: dict[ConversationKey, list[Reader]] = {}
        self._count = 0
        self._closed = False

    def __len__(self) -> int:
        """Conversations that somebody follows: nothing is kept of the others."""
        return len(self._readers)

    @contextmanager
    def reader(self, conversation: ConversationKey) -> Iterator[Reader]:
        """A stream, for as long as it is open. Raises RequestError 503 when there are too many, or at the end."""
        if self._closed or self._count >= self._limit:
            words = "No more event streams can be opened now; ask without one, with ?wait=."
            raise RequestError(503, words, code="too_many_streams", retry_after=RETRY_SECONDS)
        reader = Reader()
        readers = self._readers.setdefault(conversation, [])
        readers.append(reader)
        self._count += 1
        try:
            yield reader
        finally:
            self._count -= 1
            readers.remove(reader)
            if not readers:
                del self._readers[conversation]

    def grow(self, conversation: ConversationKey, text: str) -> None:
        """The answer being written there is this now."""
        for reader in self._readers.get(conversation, ()):
            reader.grow(text)

    def close(self) -> None:
        """End every stream: who still waits comes back."""
        self._closed = True
        for readers in self._readers.values():
            for reader in readers:
                reader.close()


class Following:
    """Writes the streams."""

    def __init__(self, name: str, gateway: Gateway, board: Board, look_seconds: float) -> None:
        self._name = name
        self._gateway = gateway
        self._board = board
        self._look_seconds = look_seconds

    async def follow(self, request: web.Request, task_id: str, outcome: Outcome) -> web.StreamResponse:
        """Tell what becomes of a task until it ends. Raises RequestError before the first byte only."""
        with self._board.reader(outcome.conversation) as reader:
            response = web.StreamResponse(headers=STREAM_HEADERS | limits(request))
            await response.prepare(request)
            ending = asyncio.create_task(self._ended(outcome.conversation, task_id))
            ending.add_done_callback(reader.nudge)
            try:
                await self._tell(response, task_id, reader, ending)
            finally:
                ending.cancel()
                await asyncio.wait([ending])
        return response

    async def _ended(self, conversation: ConversationKey, task_id: str) -> None:
        while not await self._gateway.answered(conversation, task_id, 3600.0):
            pass

    async def _tell(
        self, response: web.StreamResponse, task_id: str, reader: Reader, ending: asyncio.Task[None]
    ) -> None:
        told, shown, state, news = "", "", MessageState.WAITING, True
        while not reader.closed:
            if not news:
                await response.write(b": still here\n\n")
            if ending.done():
                ending.result()  # or the ledger's error: the caller asks again, and may find it well
            if ending.done() or not news or state is not MessageState.RUNNING:
                outcome = await self._gateway.outcome(self._name, task_id)
                if outcome is None:  # forgotten meanwhile
                    return
                if outcome.state not in OPEN:
                    await response.write(event("result", result_of(task_id, outcome)))
                    return
                if outcome.state is not state:
                    reader.text = ""  # until now another question's answer may have grown in this conversation
                state = outcome.state
                if STATUS[state] != told:
                    told = STATUS[state]
                    await response.write(event("status", Task(task_id, STATUS[state])))
            if state is MessageState.RUNNING and (text := reader.text) and text != shown:
                more = text.startswith(shown)
                await response.write(event("delta" if more else "draft", {"text": text[len(shown) if more else 0 :]}))
                shown = text
            news = await reader.news(self._look_seconds)
