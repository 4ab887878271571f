"""The wire format of an OpenAI-compatible server, pure: a request's body, the chunks of its event stream, its refusals.

Whatever the server sends is either understood or an EngineError; no error ever holds words of the conversation.
Sources: platform.openai.com/docs/api-reference/chat-streaming; html.spec.whatwg.org/multipage/server-sent-events.html;
vLLM 0.32 (`reasoning` beside `content`, `max_model_len` in the model card).
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import orjson

from core.engine import EngineRequest
from core.errors import EngineError, EngineRefused, EngineUnavailable, PromptTooLong
from core.types import Delta, Usage

LINE_LIMIT = 1 << 20  # bytes of one event; a chunk is a few hundred
REFUSAL_LIMIT = 200  # characters of a server's own words that we pass on

# vLLM: "maximum context length is", "longer than the maximum model length"; llama.cpp: "context size"; OpenAI: a code.
_TOO_LONG = re.compile(
    r"context.?(length|size|window)|(maximum|max).?model.?len|longer than the model|prompt is too long", re.IGNORECASE
)
# Of gpt-oss's format, Harmony (github.com/openai/harmony, docs/format.md); each is one token.
MARKS = tuple(f"<|{name}|>" for name in ("start", "channel", "constrain", "message", "end", "return", "call"))
_MARK = re.compile(f"({'|'.join(map(re.escape, MARKS))})")
_FOR_USERS, _NOT_FOR_USERS = re.compile("final|commentary"), re.compile("analysis|to=")  # in a message's header
_WINDOW = 8  # a run of this many characters found in the conversation counts as a quotation of it
_WINDOW_WIDE = 3  # the same for scripts in which a character is a word


class Lines:
    """Cuts a byte stream into the values of its `data:` lines, however the network cut it.

    Lines are split as bytes, so a cut inside a UTF-8 character is harmless. `done` is set by `[DONE]`, after which
    nothing is returned. Comments, other fields and empty lines are dropped. At most LINE_LIMIT bytes are kept.
    """

    def __init__(self) -> None:
        self._rest = bytearray()
        self.done = False

    def feed(self, data: bytes) -> list[bytes]:
        """The values completed by these bytes. Raises EngineUnavailable for an event that never ends."""
        if b"\n" not in data:
            self._rest += data
            if len(self._rest) > LINE_LIMIT:
                raise EngineUnavailable(f"the engine sent an event of over {LINE_LIMIT} bytes; check base_url")
            return []
        if self._rest:
            data = bytes(self._rest) + data
            self._rest.clear()
        *lines, rest = data.split(b"\n")
        if rest:
            self._rest += rest
        return self._values(lines)

    def end(self) -> list[bytes]:
        """The value of a last line that had no line end."""
        rest = bytes(self._rest)
        self._rest.clear()
        return self._values([rest])

    def _values(self, lines: list[bytes]) -> list[bytes]:
        values = []
        for line in lines:
            if self.done or not line.startswith(b"data:"):
                continue
            value = line[5:].strip()
            if value == b"[DONE]":
                self.done = True
            elif value:
                values.append(value)
        return values


def parse_chunk(value: bytes) -> Delta:
    """One chunk of the stream as a delta, empty if it has nothing for us (a role, a tool call, no choice at all).

    Raises EngineUnavailable for an error object, PromptTooLong if that is what it says.
    """
    try:
        chunk = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        # `from None`: the decoder's error holds the document, and with it the reply.
        raise EngineUnavailable(f"the engine sent an event that is not JSON: {error.msg}") from None
    if not isinstance(chunk, dict):
        raise EngineUnavailable("the engine sent an event that is not a JSON object")
    if chunk.get("error") or chunk.get("object") == "error":
        raise _stream_error(chunk)
    text = reasoning = finish = ""
    choices = chunk.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        choice = choices[0]
        finish = _text(choice.get("finish_reason"))
        piece = choice.get("delta")
        if isinstance(piece, dict):
            text = _text(piece.get("content"))
            reasoning = _text(piece.get("reasoning")) or _text(piece.get("reasoning_content"))
    if finish in ("abort", "error"):  # vLLM's own words for a generation it gave up
        raise EngineUnavailable("the engine gave the reply up")
    usage = chunk.get("usage")
    model = _text(chunk.get("model"))
    return Delta(text, reasoning, finish, _usage(usage) if isinstance(usage, dict) else None, model)


class Marks:
    """Takes gpt-oss's own marks out of a reply, however the stream cut them. What stands in any of its channels but the
    final one and the commentary becomes reasoning, and so do the headers.

    vLLM reads the marks itself, but hands all of a message on as text when the model breaks the format, or when the
    reply is cut in a header: marks, thoughts and all.
    """

    def __init__(self) -> None:
        self.rest = ""  # held back: it may be the beginning of a mark
        self._header: str | None = None  # so far, while one is being read
        self._said = True  # what comes now is for the user

    def take(self, delta: Delta) -> Delta:
        """The same without marks; part of its text may come with the next one, or stand in `rest` at the end."""
        text, self.rest = self.rest + delta.text, ""
        if "<" not in text and self._said:
            return replace(delta, text=text) if text != delta.text else delta
        at = text.rfind("<")
        if any(mark.startswith(text[at:]) and mark != text[at:] for mark in MARKS):
            text, self.rest = text[:at], text[at:]
        said, thought = "", delta.reasoning
        for piece in _MARK.split(text):
            if piece in MARKS:
                self._pass(piece)
            elif self._said:
                said += piece
            else:
                thought += piece
                if self._header is not None:
                    self._header += piece
        return replace(delta, text=said, reasoning=thought)

    def _pass(self, mark: str) -> None:
        if mark == "<|message|>":
            header, self._header = self._header or "", None
            self._said = bool(_FOR_USERS.search(header)) and not _NOT_FOR_USERS.search(header)
            return
        self._said = False  # until the next message begins
        if mark in ("<|start|>", "<|channel|>", "<|constrain|>"):
            self._header = "" if mark == "<|start|>" else f"{self._header or ''} "
        else:
            self._header = None


def hold_back(end: Delta, delta: Delta) -> tuple[Delta, Delta]:
    """Move finish and usage out of a delta into the last one: usage comes after the finish, in a chunk of its own."""
    last = Delta(finish=delta.finish or end.finish, usage=delta.usage or end.usage, model=delta.model or end.model)
    return last, replace(delta, finish="", usage=None)


def salted(salt: str, bot: str) -> str:
    """vLLM's `cache_salt` for one bot: prefixes are found again only under the same one. In hexadecimal digits, as it
    takes at most 128 characters, and no `@`, `/` or backslash."""
    return hmac.digest(salt.encode(), bot.encode(), "sha256").hex()


def request_body(request: EngineRequest, model: str, *, salt: str = "", by_priority: bool = False) -> bytes:
    """The JSON body of POST /chat/completions; `extra` may replace the sampling but not what the stream depends on."""
    sampling = request.sampling
    body: dict[str, object] = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
    }
    if sampling.frequency_penalty:
        body["frequency_penalty"] = sampling.frequency_penalty
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if by_priority:
        body["priority"] = int(request.priority)
    body |= request.extra
    if salt:
        body["cache_salt"] = salted(salt, request.bot)
    if request.model or model:
        body["model"] = request.model or model
    body |= {"messages": [dict(message) for message in request.messages], "stream": True}
    body["stream_options"] = {"include_usage": True}
    try:
        return orjson.dumps(body)
    except TypeError:
        # A lone surrogate: some platforms cut an emoji in half. One broken character must not stop a conversation.
        body["messages"] = [
            {key: text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for key, text in message.items()}
            for message in request.messages
        ]
        return orjson.dumps(body)


def refusal(status: int, body: bytes, request: EngineRequest | None = None) -> EngineError:
    """The error that an HTTP answer other than 200 stands for."""
    message, code = _reason(body)
    if status >= 500 or status in (408, 409, 425, 429):
        why = {429: "is busy", 502: "is not there", 503: "is not ready yet"}.get(status, "failed")
        return EngineUnavailable(f"the engine {why} (HTTP {status}{_named(code)})")
    if status in (400, 413, 422) and (code == "context_length_exceeded" or _TOO_LONG.search(message)):
        return PromptTooLong(f"prompt and reply exceed the model's context (HTTP {status}{_named(code)})")
    advice = {
        401: "; set the engine's API key",
        403: "; the API key may not use this model",
        404: "; check base_url and model",
    }.get(status, "")
    if 300 <= status < 400:
        advice = "; base_url must be the final address"
    said = _without_quotation(message, request)
    return EngineRefused(
        f"the engine refused the call (HTTP {status}{_named(code)}){advice}{': ' if said else ''}{said}"
    )


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What GET /models says of one model; context_tokens is 0 where it is not said."""

    name: str
    context_tokens: int = 0


