"""A gateway process with every route there is, the platforms and the engine around it, and callers who send any bytes.

The house runs on a loop in a thread of its own, so that a test is a plain function and hypothesis may call it often.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web
from wechatpy.crypto.base import WeChatCipher

import main
from adapters.wechat.crypto import key_of
from bench.drivers import DRIVERS, Api, Driver, Slack, Telegram, WeChat
from bench.stand import SECRETS, SETTINGS, Gateway, gateway
from commands.reading import read
from core.engine_simulator import EngineSimulator
from core.simulated_reply import Behaviour

HOME = Path(__file__).resolve().parents[2]
PATIENCE = 15.0  # seconds for an answer; nothing of ours takes as long
CANARY = "canary"
API_KEY, OTHER_KEY = Api.key, "key-of-the-adversary"
PLAIN_TOKEN, MANY_SECRET, CLIENT_SECRET = (
    "token-of-the-plain-account",
    "signing-of-the-many",
    "client-secret-of-the-many",
)
MORE: dict[str, str] = {
    "FRONTDESK_API_KEYS": f"{API_KEY},{OTHER_KEY}",
    "WECHAT_PLAIN_TOKEN": PLAIN_TOKEN,
    "FRONTDESK__CHANNELS__WECHAT_PLAIN__KIND": "wechat",
    "FRONTDESK__CHANNELS__WECHAT_PLAIN__TOKEN_ENV": "WECHAT_PLAIN_TOKEN",
    "FRONTDESK__CHANNELS__WECHAT_PLAIN__VERIFIED": "false",
    "SLACK_MANY_SECRET": MANY_SECRET,
    "SLACK_MANY_CLIENT_SECRET": CLIENT_SECRET,
    "FRONTDESK__CHANNELS__SLACK_MANY__KIND": "slack",
    "FRONTDESK__CHANNELS__SLACK_MANY__CLIENT_ID": "1.2",
    "FRONTDESK__CHANNELS__SLACK_MANY__CLIENT_SECRET_ENV": "SLACK_MANY_CLIENT_SECRET",
    "FRONTDESK__CHANNELS__SLACK_MANY__SIGNING_SECRET_ENV": "SLACK_MANY_SECRET",
    "FRONTDESK__CHANNELS__SLACK_MANY__API_BASE_URL": "http://127.0.0.1:9/api",
    # No limit and no wait may come between a request and its answer.
    "FRONTDESK__THROTTLE__REQUESTS_PER_MINUTE_PER_IP": "1000000",
    "FRONTDESK__CHANNELS__WEB__MESSAGES_PER_MINUTE_PER_IP": "1000000",
    "FRONTDESK__DIALOGUE__MERGE_SECONDS": "0",
    **{f"FRONTDESK__CHANNELS__{name}__ANSWER_SECONDS": "1.0" for name in ("WECHAT", "WECHAT_PLAIN")},
    **{f"FRONTDESK__CHANNELS__{name}__HOLD_SECONDS": "1.5" for name in ("WECHAT", "WECHAT_PLAIN")},
}
Result = TypeVar("Result")


def parrot(body: Mapping[str, object]) -> str:
    """Says every canary that is anywhere in its prompt."""
    found = sorted(set(re.findall(rf"{CANARY}-[a-z0-9-]+", str(body["messages"]))))
    return " ".join(found) or "Certainly."


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; status 0 when the connection was closed without an answer."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def routes(folder: Path) -> list[tuple[str, str]]:
    """Method and path of every route of the application that the house serves."""
    (folder / "config.toml").write_text("")
    variables = dict(os.environ)
    os.environ.update(_settings({kind: DRIVERS[kind]() for kind in DRIVERS}, "http://127.0.0.1:9/v1"))
    try:
        app = main.build(read(folder / "config.toml", ())).app
    finally:
        os.environ.clear()
        os.environ.update(variables)
    return sorted({(route.method.replace("*", "GET"), _path(route)) for route in app.router.routes()})


def _path(route: web.AbstractRoute) -> str:
    return route.resource.canonical if route.resource is not None else "/"


def _settings(drivers: Mapping[str, Driver], engine_url: str) -> dict[str, str]:
    settings = SECRETS | SETTINGS
    for driver in drivers.values():
        settings |= driver.settings()
    return settings | MORE | {"FRONTDESK__ENGINE__BASE_URL": engine_url}


class House:
    """The running house. `address` is loopback's."""

    def __init__(self, loop: asyncio.AbstractEventLoop, folder: Path) -> None:
        self._loop = loop
        self._log = folder / "gateway.log"
        self.folder = folder
        self.drivers: dict[str, Driver] = {}
        self.port = 0
        self.gateway: Gateway | None = None

    def call(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Have it done on the house's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def open(self, stack: AsyncExitStack, more: Mapping[str, str]) -> None:
        engine = await stack.enter_async_context(EngineSimulator(behaviour=Behaviour(reply=parrot)))
        for kind, build in DRIVERS.items():
            self.drivers[kind] = await stack.enter_async_context(build())
        settings = _settings(self.drivers, engine.base_url) | dict(more)
        self.gateway = await stack.enter_async_context(gateway(HOME, self.folder, settings))
        self.port = int(self.gateway.address.rpartition(":")[2])
        for driver in self.drivers.values():
            driver.meet(self.gateway.address)

    def say(self, user: int, name: str) -> None:
        """A person on each platform writes, and is answered there with their own words."""
        for kind, driver in self.drivers.items():
            words = f"{CANARY}-{kind}-{name}"
            self.call(driver.say(user, f"My word is {words}"))
            self.call(_until(lambda driver=driver, words=words: words in " ".join(driver.seen(user))))  # type: ignore[misc]

    def send(self, raw: bytes, *, method: str = "POST", whole: bool = True) -> Answer:
        """The answer to these bytes; a `whole` request has to have one. Raises TimeoutError."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                connection.sendall(raw)
                if not whole:  # whoever waits for the rest is in his right
                    connection.settimeout(0.05)
                return _read(connection, method)
            except (ConnectionError, HTTPException):
                return Answer(0)
            except TimeoutError:
                if whole:
                    raise
                return Answer(0)

    def most_memory_mib(self, since: float = 0.0) -> float:
        """The most that the process had since this was last asked, over `since`."""
        assert self.gateway is not None
        process = Path(f"/proc/{self.gateway.process.pid}")
        found = re.search(r"VmHWM:\s+(\d+) kB", (process / "status").read_text())
        assert found is not None
        (process / "clear_refs").write_text("5")
        return int(found[1]) / 1024 - since

    def log(self) -> str:
        return self._log.read_text("utf-8", "replace")

    def secrets(self) -> set[str]:
        """What no log line may hold."""
        values = {"test-secret", "test-signing-secret", API_KEY, OTHER_KEY, PLAIN_TOKEN, MANY_SECRET, CLIENT_SECRET}
        return values | {Telegram.token, Slack.token, WeChat.token, WeChat.key}


def _read(connection: socket.socket, method: str) -> Answer:
    response = HTTPResponse(connection, method=method)
    with response:
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        if not headers.get("content-type", "").startswith("text/event-stream"):
            return Answer(response.status, response.read(), headers)
        # An open page's stream has no end: its first event is the whole conversation.
        body = bytearray()
        while line := response.readline():
            body += line
            if line == b"\n" and b"event: snapshot" in body:
                break
        return Answer(response.status, bytes(body), headers)


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.02)


@contextmanager
def house(folder: Path, more: Mapping[str, str] | None = None) -> Iterator[House]:
    """Open one; the loop runs in a thread until the end."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="house", daemon=True)
    thread.start()
    built, stack = House(loop, folder), AsyncExitStack()
    try:
        built.call(built.open(stack, more or {}))
        yield built
    finally:
        built.call(stack.aclose())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextmanager
def unharmed(folder: Path) -> Iterator[House]:
    """One that answers before and after, whatever comes in between; its log holds no words, no secrets, no crash."""
    with house(folder) as built:
        built.say(1, "one")
        yield built
        built.say(2, "two")
        log = built.log()
        assert CANARY not in log
        assert not [secret for secret in built.secrets() if secret in log]
        assert not [line for line in log.splitlines() if not line.startswith("{") or "_crashed" in line]


def request(method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes = b"", length: str = "") -> bytes:
    """An HTTP request as it goes over the wire; `length` in place of the body's own."""
    given = {name.lower() for name, _ in headers}
    lines = [f"{method} {target} HTTP/1.1", *(() if "host" in given else ("Host: 127.0.0.1",))]
    lines += [] if "connection" in given else ["Connection: close"]
    if "transfer-encoding" not in given and (body or length or method in {"POST", "PUT", "PATCH"}):
        lines.append(f"Content-Length: {length or len(body)}")
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join(lines).encode("utf-8", "surrogatepass") + b"\r\n\r\n" + body


def sealed(plain: bytes, app_id: str = WeChat.app_id, key: str = WeChat.key) -> str:
    """WeChat's ciphertext of any bytes."""
    content = b"0123456789abcdef" + struct.pack(">I", len(plain)) + plain + app_id.encode()
    padding = 32 - len(content) % 32
    return base64.b64encode(WeChatCipher(key_of(key)).encrypt(content + bytes([padding]) * padding)).decode()
