"""A Slack channel between a small gateway and the simulated workspace, all on loopback, for the tests beside it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any, Self, cast

import aiohttp
from aiohttp import web
from yarl import URL

from adapters.slack.api import Pool
from adapters.slack.channel import SlackChannel
from adapters.slack.settings import Settings, Streaming
from adapters.slack.simulator import SlackSimulator
from adapters.slack.simulator import Workspace as SimulatedWorkspace
from adapters.slack.workspaces import Workspace
from core.channel import Gateway
from core.errors import LedgerError, RequestError
from core.types import ConversationKey, Delivery, Draft, InboundMessage, JsonObject, MessageState, Receipt, ReplyKind

TOKEN = "xoxb-sample-token"
SECRET = "sample-signing-secret"
CLIENT, CLIENT_SECRET = "1.2", "sample-client-secret"
THREAD = "1790000000.000100"
SAMPLES = Path(__file__).parents[2] / "adapters" / "slack" / "samples"


def samples(kind: str) -> list[dict[str, Any]]:
    """The samples that have a field of that name."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(SAMPLES.glob("*.json"))]
    return [sample for sample in found if kind in sample]


class KeepingGateway:
    """Keeps messages under their unique key; can be held back, and can fail."""

    def __init__(self) -> None:
        self.messages: dict[tuple[str, str], InboundMessage] = {}
        self.calls = 0
        self.failures = 0  # the next so many calls fail
        self.stopped: list[ConversationKey] = []
        self.writing: set[ConversationKey] = set()  # conversations with a reply to stop
        self.left: list[ConversationKey] = []
        self.begun: list[int] = []  # deliveries that a crash would leave unclear
        self.votes: list[tuple[ConversationKey, int, str, str]] = []
        self.facts: dict[tuple[str, str], JsonObject] = {}
        self.tired = False  # the address has asked too often
        self.entered = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def receive(self, message: InboundMessage) -> Receipt:
        self.calls += 1
        self.entered.set()
        await self.gate.wait()
        self._fail_if_asked()
        key = (message.conversation.channel, message.event_id)
        duplicate = key in self.messages
        self.messages.setdefault(key, message)
        return Receipt(message_id=len(self.messages), state=MessageState.WAITING, duplicate=duplicate)

    async def stop(self, conversation: ConversationKey) -> bool:
        self.stopped.append(conversation)
        return conversation in self.writing

    async def sending(self, delivery: Delivery) -> None:
        self.begun.append(delivery.id)

    async def leave(self, conversation: ConversationKey) -> None:
        self.left.append(conversation)

    async def feedback(self, conversation: ConversationKey, turn_id: int, user_id: str, vote: str) -> bool:
        self._fail_if_asked()
        self.votes.append((conversation, turn_id, user_id, vote))
        return True

    async def keep(self, channel: str, name: str, value: JsonObject | None) -> None:
        self._fail_if_asked()
        self.facts.pop((channel, name), None)
        if value is not None:
            self.facts[channel, name] = json.loads(json.dumps(value))  # as a database gives it back

    async def kept(self, channel: str, name: str) -> JsonObject | None:
        self._fail_if_asked()
        return self.facts.get((channel, name))

    def admit(self, request: web.Request) -> None:
        if self.tired:
            raise RequestError(429, "too often")

    def phrase(self, bot: str, name: str, language: str) -> str:
        return f"{bot} {name} {language}"

    def _fail_if_asked(self) -> None:
        if self.failures:
            self.failures -= 1
            raise LedgerError("the disk is full")

    @property
    def texts(self) -> list[str]:
        return [message.text for message in self.messages.values()]


@web.middleware
async def ledger_errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """As the server of the house answers them."""
    try:
        return await handler(request)
    except LedgerError:
        return web.Response(status=503)
    except RequestError as error:
        return web.Response(status=error.status)


