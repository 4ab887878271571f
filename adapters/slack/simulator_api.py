"""A simulated workspace as its users see it, and the Web API methods that change it.

Answers, errors and limits are those of docs.slack.dev/reference/methods; nothing here grows without bound.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

import orjson
from aiohttp import web

from adapters.slack.simulator_agent import AGENT_METHODS, AgentView
from adapters.slack.simulator_blocks import Shown, as_read, text_error, texts, true
from adapters.slack.simulator_faults import Call, Fault
from adapters.slack.simulator_history import FORM_ONLY, READ_METHODS, Reading, metadata_error
from adapters.slack.simulator_streams import STREAM_METHODS, LiveStreams

MESSAGES_KEPT = 5_000  # in all channels together
CALLS_KEPT = 2_000

_PING = re.compile(r"<(?:!(?:channel|here|everyone|subteam)|@[UW])[^<>]*>")
_LOOSE_PING = re.compile(r"(?<!\w)@(?:channel|here|everyone)\b")


@dataclass(frozen=True, slots=True)
class _Watch:
    condition: Callable[[list[Shown]], bool]
    met: asyncio.Future[None]


class Workspace:
    """One workspace with one installed app."""

    def __init__(
        self,
        *,
        token: str,
        team: str,
        bot_user: str,
        bot_id: str,
        clock: Callable[[], float],
        limits: Mapping[str, int],
        scopes: str,
        stream_seconds: float = 300.0,
        agent: bool = False,
    ) -> None:
        self.team = team
        self.token = token
        self.installed = bool(token)
        self.clock_skew = 0.0  # seconds that Slack's clock is ahead of the simulator's
        self.view = AgentView(agent=agent)
        self.bot_user = bot_user
        self.bot_id = bot_id
        self.scopes = scopes
        self.archived: set[str] = set()
        self.strangers: set[str] = set()  # channels without the bot
        self.counts: Counter[str] = Counter()  # calls by method
        self.calls: deque[Call] = deque(maxlen=CALLS_KEPT)
        self.streams = LiveStreams(clock, stream_seconds)
        self.reading = Reading()
        self._clock = clock
        self._limits = limits  # calls a minute by method; a method that is not named has none
        self._recent: dict[str, deque[float]] = {method: deque(maxlen=calls) for method, calls in limits.items()}
        self._faults: dict[str, deque[Fault]] = {}
        self._channels: dict[str, dict[str, Shown]] = {}  # by channel and ts
        self._oldest: deque[tuple[str, str]] = deque()  # channel and ts of every message kept
        self._last_ts = 0
        self._watched: dict[str, list[_Watch]] = {}  # by channel

    # --- what users see ---------------------------------------------------------------------------------------------

    def messages(self, channel: str, thread_ts: str | None = None) -> list[Shown]:
        """The messages of a channel, or of one thread of it, oldest first."""
        found = list(self._channels.get(channel, {}).values())
        return found if thread_ts is None else [shown for shown in found if thread_ts in (shown.ts, shown.thread_ts)]

    def replies(self, channel: str, thread_ts: str | None = None) -> list[Shown]:
        """Those of them that the bot wrote."""
        return [shown for shown in self.messages(channel, thread_ts) if shown.bot]

    async def until(self, channel: str, condition: Callable[[list[Shown]], bool], seconds: float = 10.0) -> list[Shown]:
        """Wait until the bot's messages in a channel meet the condition; returns them. Raises TimeoutError."""
        if not condition(self.replies(channel)):
            watch = _Watch(condition, asyncio.get_running_loop().create_future())
            watches = self._watched.setdefault(channel, [])
            watches.append(watch)
            try:
                await asyncio.wait_for(watch.met, seconds)
            finally:
                watches.remove(watch)
                if not watches:
                    self._watched.pop(channel, None)
        return self.replies(channel)

    def write(self, channel: str, user: str, text: str, thread_ts: str = "") -> Shown:
        """A person's message appears; `text` is as Slack stores it, with & < > escaped and <@U...> for a mention."""
        return self._show(Shown(channel, self.stamp(), text, thread_ts, user))

    def meet(self, channel: str) -> None:
        """The channel is there, with nothing in it yet."""
        self._channels.setdefault(channel, {})

    def fail(self, method: str, fault: Fault, times: int = 1) -> None:
        """The next `times` calls of a method go wrong."""
        self._faults.setdefault(method, deque(maxlen=1_000)).extend([fault] * times)

    # --- the Web API ------------------------------------------------------------------------------------------------

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """POST /api/<method> with a JSON or a form body."""
        method = request.match_info["method"]
        raw = await request.read()
        json = request.content_type == "application/json"
        arguments = ({} if method in FORM_ONLY else orjson.loads(raw or b"{}")) if json else await request.post()
        self.counts[method] += 1
        self.calls.append(Call(method, dict(arguments)))
        faults = self._faults.get(method)
        fault = faults.popleft() if faults else Fault()
        if fault.delay:
            await asyncio.sleep(fault.delay)
        refusal = self._refusal(method, fault)
        if refusal is not None:
            return refusal
        if fault.reset:
            return _cut(request)
        refused = None if method == "api.test" else self._not_allowed(request, arguments)
        answer = refused or self._carry_out(method, arguments)
        if fault.hold is not None:
            await fault.hold.wait()
        if fault.drop:
            return _cut(request)
        return _json(answer, headers={"X-OAuth-Scopes": self.scopes, "Date": self.date()})

    def date(self) -> str:
        """Slack's clock, as the header says it."""
        return formatdate(self._clock() + self.clock_skew, usegmt=True)

    def _refusal(self, method: str, fault: Fault) -> web.Response | None:
        headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
        if fault.body is not None:
            kind = "application/json" if fault.status == 200 else "text/html"
            return web.Response(status=fault.status, body=fault.body, content_type=kind, headers=headers)
        if fault.error or fault.status != 200:
            return _json({"ok": False, "error": fault.error}, status=fault.status, headers=headers)
        recent = self._recent.get(method)
        if recent is None:
            return None
        now = self._clock()
        while recent and recent[0] <= now - 60:
            recent.popleft()
        if len(recent) >= self._limits[method]:
            wait = str(int(recent[0] + 60 - now) + 1)
            return _json({"ok": False, "error": "ratelimited"}, status=429, headers={"Retry-After": wait})
        recent.append(now)
        return None

    def _not_allowed(self, request: web.Request, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ") or arguments.get("token", "")
        if given == self.token and self.installed:
            return None
        return {"ok": False, "error": "invalid_auth" if given else "not_authed"}

    def _carry_out(self, method: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        if method == "api.test":
            return {"ok": True}
        if method == "auth.test":
            who = {"team": "Workspace", "user": "bot", "team_id": self.team, "url": "https://workspace.slack.com/"}
            return {"ok": True, **who, "user_id": self.bot_user, "bot_id": self.bot_id}
        if method in AGENT_METHODS:
            error = self._channel_error(str(arguments.get("channel_id", "")))
            return {"ok": False, "error": error} if error else self.view.answer(method, arguments)
        if method in STREAM_METHODS:
            return self._streamed(method, arguments)
        if method in READ_METHODS:
            return self._read(method, arguments)
        if method not in ("chat.postMessage", "chat.update", "chat.delete"):
            return {"ok": False, "error": "unknown_method", "req_method": method}
        channel = self._place(str(arguments.get("channel", "")))
        error = self._channel_error(channel) or ("" if method == "chat.delete" else text_error(method, arguments))
        error = error or metadata_error(arguments.get("metadata", {}))
        if error:
            return {"ok": False, "error": error}
        if method == "chat.postMessage":
            thread = str(arguments.get("thread_ts") or "")
            return self._written(Shown(channel, self.stamp(), "", thread, self.bot_user, bot=True), arguments)
        shown = self._channels[channel].get(str(arguments.get("ts", "")))
        if shown is None or not shown.bot:
            return {"ok": False, "error": "message_not_found" if shown is None else f"cant_{method[5:]}_message"}
        if self.streams.live(channel, shown.ts):
            return {"ok": False, "error": "streaming_state_conflict"}
        if method == "chat.update":
            return self._written(shown, arguments)
        del self._channels[channel][shown.ts]
        return {"ok": True, "channel": channel, "ts": shown.ts}

    def _read(self, method: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        channel = str(arguments.get("channel", ""))
        if (error := self._channel_error(channel)) not in ("", "is_archived"):
            return {"ok": False, "error": error}
        refusal = self.reading.refusal(channel, self.scopes)
        return refusal or self.reading.answer(method, arguments, self.messages(channel), {"bot_id": self.bot_id})

    def arrive(self, call: Call) -> None:
        """A call that seemed to be lost is carried out after all."""
        self._carry_out(call.method, call.arguments)

    def _streamed(self, method: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        channel, ts = str(arguments.get("channel", "")), str(arguments.get("ts", ""))
        error = self._channel_error(channel) or self.streams.refusal(method, arguments)
        if error:
            return {"ok": False, "error": error}
        if method == "chat.startStream":
            thread = str(arguments["thread_ts"])
            shown = Shown(channel, self.stamp(), "", thread, self.bot_user, bot=True)
            self.streams.begin(channel, shown.ts, thread)
        elif ts not in self._channels[channel]:
            return {"ok": False, "error": "message_not_found"}
        else:
            shown = self._channels[channel][ts]
        raw = self.streams.add(channel, shown.ts, str(arguments.get("markdown_text") or ""))
        if method == "chat.stopStream":
            self.streams.end(channel, ts)
        return self._written(shown, {"markdown_text": raw, "under": arguments.get("blocks")})

    def _place(self, channel: str) -> str:
        """A person's id stands for the direct conversation with them."""
        if not channel.startswith("U"):
            return channel
        direct = f"D{channel[1:]}"
        self.meet(direct)
        return direct

    def _channel_error(self, channel: str) -> str:
        if channel not in self._channels:
            return "channel_not_found"
        if channel in self.archived:
            return "is_archived"
        return "not_in_channel" if channel in self.strangers else ""

    def _written(self, shown: Shown, arguments: Mapping[str, Any]) -> dict[str, Any]:
        blocks = arguments.get("under") or arguments.get("blocks")
        if blocks is not None or arguments.get("text") is None:  # text alone leaves the blocks as they are
            shown.blocks = tuple(blocks or ())
        shown.metadata = arguments.get("metadata", shown.metadata)  # stays unless it is given
        raw = str(arguments.get("markdown_text") or arguments.get("text") or "")
        warning = {"warning": "message_truncated"} if len(raw) > 40_000 else {}
        raw = raw[:40_000]
        shown.notification = raw
        shown.text = as_read({**arguments, "blocks": arguments.get("blocks") or texts(shown.blocks)})
        shown.pings += len(_PING.findall(raw)) + len(_PING.findall(str(arguments.get("blocks") or "")))
        if arguments.get("parse") == "full" or true(arguments.get("link_names")):
            shown.pings += len(_LOOSE_PING.findall(raw))
        shown.links = true(arguments.get("unfurl_links"))
        shown.edits.append(shown.text)
        self._show(shown)
        message = {"type": "message", "text": raw, "user": self.bot_user, "bot_id": self.bot_id, "ts": shown.ts}
        return {"ok": True, "channel": shown.channel, "ts": shown.ts, "message": message, **warning}

    def _show(self, shown: Shown) -> Shown:
        messages = self._channels.setdefault(shown.channel, {})
        if shown.bot:
            self.view.statuses.pop((shown.channel, shown.thread_ts), None)
        if shown.ts not in messages:
            messages[shown.ts] = shown
            self._oldest.append((shown.channel, shown.ts))
            if len(self._oldest) > MESSAGES_KEPT:
                self._forget(*self._oldest.popleft())
        for watch in self._watched.get(shown.channel, ()):
            if not watch.met.done() and watch.condition(self.replies(shown.channel)):
                watch.met.set_result(None)
        return shown

    def _forget(self, channel: str, ts: str) -> None:
        messages = self._channels.get(channel, {})
        messages.pop(ts, None)
        if not messages:
            self._channels.pop(channel, None)

    def stamp(self) -> str:
        """A new ts: seconds.microseconds, unique and growing."""
        self._last_ts = max(self._last_ts + 1, int(self._clock() * 1e6))
        return f"{self._last_ts // 1_000_000}.{self._last_ts % 1_000_000:06d}"


def _json(body: Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str]) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json", headers=headers)


def _cut(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
