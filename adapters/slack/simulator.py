"""Slack's side on loopback: signs and redelivers events as Slack does, and serves the Web API of one workspace.

Usable in tests and as a source of load. Facts: docs.slack.dev/apis/events-api (three seconds to acknowledge, retries
nearly at once, after one minute and after five, with X-Slack-Retry-Num and X-Slack-Retry-Reason),
docs.slack.dev/authentication/verifying-requests-from-slack, docs.slack.dev/interactivity.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlencode

import aiohttp
import orjson
from aiohttp import web

from adapters.slack.simulator_api import Shown, Workspace
from adapters.slack.simulator_faults import Call, Fault

__all__ = ["Call", "Event", "Fault", "Shown", "SlackSimulator", "Workspace"]

RETRY_PAUSES = (0.0, 60.0, 300.0)  # seconds before each redelivery
JSON, FORM = "application/json", "application/x-www-form-urlencoded"
SCOPES = "app_mentions:read,channels:history,chat:write,im:history"


@dataclass(slots=True)
class Event:
    """One event on its way to the app, with the HTTP status of each try (0: no answer in time)."""

    envelope: Mapping[str, Any]
    statuses: list[int] = field(default_factory=list)

    @property
    def accepted(self) -> bool:
        return bool(self.statuses) and 200 <= self.statuses[-1] < 300


@dataclass(frozen=True, slots=True)
class Said:
    """What a person wrote, and the events it caused."""

    shown: Shown
    events: tuple[Event, ...]

    @property
    def accepted(self) -> bool:
        return all(event.accepted for event in self.events)


class SlackSimulator:
    """One workspace with one app, whose request URL is `events_url`.

    `pace` multiplies the pauses between redeliveries (0: at once); `limits` are calls a minute by method, such as
    {"chat.update": 50}.
    """

    def __init__(
        self,
        *,
        signing_secret: str,
        token: str,
        events_url: str = "",
        team: str = "T0000000001",
        bot_user: str = "U0000000BOT",
        bot_id: str = "B0000000001",
        pace: float = 1.0,
        acknowledge_seconds: float = 3.0,
        limits: Mapping[str, int] | None = None,
        scopes: str = SCOPES,
        stream_seconds: float = 300.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.events_url = events_url
        self.base_url = ""  # of the Web API, once started
        self.workspace = Workspace(
            token=token,
            team=team,
            bot_user=bot_user,
            bot_id=bot_id,
            clock=clock,
            limits=limits or {},
            scopes=scopes,
            stream_seconds=stream_seconds,
        )
        self.events: deque[Event] = deque(maxlen=2_000)
        self._secret = signing_secret.encode()
        self._pace = pace
        self._timeout = aiohttp.ClientTimeout(total=acknowledge_seconds)
        self._clock = clock
        self._number = 0
        self._runner: web.AppRunner | None = None
        self._pool: aiohttp.ClientSession | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        app = web.Application(client_max_size=4 * 1024 * 1024)
        app.add_routes([web.post("/api/{method}", self.workspace.answer)])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        self.base_url = f"http://{host}:{self._runner.addresses[0][1]}/api/"
        self._pool = aiohttp.ClientSession(timeout=self._timeout, connector=aiohttp.TCPConnector(limit=0))

    async def stop(self) -> None:
        if self._pool is not None:
            await self._pool.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # --- what people do ---------------------------------------------------------------------------------------------

    async def user_says(
        self,
        channel: str,
        text: str,
        *,
        dm: bool = True,
        thread_ts: str | None = None,
        user: str = "U0000000001",
        **extra: Any,
    ) -> Said:
        """A person writes; returns when Slack has its acknowledgement or has given up. `extra` goes into the event."""
        shown = self.workspace.write(channel, user, text, thread_ts or "")
        event = self._message(shown) | {"type": "message", "channel_type": "im" if dm else "channel"} | extra
        return Said(shown, (await self.push(event),))

    async def mention(
        self,
        channel: str,
        text: str,
        *,
        thread_ts: str | None = None,
        user: str = "U0000000001",
        pair: bool = True,
    ) -> Said:
        """A person mentions the bot: app_mention and, with `pair`, the same as message.channels, in no order."""
        shown = self.workspace.write(channel, user, f"<@{self.workspace.bot_user}> {text}", thread_ts or "")
        kinds: list[dict[str, str]] = [{"type": "app_mention"}]
        if pair:
            kinds.append({"type": "message", "channel_type": "channel"})
        return Said(shown, tuple(await asyncio.gather(*(self.push(self._message(shown) | kind) for kind in kinds))))

    async def press_button(self, channel: str, action_id: str, user: str = "U0000000001") -> int:
        """A block_actions interaction; returns the HTTP status."""
        action = {"type": "button", "action_id": action_id, "block_id": "b", "value": "1"}
        interaction = {"type": "block_actions", "user": {"id": user}, "team": {"id": self.workspace.team}}
        fields = interaction | {"channel": {"id": channel}, "actions": [action], "trigger_id": "1.2.3"}
        return (await self.post(urlencode({"payload": orjson.dumps(fields).decode()}).encode(), FORM))[0]

    async def slash_command(self, channel: str, command: str, text: str = "", user: str = "U0000000001") -> int:
        """A slash command; returns the HTTP status."""
        self._number += 1
        fields = {"command": command, "text": text, "channel_id": channel, "user_id": user, "user_name": "customer"}
        fields |= {"trigger_id": f"1.2.{self._number}", "team_id": self.workspace.team}
        return (await self.post(urlencode(fields).encode(), FORM))[0]

    async def user_edits(self, shown: Shown, text: str) -> Event:
        """A person changes what they wrote: message_changed with both versions."""
        before, shown.text = self._message(shown), text
        edited = {"edited": {"user": shown.user, "ts": self.workspace.stamp()}}
        kind = {"type": "message", "subtype": "message_changed", "channel": shown.channel, "hidden": True}
        kind |= {"channel_type": "im"} if shown.channel.startswith("D") else {"channel_type": "channel"}
        versions = {"message": self._message(shown) | edited, "previous_message": before}
        return await self.push(kind | versions | {"ts": self.workspace.stamp()})

    async def press_stop(self, channel: str, thread_ts: str, user: str = "U0000000001") -> Event:
        """The stop button of the agent view: streams in that thread end, and the app is told."""
        ended = self.workspace.streams.stop(channel, thread_ts)
        event = {"type": "agent_session_stopped", "channel": channel, "thread_ts": thread_ts, "user": user}
        return await self.push(event | {"streaming_message_ts": ended, "event_ts": self.workspace.stamp()})

    # --- how it reaches the app -------------------------------------------------------------------------------------

    def envelope(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """An event as Slack wraps it, under a new event_id."""
        self._number += 1
        team = self.workspace.team
        installed = {"enterprise_id": None, "team_id": team, "user_id": self.workspace.bot_user, "is_bot": True}
        return {
            "type": "event_callback",
            "team_id": team,
            "api_app_id": "A0000000001",
            "event": dict(event),
            "event_id": f"Ev{self._number:09d}",
            "event_time": int(self._clock()),
            "authorizations": [installed | {"is_enterprise_install": False}],
            "is_ext_shared_channel": False,
        }

    async def push(self, event: Mapping[str, Any]) -> Event:
        """Deliver an event, and again on Slack's schedule until it is acknowledged."""
        pushed = Event(self.envelope(event))
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
        async with self._pool.post(self.events_url, data=body, headers=signed) as answer:
            return answer.status, await answer.read()

    def sign(self, body: bytes, timestamp: int | None = None) -> dict[str, str]:
        """The headers that prove a body to be Slack's."""
        stamp = str(int(self._clock()) if timestamp is None else timestamp)
        digest = hmac.new(self._secret, b"v0:" + stamp.encode() + b":" + body, hashlib.sha256).hexdigest()
        return {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={digest}"}

    def _message(self, shown: Shown) -> dict[str, Any]:
        event = {"user": shown.user, "text": shown.text, "ts": shown.ts, "channel": shown.channel}
        thread = {"thread_ts": shown.thread_ts} if shown.thread_ts else {}
        return event | thread | {"team": self.workspace.team, "event_ts": shown.ts}
