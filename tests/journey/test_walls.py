"""Whatever is sent to whatever address of a whole gateway: an answer in time, never a 500, and no memory is taken."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import aiohttp
import pytest

from bench.stand import gateway
from core.engine_simulator import EngineSimulator

HOME = Path(__file__).resolve().parent.parent.parent
pytestmark = pytest.mark.process
SEED = 20261126
PATHS = (
    *("/", "/healthz", "/readyz", "/metrics", "/ask", "/result/x", "/v1/models", "/v1/chat/completions"),
    *("/telegram", "/slack/events", "/wechat", "/chat", "/chat/events", "/chat/messages", "/chat/static/chat.js"),
    *(
        "/console",
        "/../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/chat/%00",
        "/chat/static/../../main.py",
        "//",
        "/\u00e9",
    ),
)
METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "BREW")
TYPES = ("application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "\u2603", "")
PIECES = (
    *(b"{", b"}", b"[", b"]", b'"', b"\\u0000", b"\\ud800", b"null", b"1e999", b"-0", b"<xml>", b"<![CDATA[", b"]]>"),
    *(b"<!DOCTYPE x [<!ENTITY a 'b'>]>", b'"update_id":', b'"message":', b'"type":"event_callback"', b'"event":'),
    *(
        b"payload=",
        b"%7B%7D",
        b"&",
        b"\xff\xfe",
        b"\x00",
        "中".encode(),
        b'"text":',
        b'"model":"support"',
        b"a" * 5_000,
    ),
)
HEADERS = {
    "Authorization": ("Bearer benchmark", "Bearer guessed", "Basic eA==", "\u00e9"),
    "X-Telegram-Bot-Api-Secret-Token": ("benchmark-secret", "wrong", ""),
    "X-Slack-Signature": ("v0=00", "\u00e9"),
    "X-Slack-Request-Timestamp": ("1", "never", "9" * 400),
    "Cookie": ("frontdesk=x", "a=b; " * 200),
    "X-Forwarded-For": ("1.2.3.4, 5.6.7.8", "not an address"),
    "Origin": ("https://elsewhere.example", "null"),
}


def request(chance: random.Random) -> tuple[str, str, bytes, dict[str, str]]:
    body = b"".join(chance.choices(PIECES, k=chance.randrange(12)))
    headers = {name: chance.choice(values) for name, values in HEADERS.items() if chance.random() < 0.4}
    if chance.random() < 0.8:
        headers["Content-Type"] = chance.choice(TYPES)
    path = chance.choice(PATHS)
    if chance.random() < 0.3:
        path += "?" + chance.choice(("signature=0&timestamp=1&nonce=1", "echostr=%00", "wait=1e9", "a" * 3_000, "=&&="))
    return (
        chance.choice(METHODS),
        path,
        body,
        {name: value.encode().decode("latin-1") for name, value in headers.items()},
    )


async def test_no_request_gets_a_500_or_no_answer(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    async with EngineSimulator() as engine:
        settings = {"FRONTDESK__ENGINE__BASE_URL": engine.base_url}
        async with gateway(HOME, tmp_path, settings) as house, aiohttp.ClientSession() as http:
            before = house.memory_mib()
            for number in range(1_500):
                method, path, body, headers = request(chance)
                status = await _send(http, method, house.address + path, body, headers)
                assert status < 500 or (status == 503 and path.startswith("/readyz")), (
                    SEED,
                    number,
                    method,
                    path,
                    body,
                )
            async with http.get(f"{house.address}/healthz") as answer:
                assert answer.status == 200
            assert house.memory_mib() - before < 20


async def _send(http: aiohttp.ClientSession, method: str, url: str, body: bytes, headers: dict[str, str]) -> int:
    """The status; 0 where the server hung up, or keeps an event stream open. Raises TimeoutError for a hang."""
    try:
        async with asyncio.timeout(15), http.request(method, url, data=body, headers=headers) as answer:
            if answer.content_type != "text/event-stream":
                await answer.read()
            return answer.status
    except aiohttp.ClientError:
        return 0


async def test_a_body_that_never_ends_is_not_kept(tmp_path: Path) -> None:
    async def endless() -> object:
        for _ in range(64):
            yield b"x" * (1 << 20)

    async with EngineSimulator() as engine:
        settings = {"FRONTDESK__ENGINE__BASE_URL": engine.base_url}
        async with gateway(HOME, tmp_path, settings) as house, aiohttp.ClientSession() as http:
            before = house.memory_mib()
            for path in ("/telegram", "/slack/events", "/wechat", "/ask", "/v1/chat/completions", "/chat/messages"):
                headers = {"X-Telegram-Bot-Api-Secret-Token": "benchmark-secret", "Authorization": "Bearer benchmark"}
                try:
                    async with http.post(house.address + path, data=endless(), headers=headers) as answer:
                        assert answer.status in {400, 401, 403, 413, 415}, path
                except aiohttp.ClientError:
                    continue  # cut off: as good
            assert house.memory_mib() - before < 16
