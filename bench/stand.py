"""The test stand: the gateway as a process of its own, exactly as `python main.py run` starts it, and what it uses."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

PATIENCE = 30.0  # seconds for the gateway to come up
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
TELEGRAM_TOKEN = "6000001:benchmark-token"  # noqa: S105 - of the simulator
TELEGRAM_SECRET = "benchmark-secret"  # noqa: S105 - likewise
SECRETS = {
    "TELEGRAM_BOT_TOKEN": TELEGRAM_TOKEN,
    "TELEGRAM_WEBHOOK_SECRET": TELEGRAM_SECRET,
    "SLACK_BOT_TOKEN": "xoxb-benchmark",
    "SLACK_SIGNING_SECRET": "benchmark",
    "WECHAT_TOKEN": "benchmark",
    "FRONTDESK__CHANNELS__WECHAT__APP_ID": "wx0000000000000000",
    "FRONTDESK__CHANNELS__WECHAT__VERIFIED": "false",
    "FRONTDESK_API_KEYS": "benchmark",
}
# Nobody but loopback may be called, and no limit may be what is measured.
SETTINGS = {
    "FRONTDESK__SERVER__PORT": "0",
    "FRONTDESK__ENGINE__MODE": "remote",
    "FRONTDESK__ENGINE__MAX_CONCURRENCY": "256",
    "FRONTDESK__THROTTLE__MESSAGES_PER_MINUTE": "100000",
    "FRONTDESK__THROTTLE__BURST": "100000",
    "FRONTDESK__THROTTLE__TOKENS_PER_DAY": "0",
    "FRONTDESK__DIALOGUE__BUSY_AFTER": "0",
    "FRONTDESK__CHANNELS__TELEGRAM__MESSAGES_PER_SECOND": "100000",
    "FRONTDESK__CHANNELS__SLACK__API_BASE_URL": "http://127.0.0.1:9/",
    "FRONTDESK__CHANNELS__WECHAT__API_BASE_URL": "http://127.0.0.1:9",
    "FRONTDESK__LOG__FORMAT": "json",
}


class NotStartedError(RuntimeError):
    """It ended before it answered anybody; `status` is what it ended with, negative for a signal."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the gateway ended with status {status} before it answered; its folder holds gateway.log")
        self.status = status


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway process."""

    process: asyncio.subprocess.Process
    address: str
    started_seconds: float  # from exec to the first accepted request

    async def kill(self) -> None:
        """As the kernel does when memory runs out: no goodbye."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory_mib(self) -> float:
        """Resident memory now."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * PAGE / 2**20


@asynccontextmanager
async def gateway(
    home: Path, folder: Path, settings: Mapping[str, str], *, through: Sequence[str] = ()
) -> AsyncIterator[Gateway]:
    """Run one with all channels on, its ledger in *folder*, *settings* over ours; SIGTERM at the end. *through* are the
    interpreter's words before main.py, for what is to be done to it (bench/watched.py).

    Raises NotStartedError.
    """
    variables = {key: value for key, value in os.environ.items() if not key.startswith("FRONTDESK")}
    variables |= SECRETS | SETTINGS | {"FRONTDESK__LEDGER__URL": f"sqlite:///{folder / 'bench.db'}"} | dict(settings)
    log = os.open(folder / "gateway.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    started = time.monotonic()
    words = [*through, str(home / "main.py"), "run"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words, stdout=asyncio.subprocess.PIPE, stderr=log, env=variables
    )
    os.close(log)
    try:
        try:
            address = await _address(process)
            seconds = await _first_answer(address, started)
        except (aiohttp.ClientError, EOFError) as error:
            raise NotStartedError(await asyncio.wait_for(process.wait(), PATIENCE)) from error
        yield Gateway(process, address, seconds)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.communicate(), PATIENCE)


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None  # noqa: S101 - it was asked for
    async with asyncio.timeout(PATIENCE):
        while line := (await process.stdout.readline()).decode():
            if "http://" in line:
                return "http://" + line.partition("http://")[2].split()[0]
    raise EOFError


async def _first_answer(address: str, started: float) -> float:
    async with asyncio.timeout(PATIENCE), aiohttp.ClientSession() as http, http.get(f"{address}/healthz") as answer:
        answer.raise_for_status()
    return time.monotonic() - started


@asynccontextmanager
async def engine(home: Path, **options: str) -> AsyncIterator[str]:
    """A simulated engine in a process of its own; yields its base_url. *options* are its command line's."""
    words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "core.engine_simulator", *words, cwd=home, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None  # noqa: S101 - it was asked for
        line = (await asyncio.wait_for(process.stdout.readline(), PATIENCE)).decode()
        yield json.loads(line)["base_url"]
    finally:
        process.kill()
        await process.wait()


def urls(engine_url: str, telegram_url: str) -> dict[str, str]:
    """The settings that point at a simulated engine and platform."""
    return {
        "FRONTDESK__ENGINE__BASE_URL": engine_url,
        "FRONTDESK__CHANNELS__TELEGRAM__API_BASE_URL": telegram_url,
    }


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def percentile(values: list[float], share: float) -> float:
    """The value that *share* (0 to 1) of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]
