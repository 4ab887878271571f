"""A ledger that is damaged, as an operator meets it: a start that says what to do, or an outage that says why."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from bench.drivers import Api
from bench.stand import SECRETS, SETTINGS, free_port, gateway
from core.engine_simulator import EngineSimulator
from tests.core.test_ledger_damage import OVERWRITE, filled, index_pages, overwrite
from tests.journey.test_process import command

HOME = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.process
ASK = {"text": "Hello", "conversation": "one"}


async def test_a_start_on_a_damaged_or_foreign_file_says_what_to_do(tmp_path: Path) -> None:
    settings = SETTINGS | {"FRONTDESK__ENGINE__BASE_URL": f"http://127.0.0.1:{free_port()}/v1"}
    path = await filled(tmp_path)
    whole = path.read_bytes()
    settings["FRONTDESK__LEDGER__URL"] = f"sqlite:///{path}"
    for offset, data in ((0, b"\xff" * 100), (9 * 4096, b"\xff" * 4096), (0, b"These are my notes. " * 300)):
        path.write_bytes(whole)
        overwrite(path, offset, data)
        before = path.read_bytes()
        status, printed = await command("run", settings=settings)
        assert status == 2, printed
        assert "restore a backup" in printed
        assert "Traceback" not in printed
        assert path.read_bytes() == before


async def test_damage_under_a_running_gateway_is_an_outage_that_says_why(tmp_path: Path) -> None:
    path = await filled(tmp_path)
    pages = index_pages(path, "sqlite_autoindex_messages_1")
    headers = {"Authorization": f"Bearer {Api.key}"}
    async with EngineSimulator() as engine, aiohttp.ClientSession(headers=headers) as http:
        settings = (
            SECRETS
            | Api().settings()
            | {
                "FRONTDESK__ENGINE__BASE_URL": engine.base_url,
                "FRONTDESK__LEDGER__URL": f"sqlite:///{path}",
            }
        )
        async with gateway(HOME, tmp_path, settings) as house:
            async with http.get(f"{house.address}/readyz") as answer:
                assert (await answer.json())["accepting"]
            overwriting = [sys.executable, "-c", OVERWRITE, str(path), *map(str, pages)]
            await asyncio.to_thread(subprocess.run, overwriting, check=True)
            for _ in range(3):
                async with http.post(f"{house.address}/ask", json=ASK) as answer:
                    assert answer.status == 503
                    assert (await answer.json())["error"]["code"] == "not_stored"
            async with http.get(f"{house.address}/readyz") as answer:
                report = await answer.json()
            assert (answer.status, report["accepting"], report["ledger"]["ready"]) == (503, False, False)
            assert "restore a backup" in report["ledger"]["detail"]
            async with http.get(f"{house.address}/healthz") as answer:
                assert answer.status == 200, "it is no use to start it anew"
        assert house.process.returncode == 0, "and it stops as ever"
        lines = [json.loads(line) for line in (tmp_path / "gateway.log").read_text().splitlines()]
        assert [line["remedy"] for line in lines if line["action"] == "ledger_damaged"] != []
        assert not [line for line in lines if "exception" in line]
        status, printed = await command("run", settings=SETTINGS | settings)
    assert (status, "restore a backup" in printed) == (2, True), printed
