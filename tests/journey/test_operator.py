"""The operator's commands beside a running gateway: what is stuck is seen, tried again and copied without a restart."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import aiohttp
import pytest

from adapters.telegram.simulator import Fault
from bench.drivers import Telegram
from bench.stand import gateway
from core.engine_simulator import EngineSimulator

HOME = Path(__file__).resolve().parent.parent.parent
REFUSED = Fault(400, "Bad Request: not enough rights: no rights to send text messages to the chat")
pytestmark = pytest.mark.process


async def command(*words: str, settings: Mapping[str, str]) -> tuple[int, str]:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("FRONTDESK")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(HOME / "main.py"),
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=variables | dict(settings) | {"COLUMNS": "200"},
    )
    printed, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, printed.decode()


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.02)


async def test_what_is_stuck_is_seen_and_tried_again_while_the_gateway_runs(tmp_path: Path) -> None:
    async with EngineSimulator() as engine, Telegram() as telegram:
        ledger = {"FRONTDESK__LEDGER__URL": f"sqlite:///{tmp_path / 'bench.db'}"}
        assert (await command("status", settings=ledger))[0] == 2, "there is no ledger yet"
        settings = telegram.settings() | {"FRONTDESK__ENGINE__BASE_URL": engine.base_url} | ledger
        async with gateway(HOME, tmp_path, settings) as house:
            telegram.meet(house.address)
            telegram.simulator.fail("sendMessage", REFUSED)
            await telegram.say(1, "/help my colour")
            report = await _stuck(ledger)
            assert "no rights to send" in report
            assert "my colour" not in report and "/human" not in report, "no words of theirs"
            status, printed = await command("retry", "--failed", settings=ledger)
            assert (status, "to be tried again: d1\n" in printed) == (0, True), printed
            await until(lambda: telegram.seen(1))
            assert (await command("retry", "d1", settings=ledger))[0] == 1, "it was sent"
            assert (await command("status", settings=ledger))[0] == 0
            status, printed = await command("backup", str(tmp_path / "copy.db"), settings=ledger)
            assert status == 0 and "checked" in printed, printed
            assert (await command("backup", str(tmp_path / "copy.db"), settings=ledger))[0] == 2
            status, printed = await command("erase", "telegram", "1001", settings=ledger)
            assert (status, printed) == (0, "erased: 1 messages and the replies to them\n")
        assert (await command("erase", "telegram", "1001", settings=ledger))[0] == 1


async def _stuck(settings: Mapping[str, str]) -> str:
    """The report, once it lists something; the refusal may not be recorded yet."""
    async with asyncio.timeout(30):
        while True:
            status, printed = await command("status", settings=settings)
            if status == 1:
                return printed
            assert status == 0, printed


async def test_a_key_is_made_and_revoked_while_the_gateway_runs(tmp_path: Path) -> None:
    ledger = {"FRONTDESK__LEDGER__URL": f"sqlite:///{tmp_path / 'bench.db'}"}
    async with (
        EngineSimulator() as engine,
        gateway(HOME, tmp_path, {"FRONTDESK__ENGINE__BASE_URL": engine.base_url} | ledger) as house,
        aiohttp.ClientSession(house.address) as http,
    ):
        assert (await command("keys", "create", "shop", "--bots", "nobody", settings=ledger))[0] == 2
        status, printed = await command("keys", "create", "shop", "--bots", "support", settings=ledger)
        key = printed.split()[0]
        assert status == 0 and key.startswith("fd_"), printed
        headers = {"Authorization": f"Bearer {key}"}
        answer = await http.get("/v1/models", headers=headers)
        assert [model["id"] for model in (await answer.json())["data"]] == ["support"]
        status, printed = await command("keys", "list", settings=ledger)
        assert status == 0 and "shop" in printed and key not in printed
        assert (await command("keys", "revoke", "1", settings=ledger))[0] == 0
        assert (await command("keys", "revoke", "1", settings=ledger))[0] == 1
        assert (await http.get("/v1/models", headers=headers)).status == 401
    assert key not in (tmp_path / "gateway.log").read_text()
    status, printed = await command("audit", "verify", settings=ledger)
    assert status == 0, printed
