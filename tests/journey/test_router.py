"""The house behind the real vllm-router: conversations keep their engine, nothing is held up, and no answer is lost."""

from __future__ import annotations

import asyncio
import os
import platform
import re
import sys
from pathlib import Path

import aiohttp
import pytest
from pydantic import SecretStr

from bench.drivers import Api, Telegram
from bench.stand import free_port, gateway
from bots.bot import load
from core.client import OpenAIEngine
from core.engine import EngineState
from core.engine_metrics import gather
from core.simulated_reply import Behaviour, Fault
from tests.core.fleet_stand import ask, say
from tests.journey.router_house import (
    ENGINE_KEY,
    HOME,
    PATIENCE,
    aborted,
    answered,
    engines,
    router,
    settings_for,
    stand,
    until_ready,
)

pytestmark = pytest.mark.process
KEY = {"Authorization": f"Bearer {Api.key}"}
LONG = " ".join(f"word-{number}" for number in range(400))


@pytest.fixture(scope="module")
def program() -> Path:
    """The router's. Without it a journey is skipped, but fails where CI is set and there is one for this machine."""
    found = Path(sys.executable).with_name("vllm-router")
    if not found.exists():
        words = "vllm-router is not installed: run `make setup` (there is one for Linux on x86-64)"
        if os.environ.get("CI") and (sys.platform, platform.machine()) == ("linux", "x86_64"):
            pytest.fail(words)
        pytest.skip(words)
    return found


async def test_a_conversation_stays_with_one_engine_and_all_spread_over_both(program: Path, tmp_path: Path) -> None:
    users = range(1, 25)
    async with Telegram() as telegram, stand(program, tmp_path, telegram) as it:
        for turn in range(1, 4):
            for user in users:
                await telegram.say(user, f"Question {turn}")
            await answered(telegram, turn, *users)
        said = [set(telegram.seen(user)) for user in users]
        assert all(len(names) == 1 for names in said)
        assert set.union(*said) == {"I am one.", "I am two."}
        calls = [*it.one.calls, *it.two.calls]
        sessions = [{call.session_id for call in engine.calls} for engine in (it.one, it.two)]
        assert not sessions[0] & sessions[1]
        assert len(sessions[0] | sessions[1]) == len(users)
        # One call a turn, and what the house says of it arrives: nobody between changes a name.
        assert sorted(call.request_id for call in calls) == sorted(f"turn-{turn}-1-1" for turn in range(1, 73))
        assert {call.authorization for call in calls} == {f"Bearer {ENGINE_KEY}"}
        assert {call.body["priority"] for call in calls} == {0}
        assert len({call.body["cache_salt"] for call in calls}) == 1
        assert all(call.body["stream_options"] == {"include_usage": True} for call in calls)
        log = (tmp_path / "router.log").read_text()
        assert all(session in log for session in sessions[0])  # an opaque hash
        assert "Question" not in log


