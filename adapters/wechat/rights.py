"""Whether the account may write to its users: found out, remembered beyond a restart, and no reason to lose a word.

`verified = "auto"` asks WeChat with a typing sign to nobody: 48001 means that the account has no such right, any other
refusal of it comes after the rights were looked at. What was found is a durable fact of the channel, so the next start
begins with it before it could ask. A right that WeChat takes away shows at the next message (48001), one that it gives
when we ask again, a few times a day. A record of another app_id is of another account.
"""

from __future__ import annotations

import asyncio

import structlog

from adapters.wechat.api import Api
from adapters.wechat.refusals import UNTRIED, UNVERIFIED, Refused
from core.channel import Gateway
from core.errors import DeliveryError, LedgerError

_NOBODY = "frontdesk-probe"  # no OpenID looks like it, so the probe reaches no user
_PAUSE_LIMIT = 600.0  # seconds between two probes that could not be made
_FACT = "account"  # its name among what the channel keeps


async def may_write(api: Api) -> bool:
    """Whether WeChat lets the account write to its users. Raises DeliveryError when its answer does not tell."""
    try:
        await api.typing(_NOBODY)
    except Refused as refusal:
        if refusal.code in UNTRIED:
            raise
        return refusal.code != UNVERIFIED
    return True


class Rights:
    """What is known of one account. `pause`: seconds before the next probe when one could not be made, doubled each
    time; `again`: seconds before what is known is looked at anew."""

    def __init__(self, api: Api, *, name: str, app_id: str, verified: str, pause: float, again: float) -> None:
        """`verified` is the setting; "auto" without an app_secret is "false"."""
        self._api = api
        self._name = name
        self._app_id = app_id
        self._finds_out = verified == "auto"
        self._pause = pause
        self._again = again
        self._pushes = verified == "true"
        self._known = not self._finds_out
        self._gateway: Gateway | None = None
        self._watching: asyncio.Task[None] | None = None
        self._log = structlog.get_logger().bind(channel=name)

    @property
    def pushes(self) -> bool:
        """Whether customer-service messages are sent; otherwise replies are passive, which every account may."""
        return self._pushes

    async def start(self, gateway: Gateway | None) -> None:
        """Begin with what was found before, then ask; when that fails, keep trying."""
        self._gateway = gateway
        if self._finds_out:
            await self._recall()
            found = await self._probe()
            self._watching = asyncio.create_task(self._watch(found), name=f"{self._name}-probe")

    async def close(self) -> None:
        """Ask no more."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
            self._watching = None

    async def lost(self) -> None:
        """WeChat has refused a message for want of the right (48001)."""
        if self._finds_out:
            await self._found(pushes=False)
        else:
            self._log.error("account_not_verified", remedy='set verified = "auto", or have the account verified')

    async def _recall(self) -> None:
        try:
            kept = await self._gateway.kept(self._name, _FACT) if self._gateway else None
        except LedgerError as error:
            self._log.warning("account_not_recalled", error=str(error))
            return
        if kept is None:
            return
        if kept.get("app_id") != self._app_id:
            await self._keep(None)
            return
        self._pushes, self._known = kept.get("verified") is True, True
        self._log.info("account_recalled", verified=self._pushes)

    async def _watch(self, found: bool) -> None:
        pause = self._again if found else self._pause
        while True:
            await asyncio.sleep(pause)
            found = await self._probe()
            pause = self._again if found else min(pause * 2, _PAUSE_LIMIT)

    async def _probe(self) -> bool:
        """Find out; False when that could not be done."""
        try:
            await self._found(pushes=await may_write(self._api))
        except DeliveryError as error:
            remedy = error.remedy if isinstance(error, Refused) else ""
            meanwhile = "as before" if self._known else "passive replies"
            self._log.warning("account_unknown", reason=error.reason, remedy=remedy, meanwhile=meanwhile)
            return False
        return True

    async def _found(self, *, pushes: bool) -> None:
        if self._known and pushes == self._pushes:
            return
        self._pushes, self._known = pushes, True
        self._log.info("account_known", verified=pushes, answers="customer-service" if pushes else "passive replies")
        await self._keep({"app_id": self._app_id, "verified": pushes})

    async def _keep(self, fact: dict[str, object] | None) -> None:
        if self._gateway is None:
            return
        try:
            await self._gateway.keep(self._name, _FACT, fact)
        except LedgerError as error:
            self._log.warning("account_not_kept", error=str(error))
