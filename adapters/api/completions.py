"""OpenAI's face: a completion streams from the engine to its caller; a closed connection stops its generation."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from aiohttp import web

from adapters.api.answers import Model, ModelList
from adapters.api.convert import Completion, Head, joined, parse
from adapters.api.door import Caller, admits, as_json, limits
from adapters.api.following import STREAM_HEADERS
from core.channel import Gateway
from core.errors import EngineError, EngineRefused, RequestError
from core.http import while_heard
from core.types import Delta, Sampling, Usage


class Completions:
    """`/v1`."""

    def __init__(self, gateway: Gateway, clock: Callable[[], float], new_id: Callable[[], str]) -> None:
        self._gateway = gateway
        self._clock = clock
        self._new_id = new_id

    async def models(self, _: web.Request, caller: Caller) -> web.Response:
        """Each bot as a model, and the engine's own model."""
        names = (*self._gateway.bots(), *filter(None, (self._gateway.engine_model(),)))
        return as_json(
            ModelList("list", [Model(name, "model", 0, "frontdesk") for name in names if caller.may_ask(name)])
        )

    async def complete(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        """OpenAI's chat completion, streamed or whole.

        `model` is a bot, whose instructions then come first, or the engine's own model. Nothing of it is stored but its
        usage and who asked. Fields that are not named here are left aside.
        """
        body = parse(Completion, await request.read())
        if body.model not in (*self._gateway.bots(), self._gateway.engine_model()):
            raise RequestError(404, f"There is no model {body.model!r}; see GET /v1/models.", code="model_not_found")
        admits(caller, body.model)
        head = Head(f"chatcmpl-{self._new_id()}", int(self._clock()), body.model)
        try:
            async with while_heard(request), aclosing(self._deltas(body, head, caller)) as deltas:
                if body.stream:
                    return await self._stream(request, body, head, deltas)
                return as_json(head.whole(*joined([delta async for delta in deltas])))
        except EngineRefused as error:
            raise RequestError(400, f"The model refused the request: {error}") from error

    def _deltas(self, body: Completion, head: Head, caller: Caller) -> AsyncGenerator[Delta, None]:
        named = body.model in self._gateway.bots()
        sampling = body.sampling(self._gateway.bot(body.model).sampling if named else Sampling())
        messages = [message.plain() for message in body.messages]
        return self._gateway.converse(body.model if named else "", messages, sampling, head.id, caller.key)

    async def _stream(
        self, request: web.Request, body: Completion, head: Head, deltas: AsyncGenerator[Delta, None]
    ) -> web.StreamResponse:
        # The first delta decides between an error status and a stream: after the first byte it is too late.
        first = await anext(deltas, Delta(finish="stop"))
        response = web.StreamResponse(headers=STREAM_HEADERS | limits(request))
        await response.prepare(request)
        await response.write(head.chunk({"role": "assistant", "content": ""}, None))
        usage, finish = await self._write(response, head, first)
        try:
            async for delta in deltas:
                counted, ended = await self._write(response, head, delta)
                usage, finish = counted or usage, ended or finish
        except EngineError as error:
            await response.write(head.failure(f"The reply broke off: {type(error).__name__}"))
            return response
        await response.write(head.chunk({}, finish or "stop"))
        if body.stream_options and body.stream_options.include_usage:
            await response.write(head.usage(usage or Usage()))
        await response.write(b"data: [DONE]\n\n")
        return response

    @staticmethod
    async def _write(response: web.StreamResponse, head: Head, delta: Delta) -> tuple[Usage | None, str]:
        if delta.text:
            await response.write(head.chunk({"content": delta.text}, None))
        return delta.usage, delta.finish
