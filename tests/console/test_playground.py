"""The playground over HTTP: what is tried reaches nobody, what is published is live with the next message and after a
restart, and each version stays."""

from __future__ import annotations

import asyncio
import copy
import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from core.simulated_reply import Behaviour, Fault
from tests.console.test_console import VIEWER, Site, site

BOT = "/console/api/bots/support"
TONE = "Speak like a pirate."
pytestmark = pytest.mark.process


def system_and_last(body: Mapping[str, Any]) -> str:
    """A model that tells what it was told first, what it was asked last, and how much it may say."""
    messages = body["messages"]
    told = {"roles": [message["role"] for message in messages], "system": messages[0]["content"]}
    return json.dumps({**told, "asked": messages[-1]["content"], "temperature": body["temperature"]})


TELLING = Behaviour(reply=system_and_last)


async def recipe_of(there: Site) -> dict[str, Any]:
    answer = await there.http.get(BOT)
    assert answer.status == 200
    recipe: dict[str, Any] = (await answer.json())["recipe"]
    return recipe


def with_tone(recipe: dict[str, Any], tone: str = TONE) -> dict[str, Any]:
    head, mark, tail = recipe["prompts"]["en"].partition("--- each turn ---")
    changed = copy.deepcopy(recipe)
    changed["prompts"]["en"] = f"{head}- {tone}\n\n{mark}{tail}"
    return changed


async def events(answer: aiohttp.ClientResponse) -> list[tuple[str, dict[str, Any]]]:
    """What an event stream said."""
    assert answer.status == 200, await answer.text()
    frames = [frame.split("\n") for frame in (await answer.text()).split("\n\n") if frame.startswith("event")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in frames]


async def tried(there: Site, word: dict[str, str], bot: str, **asked: Any) -> tuple[str, dict[str, Any]]:
    """The answer to a try, and how it ended."""
    answer = await there.http.post(f"/console/api/bots/{bot}/try", json=asked, headers=word)
    told = await events(answer)
    assert {name for name, _ in told[:-1]} <= {"delta"}
    return "".join(data["text"] for _, data in told[:-1]), told[-1][1] | {"event": told[-1][0]}


async def publish(there: Site, word: dict[str, str], recipe: dict[str, Any], base: int, note: str = "") -> Any:
    answer = await there.http.post(f"{BOT}/versions", json={**recipe, "base": base, "note": note}, headers=word)
    return answer.status, await answer.json()


async def test_a_published_version_answers_the_next_message_and_can_be_taken_back(tmp_path: Path) -> None:
    async with site(tmp_path, TELLING) as there:
        word = await there.sign_in()
        recipe = await recipe_of(there)
        status, told = await publish(there, word, with_tone(recipe), 1, "pirates")
        assert status == 200
        assert [(one["number"], one["who"], one["note"]) for one in told["versions"]] == [
            (2, "console/operator", "pirates"),
            (1, "files", ""),
        ]
        await there.answered(1001, TONE)  # nobody said it to the bot but its prompt: the reply holds the prompt
        back = await there.http.post(f"{BOT}/restore", json={"number": 1, "base": 2}, headers=word)
        assert next((one["number"], one["restores"]) for one in (await back.json())["versions"]) == (3, 1)
        assert await recipe_of(there) == recipe
        await publish(there, word, with_tone(recipe, "Speak like a poet."), 3)
    async with site(tmp_path, TELLING) as there:  # and over a restart
        await there.sign_in()
        assert "poet" in (await recipe_of(there))["prompts"]["en"]
        question = {"model": "support", "messages": [{"role": "user", "content": "Hello"}]}
        key = {"Authorization": "Bearer benchmark"}
        answer = await (await there.http.post("/v1/chat/completions", json=question, headers=key)).json()
        assert "Speak like a poet." in answer["choices"][0]["message"]["content"]
        versions = (await there.get("bots/support"))["versions"]
        assert isinstance(versions, list)
        assert [one["number"] for one in versions] == [4, 3, 2, 1]
    with closing(sqlite3.connect(tmp_path / "bench.db")) as ledger:
        rows = ledger.execute("SELECT detail FROM audit WHERE action IN ('reply', 'completion') ORDER BY id").fetchall()
    by_number = {one["number"]: one["version"] for one in versions}
    assert [json.loads(detail)["version"] for (detail,) in rows] == [by_number[2], by_number[4]]


