"""An OpenAI-compatible server without a model: real HTTP, its replies, pace and failures chosen beforehand.

For tests, journeys and benchmarks: `python -m core.engine_simulator --port 8000`. Everything it records is bounded.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import orjson
from aiohttp import web

from core.simulated_reply import Behaviour, Fault, Wire, prompt_tokens, split, token_limit


@dataclass(frozen=True, slots=True)
class Call:
    """One POST /chat/completions as it came in."""

    request_id: str
    session_id: str
    authorization: str
    body: Mapping[str, object]
    connection: str  # the client's end; "" for a Unix socket
    at: float  # by `clock`


class EngineSimulator:
    """The server. `behaviour` answers every call, `script` (oldest first) the next ones before it.

    Read afterwards: `calls`, `aborts` (request ids, as clients went away), `first_tokens` (request id -> time of the
    first written token), each bounded by `keep`, and the counts `received` and `answered`. `clock` is CLOCK_MONOTONIC
    by default, so that another process on the same machine can compare; GET /records gives them to it.
    """

    def __init__(
        self,
        *,
        behaviour: Behaviour = Behaviour(),  # noqa: B008  # frozen
        model: str = "simulated",
        adapters: Sequence[str] = (),
        context_tokens: int = 8192,
        api_key: str = "",
        keep: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.behaviour = behaviour
        self.script: deque[Behaviour] = deque(maxlen=1000)
        self.calls: deque[Call] = deque(maxlen=min(keep, 1000))
        self.aborts: deque[str] = deque(maxlen=keep)
        self.first_tokens: OrderedDict[str, float] = OrderedDict()
        self.received = 0
        self.answered = 0
        self.port = 0
        self._uds: Path | None = None
        self._model = model
        self._adapters = adapters  # further models that it lists, and answers for
        self._context_tokens = context_tokens
        self._api_key = api_key
        self._keep = keep
        self._clock = clock
        self._runner: web.AppRunner | None = None
        self._open: set[asyncio.Transport] = set()
        self._changed = asyncio.Condition()

    @property
    def base_url(self) -> str:
        """As config.toml's engine.base_url."""
        return "http://localhost/v1" if self._uds else f"http://127.0.0.1:{self.port}/v1"

    async def start(self, *, port: int = 0, host: str = "127.0.0.1", uds: Path | None = None) -> None:
        """Listen; after a `stop`, on the same port or socket again unless another is given."""
        app = web.Application(client_max_size=1 << 24)
        app.router.add_get("/health", self._health)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/records", self._records)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._completions)
        # handler_cancellation: a client that goes away ends its generation, as in vLLM.
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        self._uds = uds or self._uds
        if self._uds:
            await web.UnixSite(self._runner, self._uds).start()
        else:
            await web.TCPSite(self._runner, host, port or self.port).start()
            self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Die at once, as kill -9 would: connections are reset, later ones refused."""
        open_now, self._open = self._open, set()
        for transport in open_now:
            transport.abort()
        if self._runner:
            await self._runner.cleanup()
            self._runner = None
        if self._uds:
            self._uds.unlink(missing_ok=True)

    async def __aenter__(self) -> EngineSimulator:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def called(self, count: int) -> None:
        """Return when that many calls have come in."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.received >= count)

    async def aborted(self, request_id: str) -> None:
        """Return when the client of that call has gone away before its end."""
        async with self._changed:
            await self._changed.wait_for(lambda: request_id in self.aborts)

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response(status=503 if self.behaviour.fault is Fault.LOADING else 200)

    async def _metrics(self, _: web.Request) -> web.Response:
        """Its load as vLLM tells it, as if 256 replies filled its cache and every prompt had 100 tokens."""
        busy, done, known = len(self._open), self.answered, min(self.behaviour.cached_tokens, 100)
        gauges = {"num_requests_running": busy, "num_requests_waiting": 0, "kv_cache_usage_perc": busy / 256}
        lines = [f'# TYPE vllm:{name} gauge\nvllm:{name}{{engine="0"}} {value}\n' for name, value in gauges.items()]
        for name, value in (("prefix_cache_queries_total", done * 100), ("prefix_cache_hits_total", done * known)):
            lines.append(f'# TYPE vllm:{name} counter\nvllm:{name}{{engine="0"}} {value}\n')
        return web.Response(text="".join(lines))

    async def _records(self, _: web.Request) -> web.Response:
        records = {"first_tokens": self.first_tokens, "aborts": list(self.aborts), "answered": self.answered}
        return web.Response(body=orjson.dumps(records), content_type="application/json")

    async def _models(self, request: web.Request) -> web.Response:
        if self.behaviour.fault is Fault.LOADING:
            return _error(503, "Loading model", "unavailable_error")
        if refused := self._unauthorized(request):
            return refused
        card = {"object": "model", "owned_by": "vllm", "max_model_len": self._context_tokens}
        cards = [{"id": name, **card} for name in (self._model, *self._adapters)]
        return web.json_response({"object": "list", "data": cards})

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        transport = request.transport
        if transport is None:
            return web.Response()
        call = Call(
            request_id=request.headers.get("X-Request-Id", ""),
            session_id=request.headers.get("X-Session-ID", ""),
            authorization=request.headers.get("Authorization", ""),
            body=orjson.loads(await request.read()),
            connection=str(transport.get_extra_info("peername")),
            at=self._clock(),
        )
        self.calls.append(call)
        self.received += 1
        async with self._changed:
            self._changed.notify_all()
        behaviour = self.script.popleft() if self.script else self.behaviour
        self._open.add(transport)
        try:
            if answer := self._unauthorized(request) or self._refusal(behaviour, call):
                return answer
            if behaviour.fault is Fault.HANG:
                await asyncio.Event().wait()
            if behaviour.fault is Fault.RESET:
                transport.abort()
                return web.Response()
            return await self._stream(request, behaviour, call)
        except (asyncio.CancelledError, ConnectionError):
            # Not `stop`, which forgets the connections before it cuts them.
            if transport in self._open and behaviour.fault not in (Fault.RESET, Fault.CUT):
                self.aborts.append(call.request_id)
                async with self._changed:
                    self._changed.notify_all()
            raise
        finally:
            self._open.discard(transport)

    def _unauthorized(self, request: web.Request) -> web.Response | None:
        if self._api_key and request.headers.get("Authorization") != f"Bearer {self._api_key}":
            return _error(401, "Unauthorized", "invalid_api_key")
        return None

    def _refusal(self, behaviour: Behaviour, call: Call) -> web.Response | None:
        if behaviour.fault is Fault.LOADING:
            return _error(503, "Loading model", "unavailable_error")
        if behaviour.fault is Fault.BUSY:
            return _error(429, "Rate limit reached", "rate_limit_exceeded")
        if behaviour.fault is Fault.FAILED:
            return _error(500, "Internal server error", "InternalServerError")
        prompt, limit = prompt_tokens(call.body), token_limit(call.body)
        if behaviour.fault is Fault.TOO_LONG or prompt + limit > self._context_tokens:
            words = (
                f"This model's maximum context length is {self._context_tokens} tokens. However, you requested {limit} "
                f"output tokens and your prompt contains at least {prompt} input tokens."
            )
            return _error(400, words, "BadRequestError")
        return None

    async def _stream(self, request: web.Request, behaviour: Behaviour, call: Call) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        asked = call.body.get("model")
        wire = Wire(response, behaviour, str(asked) if asked in self._adapters else self._model)
        thoughts = [("reasoning", word) for word in behaviour.reasoning.split(" ") if word]
        pieces = [*thoughts, *(("content", piece) for piece in split(behaviour.reply(call.body), behaviour.pieces))]
        limit = token_limit(call.body)
        loop = asyncio.get_running_loop()
        due = loop.time() + behaviour.first_token_seconds
        for number, (kind, text) in enumerate(pieces[:limit]):
            if behaviour.fault is not Fault.NONE and number == behaviour.fault_after:
                await self._fail(request, wire, behaviour)
                return response
            # Several pieces that are due already leave in one write, as a busy engine's do.
            if (wait := due - loop.time()) > 0:
                await wire.flush()
                await asyncio.sleep(wait)
            if number == 0:
                self._first_token(call.request_id)
                wire.role()
            wire.piece(kind, text)
            due += 1 / behaviour.tokens_per_second if behaviour.tokens_per_second else 0
        wire.end("length" if len(pieces) > limit else "stop", prompt_tokens(call.body), min(len(pieces), limit))
        await wire.flush()
        await response.write_eof()
        self.answered += 1
        return response

    async def _fail(self, request: web.Request, wire: Wire, behaviour: Behaviour) -> None:
        if behaviour.fault is Fault.ERROR_EVENT:
            wire.event(b'{"error":{"message":"engine died","type":"InternalServerError","param":null,"code":500}}')
        await wire.flush()
        if behaviour.fault is Fault.SILENCE:
            await asyncio.Event().wait()
        if behaviour.fault is Fault.CUT and request.transport:
            request.transport.abort()

    def _first_token(self, request_id: str) -> None:
        self.first_tokens[request_id] = self._clock()
        if len(self.first_tokens) > self._keep:
            self.first_tokens.popitem(last=False)


