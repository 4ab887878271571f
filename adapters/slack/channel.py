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

from adapters.slack import convert
from adapters.slack.api import Allowance, CallRefused, SlackApi
from adapters.slack.bolt import BoltSide
from adapters.slack.settings import Settings
from core.channel import Channel, Finding, Gateway, Traits
from core.errors import DeliveryError
from core.types import Delivery, Draft, InboundMessage, JsonObject

SIGNATURE_WINDOW = 300.0  # seconds (docs.slack.dev/authentication/verifying-requests-from-slack)
PREVIEW_SECONDS = 1.3  # chat.update is tier 3, 50 a minute (docs.slack.dev/apis/web-api/rate-limits)
PREVIEWS_KEPT = 512  # replies whose newest preview is remembered, so that no text is sent twice

# The preview can no longer become the final text: the text goes into a message of its own.
_PREVIEW_GONE = frozenset({"message_not_found", "cant_update_message", "edit_window_closed"})
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
        self._updates = Allowance(clock)
        self._previewed: OrderedDict[int, tuple[str, str]] = OrderedDict()  # turn -> reference and newest text
        self._own_user = ""
        self._introduction: asyncio.Task[None] | None = None
        self._bolt = BoltSide(name, api.client, api.logger)

    @property
    def name(self) -> str:
        return self._name

    @property
    def traits(self) -> Traits:
        return Traits(text_limit=convert.TEXT_LIMIT, measure=convert.length, preview_seconds=PREVIEW_SECONDS)

    # --- in ---------------------------------------------------------------------------------------------------------

    def routes(self, gateway: Gateway) -> Iterable[web.RouteDef]:
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
        found = convert.message(body, channel=self._name, bot=self._bot, own_user=self._own_user)
        if isinstance(found, InboundMessage):
            await gateway.receive(found)  # LedgerError goes up: no 200 for what is not on disk
            return web.Response()
        if found != convert.NOT_A_MESSAGE:
            self._log.debug("event_ignored", reason=found)
            return web.Response()
        return await self._bolt.answer(request, body)

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
        text = convert.draft_text(draft)
        shown = draft.reference or None
        if not text or self._previewed.get(draft.turn_id) == (draft.reference, text):
            return shown
        if draft.reference and not self._updates.spare():
            return shown
        self._previewed.pop(draft.turn_id, None)  # unknown until Slack confirms
        if draft.reference:
            reference = await self._update(draft.reference, text)
        else:
            reference = await self._post(draft.address, text)
        self._remember(draft.turn_id, reference, text)
        return reference

    async def deliver(self, delivery: Delivery) -> str:
        previewed = self._previewed.pop(delivery.turn_id, None) if delivery.part == 1 else None
        if not delivery.reference:
            return await self._post(delivery.address, delivery.text)
        if previewed == (delivery.reference, delivery.text):
            return delivery.reference  # Slack confirmed this very text already
        self._updates.take()
        try:
            return await self._update(delivery.reference, delivery.text)
        except CallRefused as refusal:
            if refusal.code not in _PREVIEW_GONE:
                raise
            self._log.info("preview_gone", delivery=delivery.id, reason=refusal.code)
        return await self._post(delivery.address, delivery.text)

    async def _post(self, address: JsonObject, text: str) -> str:
        # Not repeatable: Slack keeps client_msg_id to its own apps (github.com/slackapi/java-slack-sdk/issues/852), and
        # there is no other key that would make a second post the first one.
        answer, _ = await self._api.call("chat.postMessage", convert.post(address, text), repeatable=False)
        reference = convert.reference_of(answer)
        if not reference:
            raise DeliveryError("chat.postMessage: Slack named no message", unclear=True)
        return reference

    async def _update(self, reference: str, text: str) -> str:
        try:
            answer, _ = await self._api.call("chat.update", convert.update(reference, text), repeatable=True)
        except DeliveryError as error:
            if error.retry_after is not None:
                self._updates.pause(error.retry_after)
            raise
        return convert.reference_of(answer) or reference

    def _remember(self, turn_id: int, reference: str, text: str) -> None:
        self._previewed[turn_id] = (reference, text)
        if len(self._previewed) > PREVIEWS_KEPT:
            self._previewed.popitem(last=False)

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
