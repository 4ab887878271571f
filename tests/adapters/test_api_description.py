"""/openapi.json says what the API does: a machine that knows nothing else of it calls it in every way it allows."""

from __future__ import annotations

import asyncio
import io
import os
import sys
from pathlib import Path

import pytest

from core.config import ThrottleSettings
from tests.adapters.api_house import KEY, Receiver, api, ask
from tests.adapters.test_api_callback import SECRET, allowed
from tests.fakes import FakeEngine

BOUNDLESS = ThrottleSettings(messages_per_minute=1e6, burst=1e6, tokens_per_day=0, requests_per_minute_per_ip=1e6)
# 422 is right for a key that came with another body, and both are drawn from few values.
EXPECTED = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "401", "403", "404", "409", "422"]
"""
# Which hosts the operator allows is said in words; the tester is told of the one there is.
HOOKS = """
import schemathesis


@schemathesis.hook
def before_load_schema(context, raw_schema):
    asked = raw_schema["components"]["schemas"]["Ask"]["properties"]
    asked["callback_url"] = {"anyOf": [{"type": "string", "enum": ["URL"]}, {"type": "null"}]}
"""


async def test_it_needs_no_key_and_tells_no_secret(tmp_path: Path) -> None:
    async with api(tmp_path, FakeEngine()) as (_, http):
        answer = await http.get("/openapi.json")
        assert (answer.status, answer.content_type) == (200, "application/json")
        text = await answer.text()
    assert "key-one" not in text
    assert "support" not in text, "nor which bots there are"


async def test_it_is_valid_and_names_every_route(tmp_path: Path) -> None:
    import schemathesis  # takes a second, which the other tests need not wait for

    async with api(tmp_path, FakeEngine()) as (_, http):
        document = await (await http.get("/openapi.json")).json()
        served = {
            (route.resource.canonical, route.method.lower())
            for route in http.app.router.routes()
            if route.resource is not None and route.method != "HEAD"
        }
    schemathesis.openapi.from_dict(document).validate()
    assert document["openapi"].startswith("3.1.")
    described = {(path, method) for path, item in document["paths"].items() for method in item}
    houses = {(path, "get") for path in ("/healthz", "/readyz", "/metrics", "/openapi.json")}
    assert described == served - houses
    for path, method in described:
        assert document["paths"][path][method]["summary"], path


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({}, b"{}", 401),
        (KEY | {"Content-Encoding": "gzip"}, b"{}", 415),
        (KEY, b" " * (1 << 20) + b"{}", 413),
    ],
)
async def test_what_is_refused_before_the_api_looks_is_described_too(
    tmp_path: Path, headers: dict[str, str], body: bytes, status: int
) -> None:
    async with api(tmp_path, FakeEngine()) as (_, http):
        document = await (await http.get("/openapi.json")).json()
        answer = await http.post("/ask", data=io.BytesIO(body), headers=headers)
        assert answer.status == status
        assert set(await answer.json()) == {"error"}
    assert str(status) in document["paths"]["/ask"]["post"]["responses"]


async def test_the_call_that_we_make_is_described_as_it_is_made(tmp_path: Path) -> None:
    async with (
        Receiver().listening() as receiver,
        api(tmp_path, FakeEngine(), callbacks=allowed(receiver)) as (house, http),
    ):
        document = await (await http.get("/openapi.json")).json()
        await ask(http, "Hello", callback_url=receiver.url())
        await house.until(lambda: bool(receiver.calls))
    assert receiver.host not in str(document) and SECRET not in str(document)
    (call,) = receiver.calls
    described = document["paths"]["/ask"]["post"]["callbacks"]["callback_url"]["{$request.body#/callback_url}"]["post"]
    assert {one["name"] for one in described["parameters"]} <= call.headers.keys()
    schema = described["requestBody"]["content"]["application/json"]["schema"]
    parts = document["components"]["schemas"]
    told = parts[schema["$ref"].rpartition("/")[2]]
    assert set(told["properties"]) == set(told["required"]) == set(call.body)
    data = parts[told["properties"]["data"]["$ref"].rpartition("/")[2]]
    assert set(data["properties"]) == set(data["required"]) == set(call.data)


@pytest.mark.process
async def test_every_call_that_it_allows_is_answered_as_it_says(tmp_path: Path) -> None:
    config = tmp_path / "schemathesis.toml"
    config.write_text(EXPECTED, encoding="utf-8")
    async with (
        Receiver().listening() as receiver,
        api(tmp_path, FakeEngine(), BOUNDLESS, callbacks=allowed(receiver)) as (_, http),
    ):
        (tmp_path / "hooks.py").write_text(HOOKS.replace("URL", receiver.url()), encoding="utf-8")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli", "--no-color", "--config-file", str(config), "run"),
            *(str(http.make_url("/openapi.json")), "--header", f"Authorization: {KEY['Authorization']}"),
            *("--generation-deterministic", "--max-examples", "10", "--no-shrink"),
            cwd=tmp_path,
            env={**os.environ, "SCHEMATHESIS_HOOKS": "hooks"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
    told = output.decode()
    assert process.returncode == 0, told
    assert "4 selected / 4 total" in told, told
    assert "0 generated" not in told, told
    assert receiver.calls and all(call.verifies(SECRET) for call in receiver.calls)
