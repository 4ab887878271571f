"""Slack's side on loopback: signs and redelivers events as Slack does, and serves the Web API of its workspaces.

Usable in tests and as a source of load. What people do is here, as docs.slack.dev/reference/events and
docs.slack.dev/interactivity say that an app hears of it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlencode

import orjson
from aiohttp import web

from adapters.slack.simulator_api import Workspace
from adapters.slack.simulator_blocks import Shown
from adapters.slack.simulator_events import FORM, JSON, Event, EventSource
from adapters.slack.simulator_faults import Call, Fault
from adapters.slack.simulator_oauth import Grants

__all__ = ["FORM", "Call", "Event", "Fault", "Shown", "SlackSimulator", "Workspace"]

SCOPES = "app_mentions:read,channels:history,chat:write,im:history"


@dataclass(frozen=True, slots=True)
class Said:
    """What a person wrote, and the events it caused."""

    shown: Shown
    events: tuple[Event, ...]

    @property
    def accepted(self) -> bool:
        return all(event.accepted for event in self.events)


class SlackSimulator:
    """A workspace with one app, whose request URL is `events_url`, and others that may install the app (`add`).

    `pace` multiplies the pauses between redeliveries (0: at once); `limits` are calls a minute by method, such as
    {"chat.update": 50}; `agent` is whether the app has the agent view.
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
        agent: bool = False,
        client_id: str = "1.2",
        client_secret: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._source = EventSource(signing_secret, clock, pace, acknowledge_seconds)
        self._source.url = events_url
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
            agent=agent,
        )
        self.grants = Grants(client_id, client_secret)
        self.grants.workspaces[team] = self.workspace
        self.grants.chosen = team
        self._clock = clock
        self._runner: web.AppRunner | None = None

    @property
    def events_url(self) -> str:
        """The app's request URL."""
        return self._source.url

    @events_url.setter
    def events_url(self, url: str) -> None:
        self._source.url = url

    @property
    def events(self) -> deque[Event]:
        """The newest events."""
        return self._source.events

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        app = web.Application(client_max_size=4 * 1024 * 1024)
        app.add_routes(
            [
                web.post("/api/oauth.v2.access", self._access),
                web.post("/api/{method}", self._called),
                web.get("/oauth/v2/authorize", self.grants.authorize),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        self.base_url = f"http://{host}:{self._runner.addresses[0][1]}/api/"
        await self._source.start()

    async def stop(self) -> None:
        await self._source.stop()
        if self._runner is not None:
            await self._runner.cleanup()

    def add(self, team: str, bot_user: str) -> Workspace:
        """Another workspace, in which the app is not installed yet."""
        added = Workspace(
            token="", team=team, bot_user=bot_user, bot_id=f"B{team[1:]}", clock=self._clock, limits={}, scopes=""
        )
        self.grants.workspaces[team] = added
        return added

    async def _called(self, request: web.Request) -> web.StreamResponse:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        owner = [workspace for workspace in self.grants.workspaces.values() if token and workspace.token == token]
        return await (owner[0] if owner else self.workspace).answer(request)

    async def _access(self, request: web.Request) -> web.StreamResponse:
        self.workspace.counts["oauth.v2.access"] += 1
        if self.grants.unreachable and request.transport is not None:
            request.transport.abort()
            return web.Response()
        answer = self.grants.access(request, {key: str(value) for key, value in (await request.post()).items()})
        return web.json_response(answer, headers={"Date": self.workspace.date()})

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
        at: Workspace | None = None,
        **extra: Any,
    ) -> Said:
        """A person writes; returns when Slack has its acknowledgement or has given up. `extra` goes into the event."""
        workspace = at or self.workspace
        shown = workspace.write(channel, user, text, thread_ts or "")
        kind = {"type": "message", "channel_type": "im" if dm else "channel", "team": workspace.team}
        return Said(shown, (await self.push(self._message(shown) | kind | extra, workspace),))

    async def mention(
        self,
        channel: str,
        text: str,
        *,
        thread_ts: str | None = None,
        user: str = "U0000000001",
        pair: bool = True,
        at: Workspace | None = None,
    ) -> Said:
        """A person mentions the bot: app_mention and, with `pair`, the same as message.channels, in no order."""
        workspace = at or self.workspace
        shown = workspace.write(channel, user, f"<@{workspace.bot_user}> {text}", thread_ts or "")
        kinds: list[dict[str, str]] = [{"type": "app_mention"}]
        if pair:
            kinds.append({"type": "message", "channel_type": "channel"})
        said = [self._message(shown) | kind | {"team": workspace.team} for kind in kinds]
        return Said(shown, tuple(await asyncio.gather(*(self.push(event, workspace) for event in said))))

    async def press_button(self, channel: str, action_id: str, user: str = "U0000000001") -> int:
        """A block_actions interaction; returns the HTTP status."""
        action = {"type": "button", "action_id": action_id, "block_id": "b", "value": "1"}
        return await self._interact(channel, user, action, self.workspace, {})

    async def vote(self, shown: Shown, good: bool, user: str = "U0000000001", at: Workspace | None = None) -> int:
        """A press of one of the buttons under a message; returns the HTTP status. Raises LookupError without any."""
        for element in (element for block in shown.blocks for element in block.get("elements", ())):
            if element["type"] == "feedback_buttons":
                button = element["positive_button" if good else "negative_button"]
                action = {"type": "feedback_buttons", "action_id": element["action_id"], "block_id": "b"}
                action |= {"value": button["value"], "text": button["text"]}
                container = {"type": "message", "message_ts": shown.ts, "channel_id": shown.channel}
                container |= {"thread_ts": shown.thread_ts} if shown.thread_ts else {}
                return await self._interact(shown.channel, user, action, at or self.workspace, container)
        raise LookupError("no such buttons")

    async def _interact(
        self, channel: str, user: str, action: Mapping[str, Any], workspace: Workspace, container: Mapping[str, Any]
    ) -> int:
        team = {"id": workspace.team, "domain": "workspace"}
        asked: dict[str, Any] = {"type": "block_actions", "user": {"id": user}, "team": team, "enterprise": None}
        asked |= {"channel": {"id": channel}, "container": container, "actions": [action], "trigger_id": "1.2.3"}
        return (await self.post(urlencode({"payload": orjson.dumps(asked).decode()}).encode(), FORM))[0]

    async def open_messages(self, channel: str, user: str = "U0000000001", at: Workspace | None = None) -> Event:
        """A person opens the bot's conversation in an agent app."""
        workspace = at or self.workspace
        workspace.meet(channel)
        event = {"type": "app_home_opened", "user": user, "channel": channel, "tab": "messages"}
        return await self.push(event | {"event_ts": workspace.stamp()}, workspace)

    async def begin_thread(self, channel: str, user: str = "U0000000001") -> Event:
        """A person begins a thread in the older view of an assistant."""
        self.workspace.meet(channel)
        begun = {"user_id": user, "channel_id": channel, "thread_ts": self.workspace.stamp(), "context": {}}
        return await self.push({"type": "assistant_thread_started", "assistant_thread": begun})

    async def slash_command(self, channel: str, command: str, text: str = "", user: str = "U0000000001") -> int:
        """A slash command; returns the HTTP status."""
        fields = {"command": command, "text": text, "channel_id": channel, "user_id": user, "user_name": "customer"}
        fields |= {"trigger_id": f"1.2.{self._source.next_number()}", "team_id": self.workspace.team}
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

    def envelope(self, event: Mapping[str, Any], at: Workspace | None = None) -> dict[str, Any]:
        """An event as Slack wraps it, under a new event_id."""
        return self._source.envelope(event, at or self.workspace)

    async def push(self, event: Mapping[str, Any], at: Workspace | None = None) -> Event:
        """Deliver an event, and again on Slack's schedule until it is acknowledged."""
        self._source.enterprise = self.grants.whole_enterprise
        return await self._source.push(event, at or self.workspace)

    async def redeliver(self, event: Event, number: int = 0) -> int:
        """One try; `number` counts redeliveries. Returns the status, 0 when no answer came in time."""
        return await self._source.redeliver(event, number)

    async def post(
        self, body: bytes, content_type: str = JSON, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Any signed request; `headers` replace ours, for forgeries. Returns the status and the answer's body."""
        return await self._source.post(body, content_type, headers)

    def sign(self, body: bytes, timestamp: int | None = None) -> dict[str, str]:
        """The headers that prove a body to be Slack's."""
        return self._source.sign(body, timestamp)

    def _message(self, shown: Shown) -> dict[str, Any]:
        event = {"user": shown.user, "text": shown.text, "ts": shown.ts, "channel": shown.channel}
        thread = {"thread_ts": shown.thread_ts} if shown.thread_ts else {}
        return event | thread | {"team": self.workspace.team, "event_ts": shown.ts}
