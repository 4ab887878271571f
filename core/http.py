"""The aiohttp application: the channels' routes, health, metrics, and one mapping of errors to statuses.

An error answer is a JSON object with a sentence the caller can act on; it never carries a stack, a secret or a text.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager

import structlog
from aiohttp import web
from aiohttp.http import HttpProcessingError
from aiohttp.typedefs import Handler, Middleware

from core.engine import Engine, EngineState
from core.errors import ConfigError, EngineError, LedgerError, RequestError
from core.ledger import Ledger
from core.metrics import Metrics

BODY_SECONDS = 30.0  # for a body to arrive; a platform's has a few thousand bytes
# For a head to arrive, and until the next one: longer than the proxies before us keep a connection for further use
# (nginx: 60 s, Caddy: 120 s), or they would send a message into one that is just being closed.
IDLE_SECONDS = 150.0
HEARD_SECONDS = 0.5  # between two looks whether a caller is still there
CALLER_LEFT = 499  # a status that nobody reads, and that would acknowledge nothing


def application(
    routes: Iterable[Iterable[web.RouteDef]], face: Face, body_limit: int, body_seconds: float = BODY_SECONDS
) -> web.Application:
    """All routes: each channel's own, and the house's. `body_limit` is in bytes."""
    middlewares = [_errors, _bounded(body_limit, body_seconds), _headers]
    app = web.Application(middlewares=middlewares, client_max_size=body_limit)
    app.router.add_get("/healthz", face.health)
    app.router.add_get("/readyz", face.ready)
    app.router.add_get("/metrics", face.metrics)
    for own in routes:
        app.router.add_routes(own)
    return app


def runner_of(app: web.Application, idle_seconds: float = IDLE_SECONDS) -> web.AppRunner:
    """The server of an application; it unpacks nothing, and no byte of a request gets into the log."""
    return web.AppRunner(
        app,
        access_log=None,
        auto_decompress=False,
        keepalive_timeout=idle_seconds,
        logger=_ServerLog(),
        shutdown_timeout=2.0,
    )


async def listen(runner: web.AppRunner, host: str, port: int) -> web.TCPSite:
    """Accept connections. Raises ConfigError when that is not possible."""
    site = web.TCPSite(runner, host, port, backlog=1024)
    try:
        await site.start()
    except OSError as error:
        raise ConfigError([f"server.port: cannot listen on {host}:{port} ({error.strerror}); is it in use?"]) from error
    return site


def address_of(runner: web.AppRunner, host: str) -> str:
    """How this machine reaches it."""
    host = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host
    return f"http://{f'[{host}]' if ':' in host else host}:{runner.addresses[0][1]}"


@asynccontextmanager
async def while_heard(request: web.Request) -> AsyncIterator[None]:
    """Leave the block with ConnectionResetError soon after the caller has hung up.

    A write would tell as much; but a model that thinks, or waits for its turn, gives nothing to write.
    """
    try:
        async with asyncio.timeout(None) as limit:

            async def look() -> None:
                while request.transport is not None:  # noqa: ASYNC110 - aiohttp has no event for it
                    await asyncio.sleep(HEARD_SECONDS)
                limit.reschedule(asyncio.get_running_loop().time())

            looking = asyncio.create_task(look())
            try:
                yield
            finally:
                looking.cancel()
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise ConnectionResetError("the caller has hung up") from error


class Face:
    """What the house says of itself: `on` names the channels, `off` says what would turn on each of the others.

    `beside` adds to the metrics what others count, in the same format; it is quick and never raises.
    """

    def __init__(
        self,
        *,
        on: tuple[str, ...],
        off: Mapping[str, str],
        ledger: Ledger,
        engine: Engine,
        metrics: Metrics,
        clock: Callable[[], float],
        beside: Callable[[], Awaitable[bytes]] | None = None,
    ) -> None:
        self._on = on
        self._off = off
        self._ledger = ledger
        self._engine = engine
        self._metrics = metrics
        self._clock = clock
        self._beside = beside

    async def health(self, _: web.Request) -> web.Response:
        """The process runs and its loop turns."""
        return web.json_response({"status": "ok"})

    async def ready(self, _: web.Request) -> web.Response:
        """Whether a message would be accepted and answered now; 503 with the reason if not."""
        trouble = await self._ledger.check()
        engine_ready = self._engine.state is EngineState.READY
        report = {
            "ready": not trouble and engine_ready,
            "accepting": not trouble,
            "ledger": {"ready": not trouble, "detail": trouble},
            "engine": {
                "ready": engine_ready,
                "state": self._engine.state.value,
                "detail": self._engine.detail,
                "model": self._engine.model,
            },
            "channels": {name: {"on": True} for name in self._on}
            | {name: {"on": False, "detail": detail} for name, detail in self._off.items()},
        }
        return web.json_response(report, status=200 if report["ready"] else 503)

    async def metrics(self, _: web.Request) -> web.Response:
        """Prometheus' text format: our numbers, and the engines' after them."""
        body = self._metrics.render(await self._ledger.counts(), self._engine.state, self._clock())
        if self._beside is not None:
            body += await self._beside()
        return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


class _ServerLog:
    """What aiohttp itself has to say: its own lines show the caller's bytes, a token perhaps, and a stack for each."""

    def __init__(self) -> None:
        self._log = structlog.get_logger()

    def debug(self, *_: object, **__: object) -> None:
        """Nothing that anybody needs."""

    def warning(self, message: str, *arguments: object) -> None:
        """A fault in how the server was set up."""
        self._log.error("server_trouble", reason=message % arguments)

    def exception(self, _: str, *__: object, exc_info: BaseException | None = None) -> None:
        """A request that no route was given, or a connection that broke under one."""
        if isinstance(exc_info, HttpProcessingError):
            self._log.info("request_malformed", kind=type(exc_info).__name__)
        elif not isinstance(exc_info, ConnectionError | RequestError):
            self._log.error("connection_crashed", exc_info=exc_info)


