"""Customer-service messages: counted, rendered, and what WeChat refuses for now waits for the user's next message.

A user's message opens a window of five messages (see quota.py). The last of them that the count allows says where the
rest of its reply is, and so does the end of a reply that was cut short: a tap asks for more and opens the count anew.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Callable

import structlog

from adapters.wechat.api import Api
from adapters.wechat.convert import TEXT_LIMIT, tap_link, utf8_length
from adapters.wechat.quota import Quota
from adapters.wechat.refusals import HELD, SPENT, TOO_LONG, UNVERIFIED, Refused
from adapters.wechat.rights import Rights
from adapters.wechat.wording import shown
from core.channel import Gateway
from core.errors import DeliveryError
from core.language import detect
from core.split import split
from core.types import Delivery, InboundMessage

_TYPING_LIMIT = 64  # typing signs on their way; they are lossy
_UNSENT = 1000  # deliveries of which pieces may be out
_LINK = re.compile(r"\s*<a href=\"weixin://bizmsgmenu[^\n]*\Z")  # it must not be torn
_LEAST = 400  # bytes; what is too long at that size is not refused for its length


class Pushing:
    """What is sent to the users of one account."""

    def __init__(self, api: Api, rights: Rights, *, name: str, timer: Callable[[], float]) -> None:
        self._api = api
        self._rights = rights
        self._name = name
        self._timer = timer
        self._quota = Quota(timer)
        self._under_way: set[str] = set()  # users that something is being sent to; at most traits.parallel
        self._unsent: OrderedDict[int, list[str]] = OrderedDict()  # by delivery: what did not go out
        self._typing: set[asyncio.Task[None]] = set()
        self._gateway: Gateway | None = None
        self._log = structlog.get_logger().bind(channel=name)

    def meet(self, gateway: Gateway) -> None:
        """Where the phrases come from."""
        self._gateway = gateway

    async def close(self) -> None:
        """End the typing signs."""
        for task in self._typing:
            task.cancel()
        await asyncio.gather(*self._typing, return_exceptions=True)

    async def deliver(self, delivery: Delivery) -> str:
        """As the channel's `deliver` says."""
        user = str(delivery.address.get("to", ""))
        if not self._rights.pushes:
            raise _held()
        self._under_way.add(user)
        try:
            return await self._send_all(delivery, user)
        finally:
            self._under_way.discard(user)

    def idle(self, user: str) -> bool:
        """Whether nothing is being sent to a user, nor about to be."""
        return user not in self._under_way and self._quota.quiet(user)

    def wrote(self, message: InboundMessage) -> None:
        """A message opens the count anew; of an event, which has no id, only WeChat knows what it allows."""
        (self._quota.wrote if message.source_id else self._quota.acted)(message.user_id)

    def show_typing(self, message: InboundMessage) -> None:
        """Show once that an answer is being written; it lasts 15 s and ends with the answer."""
        if len(self._typing) < _TYPING_LIMIT and self._api.is_open:
            task = asyncio.create_task(self._type(message.user_id), name=f"{self._name}-typing")
            self._typing.add(task)
            task.add_done_callback(self._typing.discard)

    async def _send_all(self, delivery: Delivery, user: str) -> str:
        """Send a part, in pieces if WeChat finds it too long; each piece once."""
        unsent = self._unsent.pop(delivery.id, None)
        texts = unsent or [self._text(delivery, self._quota.left(user))]
        whole, sent = unsent is None, ""
        while texts:
            try:
                sent = await self._send(delivery, user, texts[0])
            except DeliveryError as error:
                too_long = isinstance(error, Refused) and error.code == TOO_LONG
                halves = _halves(texts[0]) if too_long else ()
                if not halves and not whole:
                    self._keep(delivery.id, texts)
                if not halves:
                    raise
                texts, whole = [*halves, *texts[1:]], False
            else:
                texts = texts[1:]
        return sent

    def _keep(self, delivery: int, texts: list[str]) -> None:
        """The pieces that went out must not go again with the next try of the part."""
        self._unsent[delivery] = texts
        if len(self._unsent) > _UNSENT:
            self._unsent.popitem(last=False)

    async def _send(self, delivery: Delivery, user: str, text: str) -> str:
        asked = self._timer()
        if self._quota.left(user) == 0:
            raise _held()
        if self._gateway is not None:
            await self._gateway.sending(delivery)
        try:
            sent = await self._api.send_text(user, text)
        except Refused as refusal:
            raise await self._refused(user, asked, refusal) from refusal
        except DeliveryError as error:
            if error.unclear:
                self._quota.spend(user)
            raise
        self._quota.spend(user)
        return sent

    async def _refused(self, user: str, asked: float, refusal: Refused) -> DeliveryError:
        """What the house learns of a refusal."""
        if refusal.code in SPENT and not self._quota.exhaust(user, asked):
            return DeliveryError(refusal.reason, retryable=True, retry_after=1.0)
        if refusal.code == UNVERIFIED:
            await self._rights.lost()
        if refusal.remedy:
            self._log.error("api_refused", errcode=refusal.code, remedy=refusal.remedy)
        return refusal

    def _text(self, delivery: Delivery, left: int | None) -> str:
        """What the user reads of a part, with a link where it is not the end."""
        text, last = shown(delivery.text), delivery.part >= delivery.parts
        if self._gateway is None or not (delivery.cut if last else left == 1):
            return text
        bot, language = delivery.conversation.bot, detect(delivery.text, "zh")
        words, label = (self._gateway.phrase(bot, name, language) for name in ("more_follows", "fetch_more"))
        longer = f"{text}\n\n{words}\n{tap_link(label, language)}"
        return longer if utf8_length(longer) <= TEXT_LIMIT else text

    async def _type(self, user: str) -> None:
        try:
            await self._api.typing(user)
        except DeliveryError as error:
            # 45080 and 45081 (too late, or shown already) are as good as shown; the answer comes in any case.
            self._log.debug("typing_not_shown", reason=error.reason)
            if isinstance(error, Refused) and error.code == UNVERIFIED:
                await self._rights.lost()


def _held() -> DeliveryError:
    return DeliveryError("the user's next message takes it", retryable=True, retry_after=HELD)


def _halves(text: str) -> tuple[str, ...]:
    """A text in two or three pieces, at pauses, without a link of ours behind it; none when it is short already."""
    words = _LINK.sub("", text)
    if utf8_length(words) <= _LEAST:
        return ()
    return tuple(split(words, utf8_length(words) * 3 // 5, utf8_length))