async def test_a_try_is_laid_out_as_a_customers_and_leaves_nothing_but_its_audit_row(tmp_path: Path) -> None:
    async with site(tmp_path, TELLING, ("polite",)) as there:
        word = await there.sign_in()
        recipe = with_tone(await recipe_of(there))
        recipe["sampling"]["temperature"] = 1.5
        text, done = await tried(there, word, "support", **recipe, text="Where is my parcel?")
        told = json.loads(text)
        assert TONE in told["system"]
        assert told["asked"].startswith("It is now ")
        assert told["asked"].endswith("\nWhere is my parcel?")
        assert (told["temperature"], done["event"], done["finish"], done["language"]) == (1.5, "done", "stop", "en")
        assert done["prompt_tokens"] > 0
        said = [done["user_text"], text]
        text, _ = await tried(there, word, "support", **recipe, text="在哪里？", said=said, language="en")
        assert json.loads(text)["roles"] == ["system", "user", "assistant", "user"]
        assert "pirate" in json.loads(text)["system"], "the conversation stays in its language"
        raw = {"prompts": {"": "Be a poet."}, "sampling": recipe["sampling"]}
        text, done = await tried(there, word, "-", **raw, text="Hello", model="polite")
        assert done["model"] == "polite"
        assert json.loads(text)["system"] == "Be a poet."
        assert json.loads(text)["asked"] == "Hello"
        assert (await there.get("conversations"))["items"] == []
        assert TONE not in (await recipe_of(there))["prompts"]["en"]
    with closing(sqlite3.connect(tmp_path / "bench.db")) as ledger:
        rows = ledger.execute("SELECT detail FROM audit WHERE action = 'rehearsal'").fetchall()
        details = [json.loads(detail) for (detail,) in rows]
        everything = " ".join(map(str, ledger.execute("SELECT * FROM audit").fetchall()))
    assert [(one["who"], one["bot"], one["model"]) for one in details] == [
        ("console/operator", "support", "simulated"),
        ("console/operator", "support", "simulated"),
        ("console/operator", "", "polite"),
    ]
    assert "parcel" not in everything
    assert "pirate" not in everything


async def test_mistakes_are_named_before_and_refused_at_publishing(tmp_path: Path) -> None:
    async with site(tmp_path) as there:
        word = await there.sign_in()
        recipe = await recipe_of(there)
        wrong = with_tone(recipe, "Say {nothing}")
        wrong["sampling"]["temperature"] = 3
        answer = await there.http.post(f"{BOT}/draft", json=wrong, headers=word)
        draft = await answer.json()
        assert [problem.partition(":")[0] for problem in draft["problems"]] == ["prompt.md", "bot.toml"]
        assert draft["filled"] == {}
        assert ["new", "- Say {nothing}"] in draft["difference"]["prompts"]["en"]
        assert draft["difference"]["sampling"] == {"temperature": [0.3, 3.0]}
        assert (await publish(there, word, wrong, 1))[0] == 400
        one_language = {**recipe, "prompts": {"en": recipe["prompts"]["en"]}}
        assert (await publish(there, word, one_language, 1))[0] == 400
        assert (await publish(there, word, recipe, 1))[1]["error"]["code"] == "nothing_changed"
        right = await there.http.post(f"{BOT}/draft", json=with_tone(recipe), headers=word)
        assert "our company" in (await right.json())["filled"]["en"]["system"]
        assert len((await there.http.get(BOT)).headers["Cache-Control"]) > 0
        assert (await publish(there, word, with_tone(recipe), 1))[0] == 200
        status, told = await publish(there, word, with_tone(recipe, "Sing."), 1)
        assert (status, told["error"]["code"]) == (409, "published_meanwhile")


