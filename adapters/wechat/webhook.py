"""`GET` and `POST /<name>`: verified before parsed, parsed before received, and answered as WeChat expects.

WeChat takes the body `success` (or an empty one) as "nothing to say" and shows an error to the user for any other
answer it cannot read (developers.weixin.qq.com, "被动回复用户消息"). So what we do not understand is answered `success`
and logged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import structlog
from aiohttp import web

from adapters.wechat.convert import event_id, fields_of, inbound, is_json, passive_text, render
from adapters.wechat.crypto import Seal
from adapters.wechat.passive import PassiveReplies
from core.channel import Gateway
from core.types import InboundMessage

BODY_LIMIT = 64 * 1024  # bytes; a push has some hundred, and nested XML costs CPU


class Webhook:
    """WeChat's requests to us."""

    def __init__(
        self,
        *,
        name: str,
        bot: str,
        seal: Seal,
        plain_allowed: bool,
        gateway: Gateway,
        passive: PassiveReplies,
        pulls: Callable[[], bool],
        clock: Callable[[], float],
        timer: Callable[[], float],
    ) -> None:
        self._name = name
        self._bot = bot
        self._seal = seal
        self._plain_allowed = plain_allowed  # unencrypted pushes, although there is a key
        self._gateway = gateway
        self._passive = passive
        self._pulls = pulls
        self._clock = clock
        self._timer = timer
        self._log = structlog.get_logger().bind(channel=name)

    async def verify(self, request: web.Request) -> web.Response:
        """The console's "提交": answer its echostr if the signature is right."""
        query, echo = request.query, request.query.get("echostr", "")
        if _is_encrypted(query) and self._seal.encrypts and query.get("msg_signature"):
            if not self._signed(query, "msg_signature", echo):
                return self._refused("wrong_signature")
            plain = self._seal.decrypt(echo)
            return web.Response(status=400) if plain is None else web.Response(body=plain, content_type="text/plain")
        if not self._signed(query, "signature"):
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
        fields = fields_of(opened)
        if fields is None:
            self._log.warning("push_unparseable", bytes=len(opened))
            return _nothing_to_say()
        message = inbound(fields, channel=self._name, bot=self._bot)
        if isinstance(message, str):
            self._log.info("push_ignored", reason=message, event_id=event_id(fields))
            return _nothing_to_say()
        if not self._pulls():
            receipt = await self._gateway.receive(message)
            self._log.info("message_received", event_id=message.event_id, duplicate=receipt.duplicate)
            return _nothing_to_say()
        return await self._answer(request, message, arrived=arrived, as_json=is_json(opened))

    def _open(self, query: Mapping[str, str], body: bytes) -> bytes | web.Response:
        """The push itself out of the body, or the response to what is not WeChat's."""
        if _is_encrypted(query) and self._seal.encrypts:
            # The signature is over the ciphertext, so the envelope is read first; it is flat and small.
            encrypted = (fields_of(body) or {}).get("Encrypt", "")
            if not self._signed(query, "msg_signature", encrypted):
                return self._refused("wrong_signature")
            plain = self._seal.decrypt(encrypted)
            if plain is None:
                self._log.warning("push_undecipherable", remedy="compare aes_key and app_id with the console")
                return web.Response(status=400)
            return plain
        if self._seal.encrypts and not self._plain_allowed:
            return self._refused("unencrypted")
        if not self._signed(query, "signature"):
            return self._refused("wrong_signature")
        if _is_encrypted(query) and "MsgType" not in (fields_of(body) or {"MsgType": ""}):
            self._log.error(
                "push_encrypted_without_key", remedy="set WECHAT_AES_KEY, or choose plain mode in the console"
            )
            return web.Response(status=400)
        return body

    async def _answer(
        self, request: web.Request, message: InboundMessage, *, arrived: float, as_json: bool
    ) -> web.Response:
        def alive() -> bool:
            return request.transport is not None and not request.transport.is_closing()

        text = await self._passive.answer(message, arrived=arrived, alive=alive)
        outcome = {None: "left_open", "": "nothing_to_say"}.get(text, "answered")
        waited = round((self._timer() - arrived) * 1000)
        self._log.info("message_received", event_id=message.event_id, outcome=outcome, milliseconds=waited)
        if text is None:
            # Any HTTP answer, even an error, might end the deliveries; a closed connection does not.
            if request.transport is not None:
                request.transport.close()
            return web.Response(status=504)
        if not text:
            return _nothing_to_say()
        created, address = int(self._clock()), message.address
        reply = passive_text(
            to=str(address["to"]), sender=str(address["from"]), text=text, created=created, as_json=as_json
        )
        if _is_encrypted(request.query) and self._seal.encrypts:
            reply = self._envelope(reply, nonce=request.query.get("nonce", ""), created=created, as_json=as_json)
        return web.Response(text=reply, content_type="application/json" if as_json else "application/xml")

    def _envelope(self, reply: str, *, nonce: str, created: int, as_json: bool) -> str:
        encrypted = self._seal.encrypt(reply)
        signature = self._seal.sign(str(created), nonce, encrypted)
        fields: dict[str, str | int] = {
            "Encrypt": encrypted,
            "MsgSignature": signature,
            "TimeStamp": created,
            "Nonce": nonce,
        }
        return render(fields, as_json=as_json)

    def _signed(self, query: Mapping[str, str], name: str, *more: str) -> bool:
        return self._seal.signed(query.get(name, ""), query.get("timestamp", ""), query.get("nonce", ""), *more)

    def _refused(self, reason: str) -> web.Response:
        self._log.warning("push_refused", reason=reason)
        return web.Response(status=401)


def _is_encrypted(query: Mapping[str, str]) -> bool:
    return query.get("encrypt_type") == "aes"


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
