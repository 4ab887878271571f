"""The client of any OpenAI-compatible server: one raw event stream a reply, and closing it stops the generation.

Every way a server can fail becomes an EngineError within a known time; the conversation is in no error and no log line.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path

import aiohttp
import structlog
from pydantic import SecretStr
from yarl import URL

from core.calls import broken, whole
from core.completions import Lines, Marks, ModelCard, hold_back, model_cards, parse_chunk, refusal, request_body
from core.deadline import Deadline
from core.engine import EngineRequest, EngineState, Supervisor
from core.errors import EngineError, EngineRefused, EngineTimeout, EngineUnavailable
from core.types import Delta, Sampling

TAIL_SECONDS = 2.0  # after the finish: usage and [DONE] come at once or never
DRAIN_SECONDS = 0.1  # after [DONE]: the end of the body, so that the connection can be used again
PROBE_SECONDS = 10.0  # a whole GET /models, or one token
# uvicorn, and so vLLM, closes a connection 5 s after its reply; a call sent into that moment would be lost. We count
KEEPALIVE_SECONDS = 1.0  # from when we have read the reply: seconds later, where vLLM takes all cores
ANY_MODEL = "default"
ONE_TOKEN = EngineRequest(({"role": "user", "content": "Hello"},), Sampling(max_tokens=1))


class OpenAIEngine:
    """Fulfils `core.engine.Engine` over `base_url` (as http://host:8000/v1), through the socket `uds` where given.

    `model` and `context_tokens` are asked from the server where not given. `first_token_seconds` counts from the call,
    waiting for a free connection included (`connections`, 0 = any number). The state is the supervisor's; without one,
    or when a call finds the server gone before the supervisor does, it is what the last contact showed. `cache_salt`
    and `by_priority` are for servers that know these fields (vLLM): others refuse a call that carries them.
    """

    def __init__(
        self,
        base_url: str,
        *,
        uds: Path | None = None,
        model: str = "",
        api_key: SecretStr | None = None,
        context_tokens: int = 0,
        connect_seconds: float = 5.0,
        first_token_seconds: float = 120.0,
        silence_seconds: float = 60.0,
        connections: int = 0,
        supervisor: Supervisor | None = None,
        cache_salt: SecretStr | None = None,
        by_priority: bool = False,
        pauses: tuple[float, ...] = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0),
    ) -> None:
        url = URL(base_url.rstrip("/"))
        key = api_key.get_secret_value().strip() if api_key else ""
        if key:
            url = url.with_user(None)  # there is one Authorization header, and the key has it
        self._chat_url = url / "chat/completions"
        self._models_url = url / "models"
        # Shown to people: without user, password and query.
        self._where = str(uds) if uds else str(url.origin())
        self._uds = uds
        self._model = model
        self._models: tuple[str, ...] = ()
        self._headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._context_tokens = context_tokens
        self._connect_seconds = connect_seconds
        self._first_token_seconds = first_token_seconds
        self._silence_seconds = silence_seconds
        self._connections = connections
        self._supervisor = supervisor
        self._salt = cache_salt.get_secret_value() if cache_salt else ""
        self._by_priority = by_priority
        self._pauses = pauses
        self._state = EngineState.STARTING
        self._detail = "not asked yet"
        self._seen = False  # it has been ready before
        self._asking = asyncio.Lock()
        self._opened: aiohttp.ClientSession | None = None
        self._log = structlog.get_logger().bind(engine=self._where)

    @property
    def state(self) -> EngineState:
        if self._supervisor and self._supervisor.state is not EngineState.READY:
            return self._supervisor.state
        return self._state

    @property
    def detail(self) -> str:
        if self._supervisor and self._supervisor.state is not EngineState.READY:
            return self._supervisor.detail
        return self._detail

    @property
    def model(self) -> str:
        return self._model

    @property
    def models(self) -> tuple[str, ...]:
        return self._models or tuple(filter(None, (self._model,)))

    @property
    def context_tokens(self) -> int:
        return self._context_tokens

    async def wait_ready(self) -> None:
        """Return when calls can be made. Asks GET /models, at growing pauses; several callers share one question."""
        async with self._asking:
            for pause in chain((0.0,), self._pauses, repeat(self._pauses[-1])):
                if self.state is EngineState.READY:
                    return
                await asyncio.sleep(pause)
                if self._supervisor:
                    await self._supervisor.wait_ready()
                with suppress(EngineError):  # the state and its detail say it
                    await self._ask()

    async def look(self) -> None:
        """Ask GET /models once; the state says what came of it."""
        if self._state is not EngineState.STOPPED:
            with suppress(EngineError):
                await self._ask()

    async def stream(self, request: EngineRequest) -> AsyncGenerator[Delta, None]:
        """Generate; the last delta alone carries `finish` and `usage`. Close it (contextlib.aclosing) to abort.

        Raises EngineUnavailable, EngineTimeout, EngineRefused, PromptTooLong.
        """
        first = asyncio.get_running_loop().time() + self._first_token_seconds
        response = await self._post(request, first)
        deadline = Deadline(first, response.close)
        lines, marks, end, started = Lines(), Marks(), Delta(), False
        try:
            while not lines.done:
                data = await self._read(response.content, deadline, started=started, finished=bool(end.finish))
                moved = False
                for value in lines.feed(data) if data else lines.end():
                    delta = parse_chunk(value)
                    # Not for comments or empty chunks, which a proxy sends for an engine that hangs.
                    moved = moved or bool(delta.text or delta.reasoning or delta.finish)
                    if delta.finish or delta.usage:
                        end, delta = hold_back(end, delta)
                    delta = marks.take(delta)
                    if delta.text or delta.reasoning:
                        started = True
                        deadline.pause()  # a slow reader is no silent engine
                        yield delta
                if not data:
                    break
                if moved:
                    deadline.move(TAIL_SECONDS if end.finish else self._silence_seconds)
            if not end.finish and not lines.done:
                raise self._gone("ended the reply in the middle")
            await self._drain(response.content)
        finally:
            deadline.stop()
            response.close()  # a connection read to its end has gone back for reuse; any other is cut: the abort
        if marks.rest:
            yield Delta(marks.rest)
        yield replace(end, finish=end.finish or "stop")

    async def close(self) -> None:
        """Close all connections: replies in progress end with EngineUnavailable."""
        self._state, self._detail = EngineState.STOPPED, "closed"
        if self._opened:
            await self._opened.close()

    async def _post(self, request: EngineRequest, deadline: float) -> aiohttp.ClientResponse:
        if not request.model and not self._model:
            await self._ask()
        headers = dict(self._headers)
        if request.request_id:
            headers["X-Request-Id"] = request.request_id
        if request.session_id:
            headers["X-Session-ID"] = request.session_id
        body = request_body(request, self._model, salt=self._salt, by_priority=self._by_priority)
        try:
            async with asyncio.timeout_at(deadline):
                response = await self._http().post(self._chat_url, data=body, headers=headers, allow_redirects=False)
                if response.status == 200:
                    self._ready()
                    return response
                async with response:
                    answer = await whole(response.content)
        except aiohttp.ConnectionTimeoutError as error:
            raise self._gone(f"took no connection within {self._connect_seconds:g} s") from error
        except TimeoutError as error:
            raise EngineTimeout(f"no first token within {self._first_token_seconds:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._gone(broken(error)) from error
        if response.status in (502, 503):
            self._gone(f"answered HTTP {response.status}")
        raise refusal(response.status, answer, request)

    async def _read(self, content: aiohttp.StreamReader, deadline: Deadline, *, started: bool, finished: bool) -> bytes:
        """The next bytes; b"" at the end, and after the finish also for silence or a broken connection."""
        try:
            return await content.readany()
        except (aiohttp.ClientError, OSError) as error:
            if finished:
                return b""
            if not deadline.passed:
                raise self._gone("closed the connection in the middle of a reply") from error
            if started:
                raise EngineTimeout(f"silent for {self._silence_seconds:g} s in the middle of a reply") from error
            raise EngineTimeout(f"no first token within {self._first_token_seconds:g} s") from error

    async def _drain(self, content: aiohttp.StreamReader) -> None:
        with suppress(TimeoutError, aiohttp.ClientError, OSError):
            async with asyncio.timeout(DRAIN_SECONDS):
                while not content.at_eof():
                    await content.readany()

    async def _ask(self) -> None:
        """Ask the server for its models; learn the model and its context. Raises EngineError; the state says why."""
        status, answer = await self._call("GET", self._models_url)
        if await self._answers_unlisted(status):
            self._model = self._model or ANY_MODEL  # most servers without a list serve one, by any name
            self._ready()
            return
        try:
            if status != 200:
                raise refusal(status, answer)
            self._learn(model_cards(answer))
        except EngineRefused as error:
            self._state, self._detail = EngineState.FAILED, f"{self._where}: {error}"
            raise
        except EngineError:
            self._gone(f"answered HTTP {status}")
            raise
        self._ready()

    async def _answers_unlisted(self, status: int) -> bool:
        """Whether calls are taken at base_url although GET /models was answered with that status."""
        if status in (404, 405, 501):  # an empty call is refused where there are completions, and unknown elsewhere
            return (await self._call("POST", self._chat_url, b"{}"))[0] not in (301, 302, 307, 308, 404, 405, 501)
        # vllm-router: of its engines it asks always the same one for the list, gone or not; calls go to the others.
        proof = request_body(ONE_TOKEN, self._model)
        return status == 500 and self._model != "" and (await self._call("POST", self._chat_url, proof))[0] == 200

    async def _call(self, method: str, url: URL, body: bytes | None = None) -> tuple[int, bytes]:
        """Status and body of a small question. Raises EngineUnavailable."""
        try:
            async with (
                asyncio.timeout(PROBE_SECONDS),
                self._http().request(method, url, data=body, headers=self._headers, allow_redirects=False) as response,
            ):
                return response.status, await whole(response.content)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise self._gone(broken(error)) from error

    def _learn(self, cards: tuple[ModelCard, ...]) -> None:
        self._models = names = tuple(card.name for card in cards)
        if not self._model:
            if not cards:
                raise EngineRefused("the server serves no model; load one, or set engine.model")
            self._model = names[0]
        if self._model not in names:
            self._log.warning("engine_model_not_listed", model=self._model, listed=names[:10])
            return
        self._context_tokens = self._context_tokens or cards[names.index(self._model)].context_tokens

    def _ready(self) -> None:
        if self._state not in (EngineState.READY, EngineState.STOPPED):
            self._state, self._seen = EngineState.READY, True
            self._detail = f"{self._model or 'ready'} at {self._where}"
            self._log.info("engine_ready", model=self._model, context_tokens=self._context_tokens)

    def _gone(self, what: str) -> EngineUnavailable:
        """Mark it not ready, so that `wait_ready` asks again; returns the error to raise."""
        if self._state is not EngineState.STOPPED:
            if self._state is EngineState.READY:
                self._log.warning("engine_gone", detail=what)
            self._state = EngineState.RESTARTING if self._seen else EngineState.STARTING
            self._detail = f"{self._where} {what}"
        return EngineUnavailable(f"the engine at {self._where} {what}")

    def _http(self) -> aiohttp.ClientSession:
        if self._state is EngineState.STOPPED:
            raise EngineUnavailable("the engine's client is closed")
        if self._opened is None:  # at the first call, because aiohttp wants a running loop
            limits = aiohttp.ClientTimeout(total=None, sock_connect=self._connect_seconds)
            self._opened = aiohttp.ClientSession(connector=self._connector(), timeout=limits)
        return self._opened

    def _connector(self) -> aiohttp.BaseConnector:
        limit, keep = self._connections, KEEPALIVE_SECONDS
        if self._uds:
            return aiohttp.UnixConnector(str(self._uds), limit=limit, keepalive_timeout=keep)
        return aiohttp.TCPConnector(limit=limit, keepalive_timeout=keep)
