"""What every call says of itself: whose it is, how soon it wants to be served, and under which salt it is cached."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

from core.completions import salted
from core.config import DialogueSettings
from core.engine import TASKS
from core.rehearsal import Rehearsal, Scene
from core.types import ConversationKey, Delta, InboundMessage, Sampling
from tests.fakes import CollectingChannel, make_bot
from tests.rooms import rooms


async def exhaust(deltas: AsyncGenerator[Delta, None]) -> None:
    async with aclosing(deltas):
        async for _ in deltas:
            continue


async def test_people_come_before_callers_and_callers_before_tasks(tmp_path: Path) -> None:
    async with rooms(tmp_path, channels=[CollectingChannel("shop"), CollectingChannel(TASKS)]) as house:
        await house.say("From a person")
        task = house.channels[TASKS]
        assert isinstance(task, CollectingChannel)
        await house.channel.delivered(1)
        conversation = ConversationKey(TASKS, "support", "key:1")
        await house.house.receive(InboundMessage("task-1", conversation, "key:", "A task"))
        await task.delivered(1)
        asked = [{"role": "user", "content": "A call"}]
        await exhaust(house.house.converse("support", asked, Sampling(), "call-1", "key"))
        await exhaust(house.house.converse("", asked, Sampling(), "call-2", "key"))
        rehearsal = Rehearsal(house.engine, DialogueSettings(), house.clock)
        await exhaust(rehearsal.begin(make_bot(), Scene((), "A try"), "", "try-1").deltas)
        said = [(request.priority, request.bot) for request in house.engine.requests]
        assert said == [(0, "support"), (10, "support"), (5, "support"), (5, ""), (5, "support")]
        assert all(request.session_id and request.request_id for request in house.engine.requests)


def test_each_bot_has_a_salt_of_its_own_that_does_not_give_the_secret_away() -> None:
    salts = {salted(secret, bot) for secret in ("a" * 32, "b" * 32) for bot in ("support", "sales", "", "客服")}
    assert len(salts) == 8
    assert all(len(salt) == 64 and salt.isalnum() for salt in salts)
