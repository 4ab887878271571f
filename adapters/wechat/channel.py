"""The WeChat channel: passive replies for accounts that have nothing else, customer-service messages for verified ones.

Which of the two is found out at the start (`verified = "auto"`) and again when WeChat takes the right away; `traits`
says what holds now. An account without app_secret, or with one that could not be tried yet, replies passively: every
account may, so nothing is lost by it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

import structlog
from aiohttp import web
from pydantic import SecretStr

from adapters.wechat.api import HELD, SPENT, TOKEN_REFUSED, UNVERIFIED, Api, Refused
from adapters.wechat.convert import TEXT_LIMIT, tap_link, utf8_length
from adapters.wechat.crypto import Seal
from adapters.wechat.passive import PHRASE_ROOM, Pace, PassiveReplies
from adapters.wechat.quota import Quota
from adapters.wechat.replay import Replays
from adapters.wechat.settings import Settings
from adapters.wechat.webhook import Webhook
from core.channel import Finding, Gateway, Traits
from core.errors import DeliveryError
from core.language import detect
from core.types import Delivery, Draft, InboundMessage

_NOBODY = "frontdesk-probe"  # no OpenID looks like it, so the probe reaches no user
# The same limit for both: a part that could not be sent may be taken by a passive reply, with words behind it.
_PULLING = Traits(text_limit=TEXT_LIMIT - PHRASE_ROOM, measure=utf8_length, pull=True)
_PUSHING = Traits(text_limit=TEXT_LIMIT - PHRASE_ROOM, measure=utf8_length)
_TYPING_LIMIT = 64  # typing signs on their way; they are lossy
_PROBE_PAUSE_LIMIT = 600.0
_UNTRIED = frozenset({-1, 45009, 45011, 40164, 40013, 40125, *TOKEN_REFUSED})  # says nothing of the account's rights
_REMEDIES = {
    40164: "add this server's address to the IP whitelist (console: 基本配置 > IP白名单)",
    40013: "compare app_id with the console (基本配置)",
    40001: "compare the app_secret with the console (基本配置), or reset it there",
    40125: "compare the app_secret with the console (基本配置), or reset it there",
}


def build(name: str, settings: Settings, *, public_url: str) -> WeChat:
    """The channel of one account; opens nothing."""
    return WeChat(name, settings, public_url=public_url, clock=time.time, timer=time.monotonic)


class WeChat:
    """One official account."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        *,
        public_url: str,
        clock: Callable[[], float],
        timer: Callable[[], float],
        timeout_seconds: float = 10.0,
        probe_pause: float = 15.0,
    ) -> None:
        self._name = name
        self._settings = settings
        self._public_url = public_url
        self._clock = clock
        self._timer = timer
        self._probe_pause = probe_pause  # seconds before the next probe when one could not be made; doubles
        secret = _plain(settings.app_secret)
        self._seal = Seal(_plain(settings.token), app_id=settings.app_id, aes_key=_plain(settings.aes_key))
        previous = _plain(settings.aes_key_previous) if self._seal.encrypts else ""
        self._seals = [self._seal]
        self._seals += [Seal(_plain(settings.token), app_id=settings.app_id, aes_key=previous)] if previous else []
        self._api = Api(
            base_url=settings.api_base_url,
            app_id=settings.app_id,
            app_secret=secret,
            timer=timer,
            timeout_seconds=timeout_seconds,
        )
        self._probes = settings.verified == "auto" and bool(secret)
        self._pushes = settings.verified == "true"
        self._probing: asyncio.Task[None] | None = None
        self._quota = Quota(timer)
        self._under_way: set[str] = set()  # users that something is being sent to; at most traits.parallel
        self._typing: set[asyncio.Task[None]] = set()
        self._gateway: Gateway | None = None
        self._log = structlog.get_logger().bind(channel=name)

    @property
    def name(self) -> str:
        """The section's name."""
        return self._name

    @property
    def traits(self) -> Traits:
        """What the account can do, as known now."""
        return _PUSHING if self._pushes else _PULLING

    def routes(self, gateway: Gateway) -> Iterable[web.RouteDef]:
        """`GET` and `POST /<name>`."""
        self._gateway = gateway
        pace = Pace(answer_seconds=self._settings.answer_seconds, hold_seconds=self._settings.hold_seconds)
        webhook = Webhook(
            name=self._name,
            bot=self._settings.bot,
            seals=self._seals,
            replays=Replays(seconds=self._settings.replay_seconds, clock=self._clock),
            plain_allowed=self._settings.mode == "compatible",
            gateway=gateway,
            passive=PassiveReplies(gateway, pace=pace, timer=self._timer, idle=self._idle),
            pulls=lambda: not self._pushes,
            human_console=self._settings.human_console,
            wrote=self._wrote,
            waits=self._show_typing,
            clock=self._clock,
            timer=self._timer,
        )
        path = f"/{self._name}"
        return [web.get(path, webhook.verify, allow_head=False), web.post(path, webhook.receive)]

    async def start(self) -> None:
        """Open the connections and find out whether the account is verified; when that fails, keep trying."""
        await self._api.open()
        if self._probes and not await self._probe():
            self._probing = asyncio.create_task(self._probe_until_known(), name=f"{self._name}-probe")

    async def close(self) -> None:
        """End the probing and the typing signs, and close the connections."""
        for task in self._typing:
            task.cancel()
        await asyncio.gather(*self._typing, return_exceptions=True)
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.gather(self._probing, return_exceptions=True)
            self._probing = None
        await self._api.close()

    async def preview(self, draft: Draft) -> str | None:
        """WeChat shows no growing text."""
        return None

    async def deliver(self, delivery: Delivery) -> str:
        """Send one part as a customer-service message.

        Raises DeliveryError. What WeChat refuses until the user writes again (45015, 45047: the window or its 5
        messages are used up; 48001: the account has no such right) stays due, so that the user's next message takes
        it; when the count is known to be spent, WeChat is not asked. The last message that the count allows says where
        the rest of its reply is. 43019 and 40003 are permanent: the part stays in the ledger as failed, with the code
        in its reason.
        """
        user, asked = str(delivery.address.get("to", "")), self._timer()
        left = self._quota.left(user)
        if not self._pushes or left == 0:
            raise DeliveryError("the user's next message takes it", retryable=True, retry_after=HELD)
        text = self._with_link(delivery) if left == 1 and delivery.part < delivery.parts else delivery.text
        self._under_way.add(user)
        try:
            sent = await self._api.send_text(user, text)
        except Refused as refusal:
            raise self._refused(user, asked, refusal) from refusal
        except DeliveryError as error:
            if error.unclear:
                self._quota.spend(user)
            raise
        finally:
            self._under_way.discard(user)
        self._quota.spend(user)
        return sent

    def _idle(self, user: str) -> bool:
        return user not in self._under_way and self._quota.quiet(user)

    def _refused(self, user: str, asked: float, refusal: Refused) -> DeliveryError:
        """What the house learns of a refusal."""
        if refusal.code in SPENT and not self._quota.exhaust(user, asked):
            return DeliveryError(refusal.reason, retryable=True, retry_after=1.0)
        if refusal.code == UNVERIFIED and self._settings.verified == "auto":
            self._found(pushes=False)
        if refusal.code in _REMEDIES:
            self._log.error("api_refused", errcode=refusal.code, remedy=_REMEDIES[refusal.code])
        return refusal

    def _with_link(self, delivery: Delivery) -> str:
        if self._gateway is None:
            return delivery.text
        bot, language = delivery.conversation.bot, detect(delivery.text, "zh")
        words, label = (self._gateway.phrase(bot, name, language) for name in ("more_follows", "fetch_more"))
        longer = f"{delivery.text}\n\n{words}\n{tap_link(label, language)}"
        return longer if utf8_length(longer) <= TEXT_LIMIT else delivery.text

    def _wrote(self, message: InboundMessage) -> None:
        """A message opens the count anew; of an event, which has no id, only WeChat knows what it allows."""
        (self._quota.wrote if message.source_id else self._quota.acted)(message.user_id)

    def _show_typing(self, message: InboundMessage) -> None:
        """Show once that an answer is being written; it lasts 15 s and ends with the answer."""
        if len(self._typing) < _TYPING_LIMIT and self._api.is_open:
            task = asyncio.create_task(self._type(message.user_id), name=f"{self._name}-typing")
            self._typing.add(task)
            task.add_done_callback(self._typing.discard)

    async def _type(self, user: str) -> None:
        try:
            await self._api.typing(user)
        except DeliveryError as error:
            # 45080 and 45081 (too late, or shown already) are as good as shown; the answer comes in any case.
            self._log.debug("typing_not_shown", reason=error.reason)

    async def check(self) -> list[Finding]:
        """The webhook's address and mode, the credentials, and the account's rights."""
        mode = "safe mode" if self._seal.encrypts else "plain mode (WECHAT_AES_KEY makes it safe mode)"
        webhook = Finding(
            f"{self._name} webhook",
            bool(self._public_url),
            f"{self._public_url or '<server.public_url>'}/{self._name}, {mode}",
            "" if self._public_url else "set server.public_url, then enter this address in the console (基本配置)",
        )
        if not _plain(self._settings.app_secret):
            return [webhook, Finding(f"{self._name} account", True, "no app_secret: passive replies")]
        opened_here = not self._api.is_open
        await self._api.open()
        try:
            return [webhook, *await self._check_api()]
        finally:
            if opened_here:
                await self._api.close()

    async def _check_api(self) -> list[Finding]:
        subject = f"{self._name} API"
        try:
            await self._api.token()
            verified = await self._is_verified()
        except Refused as refusal:
            remedy = _REMEDIES.get(refusal.code, "try again later")
            return [Finding(subject, False, refusal.reason, remedy)]
        except DeliveryError as error:
            return [Finding(subject, False, error.reason, "check the network and api_base_url")]
        if self._settings.verified == "true" and not verified:
            remedy = 'set verified = "auto", or have the account verified'
            return [Finding(subject, False, "the account is not verified", remedy)]
        way = "verified: customer-service messages" if verified else "not verified: passive replies"
        return [Finding(subject, True, way)]

    async def _probe_until_known(self) -> None:
        pause = self._probe_pause
        while True:
            await asyncio.sleep(pause)
            if await self._probe():
                return
            pause = min(pause * 2, _PROBE_PAUSE_LIMIT)

    async def _probe(self) -> bool:
        """Find out whether the account is verified; False when that could not be found out."""
        try:
            self._found(pushes=await self._is_verified())
        except DeliveryError as error:
            remedy = _REMEDIES.get(error.code, "") if isinstance(error, Refused) else ""
            self._log.warning("account_unknown", reason=error.reason, remedy=remedy, meanwhile="passive replies")
            return False
        return True

    async def _is_verified(self) -> bool:
        """Whether WeChat lets the account write to its users. Raises DeliveryError when its answer does not tell."""
        try:
            await self._api.typing(_NOBODY)
        except Refused as refusal:
            if refusal.code in _UNTRIED:
                raise
            # Every other refusal (40003: no such user) comes after the account's rights were checked.
            return refusal.code != UNVERIFIED
        return True

    def _found(self, *, pushes: bool) -> None:
        self._pushes = pushes
        self._log.info("account_known", verified=pushes, answers="customer-service" if pushes else "passive replies")


def _plain(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret else ""
