"""What a simulated engine says and how it goes wrong, as values; and how that looks on the wire, in vLLM 0.32's form.

Chunks are joined from parts that were encoded before, so that one core carries hundreds of streams.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import orjson
from aiohttp import web


class Fault(StrEnum):
    """What goes wrong with a call; SILENCE, CUT and ERROR_EVENT after `fault_after` pieces."""

    NONE = "none"
    RESET = "reset"  # the connection is cut without an answer (to refuse connections, `stop` the simulator)
    BUSY = "busy"  # 429
    FAILED = "failed"  # 500
    LOADING = "loading"  # 503, for every path
    TOO_LONG = "too_long"  # 400 in vLLM's words
    HANG = "hang"  # takes the call and says nothing, not even the status
    SILENCE = "silence"
    CUT = "cut"
    ERROR_EVENT = "error_event"


def echo(body: Mapping[str, object]) -> str:
    """The default reply: the newest message, with words around it."""
    messages = body.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else {}
    said = last.get("content", "") if isinstance(last, dict) else ""
    return f"This is the simulated reply to what you wrote last, which was: {said}"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How calls are answered. Times are seconds; a piece counts as one token."""

    reply: Callable[[Mapping[str, object]], str] = echo
    pieces: int = 40  # the reply is cut into at most that many, and `max_tokens` ends it as it would a model
    tokens_per_second: float = 0.0  # 0 = all at once
    first_token_seconds: float = 0.0
    reasoning: str = ""  # streamed before the reply, a piece a word
    reasoning_field: str = "reasoning"  # older servers: "reasoning_content"
    fault: Fault = Fault.NONE
    fault_after: int = 3
    usage: bool = True
    cached_tokens: int = 0
    role: bool = True  # a first chunk with nothing but the role
    finish: bool = True
    done: bool = True
    line_end: bytes = b"\n"
    write_bytes: int = 0  # cut each write into pieces of that many bytes
    comments: bool = False  # ": ping" before every chunk


def split(text: str, pieces: int) -> list[str]:
    """The text in `pieces` of about the same length, fewer if it is shorter than that."""
    count = max(1, min(pieces, len(text)))
    return [text[len(text) * n // count : len(text) * (n + 1) // count] for n in range(count)] if text else []


class Wire:
    """Writes one reply as an event stream; what is written between two `flush` leaves in one piece."""

    def __init__(self, response: web.StreamResponse, behaviour: Behaviour, model: str) -> None:
        self._response = response
        self._behaviour = behaviour
        name = orjson.dumps(model)
        head = b'{"id":"chatcmpl-simulated","object":"chat.completion.chunk","created":0,"model":' + name
        self._choice = head + b',"choices":[{"index":0,"delta":{'
        self._no_choice = head + b',"choices":[],"usage":'
        self._waiting: list[bytes] = []

    def event(self, value: bytes) -> None:
        """One `data:` line and what ends it."""
        end = self._behaviour.line_end
        if self._behaviour.comments:
            self._waiting += (b": ping", end, end)
        self._waiting += (b"data: ", value, end, end)

    def role(self) -> None:
        if self._behaviour.role:
            self.event(self._choice + b'"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}')

    def piece(self, kind: str, text: str) -> None:
        """A piece of "content" or "reasoning"."""
        name = self._behaviour.reasoning_field if kind == "reasoning" else kind
        value = orjson.dumps(text)
        self.event(self._choice + b'"' + name.encode() + b'":' + value + b'},"logprobs":null,"finish_reason":null}]}')

    def end(self, finish: str, prompt_tokens: int, completion_tokens: int) -> None:
        """Finish, usage and [DONE], as far as the behaviour sends them."""
        behaviour = self._behaviour
        if behaviour.finish:
            self.event(self._choice + b'},"logprobs":null,"finish_reason":"' + finish.encode() + b'"}]}')
        if behaviour.usage:
            usage = {
                "prompt_tokens": prompt_tokens,
                "completion_tokens": completion_tokens,
                "total_tokens": prompt_tokens + completion_tokens,
                "prompt_tokens_details": {"cached_tokens": behaviour.cached_tokens},
            }
            self.event(self._no_choice + orjson.dumps(usage) + b"}")
        if behaviour.done:
            self.event(b"[DONE]")

    async def flush(self) -> None:
        """Send what waits. Raises ConnectionError when the client is gone."""
        data = b"".join(self._waiting)
        self._waiting.clear()
        size = self._behaviour.write_bytes or len(data)
        for start in range(0, len(data), size or 1):
            await self._response.write(data[start : start + size])


def prompt_tokens(body: Mapping[str, object]) -> int:
    """About what a tokenizer would say: a token for every 4 bytes, and 4 for each message."""
    messages = body.get("messages")
    if not isinstance(messages, list):
        return 0
    texts = [message.get("content", "") for message in messages if isinstance(message, dict)]
    return sum(4 + len(text.encode()) // 4 for text in texts if isinstance(text, str))


def token_limit(body: Mapping[str, object]) -> int:
    """max_tokens of a request."""
    limit = body.get("max_tokens")
    return limit if isinstance(limit, int) else 1024
