"""Who is watching: every open event stream gets each thing said once, in order, in bounded memory, at any pace."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from adapters.markdown.document import Document
from adapters.markdown.growth import Growth
from adapters.markdown.web import WebNode, render
from adapters.web.convert import frame, utf16_length
from core.types import ConversationKey

FRAMES = 64  # frames that wait for one slow reader; beyond them it gets a new snapshot instead
DRAFTS = 4_096  # growing replies remembered for those who reconnect

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Seen:
    """How far a reader has come: so many characters of that version of a turn's draft, and so many of the nodes then
    shown that stay as they are."""

    turn_id: int = -1
    version: int = -1
    characters: int = 0
    nodes: int = 0


@dataclass(slots=True)
class Growing:
    """A reply as it grows. `version` changes when the text was replaced instead of continued.

    It is drawn when a reader asks, once for all of them, and only where it has changed: a draft that nobody sees costs
    nothing.
    """

    turn_id: int
    text: str
    version: int
    _growth: Growth = field(default_factory=Growth)
    _nodes: list[WebNode] = field(default_factory=list)
    _kept: int = 0  # nodes that stay as they are
    _drawn: int = -1  # characters
    _frame: tuple[tuple[Seen, int, int], bytes] = field(default=((Seen(), -1, -1), b""))

    def replace(self, text: str) -> None:
        """Take the whole text so far."""
        if not text.startswith(self.text):
            self.version += 1
            self._growth, self._nodes, self._kept, self._drawn = Growth(), [], 0, -1
        self.text = text

    def seen(self) -> Seen:
        """What a reader of the whole text has seen."""
        self._draw()
        return Seen(self.turn_id, self.version, len(self.text), self._kept)

    def frame_from(self, seen: Seen) -> bytes:
        """The event that brings a reader from there to the whole text; made once for all readers there."""
        key = (seen, self.version, len(self.text))
        if self._frame[0] != key:
            self._frame = (key, frame("draft", self.data_from(seen)))
        return self._frame[1]

    def data_from(self, seen: Seen) -> dict[str, object]:
        """`text` goes on at `at` (UTF-16 units); `nodes` go on behind the first `keep` of those shown before."""
        self._draw()
        same = (seen.turn_id, seen.version) == (self.turn_id, self.version)
        shown = seen.characters if same else 0
        keep = min(seen.nodes, self._kept) if same else 0
        at = utf16_length(self.text[:shown])
        return {"turn": self.turn_id, "at": at, "text": self.text[shown:], "keep": keep, "nodes": self._nodes[keep:]}

    def _draw(self) -> None:
        if self._drawn == len(self.text):
            return
        document, kept = self._growth.read(self.text)
        known = min(self._kept, kept)
        self._nodes = self._nodes[:known] + render(Document(document.blocks[known:]))
        self._kept, self._drawn = kept, len(self.text)


class Stream:
    """One open event stream. Frames that must arrive wait in a bounded queue; the draft is read when it can be sent.

    So a slow reader skips intermediate drafts, and one that is slower still gets a snapshot of everything.
    """

    def __init__(self, conversation: ConversationKey, ip: str, transport: asyncio.Transport | None) -> None:
        self.conversation = conversation
        self.ip = ip
        self._transport = transport
        self._writing = False
        self.stale = True  # needs a snapshot; nothing is queued meanwhile, since the snapshot will hold it
        self.last: bytes | None = None  # what to say before closing
        self._frames: deque[bytes] = deque()
        self._seen = Seen()
        self._wake = asyncio.Event()
        self._wake.set()

    def push(self, data: bytes) -> None:
        """Queue a frame that must arrive."""
        if not self.stale:
            if len(self._frames) >= FRAMES:
                self.resync()
            else:
                self._frames.append(data)
        self._wake.set()

    def nudge(self) -> None:
        """Something can be sent: the draft has grown."""
        self._wake.set()

    def resync(self) -> None:
        """Drop what is queued and send a snapshot instead."""
        self._frames.clear()
        self.stale = True
        self._wake.set()

    def close(self, last: bytes = b"") -> None:
        """End the stream after `last`; at once when the reader does not even take what was sent before."""
        self.last = last
        self._wake.set()
        if self._writing and self._transport is not None:
            self._transport.abort()

    def gone(self) -> bool:
        """Whether the reader has hung up."""
        return self._transport is None or self._transport.is_closing()

    def saw(self, growing: Growing | None) -> None:
        """The snapshot carried this draft."""
        self._seen = Seen() if growing is None else growing.seen()

    async def run(self, write: Callable[[bytes], Awaitable[None]], board: Board, snapshot: Snapshot) -> None:
        """Send until closed. `write` waits while the reader is slow; its errors end the stream."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self.last is not None:
                # What was said before is not cut off: a server that drains has just sent its last replies.
                if rest := b"".join(self._frames) + self.last:
                    await write(rest)
                return
            head = b""
            if self.stale:
                self.stale = False  # before the snapshot is read: what is said meanwhile is queued, and repeats by id
                head = await snapshot(self)
            data = head + b"".join(self._frames) + self._growth(board)
            self._frames.clear()
            if data:
                self._writing = True
                await write(data)
                self._writing = False

    def _growth(self, board: Board) -> bytes:
        growing = board.growing(self.conversation)
        if growing is None:
            return b""
        seen = self._seen
        if (seen.turn_id, seen.version, seen.characters) == (growing.turn_id, growing.version, len(growing.text)):
            return b""
        self.saw(growing)
        return growing.frame_from(seen)


