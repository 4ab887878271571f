"""The console over HTTP, on the real gateway: nothing without coming in, nothing changed by who may only look."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import re
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

import main
from adapters.telegram.simulator import TelegramSimulator
from bench.stand import SECRETS, SETTINGS, TELEGRAM_SECRET, TELEGRAM_TOKEN, gateway, urls
from commands.reading import read
from core.engine_simulator import EngineSimulator
from core.simulated_reply import Behaviour

HOME = Path(__file__).resolve().parent.parent.parent
OPERATOR, VIEWER = "an operator's word", "a viewer's word"
pytestmark = pytest.mark.process


@dataclass(frozen=True, slots=True)
class Site:
    """A running gateway and somebody at its console."""

    http: aiohttp.ClientSession
    platform: TelegramSimulator
    folder: Path

    async def sign_in(self, password: str = OPERATOR) -> dict[str, str]:
        """The header that changes need."""
        answer = await self.http.post("/console/api/sign-in", json={"password": password})
        assert answer.status == 200
        return {"X-CSRF-Token": (await answer.json())["csrf"]}

    async def get(self, path: str, **query: str) -> dict[str, object]:
        answer = await self.http.get(f"/console/api/{path}", params=query)
        assert answer.status == 200, await answer.text()
        told: dict[str, object] = await answer.json()
        return told

    async def answered(self, chat: int, text: str) -> None:
        """Somebody writes and reads the whole answer."""
        self.platform.user_says(chat, text)
        await self.platform.until(lambda: any(text in said for said in self.platform.bot_texts(chat)), seconds=20)


@asynccontextmanager
async def site(
    folder: Path, behaviour: Behaviour | None = None, adapters: tuple[str, ...] = (), **settings: str
) -> AsyncIterator[Site]:
    passwords = {"FRONTDESK_CONSOLE_PASSWORD": OPERATOR, "FRONTDESK_CONSOLE_VIEWER_PASSWORD": VIEWER}
    async with (
        EngineSimulator(behaviour=behaviour or Behaviour(), adapters=adapters) as model,
        TelegramSimulator(TELEGRAM_TOKEN) as platform,
        gateway(HOME, folder, urls(model.base_url, platform.base_url) | passwords | settings) as house,
        aiohttp.ClientSession(house.address, cookie_jar=aiohttp.CookieJar(unsafe=True)) as http,
    ):
        platform.webhook.set(f"{house.address}/telegram", TELEGRAM_SECRET, frozenset(), 100)
        yield Site(http, platform, folder)


async def test_every_route_is_closed_to_who_did_not_come_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (SECRETS | SETTINGS).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("FRONTDESK__ENGINE__BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("FRONTDESK__LEDGER__URL", f"sqlite:///{tmp_path}/other.db")
    routes = [
        (route.method, str(route.resource.canonical))
        for route in main.build(read(HOME / "config.toml", ())).app.router.routes()
        if route.resource is not None and str(route.resource.canonical).startswith("/console/api/")
    ]
    assert len(routes) > 20
    async with site(tmp_path) as there:
        for method, path in routes:
            answer = await there.http.request(
                method, re.sub(r"{\w+}", "1", path), json={} if method == "POST" else None
            )
            expected = 400 if path.endswith("/sign-in") else 401
            assert answer.status == expected, (method, path)
        looking = await there.sign_in(VIEWER)
        for method, path in routes:
            if method == "POST" and not path.endswith(("/sign-in", "/sign-out")):
                answer = await there.http.post(re.sub(r"{\w+}", "1", path), json={}, headers=looking)
                assert answer.status == 403, path


async def test_passwords_are_tried_a_few_times_a_minute(tmp_path: Path) -> None:
    async with site(tmp_path) as there:
        statuses = []
        for _ in range(9):
            answer = await there.http.post("/console/api/sign-in", json={"password": "a guess"})
            statuses.append(answer.status)
        assert statuses == [401] * 6 + [429] * 3
        assert int(answer.headers["Retry-After"]) >= 1
        answer = await there.http.post("/console/api/sign-in", json={"password": OPERATOR})
        assert answer.status == 429, "the right one, too"


async def test_a_change_needs_our_pages_word_and_no_other_sites(tmp_path: Path) -> None:
    async with site(tmp_path) as there:
        word = await there.sign_in()
        for headers in ({}, {"X-CSRF-Token": "guessed"}, word | {"Sec-Fetch-Site": "cross-site"}):
            answer = await there.http.post("/console/api/retry", json={"failed": True}, headers=headers)
            assert answer.status == 403, headers
        assert (await there.http.post("/console/api/retry", json={"failed": True}, headers=word)).status == 200


async def test_who_signed_out_is_out_with_every_copy_of_the_cookie(tmp_path: Path) -> None:
    async with site(tmp_path) as there:
        word = await there.sign_in()
        ticket = next(iter(there.http.cookie_jar)).value
        assert (await there.http.post("/console/api/sign-out", json={}, headers=word)).status == 204
        copied = {"Cookie": f"frontdesk_console={ticket}"}
        assert (await there.http.get("/console/api/me", headers=copied)).status == 401
        with closing(sqlite3.connect(tmp_path / "bench.db")) as ledger:
            assert ticket not in str(ledger.execute("SELECT * FROM facts").fetchall())


async def test_who_signed_out_reads_nothing_more(tmp_path: Path) -> None:
    async with site(tmp_path) as there:
        word = await there.sign_in()
        async with asyncio.timeout(20), there.http.get("/console/api/live") as stream:
            await stream.content.readline()
            assert (await there.http.post("/console/api/sign-out", json={}, headers=word)).status == 204
            there.platform.user_says(1001, "a secret")
            rest = await stream.content.read()
        assert b"changed" not in rest


async def test_files_are_not_sent_twice(tmp_path: Path) -> None:
    async with site(tmp_path) as there:
        first = await there.http.get("/console/static/app.js")
        again = await there.http.get("/console/static/app.js", headers={"If-None-Match": first.headers["ETag"]})
        assert (first.status, again.status, await again.read()) == (200, 304, b"")


async def test_who_came_in_stays_in_over_a_restart(tmp_path: Path) -> None:
    async with site(tmp_path) as there:
        await there.sign_in()
        ticket = next(iter(there.http.cookie_jar)).value
    async with site(tmp_path) as there:
        copied = {"Cookie": f"frontdesk_console={ticket}"}
        assert (await there.http.get("/console/api/me", headers=copied)).status == 200


async def test_a_reply_is_seen_growing_and_then_whole(tmp_path: Path) -> None:
    slow = Behaviour(pieces=20, tokens_per_second=20.0)
    async with site(tmp_path, slow) as there:
        await there.sign_in()
        await there.answered(1001, "the first question")
        there.platform.user_says(1001, "the second question")
        growing: list[str] = []
        entries: list[dict[str, object]] = []
        async with asyncio.timeout(20), there.http.get("/console/api/conversations/1/live") as stream:
            async for line in stream.content:
                if line.startswith(b'data: {"turn"'):
                    growing.append(json.loads(line[6:])["text"])
                if line.startswith(b"event: changed"):
                    told = (await there.get("conversations/1"))["entries"]
                    assert isinstance(told, list)
                    entries = told
                    if len(entries) == 4 and entries[-1]["kind"] == "turn":
                        break
        assert sorted(growing, key=len) == growing
        assert len(set(growing)) > 3
        assert "second question" in str(entries[-1]["text"])


async def test_the_list_says_what_changed(tmp_path: Path) -> None:
    async with site(tmp_path) as there:
        await there.sign_in()
        async with there.http.get("/console/api/live") as stream:
            await stream.content.readline()
            there.platform.user_says(1001, "hello")
            async with asyncio.timeout(20):
                async for line in stream.content:
                    if line.startswith(b"data: "):
                        break
        assert json.loads(line[6:]) == {"conversations": [1]}


async def test_search_mark_export_and_the_record(tmp_path: Path) -> None:
    async with site(tmp_path) as there:
        word = await there.sign_in()
        await there.answered(1001, "=HYPERLINK(1) 我的订单")
        await there.answered(1002, "something else")
        found: dict[str, object] = {"items": []}
        async with asyncio.timeout(20):
            while not found["items"]:
                found = await there.get("conversations", search="订单")
        items = found["items"]
        assert isinstance(items, list)
        assert [(item["chat"], item["excerpt"]) for item in items] == [("1001", "=HYPERLINK(1) 我的\x01订单\x02")]
        marked = await there.http.post("/console/api/turns/1/mark", json={"mark": "bad", "note": "短"}, headers=word)
        assert marked.status == 200
        answer = await there.http.get("/console/api/export", params={"format": "csv", "search": "订单"})
        text = (await answer.read()).decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text)))
        assert [(row["who"], row["text"][:5], row["mark"], row["note"]) for row in rows] == [
            ("customer", "'=HYP", "", ""),
            ("bot", "This ", "bad", "短"),
        ]
        answer = await there.http.get("/console/api/export", params={"format": "json", "ids": "1,2"})
        assert [len(whole["entries"]) for whole in await answer.json()] == [2, 2]
        answer = await there.http.get("/console/api/export", params={"format": "exe"})
        assert answer.status == 400
        with closing(sqlite3.connect(tmp_path / "bench.db")) as ledger:
            actions = [action for (action,) in ledger.execute("SELECT action FROM audit ORDER BY id")]
        assert actions.count("export") == 2
        assert actions.count("mark") == 1


async def test_an_operator_blocks_limits_and_erases_a_user(tmp_path: Path) -> None:
    async with site(tmp_path) as there:
        word = await there.sign_in()
        await there.answered(1001, "hello")
        for action, asked in (
            ("limits", {"messages_per_minute": 1, "tokens_per_day": None}),
            ("block", {"blocked": True}),
        ):
            answer = await there.http.post(f"/console/api/users/1/{action}", json=asked, headers=word)
            assert answer.status == 200
        user = await answer.json()
        assert (user["blocked"], user["limits"]) == (True, {"messages_per_minute": 1.0, "tokens_per_day": None})
        there.platform.user_says(1001, "are you there?")
        state = ""
        async with asyncio.timeout(20):
            while state != "blocked":
                listed = await there.get("conversations")
                assert isinstance(listed["items"], list)
                state = listed["items"][0]["state"]
        for confirm, status in (("1001", 409), ("telegram:1001", 204)):
            answer = await there.http.post("/console/api/users/1/erase", json={"confirm": confirm}, headers=word)
            assert answer.status == status
        assert (await there.get("conversations/1"))["entries"] != []
        assert "hello" not in json.dumps(await there.get("conversations/1"))
        bad = {"messages_per_minute": 0, "tokens_per_day": None}
        assert (await there.http.post("/console/api/users/1/limits", json=bad, headers=word)).status == 400
        assert (
            await there.http.post("/console/api/users/77/block", json={"blocked": True}, headers=word)
        ).status == 404


async def test_health_survives_a_restart(tmp_path: Path) -> None:
    async with site(tmp_path) as there:
        await there.answered(1001, "hello")
    async with site(tmp_path) as there:
        await there.sign_in(VIEWER)
        told = await there.get("health", hours="1")
        assert isinstance(told["totals"], dict)
        assert (told["totals"]["accepted"], told["totals"]["answered"]) == (1, 1)
        assert isinstance(told["engines"], list)
        (engine,) = told["engines"]  # another one than before the restart
        assert engine["name"].startswith("http://127.0.0.1:")
        assert engine["load"] == {"running": 0, "waiting": 0, "cache_used": 0, "cache_found": None}
        assert (await there.http.get("/console/api/health?hours=3")).status == 400


async def test_pages_come_with_a_policy_and_without_secrets(tmp_path: Path) -> None:
    async with site(tmp_path) as there:
        for path in ("/console", "/console/conversations/7", "/console/sign-in"):
            answer = await there.http.get(path)
            assert answer.status == 200
            assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
        for outside in ("..%2Fdoor.py", "%2e%2e/door.py", "..%5Cdoor.py"):
            answer = await there.http.get(URL(f"/console/static/{outside}", encoded=True))
            assert b"import" not in await answer.read(), outside
        assert (await there.http.get("/console/api/nothing")).status == 404


async def test_a_pipe_shows_no_link(tmp_path: Path) -> None:
    async with site(tmp_path, FRONTDESK_CONSOLE_PASSWORD="") as there:
        answer = await there.http.get("/console/enter?token=guessed", allow_redirects=False)
        assert (answer.status, answer.headers["Location"]) == (303, "/console/sign-in?failed=link")
        answer = await there.http.post("/console/api/sign-in", json={"password": OPERATOR})
        assert answer.status == 401
    assert "token=" not in (tmp_path / "gateway.log").read_text()


async def test_a_terminal_shows_a_link_that_lets_one_person_in(tmp_path: Path) -> None:
    mine, theirs = os.openpty()
    variables = (
        SECRETS | SETTINGS | {"PATH": os.environ["PATH"], "FRONTDESK__ENGINE__BASE_URL": "http://127.0.0.1:9/v1"}
    )
    variables["FRONTDESK__LEDGER__URL"] = f"sqlite:///{tmp_path / 'bench.db'}"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(HOME / "main.py")), stdout=theirs, stderr=asyncio.subprocess.DEVNULL, env=variables
    )
    os.close(theirs)
    try:
        link = await asyncio.wait_for(asyncio.to_thread(_link, mine), 30)
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
            assert (await http.get(link)).status == 200
            (ticket,) = http.cookie_jar
            told = await http.get(URL(link).with_path("/console/api/me").with_query(None))
            assert (await told.json())["role"] == "operator"
        assert ticket["httponly"] and ticket["samesite"] == "Strict"
        async with aiohttp.ClientSession() as http:
            answer = await http.get(link, allow_redirects=False)
            assert answer.headers["Location"] == "/console/sign-in?failed=link", "it was used"
    finally:
        process.terminate()
        await process.wait()
        os.close(mine)


def _link(terminal: int) -> str:
    """Reads until the link is there, whole and in one line."""
    shown = ""
    while not (found := re.search(r"(http://\S+/console/enter\?token=\S{43})\s", shown)):
        shown += os.read(terminal, 4096).decode()
    return found.group(1)


async def test_it_can_be_switched_off(tmp_path: Path) -> None:
    async with site(tmp_path, FRONTDESK__CONSOLE__ENABLED="false") as there:
        for path in ("/console", "/console/api/me", "/console/static/app.js"):
            assert (await there.http.get(path)).status == 404, path
