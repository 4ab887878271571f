"""The Slack channel: a request is verified before it is parsed, and its message is on disk before Slack gets its 200.

A failing ledger becomes the server's 503 and Slack redelivers. One app: in the workspace of its token, or in all those
that installed it by OAuth.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable

import structlog
from aiohttp import web

from adapters.slack import checking, convert, markup, outbound
from adapters.slack.api import Pool, SlackApi
from adapters.slack.bolt import BoltSide
from adapters.slack.events import Home
from adapters.slack.incoming import Incoming
from adapters.slack.installations import Installations
from adapters.slack.installing import Installing
from adapters.slack.outbound import Buttons
from adapters.slack.sending import EDIT_SECONDS, stopped_by_user
from adapters.slack.settings import Settings
from adapters.slack.signature import genuine
from adapters.slack.streams import STREAM_SECONDS
from adapters.slack.workspaces import InstalledWorkspaces, OneWorkspace, Opening, Workspace, Workspaces
from core.channel import Channel, Finding, Gateway, Traits
from core.errors import DeliveryError, LedgerError
from core.language import detect
from core.types import Delivery, Draft, JsonObject, ReplyKind, Turn


def build(name: str, settings: Settings, *, public_url: str) -> Channel:
    """The channel of a section whose secrets are set; opens nothing."""
    if settings.missing():
        raise ValueError(f"channels.{name} lacks {settings.missing()}")
    return SlackChannel(name, settings, public_url=public_url, pool=Pool(), clock=time.time)


class SlackChannel:
    """One Slack app."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        *,
        public_url: str,
        pool: Pool,
        clock: Callable[[], float],
        random: Callable[[], str] = secrets.token_urlsafe,
        retry_seconds: float = 5.0,
    ) -> None:
        self._name = name
        self._settings = settings
        self._bot = settings.bot
        self._public_url = public_url
        self._clock = clock
        self._random = random
        self._retry_seconds = retry_seconds
        self._log = structlog.get_logger().bind(channel=name)
        token = settings.token.get_secret_value() if settings.token else ""
        self._signing_secret = settings.signing_secret.get_secret_value() if settings.signing_secret else ""
        self._client_secret = settings.client_secret.get_secret_value() if settings.client_secret else ""
        self._api = SlackApi(token=token, base_url=settings.api_base_url, pool=pool)
        self._opening = Opening(name, settings.streaming, clock)
        self._only = None if settings.several else self._opening(self._api)
        self._workspaces: Workspaces | None = OneWorkspace(self._only) if self._only else None
        self._gateway: Gateway | None = None
        self._introduction: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        return self._name

    @property
    def traits(self) -> Traits:
        streaming = self._settings.streaming != "edit" and (self._only is None or self._only.sending.streaming)
        pace = STREAM_SECONDS if streaming else EDIT_SECONDS
        text_limit, measure, split = markup.TEXT_LIMIT, markup.length, markup.parts
        return Traits(text_limit, measure, split, preview_seconds=pace, repeatable=True)

    # --- in ---------------------------------------------------------------------------------------------------------

    def routes(self, gateway: Gateway) -> Iterable[web.RouteDef]:
        self._gateway = gateway
        installing = [] if self._only else self._open_to_several(gateway)
        if self._workspaces is None:
            raise ValueError("no workspaces")  # one of the two lines above made them
        bolt = BoltSide(self._name, self._api.client, self._api.logger)
        # Slack streams in threads only. "native" makes a thread of every direct message, as its agent view does.
        threads = self._settings.streaming == "native"
        incoming = Incoming(self._name, self._bot, gateway, self._workspaces, bolt, threads=threads)

        async def events(request: web.Request) -> web.StreamResponse:
            return await self._take_request(incoming, request)

        return [web.post(f"/{self._name}/events", events), *installing]

    def _open_to_several(self, gateway: Gateway) -> list[web.RouteDef]:
        name, api, client_id = self._name, self._api, self._settings.client_id
        installations = Installations(
            name, gateway, api, client_id=client_id, client_secret=self._client_secret, clock=self._clock
        )
        self._workspaces = InstalledWorkspaces(installations, api, self._opening)
        return Installing(
            name,
            gateway,
            api,
            installations,
            client_id=client_id,
            client_secret=self._client_secret,
            scopes=checking.wanted(agent=self._settings.streaming == "native"),
            public_url=self._public_url,
            authorize_url=f"{self._settings.api_base_url.removesuffix('/api')}/oauth/v2/authorize",
            clock=self._clock,
            random=self._random,
        ).routes()

    async def _take_request(self, incoming: Incoming, request: web.Request) -> web.StreamResponse:
        raw, headers = await request.read(), request.headers
        if not genuine(self._signing_secret.encode(), raw, headers, self._clock()):
            self._log.warning("request_refused", reason="signature")
            return web.json_response({"error": "the request is not signed by Slack, or is too old"}, status=401)
        if "X-Slack-Retry-Num" in headers:
            number, reason = headers["X-Slack-Retry-Num"], headers.get("X-Slack-Retry-Reason", "")
            self._log.info("redelivery", number=number[:8], reason=reason[:64])  # the signature does not cover them
        body = convert.envelope(raw, request.content_type)
        if body is None:
            self._log.warning("request_unreadable", bytes=len(raw))
            return web.Response()
        return await incoming.take(request, body)

    # --- out --------------------------------------------------------------------------------------------------------

    async def preview(self, draft: Draft) -> str | None:
        workspace = await self._workspace(draft.address)
        if not draft.reference:
            workspace.status.over(draft.address)
        try:
            return await workspace.sending.preview(draft)
        except DeliveryError as error:
            if stopped_by_user(error) and self._gateway is not None:  # whether or not the app is told of it by an event
                await self._gateway.stop(draft.conversation)
            raise

    async def find(self, turn: Turn, known: frozenset[str]) -> str | None:
        return await (await self._workspace(turn.address)).looking.preview(turn, known)

    async def deliver(self, delivery: Delivery) -> str:
        workspace = await self._workspace(delivery.address)
        if not delivery.reference:
            workspace.status.over(delivery.address)
        reference = await workspace.sending.deliver(delivery, self._buttons(delivery), self._begin)
        if delivery.part == delivery.parts and delivery.kind is not ReplyKind.NOTICE:
            workspace.status.done(delivery.address)
        return reference

    async def _begin(self, delivery: Delivery) -> None:
        if self._gateway is not None:
            await self._gateway.sending(delivery)

    async def _workspace(self, address: JsonObject) -> Workspace:
        """The one that an address is in: no other's token is ever used for it. Raises DeliveryError."""
        team = outbound.string(address, "home_team")
        enterprise = outbound.string(address, "enterprise")
        home = Home(team if team or enterprise else outbound.string(address, "team"), enterprise)
        try:
            found = await self._workspaces.find(home, fresh=True) if self._workspaces is not None else None
        except LedgerError as error:
            raise DeliveryError(f"the installation cannot be looked up: {error}", retryable=True) from error
        if found is None:
            raise DeliveryError(f"the app is not installed in workspace {home}: install it at /{self._name}/install")
        return found

    def _buttons(self, delivery: Delivery) -> Buttons:
        """What asks for a vote: under the end of an answer, and under nothing else that is said."""
        wanted = self._settings.feedback and delivery.kind is ReplyKind.ANSWER and delivery.part == delivery.parts
        if not wanted or self._gateway is None:
            return None
        language = detect(delivery.text, "")
        good, bad = (self._gateway.phrase(self._bot, f"feedback_{vote}", language) for vote in ("good", "bad"))
        key = delivery.conversation
        return outbound.vote_buttons(delivery.turn_id, key.chat_id, key.thread_id, good, bad)

    # --- start, close, check ----------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Learn who the bot is; when Slack cannot be reached, go on trying in the background. Messages name the bot
        themselves, so they are taken meanwhile."""
        if self._only is not None and not await self._introduced(self._only):
            self._introduction = asyncio.create_task(self._introduce(self._only), name=f"{self._name}-introduction")

    async def close(self) -> None:
        if self._introduction is not None:
            self._introduction.cancel()
            await asyncio.gather(self._introduction, return_exceptions=True)
            self._introduction = None
        for workspace in self._workspaces.known() if self._workspaces is not None else ():
            await workspace.close()
        await self._api.close()

    async def _introduce(self, workspace: Workspace) -> None:
        pause = self._retry_seconds
        await asyncio.sleep(pause)
        while not await self._introduced(workspace):
            pause = min(pause * 2, 300.0)
            await asyncio.sleep(pause)

    async def _introduced(self, workspace: Workspace) -> bool:
        """Whether there is nothing more to ask: the bot is known, or Slack refused its token for good."""
        try:
            who, _ = await self._api.call("auth.test", {}, repeatable=True)
        except DeliveryError as error:
            self._log.warning("introduction_failed", reason=error.reason, retry=error.retryable)
            return not error.retryable
        workspace.own_user = str(who.get("user_id") or "")
        self._log.info("introduced", team=who.get("team_id"), user=workspace.own_user)
        return True

    async def check(self) -> list[Finding]:
        subject, several = f"channels.{self._name}", self._settings.several
        if several:
            client_id = self._settings.client_id
            found = await checking.by_client(subject, self._api, self._clock, client_id, self._client_secret)
        else:
            found = await checking.by_token(subject, self._api, self._clock)
        if any(not finding.ok and finding.subject.endswith((" token", " client")) for finding in found):
            return found
        feedback = self._settings.feedback
        return [*found, *checking.addresses(subject, self._name, self._public_url, several=several, feedback=feedback)]