Snapshot = Callable[[Stream], Awaitable[bytes]]


class Board:
    """The open streams by conversation and the newest draft of each conversation, all bounded."""

    def __init__(self, *, streams: int, per_ip: int, per_visitor: int) -> None:
        self._limit = streams
        self._per_ip = per_ip
        self._per_visitor = per_visitor
        self._streams: OrderedDict[Stream, None] = OrderedDict()  # oldest first
        self._watching: dict[ConversationKey, list[Stream]] = {}  # oldest first; at most `streams` in all
        self._ips: dict[str, list[Stream]] = {}
        self._drafts: OrderedDict[ConversationKey, Growing] = OrderedDict()

    def __len__(self) -> int:
        return len(self._streams)

    def add(self, stream: Stream) -> None:
        """Let a stream in; where a limit is reached, the oldest under it is told so and ends."""
        watching = self._watching.setdefault(stream.conversation, [])
        neighbours = self._ips.setdefault(stream.ip, [])
        oldest = None
        if len(watching) >= self._per_visitor:
            oldest = watching[0]
        elif len(neighbours) >= self._per_ip:
            oldest = neighbours[0]
        elif len(self._streams) >= self._limit:
            oldest = next(iter(self._streams))
        self._streams[stream] = None
        watching.append(stream)
        neighbours.append(stream)
        if oldest is not None:
            self.remove(oldest)
            # Its page would otherwise come back at once and push out the next one.
            oldest.close(frame("replaced", {}))

    def remove(self, stream: Stream) -> None:
        """Forget a stream; harmless when it is gone already."""
        if stream not in self._streams:
            return
        del self._streams[stream]
        _drop(self._watching, stream.conversation, stream)
        _drop(self._ips, stream.ip, stream)

    def watched(self, conversation: ConversationKey) -> bool:
        """Whether anybody sees this conversation now."""
        return conversation in self._watching

    def publish(self, conversation: ConversationKey, data: bytes) -> None:
        """Send a frame to everybody who watches a conversation."""
        for stream in self._watching.get(conversation, ()):
            stream.push(data)

    def announce(self, data: bytes) -> None:
        """Send a frame to everybody."""
        for stream in self._streams:
            stream.push(data)

    def resync(self, conversation: ConversationKey) -> None:
        """Send a snapshot to everybody who watches a conversation."""
        for stream in self._watching.get(conversation, ()):
            stream.resync()

    def drop_gone(self) -> None:
        """Let go of the streams whose reader has hung up."""
        for stream in [stream for stream in self._streams if stream.gone()]:
            self.remove(stream)
            stream.close()

    def close(self) -> None:
        """End every stream."""
        for stream in list(self._streams):
            self.remove(stream)
            stream.close()

    def growing(self, conversation: ConversationKey) -> Growing | None:
        """The newest draft."""
        return self._drafts.get(conversation)

    def grow(self, conversation: ConversationKey, turn_id: int, text: str) -> None:
        """Take a draft's whole text so far and wake those who watch."""
        known = self._drafts.get(conversation)
        if known is None or known.turn_id != turn_id:
            self._drafts[conversation] = Growing(turn_id, text, 0)
            self._drafts.move_to_end(conversation)
            if len(self._drafts) > DRAFTS:
                self._drafts.popitem(last=False)
        else:
            known.replace(text)
        for stream in self._watching.get(conversation, ()):
            stream.nudge()

    def settle(self, conversation: ConversationKey, turn_id: int) -> None:
        """Forget a turn's draft: its reply is committed."""
        known = self._drafts.get(conversation)
        if known is not None and known.turn_id == turn_id:
            del self._drafts[conversation]


def _drop(streams: dict[Key, list[Stream]], key: Key, stream: Stream) -> None:
    streams[key].remove(stream)
    if not streams[key]:
        del streams[key]
