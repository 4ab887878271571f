"""The API's keys made in the console: a key opens the same house until it is revoked, and its secret is told once."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.console.test_console import OPERATOR, VIEWER, Site, site

KEYS = "/console/api/keys"
WRONG: tuple[tuple[dict[str, Any], str], ...] = (  # and what the sentence names
    ({"name": "   "}, "name"),
    ({"name": "n" * 101}, "name"),
    ({"name": "a\u001b[2J"}, "name"),
    ({}, "name"),
    ({"name": "n", "bots": ["support", "nobody"]}, "nobody"),
    ({"name": "n", "bots": "support"}, "bots"),
    ({"name": "n", "requests_per_minute": 0}, "minute"),
    ({"name": "n", "requests_per_minute": -1}, "minute"),
    ({"name": "n", "requests_per_minute": 5e-324}, "minute"),
    ({"name": "n", "requests_per_minute": 1_000_001}, "minute"),
    ({"name": "n", "requests_per_minute": float("nan")}, "minute"),
    ({"name": "n", "requests_per_minute": "many"}, "minute"),
    ({"name": "n", "secret": "fd_mine"}, "secret"),
)
pytestmark = pytest.mark.process


async def create(there: Site, word: dict[str, str], **asked: Any) -> tuple[dict[str, Any], str]:
    """A key as it is listed, and its secret."""
    answer = await there.http.post(KEYS, json={"name": "the shop", **asked}, headers=word)
    assert answer.status == 200, await answer.text()
    assert answer.headers["Cache-Control"] == "no-store"
    told = await answer.json()
    return told["key"], told["secret"]


async def revoke(there: Site, word: dict[str, str], number: int) -> int:
    return (await there.http.post(f"{KEYS}/{number}/revoke", json={}, headers=word)).status


async def models(there: Site, secret: str) -> tuple[int, list[str]]:
    """What the API says to who comes with that key: the status, and what may be asked."""
    answer = await there.http.get("/v1/models", headers={"Authorization": f"Bearer {secret}"})
    return answer.status, [model["id"] for model in (await answer.json()).get("data", [])]


def recorded(folder: Path) -> list[tuple[str, str, dict[str, Any]]]:
    """What the audit record says of keys: action, subject, detail."""
    with closing(sqlite3.connect(folder / "bench.db")) as ledger:
        rows = ledger.execute("SELECT action, subject, detail FROM audit WHERE action LIKE 'key_%' ORDER BY id")
        return [(action, subject, json.loads(detail)) for action, subject, detail in rows]


async def test_a_key_opens_the_api_until_it_is_revoked_and_both_are_recorded(tmp_path: Path) -> None:
    async with site(tmp_path) as there:
        word = await there.sign_in()
        whole, secret = await create(there, word, name="  网上商城 ")
        scoped, other = await create(there, word, bots=["support", "support"], requests_per_minute=30)
        assert (whole["id"], whole["name"], whole["bots"], whole["requests_per_minute"]) == (1, "网上商城", [], None)
        assert (scoped["bots"], scoped["requests_per_minute"], scoped["revoked_at"]) == (["support"], 30, None)
        status, asked = await models(there, secret)
        assert status == 200 and "support" in asked and len(asked) > 1, "the raw model, too"
        assert await models(there, other) == (200, ["support"])
        question = {"model": "support", "messages": [{"role": "user", "content": "Hello"}]}
        headers = {"Authorization": f"Bearer {other}"}
        assert (await there.http.post("/v1/chat/completions", json=question, headers=headers)).status == 200
        assert await revoke(there, word, 1) == 200
        assert (await models(there, secret))[0] == 401, "at once"
        assert (await models(there, other))[0] == 200
        rows = recorded(tmp_path)
    with closing(sqlite3.connect(tmp_path / "bench.db")) as ledger:
        (asked_by,) = ledger.execute("SELECT detail ->> 'key' FROM audit WHERE action = 'completion'").fetchone()
    assert asked_by == scoped["fingerprint"] != whole["fingerprint"]
    who = {"who": "console/operator"}
    assert rows == [
        ("key_created", "key/1", {**who, "name": "网上商城", "bots": [], "requests_per_minute": None}),
        ("key_created", "key/2", {**who, "name": "the shop", "bots": ["support"], "requests_per_minute": 30}),
        ("key_revoked", "key/1", {**who, "name": "网上商城"}),
    ]


async def test_the_newest_that_opens_something_is_listed_first_and_no_secret_at_all(tmp_path: Path) -> None:
    async with site(tmp_path) as there:
        word = await there.sign_in()
        assert (await there.get("keys"))["items"] == []
        secrets = [(await create(there, word, name=name))[1] for name in ("first", "second", "third")]
        assert await revoke(there, word, 3) == 200
        await there.sign_in(VIEWER)
        answer = await there.http.get(KEYS)
        items = (await answer.json())["items"]
        assert [(item["name"], item["revoked_at"] is None) for item in items] == [
            ("second", True),
            ("first", True),
            ("third", False),
        ]
        columns = {"id", "name", "bots", "requests_per_minute", "created_at", "revoked_at", "fingerprint"}
        assert items[0].keys() == columns
        listed = (await answer.text()).encode()
    kept = [listed, *(path.read_bytes() for path in tmp_path.iterdir())]  # the ledger, its -wal, the log
    assert len(kept) > 2
    assert not any(secret.encode() in written for secret in secrets for written in kept)


async def test_what_is_no_key_is_refused_with_a_sentence(tmp_path: Path) -> None:
    async with site(tmp_path) as there:
        word = await there.sign_in()
        for asked, named in WRONG:
            answer = await there.http.post(KEYS, json=asked, headers=word)
            assert (answer.status, named in (await answer.json())["error"]["message"]) == (400, True), asked
        assert (await there.get("keys"))["items"] == []
        assert recorded(tmp_path) == []


async def test_the_limits_themselves_are_allowed(tmp_path: Path) -> None:
    async with site(tmp_path) as there:
        word = await there.sign_in()
        await create(there, word, name="长" * 100, requests_per_minute=1_000_000)
        slow, secret = await create(there, word, name="n", requests_per_minute=0.001)
        assert slow["requests_per_minute"] == 0.001
        asked = {"model": "support", "messages": [{"role": "user", "content": "Hello"}]}
        headers = {"Authorization": f"Bearer {secret}"}
        answers = [await there.http.post("/v1/chat/completions", json=asked, headers=headers) for _ in range(2)]
        assert [answer.status for answer in answers] == [200, 429]


async def test_nothing_to_revoke_is_said_and_not_recorded(tmp_path: Path) -> None:
    async with site(tmp_path) as there:
        word = await there.sign_in()
        await create(there, word)
        assert [await revoke(there, word, number) for number in (1, 1, 2)] == [200, 404, 404]
        assert (await there.http.post(f"{KEYS}/one/revoke", json={}, headers=word)).status == 404
        assert [action for action, _, _ in recorded(tmp_path)] == ["key_created", "key_revoked"]


async def test_only_an_operator_with_our_pages_word_makes_and_revokes(tmp_path: Path) -> None:
    async with site(tmp_path) as there:
        for method, path in (("GET", KEYS), ("POST", KEYS), ("POST", f"{KEYS}/1/revoke")):
            assert (await there.http.request(method, path, json={"name": "n"})).status == 401, path
        word = await there.sign_in(OPERATOR)
        await create(there, word)
        for headers in ({}, {"X-CSRF-Token": "guessed"}, word | {"Sec-Fetch-Site": "cross-site"}):
            assert (await there.http.post(KEYS, json={"name": "n"}, headers=headers)).status == 403, headers
            assert await revoke(there, headers, 1) == 403, headers
        looking = await there.sign_in(VIEWER)
        assert (await there.http.post(KEYS, json={"name": "n"}, headers=looking)).status == 403
        assert await revoke(there, looking, 1) == 403
        items = (await there.get("keys"))["items"]
        assert isinstance(items, list)
        assert [(item["id"], item["revoked_at"]) for item in items] == [(1, None)]