def model_cards(body: bytes) -> tuple[ModelCard, ...]:
    """The models of a GET /models answer, in its order (vLLM: the base model first). Raises EngineRefused."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise EngineRefused(f"GET /models did not answer in JSON ({error.msg}); check base_url") from None
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, list):
        raise EngineRefused("GET /models answered without a list of models; check base_url")
    cards = [card for card in data if isinstance(card, dict) and isinstance(card.get("id"), str)]
    return tuple(ModelCard(card["id"], _count(card.get("max_model_len"))) for card in cards)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _usage(usage: Mapping[str, object]) -> Usage:
    details = usage.get("prompt_tokens_details")
    cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else 0
    return Usage(_count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")), cached)


def _stream_error(chunk: Mapping[str, object]) -> EngineError:
    message, code = _reason(orjson.dumps(chunk))
    if code == "context_length_exceeded" or _TOO_LONG.search(message):
        return PromptTooLong(f"prompt and reply exceed the model's context (while streaming{_named(code)})")
    return EngineUnavailable(f"the engine failed while it was streaming{_named(code)}")


def _reason(body: bytes) -> tuple[str, str]:
    """The server's words and its code or type: {"error": {...}}, {"message": ...} or FastAPI's {"detail": ...}."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body[:2000].decode("utf-8", "replace"), ""
    error = answer.get("error", answer) if isinstance(answer, dict) else answer
    if not isinstance(error, dict):
        return _text(error), ""
    message = _text(error.get("message")) or _text(error.get("detail"))
    return message, _text(error.get("code")) or _text(error.get("type"))


def _named(code: str) -> str:
    return f", {code}" if re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{0,63}", code) else ""


def _without_quotation(message: str, request: EngineRequest | None) -> str:
    """The server's words, or "" where they may quote the conversation (validation errors echo their input)."""
    message = " ".join(message.split())[:REFUSAL_LIMIT]
    if request is None:
        return message
    if "\\" in message or "input" in message.lower():
        return ""  # escaped or echoed input cannot be told from the server's words
    spoken = " ".join(" ".join(text.split()) for each in request.messages for text in each.values())
    for start in range(len(message)):
        width = _WINDOW if message[start : start + _WINDOW].isascii() else _WINDOW_WIDE
        window = message[start : start + width]
        if len(window) == width and not (window.isascii() and width == _WINDOW_WIDE) and window in spoken:
            return ""
    return re.sub(r"\d{4,}", lambda number: "#" if number[0] in spoken else number[0], message)
