"""How events reach the app: signed, and again on Slack's schedule until they are acknowledged.

docs.slack.dev/apis/events-api (three seconds, retries nearly at once, after one minute and after five, with
X-Slack-Retry-Num and X-Slack-Retry-Reason), docs.slack.dev/authentication/verifying-requests-from-slack.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from adapters.slack.simulator_api import Workspace

RETRY_PAUSES = (0.0, 60.0, 300.0)  # seconds before each redelivery
JSON, FORM = "application/json", "application/x-www-form-urlencoded"


@dataclass(slots=True)
class Event:
    """One event on its way to the app, with the HTTP status of each try (0: no answer in time)."""

    envelope: Mapping[str, Any]
    statuses: list[int] = field(default_factory=list)

    @property
    def accepted(self) -> bool:
        return bool(self.statuses) and 200 <= self.statuses[-1] < 300


class EventSource:
    """Slack's sending side for one app. `pace` multiplies the pauses between redeliveries (0: at once)."""

    def __init__(self, secret: str, clock: Callable[[], float], pace: float, acknowledge_seconds: float) -> None:
        self.url = ""  # the app's request URL
        self.enterprise = ""  # the app is installed in an organisation with this id as a whole
        self.events: deque[Event] = deque(maxlen=2_000)
        self._secret = secret.encode()
        self._clock = clock
        self._pace = pace
        self._timeout = aiohttp.ClientTimeout(total=acknowledge_seconds)
        self._number = 0
        self._pool: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        self._pool = aiohttp.ClientSession(timeout=self._timeout, connector=aiohttp.TCPConnector(limit=0))

    async def stop(self) -> None:
        if self._pool is not None:
            await self._pool.close()

    def next_number(self) -> int:
        """Unique for this app."""
        self._number += 1
        return self._number

    def envelope(self, event: Mapping[str, Any], workspace: Workspace) -> dict[str, Any]:
        """An event as Slack wraps it, under a new event_id."""
        org = self.enterprise or None
        team = workspace.team
        installed: dict[str, Any] = {
            "enterprise_id": org,
            "team_id": None if org else team,
            "user_id": workspace.bot_user,
        }
        installed |= {"is_bot": True, "is_enterprise_install": bool(org)}
        return {
            "type": "event_callback",
            "team_id": team,
            "api_app_id": "A0000000001",
            "event": dict(event),
            "event_id": f"Ev{self.next_number():09d}",
            "event_time": int(self._clock()),
            "authorizations": [installed],
            "is_ext_shared_channel": False,
        }

    async def push(self, event: Mapping[str, Any], workspace: Workspace) -> Event:
        """Deliver an event, and again on Slack's schedule until it is acknowledged."""
        pushed = Event(self.envelope(event, workspace))
        self.events.append(pushed)
        await self.redeliver(pushed)
        for number, pause in enumerate(RETRY_PAUSES, start=1):
            if pushed.accepted:
                break
            await asyncio.sleep(pause * self._pace)
            await self.redeliver(pushed, number)
        return pushed

    async def redeliver(self, event: Event, number: int = 0) -> int:
        """One try; `number` counts redeliveries. Returns the status, 0 when no answer came in time."""
        headers: dict[str, str] = {}
        if number:
            reason = "http_error" if event.statuses and event.statuses[-1] else "http_timeout"
            headers = {"X-Slack-Retry-Num": str(number), "X-Slack-Retry-Reason": reason}
        try:
            status, _ = await self.post(orjson.dumps(event.envelope), JSON, headers)
        except (aiohttp.ClientError, TimeoutError):
            status = 0
        event.statuses.append(status)
        return status

    async def post(
        self, body: bytes, content_type: str = JSON, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Any signed request; `headers` replace ours, for forgeries. Returns the status and the answer's body."""
        if self._pool is None:
            raise RuntimeError("start() first")
        signed = self.sign(body) | {"Content-Type": content_type} | dict(headers or {})
        async with self._pool.post(self.url, data=body, headers=signed) as answer:
            return answer.status, await answer.read()

    def sign(self, body: bytes, timestamp: int | None = None) -> dict[str, str]:
        """The headers that prove a body to be Slack's."""
        stamp = str(int(self._clock()) if timestamp is None else timestamp)
        digest = hmac.new(self._secret, b"v0:" + stamp.encode() + b":" + body, hashlib.sha256).hexdigest()
        return {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={digest}"}
