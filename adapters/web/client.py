"""A program that behaves like the page: it posts, reads the event stream, comes back, and sees each bubble once.

For the terminal (`main.py chat`), the tests and the benchmarks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, cast

import aiohttp
import orjson

from adapters.web.convert import splice

Event = tuple[str, dict[str, object]]
NEWEST = 1_000  # bubbles a view keeps


@dataclass(frozen=True, slots=True)
class Bubble:
    """One bubble as a page shows it; `growing` is a draft."""

    id: str
    role: str
    text: str
    kind: str = ""
    client_id: str = ""
    pending: bool = False
    growing: bool = False


@dataclass(slots=True)
class View:
    """What a page shows, built from events alone. `complete` turns false when an event is missing."""

    bubbles: dict[str, Bubble] = field(default_factory=dict)  # in the order of the screen, by key
    engine_ready: bool = False
    complete: bool = True

    def apply(self, event: Event) -> str:
        """Take one event; returns the key of the bubble that changed, "" when none or all did."""
        name, data = event
        if name == "snapshot":
            self._restart(data)
        elif name == "draft":
            return self._grow(data)
        elif name == "reply":
            waiting = data.get("waiting")
            for key, bubble in self.bubbles.items():
                if bubble.pending and (not isinstance(waiting, list) or bubble.id not in waiting):
                    self.bubbles[key] = Bubble(bubble.id, bubble.role, bubble.text, client_id=bubble.client_id)
            return self._put(data)
        elif name == "message":
            return self._put(data)
        elif name == "engine":
            self.engine_ready = data.get("ready") is True
        return ""

    def _restart(self, data: dict[str, object]) -> None:
        self.bubbles.clear()
        self.complete = True
        self.engine_ready = cast("dict[str, object]", data["engine"]).get("ready") is True
        for entry in cast("list[dict[str, object]]", data["entries"]):
            self._put(entry)
        draft = data["draft"]
        if isinstance(draft, dict):
            self._grow(draft)

    def _put(self, entry: dict[str, object]) -> str:
        bubble = Bubble(
            id=str(entry["id"]),
            role=str(entry["role"]),
            text=str(entry["text"]),
            kind=str(entry.get("kind", "")),
            client_id=str(entry.get("client_id", "")),
            pending=entry.get("pending") is True,
        )
        key = f"c{bubble.client_id}" if bubble.client_id else bubble.id
        self.bubbles[key] = bubble
        if len(self.bubbles) > NEWEST:
            del self.bubbles[next(iter(self.bubbles))]
        return key

    def _grow(self, data: dict[str, object]) -> str:
        key = f"t{data['turn']}"
        known = self.bubbles.get(key)
        if known is not None and not known.growing:
            return ""  # its reply is whole already
        text = splice(known.text if known else "", int(str(data["at"])), str(data["text"]))
        if text is None:
            self.complete = False
            return ""
        self.bubbles[key] = Bubble(key, "bot", text, growing=True)
        return key


class WebClient:
    """One visitor. Use it as an async context manager; `cookie` ("name=value") makes the same visitor return.

    Raises aiohttp.ClientError (and TimeoutError) when no server answers.
    """

    def __init__(self, base_url: str, *, path: str = "/chat", cookie: str = "", language: str = "en") -> None:
        self.url = base_url.rstrip("/") + path
        self.cookie = cookie
        self._language = language
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        # Cookies are carried by hand: a jar keeps none for plain IP addresses.
        self._http = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._http is not None:
            await self._http.close()

    @property
    def http(self) -> aiohttp.ClientSession:
        if self._http is None:
            raise RuntimeError("use WebClient with `async with`")
        return self._http

    def headers(self) -> dict[str, str]:
        """What each request carries."""
        return {"Accept-Language": self._language} | ({"Cookie": self.cookie} if self.cookie else {})

    async def open(self) -> str:
        """Load the page, which gives this visitor its cookie; returns the HTML."""
        async with self.http.get(self.url, headers=self.headers()) as answer:
            answer.raise_for_status()
            for name, morsel in answer.cookies.items():
                self.cookie = f"{name}={morsel.value}"
            return await answer.text()

    async def post(self, text: str, client_id: str) -> tuple[int, dict[str, object], float]:
        """Send a message under its UUID; returns the status, the JSON and the seconds to wait before trying again."""
        async with self.http.post(
            f"{self.url}/messages",
            json={"id": client_id, "text": text},
            headers=self.headers(),
            timeout=aiohttp.ClientTimeout(total=20),
        ) as answer:
            body = orjson.loads(await answer.read())
            return answer.status, body, float(answer.headers.get("Retry-After", 0))

    async def events(self) -> AsyncIterator[Event]:
        """One connection to the event stream: (name, data) until it ends; its first event is a snapshot."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=60)
        async with self.http.get(f"{self.url}/events", headers=self.headers(), timeout=timeout) as answer:
            answer.raise_for_status()
            rest = b""
            async for chunk in answer.content.iter_any():
                *blocks, rest = (rest + chunk).split(b"\n\n")
                for block in blocks:
                    if (event := _event(block)) is not None:
                        yield event

    async def follow(self, *, pauses: tuple[float, ...] = (0.3, 1.0, 2.0, 5.0)) -> AsyncIterator[Event]:
        """Events for good: after a cut it waits (seconds; the last pause repeats) and connects anew. Says so as
        ("down", {}). Ends when the server says that a newer page took this one's place. The cookie must be there."""
        failures = 0
        while True:
            try:
                async for event in self.events():
                    failures = 0
                    yield event
                    if event[0] == "replaced":
                        return
            except aiohttp.ClientResponseError as error:
                if error.status == 401:
                    await self.open()
            except (aiohttp.ClientError, TimeoutError):
                pass  # No server, or it went away: the same pause either way.
            yield "down", {}
            await asyncio.sleep(pauses[min(failures, len(pauses) - 1)])
            failures += 1


def _event(block: bytes) -> Event | None:
    """The fields of one block as our server writes them; None for comments."""
    fields = dict(line.split(b": ", 1) for line in block.split(b"\n") if b": " in line)
    if b"event" not in fields or b"data" not in fields:
        return None
    return fields[b"event"].decode(), orjson.loads(fields[b"data"])
