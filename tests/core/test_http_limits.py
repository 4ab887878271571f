"""What a caller may cost: a body that is too large, packed, broken or slow is refused, and no byte of it is logged."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
import structlog.testing
from aiohttp import web

from core.errors import LedgerError
from core.http import BODY_SECONDS, Face, application, listen, runner_of
from tests.rooms import Rooms, rooms

LIMIT = 100_000
PATIENCE = 10.0
Lines = list[MutableMapping[str, Any]]
SLOW = 0.5  # seconds that a body or a head may take where a test waits for that


class Server:
    """The application with three routes of ours, and a caller who writes bytes."""

    def __init__(self, house: Rooms, seconds: float) -> None:
        routes = [web.post("/read", self._read), web.post("/late", self._late), web.get("/half", self._half)]
        routes.append(web.get("/broken", self._broken))
        face = Face(on=(), off={}, ledger=house.ledger, engine=house.engine, metrics=house.metrics, clock=house.clock)
        self._runner = runner_of(application([routes], face, LIMIT, body_seconds=seconds), idle_seconds=seconds)
        self.release = asyncio.Event()
        self.began = asyncio.Event()

    async def __aenter__(self) -> Server:
        await self._runner.setup()
        await listen(self._runner, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(*self._runner.addresses[0])

    async def send(self, *pieces: bytes) -> bytes:
        """All that comes back until the server closes the connection."""
        reader, writer = await self.connect()
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        try:
            async with asyncio.timeout(PATIENCE):
                return await reader.read()
        finally:
            writer.close()

    async def _read(self, request: web.Request) -> web.Response:
        return web.json_response({"bytes": len(await request.read())})

    async def _late(self, request: web.Request) -> web.Response:
        """Works for longer than a body may take, and then reads it."""
        self.began.set()
        await self.release.wait()
        return await self._read(request)

    async def _half(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first half")
        raise LedgerError("disk full")

    async def _broken(self, _: web.Request) -> web.Response:
        """As aiohttp tells of a body that it cannot take apart, where it does not answer itself."""
        raise web.RequestPayloadError("400, message: 'very secret'")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with rooms(tmp_path) as house, Server(house, BODY_SECONDS) as built:
        yield built


@pytest.fixture
async def impatient(tmp_path: Path) -> AsyncIterator[Server]:
    async with rooms(tmp_path) as house, Server(house, SLOW) as built:
        yield built


@pytest.fixture
def lines() -> Iterator[Lines]:
    """The log's lines."""
    with structlog.testing.capture_logs() as captured:
        yield captured


def head(length: int | str, more: str = "", path: str = "/read") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n{more}\r\n".encode()


CHUNKED = b"POST /read HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def code(answer: bytes) -> str:
    found: str = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"]
    return found


async def test_a_body_at_the_limit_is_taken_and_one_over_it_is_not(server: Server) -> None:
    assert status(await server.send(head(LIMIT) + b"x" * LIMIT)) == 200
    assert status(await server.send(head(LIMIT + 1) + b"x" * (LIMIT + 1))) == 413
    assert status(await server.send(CHUNKED, b"%x\r\n%s\r\n0\r\n\r\n" % (LIMIT + 1, b"x" * (LIMIT + 1)))) == 413


async def test_a_declared_length_over_the_limit_is_refused_before_a_byte_of_it(server: Server) -> None:
    reader, writer = await server.connect()
    writer.write(head(LIMIT + 1))
    async with asyncio.timeout(PATIENCE):
        assert status(await reader.readuntil(b"\r\n\r\n")) == 413
    writer.close()


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "GZIP", "gzip, gzip", "x"])
async def test_nothing_is_unpacked(server: Server, encoding: str) -> None:
    for body in (gzip.compress(b"0" * (10 * LIMIT)), b"not packed"):
        answer = await server.send(head(len(body), f"Content-Encoding: {encoding}\r\n") + body)
        assert (status(answer), code(answer)) == (415, "packed")
    assert status(await server.send(head(1, "Content-Encoding: Identity\r\n") + b"x")) == 200


async def test_a_body_that_does_not_come_is_waited_for_no_longer_than_its_time(impatient: Server, lines: Lines) -> None:
    for pieces in ((head(100), b"x"), (CHUNKED, b"5\r\nhello\r\n"), (CHUNKED, b"5\r\nhello\r\n", b"ZZ\r\n")):
        answer = await impatient.send(*pieces)
        assert status(answer) in {408, 400}
        if status(answer) == 408:
            assert code(answer) == "request_timeout"
    assert not [line for line in lines if line["log_level"] != "info"], "anybody can do that, as often as they like"


async def test_a_head_that_does_not_come_ends_the_connection(impatient: Server) -> None:
    assert await impatient.send(b"POST /read HT") == b""
    assert await impatient.send(b"") == b""
    kept = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    assert status(await impatient.send(kept + b"GET /healthz HT")) == 200, "and the one after an answer"


async def test_work_may_take_longer_than_a_body(impatient: Server) -> None:
    reader, writer = await impatient.connect()
    writer.write(head(2, path="/late") + b"x")
    await asyncio.wait_for(impatient.began.wait(), PATIENCE)
    writer.write(b"y")
    asyncio.get_running_loop().call_later(3 * SLOW, impatient.release.set)
    async with asyncio.timeout(PATIENCE):
        assert (await reader.read()).endswith(b'{"bytes": 2}')
    writer.close()


async def test_a_broken_body_is_the_callers_fault(server: Server) -> None:
    for pieces in ((CHUNKED + b"5\r\nhello\r\nZZ\r\n",), (b"POST /read HTTP/1.1\r\nHost: x\r\nA\x00: b\r\n\r\n",)):
        assert status(await server.send(*pieces)) == 400
    answer = await server.send(b"GET /broken HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert (status(answer), code(answer)) == (400, "bad_request")
    assert b"secret" not in answer


async def test_an_answer_that_fails_in_its_middle_ends_with_its_connection(server: Server) -> None:
    """A second status line would stand in the first answer's text."""
    answer = await server.send(b"GET /half HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"first half" in answer
    assert b"disk full" not in answer
    assert answer.count(b"HTTP/1.1") == 1
    assert not answer.endswith(b"0\r\n\r\n"), "nobody takes it for the whole"


async def test_no_byte_of_a_broken_request_is_logged(
    server: Server, lines: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    await server.send(b"POST /read HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer very-secret\x00\r\n\r\n")
    await server.send(b"\x16\x03\x01very-secret\r\n\r\n")
    assert [line["event"] for line in lines] == ["request_malformed"], "what is not even HTTP is not worth a line"
    assert "very-secret" not in str(lines) + caplog.text


async def test_a_caller_who_leaves_is_no_fault_of_ours(
    server: Server, lines: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    _, writer = await server.connect()
    writer.write(head(100) + b"x")
    await writer.drain()
    writer.transport.abort()
    await server.send(head(1) + b"x")
    async with asyncio.timeout(PATIENCE):
        while not lines:
            await asyncio.sleep(0.01)
    assert [(line["event"], line["log_level"]) for line in lines] == [("caller_left", "info")]
    assert not caplog.records
