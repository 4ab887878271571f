"""A clock that is set shuts nobody out of the web chat, and lets nobody past the limit."""

from __future__ import annotations

import uuid

import pytest

from adapters.web.settings import Settings
from tests.adapters.web_house import House, served, visitor

HOUR = 3600.0


@pytest.mark.parametrize("jump", [-10 * HOUR, 10 * HOUR])
async def test_a_clock_that_jumps_changes_nothing_about_the_limit(jump: float) -> None:
    async with served(House(), Settings(messages_per_minute_per_ip=3)) as site, visitor(site) as client:
        for _ in range(2):
            assert (await client.post("hello", str(uuid.uuid4())))[0] == 202
        site.set_by += jump
        assert (await client.post("hello", str(uuid.uuid4())))[0] == 202
        assert (await client.post("hello", str(uuid.uuid4())))[0] == 429
        site.now += 20.0
        assert (await client.post("hello", str(uuid.uuid4())))[0] == 202
