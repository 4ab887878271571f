"""The outside face: every error has its status and a sentence, and health, readiness and metrics say what is true."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from core.engine import EngineState
from core.errors import EngineTimeout, LedgerError, RequestError
from core.http import Face, application
from tests.fakes import FakeEngine
from tests.rooms import Rooms, rooms
from tests.serving import HouseServer


async def refuse(request: web.Request) -> web.Response:
    errors = {
        "request": RequestError(429, "Slow down.", code="rate_limit_exceeded", retry_after=1.6),
        "ledger": LedgerError("disk full at /secret/path"),
        "engine": EngineTimeout("silent"),
        "bug": ValueError("secret"),
    }
    raise errors[request.match_info["kind"]]


async def read(request: web.Request) -> web.Response:
    return web.json_response({"bytes": len(await request.read())})


def client(house: Rooms) -> TestClient[web.Request, web.Application]:
    routes = [web.get("/refuse/{kind}", refuse), web.post("/read", read)]
    face = Face(
        on=("web",),
        off={"phone": "set PHONE_TOKEN"},
        ledger=house.ledger,
        engine=house.engine,
        metrics=house.metrics,
        clock=house.clock,
    )
    return TestClient(HouseServer(application([routes], face, 1000)))


@pytest.mark.parametrize(
    ("kind", "status", "retry"),
    [("request", 429, "2"), ("ledger", 503, "5"), ("engine", 503, "5"), ("bug", 500, None)],
)
async def test_errors_have_a_status_and_a_sentence(tmp_path: Path, kind: str, status: int, retry: str | None) -> None:
    async with rooms(tmp_path) as house, client(house) as http:
        answer = await http.get(f"/refuse/{kind}")
        assert answer.status == status
        assert answer.headers.get("Retry-After") == retry
        text = await answer.text()
        assert (await answer.json())["error"]["message"]
        assert "secret" not in text


async def test_not_found_not_allowed_and_too_large(tmp_path: Path) -> None:
    async with rooms(tmp_path) as house, client(house) as http:
        assert (await http.get("/nowhere")).status == 404
        wrong = await http.get("/read")
        assert (wrong.status, wrong.headers["Allow"]) == (405, "POST")
        assert (await http.post("/read", data=b"x" * 1000)).status == 200
        large = await http.post("/read", data=b"x" * 1001)
        assert large.status == 413
        assert (await large.json())["error"]["message"]


async def test_readiness_names_what_is_not_ready(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.switch(EngineState.STARTING, "loading the model, 12 s")
    async with rooms(tmp_path, engine=engine) as house, client(house) as http:
        assert (await http.get("/healthz")).status == 200
        answer = await http.get("/readyz")
        report = await answer.json()
        assert answer.status == 503
        assert report["accepting"] and not report["ready"]
        assert report["engine"] == {
            "ready": False,
            "state": "starting",
            "detail": "loading the model, 12 s",
            "model": "fake-model",
        }
        assert report["channels"] == {"web": {"on": True}, "phone": {"on": False, "detail": "set PHONE_TOKEN"}}
        engine.switch(EngineState.READY)
        assert (await http.get("/readyz")).status == 200


async def test_metrics_count_what_happened(tmp_path: Path) -> None:
    async with rooms(tmp_path) as house, client(house) as http:
        await house.say("One", event="same")
        await house.say("One", event="same")
        await house.channel.delivered(1)
        await house.until(lambda: 'frontdesk_deliveries_sent_total{channel="web"} 1.0' in house.metrics_text())
        text = await (await http.get("/metrics")).text()
        for line in (
            'frontdesk_messages_accepted_total{channel="web"} 1.0',
            'frontdesk_messages_duplicate_total{channel="web"} 1.0',
            'frontdesk_turns_answered_total{channel="web",kind="answer"} 1.0',
            'frontdesk_engine_state{state="ready"} 1.0',
            "frontdesk_messages_waiting 0.0",
            "frontdesk_reply_seconds_count 1.0",
            "frontdesk_first_text_seconds_count 1.0",
        ):
            assert line in text


@pytest.mark.parametrize(
    ("proxies", "forwarded", "expected"),
    [
        ([], "1.2.3.4", "127.0.0.1"),
        (["127.0.0.1"], "1.2.3.4", "1.2.3.4"),
        (["127.0.0.1"], "6.6.6.6, 1.2.3.4", "1.2.3.4"),
        (["127.0.0.1", "10.0.0.0/8"], "6.6.6.6, 1.2.3.4, 10.1.1.1", "1.2.3.4"),
        (["127.0.0.1"], "", "127.0.0.1"),
        (["127.0.0.1"], "not-an-address", "127.0.0.1"),
    ],
)
async def test_the_callers_address_cannot_be_forged(
    tmp_path: Path, proxies: list[str], forwarded: str, expected: str
) -> None:
    async with rooms(tmp_path, proxies=proxies) as house:

        async def tell(request: web.Request) -> web.Response:
            return web.Response(text=house.house.client_ip(request))

        app = web.Application()
        app.router.add_get("/", tell)
        async with TestClient(HouseServer(app)) as http:
            answer = await http.get("/", headers={"X-Forwarded-For": forwarded})
            assert await answer.text() == expected
