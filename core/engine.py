"""The port of the model.

A reply is a stream of deltas; closing the stream stops the generation in the engine.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Protocol

from core.types import Delta, Sampling


class EngineState(StrEnum):
    """Where the engine stands."""

    STARTING = "starting"  # loading the model
    READY = "ready"
    RESTARTING = "restarting"  # it died; the next start waits for its pause
    FAILED = "failed"  # it cannot start; the detail says why and what to do
    STOPPED = "stopped"


TASKS = "api"  # the section whose questions are tasks: nobody looks at a chat there


class Priority(IntEnum):
    """Who comes first where the engine has a line; the lower, the sooner."""

    PERSON = 0  # somebody looks at a chat and waits
    CALLER = 5  # a program that holds its connection open, or an operator who tries a bot
    TASK = 10  # fetched when it is there


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """One call: the chat messages in order, and how to draw the reply."""

    messages: tuple[Mapping[str, str], ...]  # {"role": ..., "content": ...}
    sampling: Sampling
    request_id: str = ""  # ours, unique per attempt; sent as X-Request-Id
    session_id: str = ""  # opaque hash of the conversation, stable; sent as X-Session-ID for routers
    model: str = ""  # "" = the engine's own
    bot: str = ""  # whose it is: bots share no cache where a salt is set; "" = the bare model's
    priority: int = Priority.CALLER  # sent only where the engine schedules by it
    extra: Mapping[str, object] = field(default_factory=dict)  # further OpenAI body fields, passed through


class Engine(Protocol):
    """A model that streams."""

    @property
    def state(self) -> EngineState:
        """Where it stands now."""

    @property
    def detail(self) -> str:
        """The state in words, for people."""

    @property
    def model(self) -> str:
        """The served model's name; "" before it is known."""

    @property
    def models(self) -> tuple[str, ...]:
        """All that it serves: that model, and adapters of it (LoRA); empty before it is known."""

    @property
    def context_tokens(self) -> int:
        """The longest prompt + reply in tokens; 0 before it is known."""

    async def wait_ready(self) -> None:
        """Return when calls can be made."""

    async def look(self) -> None:
        """Ask how it is, so that `state` is true of an idle engine, too. Never raises."""

    def stream(self, request: EngineRequest) -> AsyncGenerator[Delta, None]:
        """Generate. Raises EngineError; ends after the delta that carries `finish`. `aclose()` aborts it."""

    async def close(self) -> None:
        """For good: replies in progress end with EngineUnavailable."""


class Supervisor(Protocol):
    """Whoever starts and restarts the server, and so knows before us how it is (core/vllm.py)."""

    @property
    def state(self) -> EngineState:
        """Where the server stands."""

    @property
    def detail(self) -> str:
        """The same in words."""

    async def wait_ready(self) -> None:
        """Return when the server answers."""
