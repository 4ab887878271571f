"""The house over several engines: on real ones behind its own fleet, and behind a router that picks by the session."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import cast

import aiohttp
from aiohttp import web

from core.client import OpenAIEngine
from core.config import DialogueSettings
from core.engine import Engine, EngineState
from core.engine_simulator import EngineSimulator
from core.rehearsal import Rehearsal, Scene
from core.simulated_reply import Behaviour
from core.types import MessageState, Sampling
from tests.core.fleet_stand import stand
from tests.fakes import CollectingChannel, FakeEngine, make_bot
from tests.rooms import rooms

HEADERS = ("X-Session-ID", "X-Request-Id")


def sits(engine: Engine) -> FakeEngine:
    """The rooms take any engine; only their own tests need the fake's controls."""
    return cast("FakeEngine", engine)


class Router:
    """What stands before a fleet: one address, and a backend for each X-Session-ID, as vllm-router's sticky policy."""

    def __init__(self, *backends: EngineSimulator) -> None:
        self._backends = backends
        self.picked: dict[str, list[int]] = {}  # session -> backends, oldest first
        self.calls: list[dict[str, str]] = []
        self.base_url = ""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Router]:
        app = web.Application()
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._pass_on)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        async with aiohttp.ClientSession() as self._http:
            try:
                yield self
            finally:
                await runner.cleanup()

    async def _models(self, _: web.Request) -> web.Response:
        async with self._http.get(f"{self._backends[0].base_url}/models") as answer:
            return web.Response(body=await answer.read(), content_type="application/json")

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        named = {name: request.headers.get(name, "") for name in HEADERS}
        self.calls.append(named)
        session = named["X-Session-ID"]
        number = sum(session.encode()) % len(self._backends)
        self.picked.setdefault(session, []).append(number)
        url, body = f"{self._backends[number].base_url}/chat/completions", await request.read()
        async with self._http.post(url, data=body, headers=named) as answer:
            response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type})
            await response.prepare(request)
            async for data in answer.content.iter_any():
                await response.write(data)
            return response


async def test_a_customer_of_a_dead_engine_is_answered_by_another_and_its_return_needs_nobody(tmp_path: Path) -> None:
    async with stand("a", "b", "c") as it, rooms(tmp_path, engine=sits(it.fleet)) as house:
        chats = [f"chat-{number}" for number in range(12)]
        for chat in chats:
            await house.say("Hello", chat=chat)
        await house.channel.delivered(12)
        first = {chat: house.seen(chat)[0] for chat in chats}
        assert set(first.values()) == {"I am a.", "I am b.", "I am c."}
        await it.servers["b"].stop()
        for chat in chats:
            await house.say("And now?", chat=chat)
        await house.channel.delivered(24)
        for chat in chats:
            second = house.seen(chat)[1]
            assert second != "I am b."
            assert second == first[chat] or first[chat] == "I am b."
        await it.back("b")
        for chat in chats:
            await house.say("And in the end?", chat=chat)
        await house.channel.delivered(36)
        assert {chat: house.seen(chat)[2] for chat in chats} == first
        assert all(len(house.seen(chat)) == 3 for chat in chats)


async def test_one_killed_under_a_turn_before_its_first_token_shows_its_user_one_answer(tmp_path: Path) -> None:
    channel = CollectingChannel()
    async with stand("a", "b") as it, rooms(tmp_path, engine=sits(it.fleet), channels=[channel]) as house:
        await house.say("Hello")
        await channel.delivered(1)
        mine = house.seen()[0]
        name, other = ("a", "b") if mine == "I am a." else ("b", "a")
        it.servers[name].behaviour = Behaviour(first_token_seconds=3600)
        await house.say("Are you there?", event="asked")
        async with asyncio.timeout(10):
            await it.servers[name].called(2)
        await it.servers[name].stop()
        await channel.delivered(2)
        assert house.seen() == [mine, f"I am {other}."]
        assert await house.ledger.state("web", "asked") is MessageState.ANSWERED
        assert [call.request_id[-4:] for call in it.servers[other].calls] == ["-1-1"]  # no attempt of the turn was lost


async def test_while_all_are_down_messages_wait_and_the_first_that_is_back_answers_them(tmp_path: Path) -> None:
    async with stand("a", "b") as it, rooms(tmp_path, engine=sits(it.fleet)) as house:
        for server in it.servers.values():
            await server.stop()
        await it.fleet.look()
        assert it.fleet.state is EngineState.RESTARTING
        await house.say("Hello", event="asked")
        house.runtime.look_again()
        assert await house.ledger.state("web", "asked") is MessageState.WAITING
        await it.servers["b"].start()
        await house.channel.delivered(1)
        assert house.seen() == ["I am b."]


async def test_through_a_router_every_call_says_whose_it_is_and_a_conversation_stays(tmp_path: Path) -> None:
    async with EngineSimulator() as one, EngineSimulator() as two, Router(one, two).open() as router:
        engine = OpenAIEngine(router.base_url)
        async with rooms(tmp_path, engine=sits(engine)) as house:
            for number in range(1, 4):
                for chat in ("first", "second", "third", "fourth"):
                    await house.say(f"Question {number}", chat=chat)
                await house.channel.delivered(number * 4)
            assert len(router.picked) == 4  # a session each
            assert all(len(picked) == 3 and len(set(picked)) == 1 for picked in router.picked.values())
            assert one.received and two.received

            asked = [{"role": "user", "content": "Hello"}]
            async with aclosing(house.house.converse("support", asked, Sampling(), "chatcmpl-7", "key")) as deltas:
                assert "".join([delta.text async for delta in deltas])
            assert router.calls[-1] == {"X-Session-ID": "chatcmpl-7", "X-Request-Id": "chatcmpl-7"}

            rehearsal = Rehearsal(engine, DialogueSettings(), house.clock)
            said: list[str] = []
            for number in range(3):
                rehearsed = rehearsal.begin(make_bot(), Scene(said, f"Try {number}"), "", f"try-{number}")
                async with aclosing(rehearsed.deltas) as deltas:
                    said += [rehearsed.user_text, "".join([delta.text async for delta in deltas])]
            tried = router.calls[-3:]
            assert [call["X-Request-Id"] for call in tried] == ["try-0", "try-1", "try-2"]
            assert len({call["X-Session-ID"] for call in tried}) == 1
            assert tried[0]["X-Session-ID"] not in {call["X-Session-ID"] for call in router.calls[:-3]}
        requests = [call["X-Request-Id"] for call in router.calls]
        assert len(set(requests)) == len(requests) == 16
        assert all(call["X-Session-ID"] for call in router.calls)
        assert all(call.body["stream_options"] == {"include_usage": True} for call in (*one.calls, *two.calls))
        await engine.close()
