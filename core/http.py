"""The aiohttp application: the channels' routes, health, metrics, and one mapping of errors to statuses.

An error answer is a JSON object with a sentence the caller can act on; it never carries a stack, a secret or a text.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

import structlog
from aiohttp import web

from core.engine import Engine, EngineState
from core.errors import ConfigError, EngineError, LedgerError, RequestError
from core.ledger import Ledger
from core.metrics import Metrics

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def application(routes: Iterable[Iterable[web.RouteDef]], face: Face, body_limit: int) -> web.Application:
    """All routes: each channel's own, and the house's. `body_limit` is in bytes."""
    app = web.Application(middlewares=[_errors, _headers], client_max_size=body_limit)
    app.router.add_get("/healthz", face.health)
    app.router.add_get("/readyz", face.ready)
    app.router.add_get("/metrics", face.metrics)
    for own in routes:
        app.router.add_routes(own)
    return app


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


class Face:
    """What the house says of itself: `on` names the channels, `off` says what would turn on each of the others."""

    def __init__(
        self,
        *,
        on: tuple[str, ...],
        off: Mapping[str, str],
        ledger: Ledger,
        engine: Engine,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self._on = on
        self._off = off
        self._ledger = ledger
        self._engine = engine
        self._metrics = metrics
        self._clock = clock

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
        """Prometheus' text format."""
        body = self._metrics.render(await self._ledger.counts(), self._engine.state, self._clock())
        return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


@web.middleware
async def _errors(request: web.Request, handler: Answer) -> web.StreamResponse:
    log = structlog.get_logger()
    try:
        return await handler(request)
    except RequestError as error:
        headers = {"Retry-After": str(max(1, round(error.retry_after)))} if error.retry_after else {}
        return _refusal(error.status, error.code, error.message, headers)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return _refusal(error.status, error.reason.lower().replace(" ", "_"), error.reason, headers)
    except ConnectionResetError:
        log.info("caller_left", path=request.path)
        raise
    except LedgerError as error:
        # 503 makes every platform deliver again later; nothing was acknowledged.
        log.error("not_stored", path=request.path, reason=str(error))
        return _refusal(
            503, "not_stored", "The message could not be stored; please send it again.", {"Retry-After": "5"}
        )
    except EngineError as error:
        log.warning("engine_failed", path=request.path, reason=str(error))
        return _refusal(
            503, "engine_unavailable", "The model cannot answer now; please try again.", {"Retry-After": "5"}
        )
    except Exception:
        log.exception("request_crashed", path=request.path)
        return _refusal(500, "internal_error", "Something went wrong here; it has been logged.", {})


def _refusal(status: int, code: str, message: str, headers: Mapping[str, str]) -> web.Response:
    # The shape of OpenAI's errors, so that its clients show the sentence.
    body = {"error": {"message": message, "type": code, "code": code}}
    return web.json_response(body, status=status, headers=headers)


@web.middleware
async def _headers(request: web.Request, handler: Answer) -> web.StreamResponse:
    response = await handler(request)
    if not response.prepared:
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        response.headers.setdefault("Referrer-Policy", "no-referrer")
    return response