async def test_text_comes_through_while_the_engine_still_writes(program: Path, tmp_path: Path) -> None:
    body = {"model": "support", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
    async with Api() as api, stand(program, tmp_path, api) as it:
        # "I am" and not a letter more, for as long as the connection is held.
        for engine in (it.one, it.two):
            engine.behaviour = Behaviour(reply=lambda _: "I am one.", pieces=9, fault=Fault.SILENCE, fault_after=4)
        url = f"{it.house.address}/v1/chat/completions"
        async with aiohttp.ClientSession(headers=KEY) as http, http.post(url, json=body) as answer:
            text = ""
            async with asyncio.timeout(PATIENCE):
                while text != "I am":
                    line = (await answer.content.readline()).decode()
                    text += "".join(re.findall(r'"content":"(.*?)"', line))
            assert (it.one.received + it.two.received, it.one.answered + it.two.answered) == (1, 0)


async def test_a_hang_up_and_a_stop_reach_the_engine(program: Path, tmp_path: Path) -> None:
    """With its next token: the router looks at the caller only when it has something for them."""
    body = {"model": "support", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
    async with Telegram() as telegram, stand(program, tmp_path, telegram) as it:
        for engine in (it.one, it.two):
            engine.behaviour = Behaviour(reply=lambda _: LONG, pieces=400, tokens_per_second=20.0)
        url = f"{it.house.address}/v1/chat/completions"
        headers = {"Authorization": "Bearer benchmark"}
        async with aiohttp.ClientSession(headers=headers) as http, http.post(url, json=body) as answer:
            await answer.content.readline()
            answer.close()
        await aborted(it)
        await telegram.say(1, "Tell me everything")
        await telegram.simulator.until(lambda: "word-0" in "".join(telegram.seen(1)), seconds=PATIENCE)
        await telegram.say(1, "/stop")
        await aborted(it)
        assert it.one.answered + it.two.answered == 0


async def test_one_killed_before_its_first_token_costs_its_customer_nothing(program: Path, tmp_path: Path) -> None:
    async with Telegram() as telegram, stand(program, tmp_path, telegram) as it:
        await telegram.say(1, "Hello")
        await answered(telegram, 1, 1)
        mine, other = it.named(telegram.seen(1)[0])
        mine.behaviour, speaks = Behaviour(fault=Fault.HANG), mine.behaviour
        await telegram.say(1, "Are you there?")
        async with asyncio.timeout(PATIENCE):
            await mine.called(2)
        await mine.stop()
        await answered(telegram, 2, 1)
        # The router's own second try, of the same call: no attempt of the turn was lost.
        assert [call.request_id for call in other.calls] == ["turn-2-1-1"]
        await until_ready(it.house)
        mine.behaviour = speaks
        await mine.start()
        count = 2
        async with asyncio.timeout(PATIENCE):
            while telegram.seen(1)[-1] != telegram.seen(1)[0]:  # until its engine has it again, by itself
                count += 1
                await telegram.say(1, "And now?")
                await answered(telegram, count, 1)


async def test_one_killed_in_the_middle_of_a_reply_leaves_what_was_shown(program: Path, tmp_path: Path) -> None:
    mark = load(HOME / "bots" / "support").phrase("cut_mark", "en")
    async with Telegram() as telegram, stand(program, tmp_path, telegram) as it:
        for engine in (it.one, it.two):
            engine.behaviour = Behaviour(reply=lambda _: LONG, pieces=400, tokens_per_second=20.0)
        await telegram.say(1, "Tell me everything")
        # Changed once already: so the house knows that it is shown.
        await telegram.simulator.until(lambda: "word-15 " in "".join(telegram.seen(1)), seconds=PATIENCE)
        mine, other = (it.one, it.two) if it.one.received else (it.two, it.one)
        await mine.stop()
        await telegram.simulator.until(lambda: mark in "".join(telegram.seen(1)), seconds=PATIENCE)
        assert len(telegram.seen(1)) == 1
        assert telegram.seen(1)[0].startswith("word-0")
        assert (mine.received, other.received) == (1, 0)


async def test_with_all_of_them_gone_messages_wait_and_none_is_lost(program: Path, tmp_path: Path) -> None:
    async with Telegram() as telegram, stand(program, tmp_path, telegram) as it:
        await it.one.stop()
        await it.two.stop()
        await telegram.say(1, "Anybody there?")
        await until_ready(it.house, yes=False)
        await telegram.say(2, "Hello?")
        await telegram.simulator.until(lambda: not telegram.under_way(), seconds=PATIENCE)  # taken all the same
        assert telegram.seen(1) == telegram.seen(2) == []
        await it.one.start()
        await it.two.start()
        await answered(telegram, 1, 1, 2)
        assert it.one.answered + it.two.answered >= 2
        await until_ready(it.house)


async def test_a_router_that_starts_again_is_found_again(program: Path, tmp_path: Path) -> None:
    port = free_port()
    async with Telegram() as telegram, engines() as (one, two):
        urls = (one.base_url, two.base_url)
        settings = settings_for(telegram, f"http://127.0.0.1:{port}/v1")
        async with gateway(HOME, tmp_path, settings) as house:  # before there is one
            telegram.meet(house.address)
            await telegram.say(1, "Good morning")
            async with router(program, tmp_path, *urls, port=port):
                await answered(telegram, 1, 1)
            await telegram.say(1, "Are you still there?")
            await telegram.simulator.until(lambda: not telegram.under_way(), seconds=PATIENCE)
            assert len(telegram.seen(1)) == 1
            async with router(program, tmp_path, *urls, port=port):
                await answered(telegram, 2, 1)
                assert len(set(telegram.seen(1))) == 1  # the hash is of addresses, and outlives it


async def test_either_may_go_and_the_house_is_ready(program: Path, tmp_path: Path) -> None:
    """The router asks always the same engine for the list of models, and answers 500 while that one is away."""
    async with engines() as (one, two), router(program, tmp_path, one.base_url, two.base_url) as front:
        client = OpenAIEngine(front.base_url, api_key=SecretStr(ENGINE_KEY), pauses=(0.02,))
        await client.wait_ready()
        asked = []
        for gone, other in ((one, two), (two, one)):
            before = other.answered
            await gone.stop()
            async with (
                aiohttp.ClientSession(headers={"Authorization": f"Bearer {ENGINE_KEY}"}) as http,
                http.get(f"{front.base_url}/models") as answer,
            ):
                asked.append(answer.status)
            await client.look()
            assert client.state is EngineState.READY
            assert other.answered == before + (asked[-1] == 500)  # one token, where the list is no proof
            await gone.start()
            back = gone.behaviour.reply({})
            async with asyncio.timeout(PATIENCE):
                said = {await say(client, ask(f"session-{number}")) for number in range(20)}
                while back not in said:
                    await asyncio.sleep(0.05)
                    said = {await say(client, ask(f"session-{number}")) for number in range(20)}
        assert sorted(asked) == [200, 500]
        await client.close()


async def test_what_the_house_tells_of_a_router(program: Path, tmp_path: Path) -> None:
    async with Api() as api, stand(program, tmp_path, api) as it, aiohttp.ClientSession() as http:
        async with http.get(f"{it.house.address}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        assert f'frontdesk_engine_ready{{engine="{it.router.base_url}"}} 1' in lines
        assert 'vllm:num_requests_running{engine="0"} 0' in lines  # of the one engine that the router asks
        async with http.get(it.router.metrics_url) as answer:
            page = await answer.read()
        # Its own have no namespace: should it serve them in place of the engine's one day, none gets among ours.
        assert b"vllm_router_" in page
        assert gather({"router": page}) == b""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(HOME / "main.py"), "check"),
            stdout=asyncio.subprocess.PIPE,
            env=os.environ
            | settings_for(api, it.router.base_url)
            | {
                "FRONTDESK__ENGINE__MODE": "remote",
                "FRONTDESK__LEDGER__URL": f"sqlite:///{tmp_path / 'other.db'}",
                "FRONTDESK__SERVER__PORT": str(free_port()),
                "COLUMNS": "200",
            },
        )
        printed, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
        assert re.search(
            rf"^ok +engine +{re.escape(it.router.base_url)} serves simulated", printed.decode(), re.MULTILINE
        )


@pytest.mark.engine
async def test_the_real_vllm_behind_it(program: Path, vllm: str, tmp_path: Path) -> None:
    """It takes what the router makes of a call (more fields in the body), and finds the prefix of the turn before."""
    async with Api() as api, router(program, tmp_path, vllm) as front:
        settings = api.settings() | {"FRONTDESK__ENGINE__BASE_URL": front.base_url}
        async with gateway(HOME, tmp_path, settings) as house, aiohttp.ClientSession(headers=KEY) as http:
            await until_ready(house)
            usages = []
            for text in ("What is your name?", "Do you sell shoes?"):
                async with http.post(f"{house.address}/ask", json={"text": text, "conversation": "c"}) as answer:
                    task = (await answer.json())["task_id"]
                async with http.get(f"{house.address}/result/{task}?wait=60") as answer:
                    usages.append((await answer.json())["usage"])
            cached = usages[1]["prompt_tokens_details"]["cached_tokens"]
            assert cached >= usages[0]["prompt_tokens"] - 32, usages  # all but the last, unfinished block
            async with http.get(f"{house.address}/metrics") as answer:
                assert "vllm:prompt_tokens_total{" in await answer.text()
