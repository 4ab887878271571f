"""WeChat through the whole house, its ledger and its outbox: in time where it can be, and whole, once, in order."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from adapters.wechat.simulator import WeChatPlatform
from bench.stand import gateway
from bots.bot import load_all
from core.engine_simulator import EngineSimulator
from core.simulated_reply import Behaviour

HOME = Path(__file__).resolve().parents[2]
KEY = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
USER = "oSampleCustomer000000000001"
WORDS = [f"w{number}" for number in range(2500)]  # about 14,000 bytes: nine parts
pytestmark = pytest.mark.process


@asynccontextmanager
async def running(
    tmp_path: Path, text: str, *, verified: bool, patience: float = 5.0, **settings: str
) -> AsyncIterator[tuple[WeChatPlatform, EngineSimulator]]:
    """A gateway process between WeChat and an engine that always says the same."""
    behaviour = Behaviour(reply=lambda _body: text, tokens_per_second=1e6, first_token_seconds=0.0)
    async with (
        WeChatPlatform(token="test-token", aes_key=KEY, verified=verified, patience=patience) as wechat,
        EngineSimulator(behaviour=behaviour) as engine,
    ):
        given = {
            "WECHAT_TOKEN": "test-token",
            "WECHAT_AES_KEY": KEY,
            "WECHAT_APP_SECRET": "sample-app-secret",
            "FRONTDESK__CHANNELS__WECHAT__APP_ID": "wx0123456789abcdef",
            "FRONTDESK__CHANNELS__WECHAT__API_BASE_URL": wechat.base_url,
            "FRONTDESK__CHANNELS__WECHAT__VERIFIED": str(verified).lower(),
            "FRONTDESK__ENGINE__BASE_URL": engine.base_url,
            **settings,
        }
        async with gateway(HOME, tmp_path, given) as house:
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


async def test_without_verification_answers_at_3_6_8_and_14_seconds_reach_their_users(tmp_path: Path) -> None:
    # All times are two fifths of the real ones: WeChat closes a try at 2 s, and ours of 4.6 s is 1.84 s.
    paces = {
        "FRONTDESK__CHANNELS__WECHAT__ANSWER_SECONDS": "1.84",
        "FRONTDESK__CHANNELS__WECHAT__HOLD_SECONDS": "2.2",
        "FRONTDESK__DIALOGUE__MERGE_SECONDS": "0",
    }
    async with running(tmp_path, "", verified=False, patience=2.0, **paces) as (wechat, engine):
        said = []
        for number, seconds in enumerate((3.0, 6.0, 8.0, 14.0)):
            answer = Behaviour(reply=partial(str.format, "Answer {0}", number), first_token_seconds=seconds * 0.4)
            engine.script.append(answer)
            said.append(asyncio.create_task(wechat.user_says(f"oSampleCustomer00000000000{number}", "Hello")))
            await engine.called(number + 1)  # so that each has its own pace
        assert await asyncio.gather(*said) == [f"Answer {number}" for number in range(4)]
        assert not wechat.malformed


async def test_a_reply_without_the_time_to_be_whole_is_brief_and_a_tap_goes_on_with_it(tmp_path: Path) -> None:
    async with running(tmp_path, "", verified=False) as (wechat, engine):
        # Ten words a second: about 120 in the time of the three tries.
        engine.behaviour = Behaviour(reply=lambda _: " ".join(WORDS[:10]), pieces=10, tokens_per_second=10)
        await wechat.user_says(USER, "Hello")
        engine.behaviour = Behaviour(reply=lambda _: " ".join(WORDS[:400]), pieces=400)
        shown = await wechat.user_says(USER, "Tell me everything")
        begun = words([shown])[:-1]  # the last one may be cut, too
        assert begun == WORDS[: len(begun)]
        assert 8 < len(begun) < 200
        assert "bizmsgmenu" in shown
        engine.behaviour = Behaviour(reply=lambda _: " ".join(WORDS[len(begun) : len(begun) + 20]))
        assert words([await wechat.user_taps(USER)]) == WORDS[len(begun) : len(begun) + 20]
        words_of_ours = load_all(HOME / "bots")["support"].bot.phrase("go_on", "zh")
        told = [str(call.body["messages"]) for call in engine.calls]
        assert [words_of_ours in text for text in told] == [False, False, True]
        assert not wechat.malformed


async def test_who_unsubscribes_ends_the_reply_down_to_the_engine(tmp_path: Path) -> None:
    async with running(tmp_path, "", verified=False) as (wechat, engine):
        engine.behaviour = Behaviour(reply=lambda _: " ".join(WORDS), pieces=400, tokens_per_second=5)
        said = asyncio.create_task(wechat.user_says(USER, "Tell me everything"))
        await engine.called(1)
        assert await wechat.event(USER, "unsubscribe") == ""
        await engine.aborted(engine.calls[0].request_id)  # by itself it would end in a minute
        assert await said == ""
        assert not wechat.answers(USER)
