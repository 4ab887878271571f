"""WeChat through the whole house, its ledger and its outbox: what exceeds the count arrives whole, once, in order."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from adapters.wechat.simulator import WeChatPlatform
from bench.stand import gateway
from core.engine_simulator import EngineSimulator
from core.simulated_reply import Behaviour

HOME = Path(__file__).resolve().parents[2]
KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
USER = "oSampleCustomer000000000001"
WORDS = [f"w{number}" for number in range(2500)]  # about 14,000 bytes: nine parts
pytestmark = pytest.mark.process


@asynccontextmanager
async def running(
    tmp_path: Path, text: str, *, verified: bool
) -> AsyncIterator[tuple[WeChatPlatform, EngineSimulator]]:
    """A gateway process between WeChat and an engine that always says the same."""
    behaviour = Behaviour(reply=lambda _body: text, tokens_per_second=1e6, first_token_seconds=0.0)
    async with (
        WeChatPlatform(token="test-token", aes_key=KEY, verified=verified) as wechat,
        EngineSimulator(behaviour=behaviour) as engine,
    ):
        settings = {
            "WECHAT_TOKEN": "test-token",
            "WECHAT_AES_KEY": KEY,
            "WECHAT_APP_SECRET": "sample-app-secret",
            "FRONTDESK__CHANNELS__WECHAT__APP_ID": "wx0123456789abcdef",
            "FRONTDESK__CHANNELS__WECHAT__API_BASE_URL": wechat.base_url,
            "FRONTDESK__CHANNELS__WECHAT__VERIFIED": str(verified).lower(),
            "FRONTDESK__ENGINE__BASE_URL": engine.base_url,
        }
        async with gateway(HOME, tmp_path, settings) as house:
            wechat.webhook = f"{house.address}/wechat"
            async with asyncio.timeout(20):
                yield wechat, engine


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.02)


def words(shown: list[str]) -> list[str]:
    return re.findall(r"w\d+", " ".join(re.sub(r"<a href.*?</a>", "", text) for text in shown))


@pytest.mark.parametrize("verified", [True, False])
async def test_a_long_answer_arrives_whole_by_messages_and_taps(tmp_path: Path, verified: bool) -> None:
    async with running(tmp_path, " ".join(WORDS), verified=verified) as (wechat, engine):
        await wechat.user_says(USER, "Tell me everything")
        await until(lambda: len(wechat.answers(USER)) == (5 if verified else 1))
        while len(words(wechat.answers(USER))) < len(WORDS):
            await wechat.user_taps(USER)  # says nothing while the outbox may be about to send
            await asyncio.sleep(0.05)
        assert words(wechat.answers(USER)) == WORDS
        assert len(engine.calls) == 1
        assert not wechat.malformed


async def test_what_waits_comes_before_the_next_answer(tmp_path: Path) -> None:
    async with running(tmp_path, " ".join(WORDS[:1800]), verified=True) as (wechat, engine):
        await wechat.user_says(USER, "Tell me everything")
        await until(lambda: len(wechat.answers(USER)) == 5)
        await wechat.user_says(USER, "Once more")
        await until(lambda: len(engine.calls) == 2 and len(words(wechat.answers(USER))) >= 2 * 1800 - 600)
        seen = words(wechat.answers(USER))
        assert seen[:1800] == WORDS[:1800]
        assert seen[1800:] == WORDS[: len(seen) - 1800]
