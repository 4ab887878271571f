"""`main.py chat`: the customers' conversation in a terminal, through the running server and over the page's own API."""

from __future__ import annotations

import asyncio
import codecs
import json
import os
import sys
import threading
import unicodedata
import uuid
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import CancelledError
from functools import partial
from pathlib import Path

import aiohttp

from adapters.web.client import Bubble, Event, View, WebClient
from commands import Plan, Serve

RECENT = 20  # bubbles shown at the start
REMEMBERED = 1_000  # bubbles known to be on the screen; a snapshot holds 200
PAUSES = (0.3, 1.0, 2.0, 5.0)  # seconds before trying again; the last one repeats
Read = Callable[[], Awaitable[str | None]]
Write = Callable[[str], None]


async def run(plan: Plan, serve: Serve) -> int:
    """Talk to the server of these settings, or to the address given as the argument."""
    web = next((channel for channel in plan.channels if channel.kind == "web" and channel.on), None)
    if web is None:
        print("The web chat is switched off in the settings; set channels.web.enabled to true.")
        return 1
    return await chat(
        plan.arguments[0] if plan.arguments else _address(plan),
        path="/chat" if web.name == "web" else f"/chat/{web.name}",
        state_file=plan.ledger_path.with_name("chat.json"),
        read=read_lines(sys.stdin.fileno()),
        write=partial(print, end="", flush=True),
        finish=not sys.stdin.isatty(),
    )


def _address(plan: Plan) -> str:
    host = plan.settings.server.host
    host = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host
    return f"http://{f'[{host}]' if ':' in host else host}:{plan.settings.server.port}"


async def chat(
    base_url: str, *, path: str = "/chat", state_file: Path, read: Read, write: Write, finish: bool = False
) -> int:
    """Converse until `read` returns None (Ctrl-D) or the task is cancelled (Ctrl-C). Returns the exit code.

    `read` gives one line without its line break; `write` takes text as it is to appear. `finish`: when the input ends,
    wait for the replies first (for input from a pipe). `state_file` keeps the visitor's cookie, so that the same
    conversation goes on next time. The exit code is 1 when no server answers.
    """
    cookies = _load(state_file)
    async with WebClient(base_url, path=path) as client:
        client.cookie = cookies.get(client.url, "")
        try:
            await client.open()
        except aiohttp.ClientResponseError as error:
            write(f"{client.url} answers {error.status}. Is that Frontdesk, and is its web channel on?\n")
            return 1
        except (aiohttp.ClientError, TimeoutError, ValueError):
            write(f"No server answers at {base_url}. Start it with `make run` in another terminal, then try again.\n")
            return 1
        _save(state_file, {**cookies, client.url: client.cookie})
        await Conversation(client, write).run(read, finish=finish)
    write("\n")
    return 0


