"""Several engines are one: whose a conversation is, what they are together, and that a lost engine loses no answer."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.engine import Engine, EngineState
from core.errors import EngineRefused, EngineUnavailable
from core.fleet import Fleet, ranked
from core.simulated_reply import Behaviour, Fault
from core.types import Delta
from tests.core.fleet_stand import ask, say, stand
from tests.fakes import FakeEngine

NAMES = st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=8, unique=True)
SESSIONS = st.lists(st.text(max_size=20), min_size=1, max_size=20)


# Whose a conversation is


@given(NAMES, st.text(min_size=1, max_size=20), SESSIONS)
def test_one_more_or_one_less_moves_only_its_own_conversations(
    names: Sequence[str], other: str, sessions: Sequence[str]
) -> None:
    with_it = [*(name for name in names if name != other), other]
    without = with_it[:-1]
    for session in sessions:
        order = ranked(with_it, session)
        assert sorted(order) == sorted(with_it)
        assert ranked(without, session) == [name for name in order if name != other]
        assert ranked(reversed(with_it), session) == order  # whatever the order in the settings


def test_conversations_are_spread_evenly() -> None:
    shares = Counter(ranked(["a", "b", "c"], f"session-{number}")[0] for number in range(3000))
    assert all(900 < share < 1100 for share in shares.values())


async def test_a_conversation_stays_with_its_engine() -> None:
    async with stand("a", "b", "c") as it:
        for session in (f"session-{number}" for number in range(20)):
            assert await say(it.fleet, ask(session)) == await say(it.fleet, ask(session)) == f"I am {it.home(session)}."
        for request in (f"r-{number}" for number in range(10)):  # of no conversation
            assert await say(it.fleet, ask("", request=request)) == f"I am {it.home(request)}."


# What they are together


async def test_it_is_what_the_best_of_them_is() -> None:
    one, two = FakeEngine(context_tokens=4096), FakeEngine(context_tokens=8192)
    fleet: Engine = Fleet({"one": one, "two": two})
    two.model, two.models = "other", ("fake-adapter", "other", "fake-model")
    assert (fleet.state, fleet.detail) == (EngineState.READY, "2 of 2 ready")
    assert (fleet.model, fleet.models) == ("fake-model", ("fake-model", "fake-adapter"))
    assert fleet.context_tokens == 4096
    one.switch(EngineState.FAILED, "one: HTTP 401")
    assert (fleet.state, fleet.detail) == (EngineState.READY, "1 of 2 ready: one: HTTP 401")
    two.switch(EngineState.RESTARTING, "two refused the connection")
    assert str(fleet.state) == "restarting"
    assert fleet.detail == "0 of 2 ready: one: HTTP 401; two refused the connection"
    two.switch(EngineState.STARTING)
    assert str(fleet.state) == "starting"
    await fleet.close()
    assert str(fleet.state) == "stopped"


async def test_what_is_not_known_yet_limits_nothing() -> None:
    known, unknown = FakeEngine(context_tokens=4096), FakeEngine(context_tokens=0)
    unknown.model, unknown.models = "", ()
    fleet = Fleet({"unknown": unknown, "known": known})
    assert (fleet.model, fleet.models) == ("fake-model", ("fake-model", "fake-adapter"))
    assert fleet.context_tokens == 4096
    known.model, known.models, known.context_tokens = "", (), 0
    assert (fleet.model, fleet.models, fleet.context_tokens) == ("", (), 0)


async def test_one_that_is_ready_is_enough() -> None:
    slow, quick = FakeEngine(), FakeEngine()
    slow.switch(EngineState.STARTING)
    quick.switch(EngineState.STARTING)
    fleet = Fleet({"slow": slow, "quick": quick})
    waiting = [asyncio.create_task(fleet.wait_ready()) for _ in range(3)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    quick.switch(EngineState.READY)
    async with asyncio.timeout(10):
        await asyncio.gather(*waiting)
    await fleet.look()
    assert (slow.looks, quick.looks) == (1, 1)
    await fleet.close()
    with pytest.raises(EngineUnavailable, match="closed"):
        await fleet.wait_ready()


async def test_who_waits_for_engines_that_never_come_is_let_go_by_closing() -> None:
    async with stand("a", "b") as it:
        for server in it.servers.values():
            await server.stop()
        await it.fleet.look()
        waiting = asyncio.create_task(it.fleet.wait_ready())
        await asyncio.sleep(0)
        await it.fleet.close()
        async with asyncio.timeout(10):
            with pytest.raises(EngineUnavailable, match="closed"):
                await waiting
        assert it.fleet.state is EngineState.STOPPED


# A lost engine


async def test_when_one_dies_the_others_answer_and_only_its_own_conversations_move_and_come_back() -> None:
    async with stand("a", "b", "c") as it:
        own = it.sessions("b", 5)
        others = [*it.sessions("a", 5), *it.sessions("c", 5)]
        await it.servers["b"].stop()
        for session in own:
            second = ranked(it.servers, session)[1]
            assert await say(it.fleet, ask(session)) == f"I am {second}."
        assert it.fleet.state is EngineState.READY
        assert it.fleet.detail.startswith("2 of 3 ready: http://127.0.0.1:")
        assert "refused the connection" in it.fleet.detail
        for session in others:
            assert await say(it.fleet, ask(session)) == f"I am {it.home(session)}."
        await it.back("b")
        for session in (*own, *others):
            assert await say(it.fleet, ask(session)) == f"I am {it.home(session)}."


@pytest.mark.parametrize("fault", [Fault.RESET, Fault.FAILED, Fault.BUSY, Fault.LOADING])
async def test_what_fails_before_its_first_delta_is_asked_elsewhere_once(fault: Fault) -> None:
    async with stand("a", "b", "c") as it:
        (session,) = it.sessions("a", 1)
        it.servers["a"].script.append(Behaviour(fault=fault))
        assert await say(it.fleet, ask(session)) == f"I am {ranked(it.servers, session)[1]}."
        assert sum(server.received for server in it.servers.values()) == 2


async def test_one_killed_between_the_call_and_its_first_token_costs_its_user_nothing() -> None:
    async with stand("a", "b") as it:
        (session,) = it.sessions("a", 1)
        it.servers["a"].behaviour = Behaviour(first_token_seconds=3600)
        answer = asyncio.create_task(say(it.fleet, ask(session, request="turn-1")))
        async with asyncio.timeout(10):
            await it.servers["a"].called(1)
            await it.servers["a"].stop()
            assert await answer == "I am b."
        assert [call.request_id for call in it.servers["b"].calls] == ["turn-1"]


@pytest.mark.parametrize("fault", [Fault.CUT, Fault.ERROR_EVENT])
async def test_after_the_first_delta_the_error_is_the_callers(fault: Fault) -> None:
    async with stand("a", "b") as it:
        (session,) = it.sessions("a", 1)
        it.servers["a"].script.append(Behaviour(fault=fault, fault_after=2, reply=lambda _: "word " * 20))
        deltas: list[Delta] = []

        async def read() -> None:
            async for delta in it.fleet.stream(ask(session)):
                deltas.append(delta)  # noqa: PERF401  # what came before the error is wanted

        with pytest.raises(EngineUnavailable):
            await read()
        assert deltas
        assert it.servers["b"].received == 0


async def test_a_refusal_is_not_carried_around() -> None:
    async with stand("a", "b") as it:
        (session,) = it.sessions("a", 1)
        it.servers["a"].script.append(Behaviour(fault=Fault.TOO_LONG))
        with pytest.raises(EngineRefused):
            await say(it.fleet, ask(session))
        assert it.servers["b"].received == 0


async def test_when_all_fail_each_was_asked_once_and_the_last_error_is_told() -> None:
    async with stand("a", "b", "c") as it:
        for server in it.servers.values():
            server.behaviour = Behaviour(fault=Fault.BUSY)
        with pytest.raises(EngineUnavailable, match="busy"):
            await say(it.fleet, ask("session"))
        assert [server.received for server in it.servers.values()] == [1, 1, 1]


async def test_all_down_is_said_and_one_that_is_back_is_found_by_the_next_call() -> None:
    async with stand("a", "b", ready=False) as it:
        assert (await say(it.fleet, ask("session"))).startswith("I am ")  # nobody had asked them yet
        for server in it.servers.values():
            await server.stop()
        with pytest.raises(EngineUnavailable):
            await say(it.fleet, ask("session"))
        with pytest.raises(EngineUnavailable, match=r"0 of 2 ready: .*refused the connection.*; .*refused"):
            await say(it.fleet, ask("session"))
        assert it.fleet.state is EngineState.RESTARTING
        await it.servers["b"].start()
        assert await say(it.fleet, ask("session")) == "I am b."


async def test_closing_the_stream_stops_the_generation_where_it_runs() -> None:
    async with stand("a", "b") as it:
        (session,) = it.sessions("b", 1)
        it.servers["b"].behaviour = Behaviour(tokens_per_second=50, reply=lambda _: "word " * 2000, pieces=2000)
        deltas = it.fleet.stream(ask(session, request="r-closed"))
        assert (await anext(deltas)).text
        await deltas.aclose()
        async with asyncio.timeout(10):
            await it.servers["b"].aborted("r-closed")


def test_a_fleet_is_somebody() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Fleet({})
