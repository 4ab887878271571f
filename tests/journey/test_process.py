"""The gateway as an operator meets it: it starts or says why not, drains when told to, and its log holds no secrets."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import pytest

from bench.drivers import DRIVERS, Telegram
from bench.stand import SECRETS, SETTINGS, Gateway, free_port, gateway
from core.engine_simulator import EngineSimulator
from core.simulated_reply import Behaviour, Fault

HOME = Path(__file__).resolve().parent.parent.parent
pytestmark = pytest.mark.process


async def command(
    *words: str, config: Path | None = None, settings: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Run main.py; its exit status and all it printed."""
    variables = {key: value for key, value in os.environ.items() if not key.startswith("FRONTDESK")}
    if config is not None:
        variables["FRONTDESK_CONFIG"] = str(config)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(HOME / "main.py"),
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        stdin=asyncio.subprocess.DEVNULL,
        env=variables | dict(settings or {}),
    )
    printed, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, printed.decode()


async def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        '[server]\nport = "eighty"\nhosst = "x"\n[engine]\nmode = "remote"\n[channels.telegram]\nenabled = true\n'
        '[channels.phone]\nbot = "support"\n[channels.web]\nbot = "nobody"\ncolour = "red"\n[api]\nfoo = 1\n'
    )
    status, printed = await command("run", config=config)
    assert status == 2
    for named in ("server.port", "server.hosst", "base_url", "TELEGRAM_BOT_TOKEN", "channels.phone"):
        assert named in printed
    for named in ("no bot 'nobody'", "channels.web.colour", "api.foo"):
        assert named in printed
    assert "Traceback" not in printed


async def test_a_port_in_use_and_a_ledger_in_use_stop_the_start(tmp_path: Path) -> None:
    async with (
        EngineSimulator() as engine,
        gateway(HOME, tmp_path, {"FRONTDESK__ENGINE__BASE_URL": engine.base_url}) as running,
    ):
        settings = SETTINGS | {"FRONTDESK__ENGINE__BASE_URL": engine.base_url}
        port = running.address.rpartition(":")[2]
        other = {"FRONTDESK__LEDGER__URL": f"sqlite:///{tmp_path / 'other.db'}", "FRONTDESK__SERVER__PORT": port}
        status, printed = await command("run", settings=settings | other)
        assert (status, "server.port" in printed) == (2, True)
        same = {"FRONTDESK__LEDGER__URL": f"sqlite:///{tmp_path / 'bench.db'}"}
        status, printed = await command("run", settings=settings | same)
        assert (status, "another Frontdesk" in printed) == (2, True)


async def test_sigterm_finishes_the_running_reply_and_exits_0(tmp_path: Path) -> None:
    behaviour = Behaviour(tokens_per_second=30.0, first_token_seconds=0.05)
    async with EngineSimulator(behaviour=behaviour) as engine, Telegram() as telegram:
        settings = telegram.settings() | {"FRONTDESK__ENGINE__BASE_URL": engine.base_url}
        async with gateway(HOME, tmp_path, settings) as house:
            telegram.meet(house.address)
            await telegram.say(1, "the last words")
            async with asyncio.timeout(20):
                while not telegram.seen(1):
                    await asyncio.sleep(0.01)
            house.process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(house.process.wait(), 30) == 0
        assert telegram.seen(1)[0].endswith("the last words")


async def test_the_log_is_json_without_texts_or_secrets(tmp_path: Path) -> None:
    async with EngineSimulator() as engine:
        for build in DRIVERS.values():
            async with build() as driver:
                settings = driver.settings() | {
                    "FRONTDESK__ENGINE__BASE_URL": engine.base_url,
                    "FRONTDESK__LOG__LEVEL": "debug",
                }
                folder = tmp_path / driver.kind
                folder.mkdir()
                async with gateway(HOME, folder, settings) as house:
                    driver.meet(house.address)
                    await driver.forged()
                    await driver.say(1, "pineapple")
                    async with asyncio.timeout(20):
                        while not any("pineapple" in text for text in driver.seen(1)):
                            await asyncio.sleep(0.02)
                log = (folder / "gateway.log").read_text()
                secrets = {value for value in (SECRETS | driver.settings()).values() if not value.startswith("http")}
                secrets -= {"benchmark", "false", "100000", SECRETS["FRONTDESK__CHANNELS__WECHAT__APP_ID"]}
                assert not [secret for secret in secrets if secret in log and not secret.startswith("wx")]
                assert "pineapple" not in log
                lines = [json.loads(line) for line in log.splitlines()]
                assert {"accepting", "received", "answered", "stopped"} <= {line["action"] for line in lines}


