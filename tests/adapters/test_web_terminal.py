"""`main.py chat`: the same conversation in a terminal, each thing once, and plain words when no server answers."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from adapters.web.settings import Settings
from commands.chat import chat, read_lines
from tests.adapters.web_house import House, Site, served


class Terminal:
    """A keyboard that types what the test says, and a screen."""

    def __init__(self) -> None:
        self.screen = ""
        self._lines: asyncio.Queue[str | None] = asyncio.Queue(maxsize=10)
        self._changed = asyncio.Event()

    async def read(self) -> str | None:
        return await self._lines.get()

    def write(self, text: str) -> None:
        self.screen += text
        self._changed.set()

    def type(self, line: str | None) -> None:
        self._lines.put_nowait(line)

    async def shows(self, text: str) -> None:
        async with asyncio.timeout(10):
            while text not in self.screen:
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def at_terminal(site: Site, state_file: Path, *, finish: bool = False) -> AsyncIterator[Terminal]:
    """A running conversation; it ends with the input, and well."""
    terminal = Terminal()
    running = asyncio.create_task(
        chat(site.url, state_file=state_file, read=terminal.read, write=terminal.write, finish=finish)
    )
    try:
        yield terminal
        terminal.type(None)
        async with asyncio.timeout(10):
            assert await running == 0
    finally:
        running.cancel()


async def accepted(site: Site) -> None:
    async with asyncio.timeout(10):
        await site.house.accepted.wait()
    site.house.accepted.clear()


async def test_a_conversation(tmp_path: Path) -> None:
    async with served(House()) as site, at_terminal(site, tmp_path / "state" / "chat.json") as terminal:
        await terminal.shows("> ")
        terminal.type("Where is my order?")
        await accepted(site)
        key = site.house.received[0].conversation
        await site.grow(key, 1, "It is")
        await terminal.shows("\nIt is")
        await site.grow(key, 1, "It is on \x1b[31mits way")
        await terminal.shows("\nIt is on [31mits way")
        await site.answer(key, 1, "It is on \x1b[31mits way.")
        await terminal.shows("\nIt is on [31mits way.\n\n> ")
        assert terminal.screen.count("It is") == 1
        assert "\x1b" not in terminal.screen


async def test_the_next_time_goes_on_as_the_same_visitor(tmp_path: Path) -> None:
    state_file = tmp_path / "chat.json"
    async with served(House()) as site:
        async with at_terminal(site, state_file) as terminal:
            terminal.type("first")
            await accepted(site)
        key = site.house.received[0].conversation
        await site.answer(key, 1, "answer to the first")
        assert stat.S_IMODE(state_file.stat().st_mode) == 0o600
        async with at_terminal(site, state_file) as terminal:
            await terminal.shows("> first\nanswer to the first\n\n> ")
            terminal.type("second")
            await accepted(site)
        assert site.house.received[1].conversation == key


async def test_a_cut_in_the_middle_of_a_reply(tmp_path: Path) -> None:
    async with served(House()) as site, at_terminal(site, tmp_path / "chat.json") as terminal:
        await terminal.shows("> ")
        terminal.type("hello")
        await accepted(site)
        key = site.house.received[0].conversation
        await site.grow(key, 1, "One, two")
        await terminal.shows("One, two")
        site.cut()
        await terminal.shows("connection is lost")
        await site.grow(key, 1, "One, two, three")
        await terminal.shows("\nOne, two, three")
        await site.answer(key, 1, "One, two, three.")
        await terminal.shows("\nOne, two, three.\n\n> ")


async def test_a_message_written_while_the_server_is_away_is_sent_once(tmp_path: Path) -> None:
    async with served(House()) as site, at_terminal(site, tmp_path / "chat.json") as terminal:
        await terminal.shows("> ")
        await site.stop()
        await terminal.shows("connection is lost")
        terminal.type("still there?")
        await site.start()
        await accepted(site)
        await site.answer(site.house.received[0].conversation, 1, "Yes.")
        await terminal.shows("Yes.\n\n> ")
        assert [message.text for message in site.house.received] == ["still there?"]


async def test_input_from_a_pipe_waits_for_its_reply(tmp_path: Path) -> None:
    async with served(House()) as site, at_terminal(site, tmp_path / "chat.json", finish=True) as terminal:
        terminal.type("hello")
        terminal.type(None)
        await accepted(site)
        await site.answer(site.house.received[0].conversation, 1, "Hi!")
        await terminal.shows("Hi!\n")


async def test_limits_are_waited_for_and_refusals_are_told(tmp_path: Path) -> None:
    async with (
        served(House(), Settings(messages_per_minute_per_ip=2)) as site,
        at_terminal(site, tmp_path / "chat.json") as terminal,
    ):
        terminal.type("x" * 4_001)
        await terminal.shows("(Not sent: A message has at most 4000 characters")
        terminal.type("short")
        await accepted(site)


async def test_no_server(tmp_path: Path) -> None:
    terminal = Terminal()
    site = Site(House())
    await site.start()
    await site.stop()
    assert await chat(site.url, state_file=tmp_path / "chat.json", read=terminal.read, write=terminal.write) == 1
    assert f"No server answers at {site.url}" in terminal.screen
    async with served(House(), name="shop") as other:  # a server without /chat
        assert await chat(other.url, state_file=tmp_path / "chat.json", read=terminal.read, write=terminal.write) == 1
    assert "answers 404" in terminal.screen


async def test_leaving_with_ctrl_c(tmp_path: Path) -> None:
    async with served(House()) as site:
        terminal = Terminal()
        running = asyncio.create_task(
            chat(site.url, state_file=tmp_path / "chat.json", read=terminal.read, write=terminal.write)
        )
        await terminal.shows("> ")
        running.cancel()
        await asyncio.wait([running], timeout=10)
        assert running.cancelled()


async def test_lines_come_from_a_descriptor_as_they_are_typed() -> None:
    readable, writable = os.pipe()
    try:
        read = read_lines(readable)
        os.write(writable, "你好\nhalf ".encode()[:-7])
        os.write(writable, "你好\nhalf ".encode()[-7:])
        assert await asyncio.wait_for(read(), 10) == "你好"
        os.write(writable, b"a line")
        os.close(writable)
        assert await asyncio.wait_for(read(), 10) == "half a line"
        assert await asyncio.wait_for(read(), 10) is None
    finally:
        os.close(readable)
