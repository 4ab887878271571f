"""Between the API's JSON and the words of the house. Pure; what cannot be understood becomes a RequestError 400."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from core.errors import RequestError
from core.types import Delta, MessageState, Outcome, Sampling, Usage

TEXT_LIMIT = 32_000  # characters of one question

Name = Annotated[str, Field(min_length=1, max_length=200)]


class Ask(BaseModel):
    """Body of `POST /ask`."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=TEXT_LIMIT)]
    bot: Name | None = None
    conversation: Name | None = None  # the same name continues the same dialogue; none = a new one
    user: Name | None = None  # whom the throttle counts; none = the key
    language: Annotated[str, Field(max_length=35)] = ""


class TextPart(BaseModel):
    """A piece of content in OpenAI's long form; only text is understood."""

    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    """One message of a chat completion; fields we have no use for are left aside."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]

    def plain(self) -> dict[str, str]:
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": "system" if self.role == "developer" else self.role, "content": text}


class StreamOptions(BaseModel):
    include_usage: bool = False


class Completion(BaseModel):
    """Body of `POST /v1/chat/completions`, as far as this house can do what it asks."""

    model_config = ConfigDict(hide_input_in_errors=True)

    model: Name
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=2000)]
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    max_tokens: Annotated[int, Field(gt=0)] | None = None
    max_completion_tokens: Annotated[int, Field(gt=0)] | None = None
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    n: Literal[1] | None = None
    tools: Annotated[list[object], Field(max_length=0)] | None = None

    def sampling(self, default: Sampling) -> Sampling:
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        return Sampling(
            temperature=default.temperature if self.temperature is None else self.temperature,
            top_p=default.top_p if self.top_p is None else self.top_p,
            max_tokens=self.max_completion_tokens or self.max_tokens or default.max_tokens,
            stop=stop or default.stop,
            frequency_penalty=default.frequency_penalty if self.frequency_penalty is None else self.frequency_penalty,
        )


BodyT = TypeVar("BodyT", bound=BaseModel)


def parse(model: type[BodyT], raw: bytes) -> BodyT:
    """The body as `model`. Raises RequestError that names every field that is wrong."""
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        problems = [
            ": ".join(filter(None, (".".join(str(part) for part in item["loc"]), item["msg"])))
            for item in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        raise RequestError(400, "; ".join(problems[:5])) from error


@dataclass(frozen=True, slots=True)
class Head:
    """What every chunk of one completion repeats."""

    id: str
    created: int
    model: str

    def chunk(self, delta: Mapping[str, str], finish: str | None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return self._event({"choices": [choice]})

    def usage(self, usage: Usage) -> bytes:
        return self._event({"choices": [], "usage": usage_object(usage)})

    def failure(self, message: str) -> bytes:
        return b"data: " + orjson.dumps({"error": {"message": message, "type": "engine_error", "code": None}}) + b"\n\n"

    def whole(self, text: str, finish: str, usage: Usage) -> dict[str, object]:
        choice: object = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": finish or "stop",
        }
        head: dict[str, object] = {
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": self.model,
        }
        return head | {"choices": [choice], "usage": usage_object(usage)}

    def _event(self, body: Mapping[str, object]) -> bytes:
        head = {"id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model}
        return b"data: " + orjson.dumps({**head, **body}) + b"\n\n"


def usage_object(usage: Usage) -> dict[str, object]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


def result(task_id: str, outcome: Outcome) -> dict[str, object]:
    """The body of `/result`: `status` is waiting, running, answered, throttled or withdrawn; the rest follows at the
    end."""
    # What was set aside is the operator's business; the caller has an answer, of the kind "apology".
    state = MessageState.ANSWERED if outcome.state is MessageState.SET_ASIDE else outcome.state
    body: dict[str, object] = {"task_id": task_id, "status": state.value}
    if outcome.kind:
        body |= {
            "answer": outcome.text,
            "kind": outcome.kind,
            "cut": outcome.cut,
            "model": outcome.model,
            "usage": usage_object(outcome.usage),
        }
    return body


def joined(deltas: Iterable[Delta]) -> tuple[str, str, Usage]:
    """Text, finish and usage of a whole reply."""
    text, finish, usage = "", "", Usage()
    for delta in deltas:
        text += delta.text
        finish, usage = delta.finish or finish, delta.usage or usage
    return text, finish, usage
