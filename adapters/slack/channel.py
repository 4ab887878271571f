"""The Slack channel: a request is verified before it is parsed, and its message is on disk before Slack gets its 200.

A failing ledger becomes the server's 503 and Slack redelivers; what cannot be read, or is not for the bot, gets 200 and
a log line, or Slack would repeat it. Requests that are no messages go on to Bolt (bolt.py).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping

import structlog
from aiohttp import web

from adapters.slack import convert, outbound
from adapters.slack.api import SlackApi
from adapters.slack.bolt import BoltSide
from adapters.slack.sending import EDIT_SECONDS, Sending, stopped_by_user
from adapters.slack.settings import Settings, Streaming
from adapters.slack.status import StatusLine
from adapters.slack.streams import STREAM_SECONDS, Streams
from core.channel import Channel, Finding, Gateway, Traits
from core.errors import DeliveryError
from core.language import detect
from core.types import ConversationKey, Delivery, Draft, InboundMessage, JsonObject, MessageState

SIGNATURE_WINDOW = 300.0  # seconds (docs.slack.dev/authentication/verifying-requests-from-slack)
CONVERSATIONS_KEPT = 2_000  # the newest, for when the bot is removed from their channel
_SCOPES = ("chat:write", "app_mentions:read", "im:history")


def build(name: str, settings: Settings, *, public_url: str) -> Channel:
    """The channel of a section whose secrets are set; opens nothing."""
    if not settings.token or not settings.signing_secret:
        raise ValueError(f"channels.{name} lacks {settings.missing()}")
    return SlackChannel(
        name=name,
        bot=settings.bot,
        api=SlackApi(token=settings.token.get_secret_value(), base_url=settings.api_base_url),
        signing_secret=settings.signing_secret.get_secret_value(),
        public_url=public_url,
        clock=time.time,
        streaming=settings.streaming,
    )


class SlackChannel:
    """One Slack app in one workspace."""

    def __init__(
        self,
        *,
        name: str,
        bot: str,
        api: SlackApi,
        signing_secret: str,
        public_url: str,
        clock: Callable[[], float],
        streaming: Streaming = "auto",
        retry_seconds: float = 5.0,
    ) -> None:
        self._name = name
        self._bot = bot
        self._api = api
        self._signing_secret = signing_secret.encode()
        self._public_url = public_url
        self._clock = clock
        self._retry_seconds = retry_seconds
        self._log = structlog.get_logger().bind(channel=name)
        # Slack streams in threads only. "native" makes a thread of every direct message, as its agent view does.
        self._threads = streaming == "native"
        streams = None if streaming == "edit" else Streams(name, api, clock)
        self._sending = Sending(api, streams, clock, self._log)
        self._status = StatusLine(name, api, clock)
        self._gateway: Gateway | None = None
        self._recent: OrderedDict[ConversationKey, None] = OrderedDict()
        self._own_user = ""
        self._introduction: asyncio.Task[None] | None = None
        self._bolt = BoltSide(name, api.client, api.logger)

    @property
    def name(self) -> str:
        return self._name

    @property
    def traits(self) -> Traits:
        pace = STREAM_SECONDS if self._sending.streaming else EDIT_SECONDS
        return Traits(text_limit=outbound.TEXT_LIMIT, measure=outbound.length, preview_seconds=pace)

    # --- in ---------------------------------------------------------------------------------------------------------

    def routes(self, gateway: Gateway) -> Iterable[web.RouteDef]:
        self._gateway = gateway

        async def events(request: web.Request) -> web.StreamResponse:
            return await self._take_request(gateway, request)

        return [web.post(f"/{self._name}/events", events)]

    async def _take_request(self, gateway: Gateway, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        if not self._genuine(raw, request.headers):
            self._log.warning("request_refused", reason="signature")
            return web.json_response({"error": "the request is not signed by Slack, or is too old"}, status=401)
        if "X-Slack-Retry-Num" in request.headers:
            headers = request.headers
            self._log.info(
                "redelivery", number=headers["X-Slack-Retry-Num"], reason=headers.get("X-Slack-Retry-Reason", "")
            )
        body = convert.envelope(raw, request.content_type)
        if body is None:
            self._log.warning("request_unreadable", bytes=len(raw))
            return web.Response()
        found = convert.message(body, channel=self._name, bot=self._bot, own_user=self._own_user, threads=self._threads)
        if isinstance(found, InboundMessage):
            await self._receive(gateway, found)
            return web.Response()
        if found != convert.NOT_A_MESSAGE:
            self._log.debug("event_ignored", reason=found)
            return web.Response()
        found = convert.command(body, channel=self._name, bot=self._bot)
        if isinstance(found, InboundMessage):
            await self._receive(gateway, found)
            # No words, only: let those who will read the answer see the question.
            return web.Response() if found.command else web.json_response({"response_type": "in_channel"})
        if await self._ended(gateway, body):
            return web.Response()
        return await self._bolt.answer(request, body)

    async def _receive(self, gateway: Gateway, message: InboundMessage) -> None:
        receipt = await gateway.receive(message)  # LedgerError goes up: no 200 for what is not on disk
        if receipt.state is MessageState.WAITING and not receipt.duplicate:
            language = detect(message.text, message.language)
            self._status.show(message.address, gateway.phrase(self._bot, "chat_writing", language))
        self._recent[message.conversation] = None
        self._recent.move_to_end(message.conversation)
        if len(self._recent) > CONVERSATIONS_KEPT:
            self._recent.popitem(last=False)

    async def _ended(self, gateway: Gateway, body: JsonObject) -> bool:
        """Whether the request was one that ends replies: the stop button, or the bot's removal."""
        if asked := convert.stopped(body, channel=self._name, bot=self._bot):
            for conversation in asked:
                if await gateway.stop(conversation):
                    break
            return True
        place = convert.left(body, self._own_user)
        if place is None:
            return False
        gone = [conversation for conversation in self._recent if place in ("", conversation.chat_id)]
        self._log.warning("left", place=place or "workspace", conversations=len(gone))
        for conversation in gone:
            await gateway.leave(conversation)
            self._recent.pop(conversation, None)
        return True

    def _genuine(self, raw: bytes, headers: Mapping[str, str]) -> bool:
        """v0=HMAC-SHA256(secret, "v0:<timestamp>:<raw body>"), compared in constant time, within five minutes
        (docs.slack.dev/authentication/verifying-requests-from-slack). Total: no header can make it raise."""
        timestamp = headers.get("X-Slack-Request-Timestamp", "")
        if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
            return False
        if abs(self._clock() - int(timestamp)) > SIGNATURE_WINDOW:
            return False
        base = b"v0:" + timestamp.encode() + b":" + raw
        expected = "v0=" + hmac.new(self._signing_secret, base, hashlib.sha256).hexdigest()
        given = headers.get("X-Slack-Signature", "").encode("utf-8", "surrogateescape")
        return hmac.compare_digest(expected.encode(), given)

    # --- out --------------------------------------------------------------------------------------------------------

    async def preview(self, draft: Draft) -> str | None:
        if not draft.reference:
            self._status.over(draft.address)
        try:
            return await self._sending.preview(draft)
        except DeliveryError as error:
            if stopped_by_user(error) and self._gateway is not None:  # whether or not the app is told of it by an event
                await self._gateway.stop(draft.conversation)
            raise

    async def deliver(self, delivery: Delivery) -> str:
        if not delivery.reference:
            self._status.over(delivery.address)
        return await self._sending.deliver(delivery)

    # --- start, close, check ----------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Learn who the bot is; when Slack cannot be reached, go on trying in the background. Messages name the bot
        themselves, so they are taken meanwhile."""
        if not await self._introduced():
            self._introduction = asyncio.create_task(self._introduce(), name=f"{self._name}-introduction")

    async def close(self) -> None:
        if self._introduction is not None:
            self._introduction.cancel()
            await asyncio.gather(self._introduction, return_exceptions=True)
            self._introduction = None
        await self._status.close()
        await self._api.close()

    async def _introduce(self) -> None:
        pause = self._retry_seconds
        await asyncio.sleep(pause)
        while not await self._introduced():
            pause = min(pause * 2, 300.0)
            await asyncio.sleep(pause)

    async def _introduced(self) -> bool:
        """Whether there is nothing more to ask: the bot is known, or Slack refused its token for good."""
        try:
            who, _ = await self._api.call("auth.test", {}, repeatable=True)
        except DeliveryError as error:
            self._log.warning("introduction_failed", reason=error.reason, retry=error.retryable)
            return not error.retryable
        self._own_user = str(who.get("user_id") or "")
        self._log.info("introduced", team=who.get("team_id"), user=self._own_user)
        return True

    async def check(self) -> list[Finding]:
        subject = f"channels.{self._name}"
        try:
            who, granted = await self._api.call("auth.test", {}, repeatable=True)
        except DeliveryError as error:
            remedy = (
                "try again later"
                if error.retryable
                else "set the bot token (xoxb-...) of the app's OAuth & Permissions page"
            )
            return [Finding(f"{subject} token", ok=False, detail=error.reason, remedy=remedy)]
        findings = [Finding(f"{subject} token", ok=True, detail=f"bot {who.get('user')} in {who.get('team')}")]
        missing = [scope for scope in _SCOPES if scope not in granted.replace(" ", "").split(",")] if granted else []
        if missing:
            remedy = "add them under OAuth & Permissions and reinstall the app"
            findings.append(
                Finding(f"{subject} scopes", ok=False, detail=f"missing: {', '.join(missing)}", remedy=remedy)
            )
        return [*findings, self._request_url(subject)]

    def _request_url(self, subject: str) -> Finding:
        path = f"/{self._name}/events"
        if not self._public_url:
            return Finding(
                f"{subject} address", ok=False, detail="Slack has no address to call", remedy="set server.public_url"
            )
        return Finding(
            f"{subject} address",
            ok=True,
            detail=f"Request URL of the app's Event Subscriptions: {self._public_url}{path}",
        )