@pytest.mark.parametrize(
    ("path", "asked", "status"),
    [
        ("bots/nobody/draft", {}, 404),
        ("bots/support/versions", {"base": "x"}, 400),
        ("bots/support/restore", {"number": 99, "base": 1}, 404),
        ("bots/support/restore", {"number": 0, "base": 1}, 400),
        ("bots/support/try", {"text": ""}, 400),
        ("bots/support/try", {"text": "x", "model": "another"}, 404),
        ("bots/support/try", {"text": "x", "language": "<en>"}, 400),
        ("bots/support/try", {"text": "x", "sampling": {"temperature": 9, "top_p": 1, "max_tokens": 1}}, 400),
        ("bots/nobody/try", {"text": "x"}, 404),
    ],
)
async def test_bad_questions_are_refused_in_words(
    tmp_path: Path, path: str, asked: dict[str, Any], status: int
) -> None:
    async with site(tmp_path) as there:
        word = await there.sign_in()
        whole = asked if path.endswith("restore") else {**await recipe_of(there), **asked}
        answer = await there.http.post(f"/console/api/{path}", json=whole, headers=word)
        assert answer.status == status, await answer.text()
        assert (await answer.json())["error"]["message"]


async def test_an_engine_that_fails_is_told_and_one_that_is_left_is_stopped(tmp_path: Path) -> None:
    """Left while it writes, and left while it thinks, when there is nothing to write."""
    slow = Behaviour(pieces=200, tokens_per_second=50.0)
    thinking = replace(slow, reasoning="hm " * 5000)
    for behaviour, folder in ((slow, tmp_path / "one"), (thinking, tmp_path / "two")):
        folder.mkdir()
        async with site(folder, behaviour) as there:
            word = await there.sign_in()
            asked = {**await recipe_of(there), "text": "Tell me " + "more " * 200}
            answer = await there.http.post(f"{BOT}/try", json=asked, headers=word)
            if behaviour is slow:
                await answer.content.readuntil(b"event: delta")
            answer.close()
            async with asyncio.timeout(20):
                while not (ended := endings(folder)):
                    await asyncio.sleep(0.05)
            assert ended == ["aborted"]
    async with site(tmp_path, replace(slow, fault=Fault.FAILED)) as there:
        word = await there.sign_in()
        told = await tried(there, word, "support", **asked)
        assert told[1]["event"] == "failed"
        assert told[1]["message"]


def endings(folder: Path) -> list[str]:
    """How the tries in the audit record ended."""
    with closing(sqlite3.connect(folder / "bench.db")) as ledger:
        rows = ledger.execute("SELECT detail FROM audit WHERE action = 'rehearsal'").fetchall()
    return [json.loads(detail)["ending"] for (detail,) in rows]


async def test_who_may_only_look_sees_the_versions_and_what_each_changed(tmp_path: Path) -> None:
    async with site(tmp_path) as there:
        word = await there.sign_in()
        recipe = await recipe_of(there)
        await publish(there, word, with_tone(recipe), 1)
        looking = await there.sign_in(VIEWER)
        bots = await there.get("bots")
        assert bots == {"items": [{"name": "support", "title": "Customer service"}], "models": ["simulated"]}
        second = await there.get("bots/support/versions/2")
        assert second["against"] == 1
        difference = second["difference"]
        assert isinstance(difference, dict)
        assert ["new", f"- {TONE}"] in difference["prompts"]["en"]
        assert (await there.get("bots/support/versions/1"))["against"] == 0
        assert (await there.get("bots/support/versions/1", against="2"))["against"] == 2
        for path in ("bots/support/versions/7", "bots/support/versions/1?against=7", "bots/support/versions/x"):
            assert (await there.http.get(f"/console/api/{path}")).status == 404, path
        for path in ("draft", "try", "versions", "restore"):
            assert (await there.http.post(f"{BOT}/{path}", json=recipe, headers=looking)).status == 403