class House:
    """`async with House() as house`: the channel's routes are served and the simulator points at them."""

    def __init__(
        self,
        *,
        name: str = "slack",
        clock: Callable[[], float] = time.time,
        timeout_seconds: float = 5.0,
        acknowledge_seconds: float = 3.0,
        limits: Mapping[str, int] | None = None,
        scopes: str = "app_mentions:read,chat:write,im:history",
        base_url: str = "",
        public_url: str = "https://bot.example.com",
        retry_seconds: float = 0.01,
        streaming: Streaming = "edit",
        stream_seconds: float = 300.0,
        feedback: bool = False,
        agent: bool = False,
        several: bool = False,
    ) -> None:
        self.name = name
        self.gateway = KeepingGateway()
        self.simulator = SlackSimulator(
            signing_secret=SECRET,
            token=TOKEN,
            pace=0.0,
            acknowledge_seconds=acknowledge_seconds,
            limits=limits,
            scopes=scopes,
            clock=clock,
            stream_seconds=stream_seconds,
            agent=agent,
            client_id=CLIENT,
            client_secret=CLIENT_SECRET,
        )
        self.workspace = self.simulator.workspace
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._base_url = base_url
        self._public_url = public_url
        self._retry_seconds = retry_seconds
        self._streaming = streaming
        self._feedback = feedback
        self._several = several

    def open(self, token: str = TOKEN, client_secret: str = CLIENT_SECRET) -> SlackChannel:
        """A channel as `build` makes it, with the times of a test."""
        way = {"client_id": CLIENT, "client_secret": client_secret} if self._several else {"token": token}
        values = {"api_base_url": self._base_url or self.simulator.base_url, "signing_secret": SECRET}
        settings = Settings.model_validate(
            {**way, **values, "streaming": self._streaming, "feedback": self._feedback, "kind": "slack"}
        )
        return SlackChannel(
            self.name,
            settings,
            public_url=self._public_url,
            pool=Pool(self._timeout_seconds),
            clock=self._clock,
            retry_seconds=self._retry_seconds,
        )

    @property
    def address(self) -> str:
        """Where the channel is served."""
        return self.simulator.events_url.removesuffix(f"/{self.name}/events")

    def only(self) -> Workspace:
        """The workspace of the token, from the inside: for waiting until what is in the background has ended."""
        assert self.channel._only is not None
        return self.channel._only

    async def __aenter__(self) -> Self:
        await self.simulator.start()
        self.channel = self.open()
        app = web.Application(middlewares=[ledger_errors])
        # The channel needs no more of the gateway than this; anything else it asked for would fail here.
        app.add_routes(self.channel.routes(cast("Gateway", self.gateway)))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.simulator.events_url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/{self.name}/events"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.channel.close()
        await self._runner.cleanup()
        await self.simulator.stop()


def draft(text: str, reference: str = "", *, turn_id: int = 1, chat: str = "C1", thread: str = THREAD) -> Draft:
    key = ConversationKey("slack", "support", chat, thread)
    return Draft(turn_id, key, {"channel": chat, "thread_ts": thread}, text, reference)


def delivery(text: str, reference: str = "", *, turn_id: int = 1, chat: str = "C1", thread: str = THREAD) -> Delivery:
    key = ConversationKey("slack", "support", chat, thread)
    address = {"channel": chat, "thread_ts": thread}
    return Delivery(1, turn_id, key, address, text, ReplyKind.ANSWER, reference=reference)


async def ready(house: House, channel: str = "C1") -> None:
    """A person has written in the channel, so that it exists."""
    await house.simulator.user_says(channel, "hello", dm=False)


class Browser:
    """A person's browser: keeps its cookies, and follows a link only when told to."""

    def __init__(self, house: House) -> None:
        self._house = house
        self.cookies: dict[str, str] = {}

    async def get(self, url: str, *, cookies: bool = True) -> tuple[int, str, str]:
        """Status, address of a redirection, body."""
        kept = "; ".join(f"{name}={value}" for name, value in self.cookies.items()) if cookies else ""
        headers = {"Cookie": kept} if kept else {}
        async with (
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http,
            http.get(URL(url, encoded=True), allow_redirects=False, headers=headers) as answer,
        ):
            for header in answer.headers.getall("Set-Cookie", ()):
                self.cookies |= {name: morsel.value for name, morsel in SimpleCookie(header).items()}
            return answer.status, answer.headers.get("Location", ""), await answer.text()

    async def begin(self) -> str:
        """The install page; returns the address that its button leads to, at the simulator."""
        status, _, page = await self.get(f"{self._house.address}/slack/install")
        assert status == 200
        return page.split('<a href="')[1].split('"')[0].replace("&amp;", "&")

    async def allow(self, workspace: SimulatedWorkspace) -> str:
        """Press the button and allow it there; returns the address that Slack sends the browser back to."""
        self._house.simulator.grants.chosen = workspace.team
        link = f"{await self.begin()}&redirect_uri={self._house.address}/slack/oauth_redirect"
        status, back, _ = await self.get(link)
        assert status == 302
        return back


async def installed(house: House, workspace: SimulatedWorkspace) -> None:
    """A person of that workspace installs the app, over real HTTP."""
    browser = Browser(house)
    back = await browser.allow(workspace)
    status, _, page = await browser.get(back)
    assert (status, "Thank you" in page) == (200, True)
