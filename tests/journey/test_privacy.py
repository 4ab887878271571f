"""Thousands of people at a time never see each other's words: not in an answer, a preview, a prompt or a notice."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from core.config import ThrottleSettings
from core.engine import EngineRequest
from core.types import Delta, Usage
from tests.fakes import FakeEngine
from tests.rooms import rooms

pytestmark = pytest.mark.process  # not a process, but as long as one
PEOPLE = 2_000
TURNS = 3
LIMITED = ThrottleSettings(messages_per_minute=60, burst=4, tokens_per_day=0)


class Parrot(FakeEngine):
    """Says every secret that is anywhere in its prompt, a piece at a time, so that replies are interleaved."""

    async def stream(self, request: EngineRequest) -> AsyncGenerator[Delta, None]:
        prompt = "\n".join(message["content"] for message in request.messages)
        self.requests.append(request)
        for secret in dict.fromkeys(re.findall(r"secret-\d+", prompt)):
            await asyncio.sleep(0)
            yield Delta(text=f"{secret} ")
        yield Delta(finish="stop", usage=Usage(10, 10))


async def test_nobody_sees_the_words_of_another(tmp_path: Path) -> None:
    engine, chance = Parrot(), random.Random(4)
    async with rooms(tmp_path, engine=engine, throttle=LIMITED, concurrency=64) as house:
        said = [person for person in range(PEOPLE) for _ in range(TURNS)]
        chance.shuffle(said)
        for start in range(0, len(said), 200):
            async with asyncio.TaskGroup() as group:
                for person in said[start : start + 200]:
                    group.create_task(house.say(f"I am secret-{person}", chat=f"chat {person}", user=f"user {person}"))
        counts = await house.ledger.counts()
        async with asyncio.timeout(60):
            while counts.waiting or counts.running or counts.pending_deliveries:
                await asyncio.sleep(0.05)
                counts = await house.ledger.counts()
        for person in range(PEOPLE):
            seen = "\n".join(house.seen(f"chat {person}"))
            assert set(re.findall(r"secret-\d+", seen)) == {f"secret-{person}"}
    for draft in house.channel.previews:
        assert set(re.findall(r"\d+", draft.text)) <= set(re.findall(r"\d+", draft.conversation.chat_id))
    for request in engine.requests:
        assert len(set(re.findall(r"secret-\d+", str(request.messages)))) == 1
