"""The WeChat channel: passive replies for accounts that have nothing else, customer-service messages for verified ones.

Which of the two is found out (`verified = "auto"`, see rights.py), and `traits` says what holds now. An account without
app_secret, or with one that could not be tried yet, replies passively: every account may, so nothing is lost by it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from aiohttp import web
from pydantic import SecretStr

from adapters.wechat.api import Api
from adapters.wechat.convert import utf8_length
from adapters.wechat.crypto import Seal
from adapters.wechat.findings import api_findings, webhook_finding
from adapters.wechat.passive import Pace, PassiveReplies
from adapters.wechat.pushing import Pushing
from adapters.wechat.replay import Replays
from adapters.wechat.rights import Rights
from adapters.wechat.settings import Settings
from adapters.wechat.webhook import Webhook
from adapters.wechat.wording import PART_LIMIT, parts_of
from core.channel import Finding, Gateway, Traits
from core.types import Delivery, Draft, Turn

_TRY_SECONDS = 5.0  # WeChat closes a try then, and begins the next (developers.weixin.qq.com, "被动回复用户消息")
_PUSHING = Traits(text_limit=PART_LIMIT, measure=utf8_length, split=parts_of)
_AGAIN_SECONDS = 6 * 3600.0  # before what is known of the account is looked at anew


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
        probe_again: float = _AGAIN_SECONDS,
    ) -> None:
        self._name = name
        self._settings = settings
        self._public_url = public_url
        self._clock = clock
        self._timer = timer
        token, secret = _plain(settings.token), _plain(settings.app_secret)
        self._seal = Seal(token, app_id=settings.app_id, aes_key=_plain(settings.aes_key))
        previous = _plain(settings.aes_key_previous) if self._seal.encrypts else ""
        self._seals = [self._seal]
        self._seals += [Seal(token, app_id=settings.app_id, aes_key=previous)] if previous else []
        self._api = Api(
            base_url=settings.api_base_url,
            app_id=settings.app_id,
            app_secret=secret,
            clock=clock,
            timer=timer,
            timeout_seconds=timeout_seconds,
        )
        self._rights = Rights(
            self._api,
            name=name,
            app_id=settings.app_id,
            verified=settings.verified if secret else settings.verified.replace("auto", "false"),
            pause=probe_pause,
            again=probe_again,
        )
        self._pushing = Pushing(self._api, self._rights, name=name, timer=timer)
        tries = Pace(answer_seconds=settings.answer_seconds, hold_seconds=settings.hold_seconds)
        self._pace = tries
        until = (tries.tries - 1) * _TRY_SECONDS + tries.answer_seconds
        self._pulling = replace(_PUSHING, pull=True, answer_seconds=until)
        self._gateway: Gateway | None = None

    @property
    def name(self) -> str:
        """The section's name."""
        return self._name

    @property
    def traits(self) -> Traits:
        """What the account can do, as known now."""
        return _PUSHING if self._rights.pushes else self._pulling

    def routes(self, gateway: Gateway) -> Iterable[web.RouteDef]:
        """`GET` and `POST /<name>`."""
        self._gateway = gateway
        self._pushing.meet(gateway)
        webhook = Webhook(
            name=self._name,
            bot=self._settings.bot,
            seals=self._seals,
            replays=Replays(seconds=self._settings.replay_seconds, clock=self._clock),
            plain_allowed=self._settings.mode == "compatible",
            gateway=gateway,
            passive=PassiveReplies(gateway, pace=self._pace, timer=self._timer, idle=self._pushing.idle),
            pulls=lambda: not self._rights.pushes,
            human_console=self._settings.human_console,
            wrote=self._pushing.wrote,
            waits=self._pushing.show_typing,
            clock=self._clock,
            timer=self._timer,
        )
        path = f"/{self._name}"
        return [web.get(path, webhook.verify, allow_head=False), web.post(path, webhook.receive)]

    async def start(self) -> None:
        """Open the connections and find out whether the account is verified; when that fails, keep trying."""
        await self._api.open()
        await self._rights.start(self._gateway)

    async def close(self) -> None:
        """End the probing and the typing signs, and close the connections."""
        await self._pushing.close()
        await self._rights.close()
        await self._api.close()

    async def preview(self, draft: Draft) -> str | None:
        """WeChat shows no growing text."""
        return None

    async def find(self, turn: Turn, known: frozenset[str]) -> str | None:
        return None  # replies do not grow here

    async def deliver(self, delivery: Delivery) -> str:
        """Send one part as a customer-service message.

        Raises DeliveryError. What WeChat refuses until the user writes again (45015, 45047: the window or its 5
        messages are used up; 48001: the account has no such right) stays due, so that the user's next message takes
        it; when the count is known to be spent, WeChat is not asked. A part that WeChat finds too long (45002) goes in
        pieces. 43019 and 40003 are permanent: the part stays in the ledger as failed, with the code in its reason.
        """
        return await self._pushing.deliver(delivery)

    async def check(self) -> list[Finding]:
        """The webhook's address and mode, the credentials, the account's rights, and the clock."""
        webhook = webhook_finding(
            self._name,
            public_url=self._public_url,
            encrypts=self._seal.encrypts,
            compatible=self._settings.mode == "compatible",
        )
        if not _plain(self._settings.app_secret):
            return [webhook, Finding(f"{self._name} account", True, "no app_secret: passive replies")]
        opened_here = not self._api.is_open
        await self._api.open()
        try:
            verified, replay = self._settings.verified, self._settings.replay_seconds
            return [webhook, *await api_findings(self._name, self._api, verified=verified, replay_seconds=replay)]
        finally:
            if opened_here:
                await self._api.close()


def _plain(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret else ""