def _error(status: int, words: str, kind: str) -> web.Response:
    error = {"message": words, "type": kind, "param": None, "code": status}
    return web.json_response({"error": error}, status=status)


async def _serve(arguments: argparse.Namespace) -> None:
    behaviour = Behaviour(
        pieces=arguments.pieces,
        tokens_per_second=arguments.tokens_per_second,
        first_token_seconds=arguments.first_token_seconds,
        reasoning=arguments.reasoning,
        fault=Fault(arguments.fault),
        fault_after=arguments.fault_after,
    )
    if arguments.reply:
        behaviour = replace(behaviour, reply=lambda _: str(arguments.reply))
    simulator = EngineSimulator(behaviour=behaviour, model=arguments.model, context_tokens=arguments.context_tokens)
    await simulator.start(port=arguments.port, host=arguments.host, uds=arguments.uds)
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    # One line of JSON, so that whoever started it learns the port.
    sys.stdout.write(orjson.dumps({"base_url": simulator.base_url}).decode() + "\n")
    sys.stdout.flush()
    await stopped.wait()
    await simulator.stop()


def main(words: Sequence[str] | None = None) -> None:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m core.engine_simulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 = any free one")
    parser.add_argument("--uds", type=Path, help="a Unix socket instead")
    parser.add_argument("--model", default="simulated")
    parser.add_argument("--context-tokens", type=int, default=8192)
    parser.add_argument("--pieces", type=int, default=40, help="pieces a reply is cut into")
    parser.add_argument("--tokens-per-second", type=float, default=0.0, help="a stream; 0 = all at once")
    parser.add_argument("--first-token-seconds", type=float, default=0.0)
    parser.add_argument("--reasoning", default="")
    parser.add_argument("--reply", default="", help="the same text for every call; otherwise an echo")
    parser.add_argument("--fault", choices=[str(fault) for fault in Fault], default=str(Fault.NONE))
    parser.add_argument("--fault-after", type=int, default=3, help="pieces before silence, cut or error_event")
    asyncio.run(_serve(parser.parse_args(words)))


if __name__ == "__main__":
    main()