class Conversation:
    """What the terminal shows and what is still to be sent; everything appears once, over lost connections too."""

    def __init__(self, client: WebClient, write: Write, *, pauses: tuple[float, ...] = PAUSES) -> None:
        self._client = client
        self._write = write
        self._pauses = pauses
        self._view = View()
        self._shown: dict[str, str] = {}  # key of a bubble -> its text on the screen; the oldest go first
        self._growing = ""  # key of the draft that the screen ends with
        self._started = self._away = False
        self._ready = True
        self._unsent: asyncio.Queue[tuple[str, str]] = asyncio.Queue(maxsize=100)
        self._changed = asyncio.Event()

    async def run(self, read: Read, *, finish: bool) -> None:
        """Until the input ends, or another page took this one's place."""
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(self._send())
            reading = tasks.create_task(self._read(read, finish=finish))
            listening = tasks.create_task(self._listen())
            await asyncio.wait((reading, listening), return_when=asyncio.FIRST_COMPLETED)
            for task in (sending, reading, listening):
                task.cancel()

    async def _read(self, read: Read, *, finish: bool) -> None:
        while (line := await read()) is not None:
            if not (text := line.strip()):
                self._write("> ")
                continue
            client_id = str(uuid.uuid4())
            self._remember(f"c{client_id}", text)
            await self._unsent.put((client_id, text))
        if finish:
            await self._unsent.join()
            while self._growing or any(bubble.pending for bubble in self._view.bubbles.values()):
                self._changed.clear()
                await self._changed.wait()

    async def _send(self) -> None:
        while True:
            client_id, text = await self._unsent.get()
            failures = 0
            while not await self._sent(client_id, text, failures):
                failures += 1
            self._unsent.task_done()

    async def _sent(self, client_id: str, text: str, failures: int) -> bool:
        """One try under the message's own id; False after a pause when it has to be repeated."""
        pause = self._pauses[min(failures, len(self._pauses) - 1)]
        try:
            status, body, retry_after = await self._client.post(text, client_id)
            if status == 401:
                await self._client.open()
        except (aiohttp.ClientError, TimeoutError, ValueError):
            await asyncio.sleep(pause)
            return False
        if status == 202:
            if f"c{client_id}" not in self._view.bubbles:
                self._view.apply(("message", body))
            return True
        if status in (401, 429) or status >= 500:
            await asyncio.sleep(max(pause, retry_after))
            return False
        error = body.get("error")
        self._write(f"(Not sent: {error['message'] if isinstance(error, dict) else status})\n> ")
        return True

    async def _listen(self) -> None:
        async for event in self._client.follow(pauses=self._pauses):
            self._take(event)
            self._changed.set()
        self._write("\n(This conversation was opened elsewhere too often; this window ends.)")

    def _take(self, event: Event) -> None:
        if event[0] == "down":
            if not self._away:
                self._write("\n(The connection is lost; trying again.)\n")
                self._growing = ""
            self._away = True
            return
        key = self._view.apply(event)
        if event[0] == "snapshot":
            self._away = False
            self._show_all()
        elif key:
            self._show(key, self._view.bubbles[key])
        if self._view.engine_ready != self._ready:
            self._ready = self._view.engine_ready
            words = "The assistant is ready." if self._ready else "The assistant is starting; you can write already."
            self._write(f"\n({words})\n> ")

    def _show_all(self) -> None:
        bubbles = list(self._view.bubbles.items())
        if not self._started:
            self._write(f"{self._client.url} - Ctrl-D leaves.\n")
            for key, bubble in bubbles[:-RECENT]:
                self._remember(key, bubble.text)
        for key, bubble in bubbles[-RECENT:] if not self._started else bubbles:
            self._show(key, bubble)
        if not self._started and not self._growing:
            self._write("> ")
        self._started = True

    def _show(self, key: str, bubble: Bubble) -> None:
        """Bring the screen to what the bubble says: its rest when it continues the last line, else all of it anew."""
        text = _plain(bubble.text)
        on_screen = self._shown.get(key)
        self._remember(key, text)
        if bubble.role == "user":
            if on_screen is None:  # written in another window, or before
                self._write(f"> {text}\n" if not self._started else f"\n> {text}\n")
                self._growing = ""
            return
        if self._growing == key and on_screen is not None and text.startswith(on_screen):
            self._write(text[len(on_screen) :])
        elif on_screen != text:
            self._write(text if not self._started else f"\n{text}")
        elif self._growing != key:
            return
        self._growing = key if bubble.growing else ""
        if not bubble.growing:
            self._write("\n\n" if not self._started else "\n\n> ")

    def _remember(self, key: str, text: str) -> None:
        self._shown[key] = text
        if len(self._shown) > REMEMBERED:
            del self._shown[next(iter(self._shown))]


def read_lines(file_descriptor: int) -> Read:
    """Lines of a terminal or a pipe for `chat`. Call it inside the running loop.

    The thread that waits for input is left behind when the program ends, so Ctrl-C works at any time; it reads the
    descriptor itself, because the interpreter waits at its end for whoever reads `sys.stdin`.
    """
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str | None] = asyncio.Queue(maxsize=1_000)

    def collect() -> None:
        for line in _split(file_descriptor):
            if loop.is_closed():
                return
            try:
                asyncio.run_coroutine_threadsafe(lines.put(line), loop).result()
            except CancelledError:
                return  # The conversation is over.

    threading.Thread(target=collect, name="terminal", daemon=True).start()
    return lines.get


def _split(file_descriptor: int) -> Iterator[str | None]:
    """Lines as they come, then None."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    rest, chunk = "", b"-"
    while chunk:
        try:
            chunk = os.read(file_descriptor, 65_536)
        except OSError:
            chunk = b""  # The terminal is gone.
        *whole, rest = (rest + decoder.decode(chunk)).split("\n")
        yield from whole
    if rest:
        yield rest
    yield None


def _plain(text: str) -> str:
    """Without control characters: what a model says must not steer the terminal."""
    return "".join(char for char in text if char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cs"))


def _load(state_file: Path) -> dict[str, str]:
    try:
        known = json.loads(state_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # The first time, or somebody's edit: a new visitor either way.
    return {str(url): str(cookie) for url, cookie in known.items()} if isinstance(known, dict) else {}


def _save(state_file: Path, cookies: dict[str, str]) -> None:
    """For the owner's eyes only: a visitor's cookie opens the conversation."""
    state_file.parent.mkdir(parents=True, exist_ok=True)
    fresh = state_file.with_name(f"{state_file.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.fchmod(descriptor, 0o600)  # a file left from before keeps its own mode
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(dict(list(cookies.items())[-50:]), file)
    fresh.replace(state_file)
