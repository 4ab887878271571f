"""Several engines behind one port: a conversation stays with the engine that has its cache, and none is lost with one.

Whose engine it is, is decided by rendezvous hashing, so that an engine that goes or comes moves its own conversations
and no others. A call that fails before its first delta is made again elsewhere; after it, the error is the caller's.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from functools import partial

import structlog

from core.engine import Engine, EngineRequest, EngineState
from core.errors import EngineUnavailable
from core.types import Delta

# What the fleet is when none is ready: the state that is nearest to an answer.
BEST_FIRST = (
    EngineState.READY,
    EngineState.STARTING,
    EngineState.RESTARTING,
    EngineState.FAILED,
    EngineState.STOPPED,
)


def ranked(names: Iterable[str], key: str) -> list[str]:
    """The names in the order in which they may answer for that key; another name shifts no two of them."""

    def weight(name: str) -> bytes:
        return hashlib.blake2b(key.encode(), key=hashlib.sha256(name.encode()).digest(), digest_size=8).digest()

    return sorted(names, key=weight, reverse=True)


class Fleet:
    """Fulfils `core.engine.Engine` over several, by a name each that stays the same (an address).

    Those that are not ready are asked again by their own `wait_ready`, each at its own pauses, until they are.
    """

    def __init__(self, engines: Mapping[str, Engine]) -> None:
        if not engines:
            raise ValueError("a fleet has at least one engine")
        self._engines = dict(engines)
        self._returning: dict[str, asyncio.Task[None]] = {}
        self._log = structlog.get_logger()

    @property
    def state(self) -> EngineState:
        return min((engine.state for engine in self._engines.values()), key=BEST_FIRST.index)

    @property
    def detail(self) -> str:
        """How many are ready, and why each of the others is not."""
        away = [engine.detail for engine in self._engines.values() if engine.state is not EngineState.READY]
        ready = f"{len(self._engines) - len(away)} of {len(self._engines)} ready"
        return f"{ready}: {'; '.join(away)}" if away else ready

    @property
    def model(self) -> str:
        return next((engine.model for engine in self._engines.values() if engine.model), "")

    @property
    def models(self) -> tuple[str, ...]:
        """What each of them serves, as far as it is known, in the first one's order."""
        first, *others = [engine.models for engine in self._engines.values() if engine.models] or [()]
        return tuple(name for name in first if all(name in models for models in others))

    @property
    def context_tokens(self) -> int:
        """The least of all: a conversation may have to move."""
        known = [engine.context_tokens for engine in self._engines.values() if engine.context_tokens]
        return min(known, default=0)

    async def wait_ready(self) -> None:
        """Return when one can take calls. Raises EngineUnavailable when all have been closed."""
        while self.state is not EngineState.READY:
            self._fetch_back()
            if not self._returning:
                raise EngineUnavailable("the engines' clients are closed")
            await asyncio.wait(self._returning.values(), return_when=asyncio.FIRST_COMPLETED)
        self._fetch_back()

    async def look(self) -> None:
        """Ask all of them, at the same time."""
        await asyncio.gather(*(engine.look() for engine in self._engines.values()))
        self._fetch_back()

    async def stream(self, request: EngineRequest) -> AsyncGenerator[Delta, None]:
        """Generate on the conversation's engine, or on the next best where that fails before its first delta.

        Raises what the engine raised; EngineUnavailable when none is left to try.
        """
        if self.state is not EngineState.READY:
            await self.look()  # one may be there again, and we not know it yet
        failed = EngineUnavailable(f"no engine is ready: {self.detail}")
        tried: set[str] = set()
        while (name := self._next(request, tried)) is not None:
            tried.add(name)
            began = False
            try:
                async with aclosing(self._engines[name].stream(request)) as deltas:
                    async for delta in deltas:
                        began = True
                        yield delta
                return
            except EngineUnavailable as error:
                self._fetch_back()
                if began:
                    raise  # what was shown cannot be taken back
                failed = error
                self._log.warning("engine_passed_over", engine=name, request=request.request_id, reason=str(error))
        raise failed

    async def close(self) -> None:
        """Close all; replies in progress end with EngineUnavailable."""
        # Before those who ask are stopped: whoever waits for them would only ask anew.
        await asyncio.gather(*(engine.close() for engine in self._engines.values()))
        returning = list(self._returning.values())
        for task in returning:
            task.cancel()
        await asyncio.gather(*returning, return_exceptions=True)

    def _next(self, request: EngineRequest, tried: set[str]) -> str | None:
        names = [
            name for name, engine in self._engines.items() if engine.state is EngineState.READY and name not in tried
        ]
        return next(iter(ranked(names, request.session_id or request.request_id)), None)

    def _fetch_back(self) -> None:
        """See to it that somebody asks each one that is not ready, until it is."""
        for name, engine in self._engines.items():
            away = engine.state not in (EngineState.READY, EngineState.STOPPED)
            if away and name not in self._returning:
                task = asyncio.create_task(engine.wait_ready())
                self._returning[name] = task
                task.add_done_callback(partial(self._returned, name))

    def _returned(self, name: str, task: asyncio.Task[None]) -> None:
        del self._returning[name]
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.error("engine_not_asked_any_more", engine=name, exc_info=error)
