"""What strangers send costs the house nothing that lasts: no memory beyond a body's limit, and nobody else's time."""

from __future__ import annotations

import gzip
import re
import socket
from collections.abc import Iterator

import pytest

from tests.journey.fuzz_house import API_KEY, House, house, request, routes

pytestmark = pytest.mark.process
LIMIT_MIB = 1.0  # server.body_limit_kib
BYTES = 8 << 20
CHUNK = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
HEADERS = [
    ("X-Telegram-Bot-Api-Secret-Token", "test-secret"),
    ("Authorization", f"Bearer {API_KEY}"),
    ("Cookie", "frontdesk_web=" + "W" * 43),
    ("Content-Type", "application/json"),
]
SLOW = 300  # callers of each kind


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("house")) as built:
        built.say(1, "before")
        yield built
        built.say(3, "after")


def floods(path: str) -> Iterator[bytes]:
    """Far more than the limit: as declared, in chunks without an end, behind a lie, and packed."""
    yield request("POST", path, HEADERS, b"x" * BYTES)
    yield request("POST", path, [*HEADERS, ("Transfer-Encoding", "chunked")], CHUNK * (BYTES >> 16))
    yield request("POST", path, HEADERS, b"x" * BYTES, "10")
    yield request("POST", path, [*HEADERS, ("Content-Encoding", "gzip")], gzip.compress(b"0" * 10 * BYTES))


def test_no_body_takes_memory_beyond_its_limit(home: House, tmp_path_factory: pytest.TempPathFactory) -> None:
    found = routes(tmp_path_factory.mktemp("routes"))
    paths = sorted({re.sub(r"{\w+}", "1", path) for method, path in found if method == "POST"})
    assert len(paths) >= 7
    for path in paths:
        for raw in floods(path):
            most = home.most_memory_mib()
            answer = home.send(raw)
            assert answer.status == 0 or 400 <= answer.status < 500, (path, raw[:200], answer)
            assert home.most_memory_mib(since=most) < 4 * LIMIT_MIB, (path, raw[:200])


def test_slow_callers_hold_up_nobody(home: House) -> None:
    """A byte now and then of a head, or of a body."""
    assert home.gateway is not None
    before = home.gateway.memory_mib()
    callers = []
    for number in range(2 * SLOW):
        caller = socket.create_connection(("127.0.0.1", home.port), timeout=10)
        callers.append(caller)
        head = (
            b"POST /telegram HTTP/1.1\r\nX-Slow: " if number % 2 else request("POST", "/slack/events", [], b"x", "9000")
        )
        caller.sendall(head)
    try:
        for name in ("one", "two", "three"):
            for caller in callers:
                caller.sendall(b"y")
            home.say(2, name)
    finally:
        for caller in callers:
            caller.close()
    assert home.gateway.memory_mib() - before < 24, "some tens of kilobytes for each of them"