def _bounded(body_limit: int, body_seconds: float) -> Middleware:
    """Refuses what is packed or too large before it is read, and ends the wait for what does not come."""
    late = "The request's body did not arrive in time."

    @web.middleware
    async def bounded(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
            raise RequestError(415, "Send the body as it is, without a Content-Encoding.", code="packed")
        if (request.content_length or 0) > body_limit:
            raise web.HTTPRequestEntityTooLarge(body_limit)
        if request.content.is_eof():
            return await handler(request)
        error = RequestError(408, late, code="request_timeout")
        timer = asyncio.get_running_loop().call_later(body_seconds, request.content.set_exception, error)
        request.content.on_eof(timer.cancel)
        try:
            return await handler(request)
        finally:
            timer.cancel()

    return bounded


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Exception as error:
        if isinstance(error, web.HTTPException) and error.status < 400:
            raise
        answer = _answer_to(error, request.path)
    if request.writer.output_size and request.transport is not None:
        request.transport.abort()  # half an answer is out: only the connection's end says that it is one
    return answer


def _answer_to(error: Exception, path: str) -> web.Response:
    log = structlog.get_logger()
    match error:
        case RequestError():
            headers = {"Retry-After": str(math.ceil(error.retry_after))} if error.retry_after else {}
            return _refusal(error.status, error.code, error.message, headers)
        case web.HTTPException():
            headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
            return _refusal(error.status, error.reason.lower().replace(" ", "_"), error.reason, headers)
        case web.RequestPayloadError():
            return _refusal(400, "bad_request", "The request's body is broken.", {})
        case ConnectionResetError():
            log.info("caller_left", path=path)
            return web.Response(status=CALLER_LEFT)
        case LedgerError():
            # 503 makes every platform deliver again later; nothing was acknowledged.
            log.error("not_stored", path=path, reason=str(error))
            words = "The message could not be stored; please send it again."
            return _refusal(503, "not_stored", words, {"Retry-After": "5"})
        case EngineError():
            log.warning("engine_failed", path=path, reason=str(error))
            words = "The model cannot answer now; please try again."
            return _refusal(503, "engine_unavailable", words, {"Retry-After": "5"})
    log.error("request_crashed", path=path, exc_info=error)
    return _refusal(500, "internal_error", "Something went wrong here; it has been logged.", {})


def _refusal(status: int, code: str, message: str, headers: Mapping[str, str]) -> web.Response:
    # The shape of OpenAI's errors, so that its clients show the sentence.
    body = {"error": {"message": message, "type": code, "code": code}}
    return web.json_response(body, status=status, headers=headers)


@web.middleware
async def _headers(request: web.Request, handler: Handler) -> web.StreamResponse:
    response = await handler(request)
    if not response.prepared:
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        response.headers.setdefault("Referrer-Policy", "no-referrer")
    return response
