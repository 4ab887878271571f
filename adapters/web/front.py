"""The chat's requests: verified before they are parsed, on disk before they are acknowledged, refused with a reason."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog
from aiohttp import web

from adapters.web import convert
from adapters.web.convert import Refusal
from adapters.web.drawings import Drawings
from adapters.web.page import COMMON_HEADERS, PHRASES, Asset, Page
from adapters.web.streams import Board, Seen, Stream
from core.channel import Gateway
from core.errors import LedgerError
from core.throttle import IpThrottle
from core.types import ConversationKey, Delivery, Entry

TRANSCRIPT = 200  # bubbles in a snapshot
RECENT = 50  # bubbles read to see which messages still wait for their reply
COOKIE_SECONDS = 400 * 86_400  # the longest that browsers keep one (RFC 6265bis, section 5.5)
UNAVAILABLE_SECONDS = 2
STREAM_HEADERS = {
    **COMMON_HEADERS,
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would collect a reply before passing it on
}


@dataclass(frozen=True, slots=True)
class Terms:
    """What the requests need to know of the section."""

    name: str
    bot: str
    base: str
    public_url: str
    text_limit: int
    pulse_seconds: float
    keepalive_seconds: float

    @property
    def secure(self) -> bool:
        return self.public_url.startswith("https://")

    @property
    def cookie(self) -> str:
        # The __Host- prefix keeps other hosts of the domain from planting a visitor id of theirs (RFC 6265bis).
        return f"__Host-frontdesk_{self.name}" if self.secure else f"frontdesk_{self.name}"


class Front:
    """The requests of one section, and what keeps its open pages current."""

    def __init__(
        self,
        terms: Terms,
        gateway: Gateway,
        *,
        page: Page,
        board: Board,
        throttle: IpThrottle,
        clock: Callable[[], float],
        timer: Callable[[], float],
    ) -> None:
        self._terms = terms
        self._gateway = gateway
        self._page = page
        self._board = board
        self._throttle = throttle
        self._clock = clock
        self._timer = timer
        self._hosts = (terms.public_url.partition("://")[2].partition("/")[0],) if terms.public_url else ()
        self._pulse: asyncio.Task[None] | None = None
        self._closed = False
        self._drawings = Drawings()
        self._log = structlog.get_logger().bind(channel=terms.name)

    def routes(self) -> Iterable[web.RouteDef]:
        base = self._terms.base
        # Whoever opens the bare address means the chat.
        home = [web.get("/", self._go_to_page)] if base == "/chat" else []
        return [
            *home,
            web.get(base, self._serve_page),
            web.post(f"{base}/messages", self._take_message),
            web.get(f"{base}/events", self._serve_events, allow_head=False),
            web.get(f"{base}/static/{{version}}/{{file}}", self._serve_asset),
            web.get(f"{base}/", self._serve_page),
        ]

    async def _go_to_page(self, _: web.Request) -> web.Response:
        raise web.HTTPFound(self._terms.base)

    async def close(self) -> None:
        """End every stream and refuse new ones."""
        self._closed = True
        self._board.close()
        if self._pulse is not None:
            self._pulse.cancel()
            await asyncio.wait([self._pulse])

    async def show(self, delivery: Delivery) -> None:
        """Put a committed reply on the open pages, with the messages that still wait for theirs."""
        entry, waiting = convert.delivered_entry(delivery, self._clock()), None
        try:
            recent = await self._gateway.transcript(delivery.conversation, RECENT)
        except LedgerError:
            self._log.warning("transcript_unread", turn_id=delivery.turn_id)
        else:
            # The ledger's own bubble, so that it is the same one after a reload, and whole where it went out in parts.
            entry = next((bubble for bubble in recent if bubble.id == entry.id), entry)
            waiting = [bubble.id for bubble in recent if bubble.pending]
        self._board.publish(delivery.conversation, convert.frame("reply", self._entry(entry) | {"waiting": waiting}))

    async def _serve_page(self, request: web.Request) -> web.Response:
        accepted = request.headers.get("Accept-Language", "")
        bot = self._gateway.bot(self._terms.bot)
        language = convert.page_language(accepted, bot.phrases, bot.default_language)
        limit = self._terms.text_limit
        wording = {name: self._gateway.phrase(bot.name, name, language, limit=f"{limit:,}") for name in PHRASES}
        response = web.Response(
            text=self._page.render(language, wording, text_limit=limit),
            content_type="text/html",
            headers=self._page.headers,
        )
        cookie = request.cookies.get(self._terms.cookie, "")
        response.set_cookie(
            self._terms.cookie,
            cookie if convert.is_visitor(cookie) else secrets.token_urlsafe(32),
            max_age=COOKIE_SECONDS,
            path="/",
            httponly=True,
            samesite="Lax",
            secure=self._terms.secure,
        )
        return response

    async def _serve_asset(self, request: web.Request) -> web.Response:
        asset: Asset | None = self._page.assets.get(request.match_info["file"])
        if asset is None:
            return _refuse(Refusal(404, "not_found", "There is no such file."))
        # The page names its files with their digest, so that copy never changes; under any other it is asked for anew.
        current = request.match_info["version"] == self._page.version
        caching = "public, max-age=31536000, immutable" if current else "no-cache"
        return web.Response(
            body=asset.body,
            content_type=asset.content_type,
            charset="utf-8",
            headers=COMMON_HEADERS | {"Cache-Control": caching},
        )

    async def _take_message(self, request: web.Request) -> web.Response:
        if not convert.from_own_page(request.headers, (request.host, *self._hosts)):
            self._log.warning("post_from_elsewhere_refused")
            return _refuse(Refusal(403, "cross_site", "Messages are taken from our own page only."))
        if request.content_type != "application/json":
            return _refuse(Refusal(415, "not_json", "Send application/json."))
        conversation = self._conversation(request)
        if conversation is None:
            return _refuse(NO_VISITOR)
        wait = self._throttle.admit(self._gateway.client_ip(request), self._timer())
        if wait > 0:
            return _refuse(Refusal(429, "too_many", "Too many messages from this address."), retry_after=wait)
        written = convert.parse_post(await request.read())
        if isinstance(written, Refusal):
            return _refuse(written)
        message = convert.inbound(
            written, conversation, accept_language=request.headers.get("Accept-Language", ""), now=self._clock()
        )
        try:
            receipt = await self._gateway.receive(message)
            entry = convert.accepted_entry(message, receipt)
            if receipt.duplicate:
                entry = await self._stored(conversation, entry)
        except LedgerError:
            self._log.error("message_not_stored", conversation=str(conversation))
            return _refuse(NOT_STORED, retry_after=UNAVAILABLE_SECONDS)
        if not receipt.duplicate:
            self._board.publish(conversation, convert.frame("message", convert.entry_json(entry)))
        return _json(202, convert.entry_json(entry))

    async def _stored(self, conversation: ConversationKey, entry: Entry) -> Entry:
        """What a message with this id says in the ledger: the first one counts."""
        bubbles = await self._gateway.transcript(conversation, TRANSCRIPT)
        return next((bubble for bubble in bubbles if bubble.id == entry.id), entry)

    async def _serve_events(self, request: web.Request) -> web.StreamResponse:
        conversation = self._conversation(request)
        if conversation is None:
            return _refuse(NO_VISITOR)
        if self._closed:
            return _refuse(Refusal(503, "closing", "The server is closing."), retry_after=UNAVAILABLE_SECONDS)
        response = web.StreamResponse(headers=STREAM_HEADERS)
        await response.prepare(request)
        stream = Stream(conversation, self._gateway.client_ip(request), request.transport)
        self._board.add(stream)
        if self._pulse is None or self._pulse.done():
            self._pulse = asyncio.create_task(self._beat())
        try:
            await stream.run(response.write, self._board, self._snapshot)
        except ConnectionError:
            pass  # The reader hung up; what it missed is in its next snapshot.
        except LedgerError:
            self._log.error("transcript_unread", conversation=str(conversation))
        finally:
            self._board.remove(stream)
        return response

    async def _snapshot(self, stream: Stream) -> bytes:
        """Everything a page shows, as one event; the draft is left out when its reply is among the bubbles."""
        bubbles = await self._gateway.transcript(stream.conversation, TRANSCRIPT)
        entries = []
        for bubble in bubbles:
            fresh = bubble.role == "bot" and bubble.text not in self._drawings
            entries.append(self._entry(bubble))
            if fresh:
                await asyncio.sleep(0)  # drawing a long transcript holds up nobody else
        growing = self._board.growing(stream.conversation)
        if growing is not None and any(bubble.id == f"t{growing.turn_id}" for bubble in bubbles):
            growing = None
        stream.saw(growing)
        return convert.frame(
            "snapshot",
            {
                "engine": self._engine(),
                "entries": entries,
                "draft": None if growing is None else growing.data_from(Seen()),
            },
        )

    def _entry(self, bubble: Entry) -> dict[str, object]:
        """The bubble for the page; what the bot says also as nodes."""
        entry = convert.entry_json(bubble)
        return entry | {"nodes": self._drawings.of(bubble.text)} if bubble.role == "bot" else entry

    def _engine(self) -> dict[str, object]:
        # The detail is written for the operator, so it stays inside.
        status = self._gateway.engine_status()
        return {"ready": status.ready, "state": status.state}

    async def _beat(self) -> None:
        """While pages are open: tell them of the engine, keep their connections warm, let go of those that left."""
        told = self._engine()
        quiet = 0.0
        while len(self._board):
            await asyncio.sleep(self._terms.pulse_seconds)
            self._board.drop_gone()
            if (engine := self._engine()) != told:
                told = engine
                self._board.announce(convert.frame("engine", engine))
            quiet += self._terms.pulse_seconds
            if quiet >= self._terms.keepalive_seconds:
                quiet = 0.0
                self._board.announce(b": keep-alive\n\n")

    def _conversation(self, request: web.Request) -> ConversationKey | None:
        cookie = request.cookies.get(self._terms.cookie, "")
        if not convert.is_visitor(cookie):
            return None
        return ConversationKey(self._terms.name, self._terms.bot, convert.visitor_key(cookie))


NO_VISITOR = Refusal(401, "no_visitor", "Open the chat page first: it gives this browser its visitor cookie.")
NOT_STORED = Refusal(503, "not_stored", "The message could not be stored; send it again with the same id.")


def _json(status: int, value: dict[str, object]) -> web.Response:
    return web.Response(
        status=status,
        body=convert.to_json(value),
        content_type="application/json",
        headers=COMMON_HEADERS | {"Cache-Control": "no-store"},
    )


def _refuse(refusal: Refusal, *, retry_after: float = 0.0) -> web.Response:
    response = _json(refusal.status, {"error": {"code": refusal.code, "message": refusal.message}})
    if retry_after > 0:
        response.headers["Retry-After"] = str(math.ceil(retry_after))
    return response