async def test_the_start_up_table_names_what_turns_a_channel_on(tmp_path: Path) -> None:
    async with EngineSimulator() as engine:
        config = tmp_path / "config.toml"
        config.write_text(
            f'[server]\nport = {free_port()}\n[engine]\nmode = "remote"\nbase_url = "{engine.base_url}"\n'
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(HOME / "main.py"),
            "--config",
            str(config),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "COLUMNS": "120"},
        )
        assert process.stdout is not None
        table = ""
        async with asyncio.timeout(30):
            while "health" not in table:
                table += (await process.stdout.readline()).decode()
        process.terminate()
        await process.communicate()
    for named in (
        "TELEGRAM_BOT_TOKEN",
        "SLACK_SIGNING_SECRET",
        "WECHAT_TOKEN",
        "/ask",
        "/console",
        "/chat",
        "/readyz",
    ):
        assert named in table, table
    assert stat.S_IMODE((tmp_path / "var" / "frontdesk.db").stat().st_mode) == 0o600


async def test_check_says_what_to_do_and_its_exit_status_tells(tmp_path: Path) -> None:
    async with EngineSimulator() as engine, Telegram() as telegram:
        settings = {
            "FRONTDESK__ENGINE__MODE": "remote",
            "FRONTDESK__ENGINE__BASE_URL": engine.base_url,
            "FRONTDESK__LEDGER__URL": f"sqlite:///{tmp_path / 'frontdesk.db'}",
            "FRONTDESK__SERVER__PORT": str(free_port()),
            "FRONTDESK__SERVER__PUBLIC_URL": "https://bot.example.com",
            "COLUMNS": "200",
        }
        status, printed = await command("check", settings=settings)
        assert status == 0, printed
        for subject in ("settings", "secrets", "port", "disk", "engine", "telegram", "slack", "wechat", "web", "api"):
            assert re.search(rf"^ok +{subject}", printed, re.MULTILINE), printed
        wrong = telegram.settings() | {"TELEGRAM_BOT_TOKEN": "1:wrong-token"}
        status, printed = await command("check", settings=settings | wrong)
        assert status == 0, "no platform is asked"
        status, printed = await command("check", "--live", settings=settings | wrong)
        assert status == 1
        assert re.search(r"^FAIL +telegram.*->", printed, re.MULTILINE), printed
        assert "wrong-token" not in printed


async def test_check_sees_an_engine_that_is_not_there(tmp_path: Path) -> None:
    settings = {
        "FRONTDESK__ENGINE__MODE": "remote",
        "FRONTDESK__ENGINE__BASE_URL": f"http://127.0.0.1:{free_port()}/v1",
        "FRONTDESK__LEDGER__URL": f"sqlite:///{tmp_path / 'frontdesk.db'}",
        "FRONTDESK__SERVER__PORT": str(free_port()),
    }
    status, printed = await command("check", settings=settings)
    assert status == 1
    assert re.search(r"^FAIL +engine", printed, re.MULTILINE), printed


async def test_accepting_begins_before_the_engine_is_there(tmp_path: Path) -> None:
    settings = {"FRONTDESK__ENGINE__BASE_URL": f"http://127.0.0.1:{free_port()}/v1"}
    async with gateway(HOME, tmp_path, settings) as house, aiohttp.ClientSession() as http:
        async with http.get(f"{house.address}/readyz") as answer:
            report = await answer.json()
        assert answer.status == 503
        assert (report["accepting"], report["ready"]) == (True, False)


@pytest.mark.parametrize("words", [["dance"], ["run", "--loud"], ["check", "--loud"]])
async def test_an_unknown_command_shows_the_usage(words: list[str]) -> None:
    status, printed = await command(*words)
    assert status == 2
    assert "usage: main.py" in printed


async def test_any_python_goes_on_in_our_own() -> None:
    """`python main.py` with the system's Python, where none of our packages are."""
    python = Path(sys.base_prefix) / "bin" / "python3"
    process = await asyncio.create_subprocess_exec(
        str(python),
        "-S",
        str(HOME / "main.py"),
        "dance",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await asyncio.wait_for(process.communicate(), 60)
    expected = "usage: main.py" if (HOME / ".venv" / "bin" / "python").exists() else "make setup"
    assert expected in printed.decode()


async def test_a_broken_reply_does_not_leave_the_house_unready(tmp_path: Path) -> None:
    """With no chat traffic after it, as where only the API is used."""
    behaviour = Behaviour(fault=Fault.CUT, fault_after=2)
    headers = {"Authorization": "Bearer benchmark"}
    body = {"model": "support", "messages": [{"role": "user", "content": "Hi"}]}
    async with (
        EngineSimulator(behaviour=behaviour) as engine,
        gateway(HOME, tmp_path, {"FRONTDESK__ENGINE__BASE_URL": engine.base_url}) as house,
        aiohttp.ClientSession(headers=headers) as http,
    ):
        await ready(http, house)
        async with http.post(f"{house.address}/v1/chat/completions", json=body) as answer:
            assert answer.status == 503
        engine.behaviour = Behaviour()
        await ready(http, house)
        async with http.post(f"{house.address}/v1/chat/completions", json=body) as answer:
            assert answer.status == 200
        await engine.stop()
        await ready(http, house, status=503)  # an idle engine that went is noticed
        await engine.start()
        await ready(http, house)


async def ready(http: aiohttp.ClientSession, house: Gateway, status: int = 200) -> None:
    async with asyncio.timeout(30):
        while True:
            async with http.get(f"{house.address}/readyz") as answer:
                if answer.status == status:
                    return
            await asyncio.sleep(0.05)
