"""Slow readers: memory stays bounded, drafts are skipped, and what is shown in the end is whole."""

from __future__ import annotations

import asyncio
import json
import socket
import uuid

from adapters.markdown.parse import parse as parse_markdown
from adapters.markdown.web import render
from adapters.web import convert
from adapters.web.client import View
from adapters.web.streams import DRAFTS, FRAMES, Board, Stream
from core.types import ConversationKey
from tests.adapters.web_house import House, served, visitor

KEY = ConversationKey("web", "support", "visitor")


def drawn(at: int, text: str, words: str) -> bytes:
    """A draft of one paragraph that says `words`."""
    return convert.frame("draft", {"turn": 1, "at": at, "text": text, "keep": 0, "nodes": [{"t": "p", "c": [words]}]})


def board(**limits: int) -> Board:
    return Board(**({"streams": 10, "per_ip": 10, "per_visitor": 10} | limits))


class Reader:
    """A stream whose reader takes the next piece only when told."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self.stream = Stream(KEY, "192.0.2.1", None)
        self.pieces: list[bytes] = []
        self.snapshots = 0
        self._turns: asyncio.Queue[None] = asyncio.Queue()
        self._blocked = asyncio.Event()
        board.add(self.stream)
        self.task = asyncio.create_task(self.stream.run(self._write, board, self._snapshot))

    async def _snapshot(self, stream: Stream) -> bytes:
        self.snapshots += 1
        stream.saw(self.board.growing(KEY))
        growing = self.board.growing(KEY)
        return convert.frame("snapshot", {"text": growing.text if growing else ""})

    async def _write(self, data: bytes) -> None:
        self._blocked.set()
        await self._turns.get()
        self.pieces.append(data)

    async def blocked(self) -> None:
        """Until the stream waits for the reader."""
        async with asyncio.timeout(10):
            await self._blocked.wait()
        self._blocked.clear()

    async def take(self) -> bytes:
        self._turns.put_nowait(None)
        await self.blocked()
        return self.pieces[-1]

    async def leave(self) -> None:
        self._turns.put_nowait(None)
        self.stream.close()
        self._turns.put_nowait(None)
        async with asyncio.timeout(10):
            await self.task


async def test_a_slow_reader_skips_drafts_and_misses_no_text() -> None:
    shown = board()
    reader = Reader(shown)
    await reader.blocked()
    text = ""
    for number in range(10_000):
        text += f"{number} "
        shown.grow(KEY, 1, text)
    await reader.take()
    shown.grow(KEY, 1, text + "end")
    await reader.take()
    await reader.leave()
    assert reader.snapshots == 1
    assert reader.pieces[1:] == [drawn(0, text, text.strip()), drawn(len(text), "end", text + "end")]


async def test_a_reader_that_is_too_slow_gets_a_new_snapshot() -> None:
    shown = board()
    reader = Reader(shown)
    await reader.blocked()
    for number in range(FRAMES + 1):
        shown.publish(KEY, convert.frame("message", {"number": number}))
    await reader.take()
    assert reader.snapshots == 2
    shown.publish(KEY, convert.frame("message", {"number": "later"}))
    shown.publish(KEY, convert.frame("message", {"number": "last"}))
    data = await reader.take()
    assert data.startswith(b"event: snapshot")
    await reader.leave()
    assert [piece.count(b"event: message") for piece in reader.pieces] == [0, 0, 2]


async def test_frames_keep_their_order() -> None:
    shown = board()
    reader = Reader(shown)
    await reader.blocked()
    for number in range(FRAMES):
        shown.publish(KEY, b"%d;" % number)
    await reader.take()
    await reader.leave()
    assert reader.pieces[1] == b"".join(b"%d;" % number for number in range(FRAMES))


async def test_what_was_said_before_the_end_is_still_sent() -> None:
    shown = board()
    reader = Reader(shown)
    await reader.blocked()
    shown.publish(KEY, b"the last reply")
    shown.close()
    await reader.leave()
    assert reader.pieces[1:] == [b"the last reply"]


async def test_a_draft_is_written_once_for_all_readers() -> None:
    shown = board()
    shown.grow(KEY, 1, "one")
    growing = shown.growing(KEY)
    assert growing is not None
    shown_one = growing.seen()
    shown.grow(KEY, 1, "one two")
    frame = growing.frame_from(shown_one)
    assert growing.frame_from(growing.seen()) != frame
    assert growing.frame_from(shown_one) == frame == drawn(3, " two", "one two")
    assert growing.frame_from(shown_one) is growing.frame_from(shown_one)
    shown.grow(KEY, 1, "two one")  # replaced by a text of the same length
    assert growing.frame_from(shown_one) == drawn(0, "two one", "two one")


async def test_what_stays_of_a_draft_is_drawn_once_and_sent_once() -> None:
    shown = board()
    reader = Reader(shown)
    await reader.blocked()
    blocks = [f"**{number}** `x`" for number in range(40)]
    for count in range(1, len(blocks) + 1):
        shown.grow(KEY, 1, "\n\n".join(blocks[:count]))
        await reader.take()
    await reader.leave()
    sent = [json.loads(piece.partition(b"data: ")[2]) for piece in reader.pieces[1:]]
    assert [len(data["nodes"]) for data in sent] == [1, 2, *[3] * 38]
    assert [data["keep"] for data in sent] == [0, 0, *range(38)]
    page: list[object] = []
    for data in sent:
        page[data["keep"] :] = data["nodes"]
    assert page == render(parse_markdown("\n\n".join(blocks)))


async def test_drafts_are_bounded() -> None:
    shown = board()
    for number in range(DRAFTS + 1):
        shown.grow(ConversationKey("web", "support", str(number)), 1, "text")
    assert shown.growing(ConversationKey("web", "support", "0")) is None
    assert shown.growing(ConversationKey("web", "support", "1")) is not None


async def test_settling_an_older_turn_keeps_the_newer_draft() -> None:
    shown = board()
    shown.grow(KEY, 2, "newer")
    shown.settle(KEY, 1)
    assert shown.growing(KEY) is not None
    shown.settle(KEY, 2)
    assert shown.growing(KEY) is None


async def test_streams_whose_reader_left_are_dropped() -> None:
    shown = board()
    stream = Stream(KEY, "192.0.2.1", None)  # aiohttp: a request without a transport has lost its connection
    shown.add(stream)
    shown.drop_gone()
    assert len(shown) == 0
    assert not shown.watched(KEY)
    shown.remove(stream)


async def test_a_real_reader_that_stops_reading_catches_up() -> None:
    async with served(House()) as site, visitor(site) as client:
        await client.post("hello", str(uuid.uuid4()))
        key = site.house.received[0].conversation
        loop = asyncio.get_running_loop()
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            connection.setblocking(False)
            await loop.sock_connect(connection, ("127.0.0.1", site.port))
            request = f"GET /chat/events HTTP/1.0\r\nHost: 127.0.0.1\r\nCookie: {client.cookie}\r\n\r\n"
            await loop.sock_sendall(connection, request.encode())
            received = await loop.sock_recv(connection, 4_096)
            text = ""
            for number in range(300):
                text += f"{number} " + "x" * 40_000
                await site.grow(key, 1, text)
                await asyncio.sleep(0)
            await site.answer(key, 1, "short in the end")
            async with asyncio.timeout(30):
                while b"event: reply" not in received or not received.endswith(b"\n\n"):
                    received += await loop.sock_recv(connection, 1 << 20)
        view = View()
        for block in received.partition(b"\r\n\r\n")[2].split(b"\n\n"):
            if (event := parse(block)) is not None:
                view.apply(event)
        assert view.complete
        assert [bubble.text for bubble in view.bubbles.values()] == ["hello", "short in the end"]


def parse(block: bytes) -> tuple[str, dict[str, object]] | None:
    lines = dict(line.split(b": ", 1) for line in block.split(b"\n") if b": " in line)
    return (lines[b"event"].decode(), json.loads(lines[b"data"])) if b"data" in lines else None
