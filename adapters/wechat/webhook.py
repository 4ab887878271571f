"""`GET` and `POST /<name>`: verified before parsed, parsed before received, and answered as WeChat expects.

WeChat takes the body `success` (or an empty one) as "nothing to say" and shows an error to the user for any other
answer it cannot read (developers.weixin.qq.com, "被动回复用户消息"). So what we do not understand is answered `success`
and logged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog
from aiohttp import web

from adapters.wechat.convert import (
    event_id,
    fields_of,
    inbound,
    is_json,
    is_tap,
    passive_text,
    passive_transfer,
    render,
)
from adapters.wechat.crypto import Seal
from adapters.wechat.passive import PassiveReplies
from adapters.wechat.replay import Replays
from core.channel import Gateway
from core.types import ConversationKey, InboundMessage, MessageState, Receipt

BODY_LIMIT = 64 * 1024  # bytes; a push has some hundred, and nested XML costs CPU


@dataclass(frozen=True, slots=True)
class _Opened:
    """A verified push, and the seal it was under; None for a plain one."""

    body: bytes
    seal: Seal | None


class Webhook:
    """WeChat's requests to us."""

    def __init__(
        self,
        *,
        name: str,
        bot: str,
        seals: Sequence[Seal],
        replays: Replays,
        plain_allowed: bool,
        gateway: Gateway,
        passive: PassiveReplies,
        pulls: Callable[[], bool],
        human_console: bool,
        wrote: Callable[[InboundMessage], None],
        waits: Callable[[InboundMessage], None],
        clock: Callable[[], float],
        timer: Callable[[], float],
    ) -> None:
        self._name = name
        self._bot = bot
        self._seal = seals[0]
        self._seals = seals  # the present one, and the one before it during a change of the key
        self._replays = replays
        self._plain_allowed = plain_allowed  # unencrypted pushes, although there is a key
        self._gateway = gateway
        self._passive = passive
        self._pulls = pulls
        self._human_console = human_console
        self._wrote = wrote  # on an account that is written to: a user did something
        self._waits = waits  # likewise: a user waits for an answer
        self._clock = clock
        self._timer = timer
        self._log = structlog.get_logger().bind(channel=name)

    async def verify(self, request: web.Request) -> web.Response:
        """The console's "提交": answer its echostr if the signature is right."""
        query, echo = request.query, request.query.get("echostr", "")
        if _is_encrypted(query) and self._seal.encrypts and query.get("msg_signature"):
            if not self._matches(query, "msg_signature", echo):
                return self._refused("wrong_signature")
            opened = self._decrypt(echo)
            if opened is None:
                return web.Response(status=400)
            return web.Response(body=opened.body, content_type="text/plain")
        if not self._matches(query, "signature"):
            return self._refused("wrong_signature")
        return web.Response(text=echo)

    async def receive(self, request: web.Request) -> web.Response:
        """A push. Raises LedgerError when the message could not be put on disk, so that WeChat sends it again."""
        arrived = self._timer()
        body = await _read(request)
        if body is None:
            return web.Response(status=413)
        opened = self._open(request.query, body)
        if isinstance(opened, web.Response):
            return opened
        fields = fields_of(opened.body)
        if fields is None:
            self._log.warning("push_unparseable", bytes=len(opened.body))
            return _nothing_to_say()
        message = inbound(fields, channel=self._name, bot=self._bot)
        if isinstance(message, str):
            self._log.info("push_ignored", reason=message, event_id=event_id(fields))
            return _nothing_to_say()
        if isinstance(message, ConversationKey):
            await self._gateway.leave(message)
            self._log.info("user_left", event_id=event_id(fields))
            return _nothing_to_say()
        if self._human_console and self._asks_for_a_person(message):
            return await self._transfer(request, message, opened)
        tap = is_tap(fields)
        if self._pulls():
            text = await self._passive.answer(message, tap=tap, arrived=arrived, alive=lambda: _is_open(request))
        else:
            text = await self._push(message, tap=tap, alive=lambda: _is_open(request))
        outcome = {None: "left_open", "": "nothing_to_say"}.get(text, "answered")
        waited = round((self._timer() - arrived) * 1000)
        self._log.info("message_received", event_id=message.event_id, outcome=outcome, milliseconds=waited)
        return self._respond(request, message, text, opened)

    def _open(self, query: Mapping[str, str], body: bytes) -> _Opened | web.Response:
        """The push itself out of the body, or the response to what is not WeChat's."""
        if _is_encrypted(query) and self._seal.encrypts:
            # The signature is over the ciphertext, so the envelope is read first; it is flat and small.
            encrypted = (fields_of(body) or {}).get("Encrypt", "")
            if not self._signed(query, "msg_signature", encrypted):
                return self._refused("wrong_signature")
            opened = self._decrypt(encrypted)
            if opened is None:
                self._log.warning("push_undecipherable", remedy="compare aes_key and app_id with the console")
                return web.Response(status=400)
            return opened
        if self._seal.encrypts and not self._plain_allowed:
            return self._refused("unencrypted")
        if not self._signed(query, "signature"):
            return self._refused("wrong_signature")
        if _is_encrypted(query) and "MsgType" not in (fields_of(body) or {"MsgType": ""}):
            self._log.error(
                "push_encrypted_without_key", remedy="set WECHAT_AES_KEY, or choose plain mode in the console"
            )
            return web.Response(status=400)
        if not self._replays.consistent(query, body):
            return self._refused("replayed")
        return _Opened(body, None)

    def _decrypt(self, encrypted: str) -> _Opened | None:
        """What is inside, and the seal it was under: a reply goes back under the same."""
        tried = ((seal, seal.decrypt(encrypted)) for seal in self._seals)
        return next((_Opened(plain, seal) for seal, plain in tried if plain is not None), None)

    async def _push(self, message: InboundMessage, *, tap: bool, alive: Callable[[], bool]) -> str | None:
        """Take the message in; the answer is sent later, only what could not be sent before goes back at once."""
        self._wrote(message)  # first: what is on its way counts on it
        taken = await self._passive.held(message, tap=tap, alive=alive)
        if not isinstance(taken, Receipt):
            return taken
        if taken.state is MessageState.WAITING and not taken.duplicate:
            self._waits(message)
        return ""

    def _asks_for_a_person(self, message: InboundMessage) -> bool:
        """Whether it is /human; an event cannot be given to the console."""
        command = message.command or self._gateway.bot(self._bot).command(message.text)
        return command == "human" and message.source_id != ""

    async def _transfer(self, request: web.Request, message: InboundMessage, opened: _Opened) -> web.Response:
        """Record the wish, and give the user to the console; one reply cannot hold words, too."""
        if not self._pulls():
            self._wrote(message)
        await self._gateway.receive(message)
        if self._pulls():
            await self._passive.drop_notice(message)
        self._log.info("user_transferred", event_id=message.event_id)
        created = int(self._clock())
        to, sender = str(message.address["to"]), str(message.address["from"])
        reply = passive_transfer(to=to, sender=sender, created=created, as_json=is_json(opened.body))
        return self._reply(request, opened, reply, created)

    def _respond(
        self, request: web.Request, message: InboundMessage, text: str | None, opened: _Opened
    ) -> web.Response:
        if text is None:
            # Any HTTP answer, even an error, might end the deliveries; a closed connection does not.
            if request.transport is not None:
                request.transport.close()
            return web.Response(status=504)
        if not text:
            return _nothing_to_say()
        created, as_json = int(self._clock()), is_json(opened.body)
        to, sender = str(message.address["to"]), str(message.address["from"])
        reply = passive_text(to=to, sender=sender, text=text, created=created, as_json=as_json)
        return self._reply(request, opened, reply, created)

    def _reply(self, request: web.Request, opened: _Opened, reply: str, created: int) -> web.Response:
        as_json = is_json(opened.body)
        if opened.seal is not None:
            nonce = request.query.get("nonce", "")
            reply = _envelope(opened.seal, reply, nonce=nonce, created=created, as_json=as_json)
        return web.Response(text=reply, content_type="application/json" if as_json else "application/xml")

    def _signed(self, query: Mapping[str, str], name: str, *more: str) -> bool:
        """Whether WeChat signed it, and just now."""
        if not self._replays.fresh(query.get("timestamp", "")):
            self._log.warning("push_not_fresh", remedy="compare this machine's clock, or raise replay_seconds")
            return False
        return self._matches(query, name, *more)

    def _matches(self, query: Mapping[str, str], name: str, *more: str) -> bool:
        """The signature alone: the set-up call asks for nothing that its sender does not know."""
        return self._seal.signed(query.get(name, ""), query.get("timestamp", ""), query.get("nonce", ""), *more)

    def _refused(self, reason: str) -> web.Response:
        self._log.warning("push_refused", reason=reason)
        return web.Response(status=401)


def _envelope(seal: Seal, reply: str, *, nonce: str, created: int, as_json: bool) -> str:
    encrypted = seal.encrypt(reply)
    signature = seal.sign(str(created), nonce, encrypted)
    fields: dict[str, str | int] = {
        "Encrypt": encrypted,
        "MsgSignature": signature,
        "TimeStamp": created,
        "Nonce": nonce,
    }
    return render(fields, as_json=as_json)


def _is_encrypted(query: Mapping[str, str]) -> bool:
    return query.get("encrypt_type") == "aes"


def _is_open(request: web.Request) -> bool:
    return request.transport is not None and not request.transport.is_closing()


def _nothing_to_say() -> web.Response:
    return web.Response(text="success")


async def _read(request: web.Request) -> bytes | None:
    """The body; None when it is over the limit, of which no more is read."""
    if (request.content_length or 0) > BODY_LIMIT:
        return None
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > BODY_LIMIT:
            return None
    return bytes(body)
