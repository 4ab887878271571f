"""The Telegram channel: what is received is Telegram's own and on disk before the 200; a reply grows in one message.

No error, log line or finding holds the token, which is part of every address of the Bot API.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

import orjson
import structlog
from aiohttp import web

from adapters.telegram.bot_api import BotApi, MessageGone, Place, Shown
from adapters.telegram.convert import GROUPS, TEXT_LIMIT, Identity, Skipped, convert, utf16_length
from adapters.telegram.pace import Pace
from adapters.telegram.settings import Settings
from core.channel import Finding, Gateway, Traits
from core.errors import DeliveryError
from core.split import clip
from core.types import Delivery, Draft, JsonObject

SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105  # core.telegram.org/bots/api#setwebhook
_PREVIEW_SECONDS = 1.1  # one message a second in one chat: core.telegram.org/bots/faq#my-bot-is-hitting-limits
_GROUP_SECONDS = 3.1  # twenty a minute in one group: the same page
_SHOWN_TURNS = 10_000
_CONNECTIONS = 100  # of ours to the Bot API
_LONGEST_PAUSE_SECONDS = 60.0


def build(name: str, settings: Settings, *, public_url: str) -> TelegramChannel:
    """The channel of one bot account; connects to nothing yet."""
    return TelegramChannel(name, settings, public_url=public_url)


class TelegramChannel:
    """One bot account. `clock` in seconds, never going back; `pause` waits between two tries to register."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        *,
        public_url: str,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        token = settings.token.get_secret_value() if settings.token else ""
        # PTB's debug lines show the token's address and every text.
        logging.getLogger("telegram").setLevel(logging.INFO)
        self.name = name
        self.traits = Traits(text_limit=TEXT_LIMIT, measure=utf16_length, preview_seconds=_PREVIEW_SECONDS)
        self._log = structlog.get_logger().bind(channel=name)
        self._bot = settings.bot
        self._connect = partial(
            BotApi, token, settings.api_base_url, seconds=settings.timeout_seconds, connections=_CONNECTIONS
        )
        self._api = self._connect()
        self._secret = settings.secret.get_secret_value() if settings.secret else derived_secret(token)
        self._webhook_url = f"{public_url}/{name}" if public_url else ""
        self._webhook_connections = settings.max_connections
        number = token.partition(":")[0]
        self._me = Identity(int(number) if number.isdecimal() else 0)
        self._pace = Pace(clock)
        self._pause = pause
        self._shown: OrderedDict[int, tuple[str, str]] = OrderedDict()  # turn -> reference and text as shown now
        self._registration: asyncio.Task[None] | None = None

    def routes(self, gateway: Gateway) -> Iterable[web.RouteDef]:
        return [web.post(f"/{self.name}", partial(self._receive, gateway))]

    async def start(self) -> None:
        """Learn the bot's name and register the webhook, in the background and until it works."""
        self._registration = asyncio.create_task(self._register(), name=f"{self.name} registration")

    async def close(self) -> None:
        if self._registration is not None:
            self._registration.cancel()
            await asyncio.gather(self._registration, return_exceptions=True)
        await self._api.close()

    async def preview(self, draft: Draft) -> str | None:
        place, grouped = _place(draft.address)
        # Telegram strips too, and refuses an edit that changes nothing.
        text = clip(draft.text.strip(), TEXT_LIMIT, utf16_length)
        current = (draft.reference, text)
        if not text or self._shown.get(draft.turn_id) == current or self._pace.held(place.chat_id):
            return draft.reference or None
        if grouped:
            self._pace.hold(place.chat_id, _GROUP_SECONDS)
        self._shown.pop(draft.turn_id, None)  # unknown while it is under way
        try:
            shown = await self._put(draft.reference, place, text)
        except DeliveryError as error:
            self._pace.hold(place.chat_id, error.retry_after or 0.0)
            raise
        self._remember(draft.turn_id, shown, text)
        return shown

    async def deliver(self, delivery: Delivery) -> str:
        place, grouped = _place(delivery.address)
        if delivery.part > 1:
            place = Place(place.chat_id, place.thread_id)
        shown = self._shown.pop(delivery.turn_id, None)
        if delivery.reference and shown == (delivery.reference, delivery.text.strip()):
            return delivery.reference
        if grouped:
            self._pace.hold(place.chat_id, _GROUP_SECONDS)
        try:
            return await self._put(delivery.reference, place, delivery.text)
        except MessageGone:
            self._log.info("telegram_preview_gone", delivery=delivery.id, turn=delivery.turn_id)
            return await self._put("", place, delivery.text)
        except DeliveryError as error:
            self._pace.hold(place.chat_id, error.retry_after or 0.0)
            raise

    async def check(self) -> list[Finding]:
        api = self._connect()  # of its own, since check may run without start and close
        try:
            return await self._findings(api)
        finally:
            await api.close()

    async def _receive(self, gateway: Gateway, request: web.Request) -> web.Response:
        given = request.headers.get(SECRET_HEADER, "")
        if not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self._secret.encode()):
            self._log.warning("telegram_secret_wrong", given=bool(given))
            return web.Response(status=401)
        # Whatever is not taken gets 200 too: Telegram would repeat it for a day and hold up its chat meanwhile.
        try:
            update = orjson.loads(await request.read())
        except web.HTTPRequestEntityTooLarge:
            self._log.warning("telegram_update_skipped", reason="too_large")
            return web.Response()
        except orjson.JSONDecodeError:
            self._log.warning("telegram_update_skipped", reason="not_json")
            return web.Response()
        message = convert(update, channel=self.name, bot=self._bot, me=self._me)
        if isinstance(message, Skipped):
            self._log.info("telegram_update_skipped", reason=message.reason)
            return web.Response()
        await gateway.receive(message)
        return web.Response()

    async def _put(self, reference: str, place: Place, text: str) -> str:
        """The text in the message that `reference` names, or in a new one."""
        shown = _message_of(reference)
        placed = await (self._api.edit(shown, text) if shown else self._api.send(place, text))
        return f"{placed.chat_id}:{placed.message_id}"

    def _remember(self, turn_id: int, reference: str, text: str) -> None:
        self._shown[turn_id] = (reference, text)
        if len(self._shown) > _SHOWN_TURNS:
            self._shown.popitem(last=False)

    async def _register(self) -> None:
        pause = 1.0
        while True:
            try:
                self._me = await self._api.me()
                if self._webhook_url:
                    await self._api.set_webhook(self._webhook_url, self._secret, connections=self._webhook_connections)
            except DeliveryError as error:
                if not error.retryable:
                    self._log.error("telegram_registration_refused", reason=error.reason, webhook=self._webhook_url)
                    return
                seconds = max(pause, error.retry_after or 0.0)
                self._log.warning("telegram_registration_failed", reason=error.reason, again_in_seconds=seconds)
                await self._pause(seconds)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            else:
                self._log.info("telegram_registered", username=self._me.username, webhook=self._webhook_url)
                return

    async def _findings(self, api: BotApi) -> list[Finding]:
        subject = f"{self.name}: token"
        try:
            me = await api.me()
        except DeliveryError as error:
            remedy = "check the token, api_base_url, and that this machine reaches it"
            return [Finding(subject, False, error.reason, remedy)]
        found = [Finding(subject, True, f"@{me.username}, id {me.id}")]
        subject = f"{self.name}: webhook"
        try:
            webhook = await api.webhook()
        except DeliveryError as error:
            return [*found, Finding(subject, False, error.reason, "try again")]
        if not self._webhook_url:
            remedy = "set server.public_url to the https address under which Telegram reaches this server"
            return [*found, Finding(subject, False, "Telegram does not know where to send messages", remedy)]
        if webhook.url != self._webhook_url:
            detail = "registered elsewhere" if webhook.url else "not registered"
            remedy = f"start Frontdesk: it registers {self._webhook_url}"
            return [*found, Finding(subject, False, detail, remedy)]
        if webhook.pending and webhook.last_error:
            detail = f"{webhook.pending} updates wait; Telegram says: {webhook.last_error}"
            remedy = f"make {self._webhook_url} reachable from the internet (ports 443, 80, 88, 8443)"
            return [*found, Finding(subject, False, detail, remedy)]
        return [*found, Finding(subject, True, f"{webhook.url}, {webhook.pending} updates wait")]


def derived_secret(token: str) -> str:
    """The webhook's secret where none is set: the same after a restart, and it tells nothing of the token."""
    return hmac.new(token.encode(), b"frontdesk telegram webhook", hashlib.sha256).hexdigest()


def _place(address: JsonObject) -> tuple[Place, bool]:
    """Where an answer goes, and whether that is a group. Raises DeliveryError on an address that is not ours."""
    chat_id, thread_id, message_id = (address.get(key) for key in ("chat_id", "thread_id", "message_id"))
    if not isinstance(chat_id, int):
        raise DeliveryError("the address has no chat_id")
    grouped = address.get("chat_type") in GROUPS
    reply_to = message_id if grouped and isinstance(message_id, int) else 0
    return Place(chat_id, thread_id if isinstance(thread_id, int) else 0, reply_to), grouped


def _message_of(reference: str) -> Shown | None:
    chat_id, _, message_id = reference.partition(":")
    try:
        return Shown(int(chat_id), int(message_id))
    except ValueError:
        return None
