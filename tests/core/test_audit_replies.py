"""Through the whole house: each reply is recorded with the bot's version and, if a model wrote it, how it was asked."""

from __future__ import annotations

import json
from contextlib import aclosing
from pathlib import Path

from core.errors import EngineTimeout
from core.ledger import office
from core.ledger.verification import verify
from core.types import Delta, Sampling
from tests.fakes import FakeEngine, make_bot
from tests.rooms import rooms

VERSION = make_bot().version
USUAL = {"temperature": 0.3, "top_p": 0.9, "max_tokens": 512, "frequency_penalty": 0.0}


def recorded(path: Path, action: str) -> list[dict[str, object]]:
    with office.opened(path / "ledger.db") as ledger:
        assert verify(ledger).problems == ()
        rows = ledger.execute("SELECT detail FROM audit WHERE action = ? ORDER BY id", (action,)).fetchall()
    return [json.loads(detail) for (detail,) in rows]


async def test_an_answer_an_apology_and_a_notice(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.enqueue([Delta(text="Blue."), Delta(model="tiny", finish="stop")])
    engine.enqueue([EngineTimeout("silent")])
    engine.enqueue([EngineTimeout("silent")])
    async with rooms(tmp_path, engine=engine) as house:
        await house.say("What colour?")
        await house.channel.delivered(1)
        await house.say("And now?")
        await house.channel.delivered(2)
        await house.say("/help")
        await house.channel.delivered(3)
        answer, apology, notice = recorded(tmp_path, "reply")
    assert (answer["kind"], answer["version"], answer["model"], answer["sampling"]) == (
        "answer",
        VERSION,
        "tiny",
        USUAL,
    )
    assert (apology["kind"], apology["version"], apology["sampling"]) == ("apology", VERSION, None)
    assert (notice["kind"], notice["version"]) == ("notice", VERSION)


async def test_the_sampling_is_that_of_the_call_and_not_of_the_bot(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.context_tokens = 200
    async with rooms(tmp_path, engine=engine) as house:
        await house.say("What colour?")
        await house.channel.delivered(1)
        (answer,) = recorded(tmp_path, "reply")
    assert answer["sampling"] == {**USUAL, "max_tokens": engine.requests[0].sampling.max_tokens}
    assert engine.requests[0].sampling.max_tokens < 200


async def test_a_completion_outside_any_conversation(tmp_path: Path) -> None:
    asked = Sampling(temperature=0.123456, max_tokens=9)
    async with rooms(tmp_path) as house:
        for bot in ("support", ""):
            deltas = house.house.converse(bot, [{"role": "user", "content": "Hi"}], asked, "r", "4111111111111111")
            async with aclosing(deltas):
                async for _ in deltas:
                    pass
        named, raw = recorded(tmp_path, "completion")
    assert (named["bot"], named["version"]) == ("support", VERSION)
    assert (raw["bot"], raw["version"]) == ("", "")
    assert named["key"] == raw["key"] == "4111111111111111", "a fingerprint may look like a card's number"
    assert named["sampling"] == {"temperature": 0.1235, "top_p": 0.9, "max_tokens": 9, "frequency_penalty": 0.0}
