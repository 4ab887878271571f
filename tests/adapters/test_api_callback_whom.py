"""Which calls an end makes: one for each question it answers, none for what is no end, each once."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from core.config import DialogueSettings, ThrottleSettings
from core.ledger import office
from core.ledger.erasure import erase
from core.ledger.writer import sqlite3
from tests.adapters.api_house import KEY, Receiver, api, ask, result
from tests.adapters.test_api_callback import Sent, again, allowed, sent
from tests.fakes import FakeClock, FakeEngine

TIGHT = ThrottleSettings(messages_per_minute=6, burst=1, tokens_per_day=0, requests_per_minute_per_ip=1000)


async def test_all_questions_that_share_an_answer_are_called_back_once(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.enqueue(["The first."])
    engine.enqueue(["The others."])
    async with Receiver().listening() as receiver, api(tmp_path, engine, callbacks=allowed(receiver)) as (house, http):
        engine.hold()
        tasks = [await ask(http, "0", conversation="c", callback_url=receiver.url("/0"))]
        await engine.called(1)
        tasks += [await ask(http, path, conversation="c", callback_url=receiver.url(path)) for path in ("/1", "/2")]
        await ask(http, "/help", conversation="c", callback_url=receiver.url("/help"))
        last = await ask(http, "3", conversation="c")
        engine.resume()
        await result(http, last)
        await house.until(lambda: {one.state for one in sent(tmp_path)} == {"sent"} and len(sent(tmp_path)) == 3)
    called = {call.path: (call.data["task_id"], call.data["answer"]) for call in receiver.calls}
    assert called.pop("/help")[1] == "[help en]"
    assert called == {
        "/0": (tasks[0], "The first."),
        "/1": (tasks[1], "The others."),
        "/2": (tasks[2], "The others."),
    }
    assert len(receiver.calls) == 4
    assert len({call.id for call in receiver.calls}) == 4


async def test_a_call_that_is_over_is_not_made_again_for_another_ones_sake(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with (
        Receiver().listening() as well,
        Receiver().listening() as gone,
        Receiver().listening() as ill,
        api(tmp_path, engine, callbacks=allowed(well, gone, ill)) as (house, http),
    ):
        ill.answers.extend([503, 503])
        gone.answers.append(410)
        engine.hold()
        await ask(http, "first", conversation="c")
        await engine.called(1)
        for receiver in (well, ill, gone):
            await ask(http, "Hello", conversation="c", callback_url=receiver.url())
        engine.resume()
        for _ in range(2):
            await again(house, tmp_path, 60)
        await house.until(lambda: sent(tmp_path)[1].state == "failed")
        assert sent(tmp_path)[1].reason == f"{gone.host}: HTTP 410"
    assert (len(well.calls), len(gone.calls), len(ill.calls)) == (1, 1, 3)


async def test_what_was_given_up_is_called_anew_when_the_operator_says_so(tmp_path: Path) -> None:
    engine = FakeEngine()
    async with (
        Receiver().listening() as gone,
        Receiver().listening() as ill,
        api(tmp_path, engine, callbacks=allowed(gone, ill)) as (house, http),
    ):
        gone.answers.append(410)
        ill.answers.extend([503, 503])
        engine.hold()
        await ask(http, "first", conversation="c")
        await engine.called(1)
        for receiver in (gone, ill):
            await ask(http, "Hello", conversation="c", callback_url=receiver.url())
        engine.resume()
        await house.until(lambda: len(sent(tmp_path)) == 2 and "503" in sent(tmp_path)[1].reason)
        with office.opened(tmp_path / "ledger.db") as ledger:
            ledger.execute("UPDATE deliveries SET attempts = 1499 WHERE id = 2")
            await again(house, tmp_path, 60)
            await house.until(lambda: sent(tmp_path)[1].state == "failed")
            assert (len(gone.calls), len(ill.calls)) == (1, 2)
            assert office.retry(ledger, ["d2"], house.clock()) == ["d2"]
        house.runtime.look_again()
        await house.until(lambda: sent(tmp_path)[1].state == "sent")
    assert (len(gone.calls), len(ill.calls)) == (2, 3)


async def test_a_place_in_line_is_no_end(tmp_path: Path) -> None:
    engine = FakeEngine()
    settings = DialogueSettings(merge_seconds=0, merge_cap_seconds=0, busy_after=1)
    engine.hold()
    async with (
        Receiver().listening() as receiver,
        api(tmp_path, engine, callbacks=allowed(receiver), settings=settings, concurrency=1) as (house, http),
    ):
        for number in range(3):
            await ask(http, str(number), conversation=str(number), callback_url=receiver.url(f"/{number}"))
        await house.until(lambda: any("busy" in text for text in notices(tmp_path)))
        await house.until(lambda: all(one.state == "sent" for one in sent(tmp_path)))
        assert not receiver.calls
        engine.resume()
        await house.until(lambda: len(receiver.calls) == 3)
    assert {call.data["kind"] for call in receiver.calls} == {"answer"}


def notices(folder: Path) -> list[str]:
    with closing(sqlite3.connect(f"file:{folder / 'ledger.db'}?mode=ro", uri=True)) as connection:
        return [text for (text,) in connection.execute("SELECT text FROM deliveries WHERE kind = 'notice'")]


async def test_a_call_that_was_refused_for_its_user_has_no_end(tmp_path: Path) -> None:
    async with (
        Receiver().listening() as receiver,
        api(tmp_path, FakeEngine(), TIGHT, callbacks=allowed(receiver)) as (house, http),
    ):
        await ask(http, "one", user="u", callback_url=receiver.url("/one"))
        body = {"text": "two", "user": "u", "callback_url": receiver.url("/two")}
        assert (await http.post("/ask", json=body, headers=KEY)).status == 429
        await house.until(lambda: [one.state for one in sent(tmp_path)] == ["sent", "sent"])
    assert [call.path for call in receiver.calls] == ["/one"]


async def test_who_stops_a_reply_before_its_first_word_is_not_called(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.hold()
    async with Receiver().listening() as receiver, api(tmp_path, engine, callbacks=allowed(receiver)) as (house, http):
        task = await ask(http, "Hello", conversation="c", callback_url=receiver.url("/stopped"))
        await engine.called(1)
        await ask(http, "/stop", conversation="c", callback_url=receiver.url("/stop"))
        ended = await result(http, task)
        assert (ended["status"], ended["answer"]) == ("answered", "")
        engine.resume()
        await ask(http, "And now?", conversation="c", callback_url=receiver.url("/next"))
        await house.until(lambda: len(receiver.calls) == 2)
        await house.until(lambda: [one.state for one in sent(tmp_path)] == ["sent", "sent"])
    assert [call.path for call in receiver.calls] == ["/stop", "/next"]


async def test_a_second_end_is_news_and_has_an_id_of_its_own(tmp_path: Path) -> None:
    """What failed too often was apologised for; asked anew by the operator, it gets its answer."""
    engine = FakeEngine()
    engine.enqueue(["At first."])
    async with Receiver().listening() as receiver, api(tmp_path, engine, callbacks=allowed(receiver)) as (house, http):
        task = await ask(http, "Hello", callback_url=receiver.url())
        await house.until(lambda: bool(sent(tmp_path)) and sent(tmp_path)[0].state == "sent")
        with office.opened(tmp_path / "ledger.db") as ledger:
            ledger.execute("UPDATE messages SET state = 'set_aside'")
            assert office.retry(ledger, ["m1"], house.clock()) == ["m1"]
        house.runtime.look_again()
        await house.until(lambda: len(receiver.calls) == 2)
    first, second = receiver.calls
    assert (first.data["answer"], second.data["answer"]) == ("At first.", "Certainly.")
    assert first.data["task_id"] == second.data["task_id"] == task
    assert first.id != second.id


@pytest.mark.parametrize("listed", [{}, {"callback_hosts": ["other.example"]}])
async def test_who_is_not_listed_any_more_is_not_called(tmp_path: Path, listed: dict[str, object]) -> None:
    clock = FakeClock()
    async with Receiver().listening() as receiver:
        receiver.answers.append(503)
        async with api(tmp_path, FakeEngine(), clock=clock, callbacks=allowed(receiver)) as (house, http):
            await ask(http, "Hello", callback_url=receiver.url())
            await house.until(lambda: bool(sent(tmp_path)) and bool(sent(tmp_path)[0].reason))
        clock.advance(60)
        now = allowed(receiver) | listed if listed else None
        async with api(tmp_path, FakeEngine(), clock=clock, callbacks=now) as (house, _):
            await house.until(lambda: sent(tmp_path)[0].state == "failed")
    assert sent(tmp_path)[0].reason == f"{receiver.host} is not in api.callback_hosts any more"
    assert len(receiver.calls) == 1


async def test_who_was_erased_is_not_called(tmp_path: Path) -> None:
    async with (
        Receiver().listening() as receiver,
        api(tmp_path, FakeEngine(), callbacks=allowed(receiver)) as (house, http),
    ):
        receiver.answers.append(503)
        await ask(http, "Hello", user="u", callback_url=receiver.url())
        await house.until(lambda: bool(sent(tmp_path)) and bool(sent(tmp_path)[0].reason))
        with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as connection:
            (user,) = connection.execute("SELECT user_id FROM users").fetchone()
            assert erase(connection, "api", user, house.clock()) == 1
            assert connection.execute("SELECT address FROM deliveries").fetchall() == [("{}",)]
        house.clock.advance(60)
        house.runtime.look_again()
        await result(http, await ask(http, "Hello", callback_url=receiver.url("/other")))
        await house.until(lambda: len(receiver.calls) == 2)
    assert receiver.calls[1].path == "/other"
    assert isinstance(sent(tmp_path)[0], Sent)
