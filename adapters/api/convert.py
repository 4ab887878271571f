"""Between the API's requests and the words of the house. Pure; what cannot be understood becomes a RequestError 400."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar

import orjson
from multidict import MultiMapping
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from adapters.api.answers import AssistantMessage, ChatCompletion, Choice, usage_of
from adapters.api.receivers import URL_LIMIT, URL_PATTERN, url_of
from core.errors import RequestError
from core.types import Delta, Sampling, Usage

TEXT_LIMIT = 32_000  # characters of one question

Name = Annotated[str, Field(min_length=1, max_length=200)]
Address = Annotated[str, Field(max_length=URL_LIMIT, pattern=URL_PATTERN)]


def _whole(value: object) -> object:
    """JSON has one kind of number: 5.0 is as whole as 5."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _address(value: str) -> str:
    url_of(value)
    return value


Tokens = Annotated[int, Field(gt=0, le=2**31 - 1), BeforeValidator(_whole)]


class Ask(BaseModel):
    """Body of `POST /ask`."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, strict=True)

    # The pattern says to readers of /openapi.json what stripping does: a text of spaces is none.
    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=TEXT_LIMIT, pattern=r"\S")]
    bot: Annotated[Name | None, Field(description="Who answers; none: the bot of the section [api].")] = None
    conversation: Annotated[
        Name | None, Field(description="The same name continues the same dialogue; none: a new one.")
    ] = None
    user: Annotated[Name | None, Field(description="Whom the limits count; none: the key itself.")] = None
    language: Annotated[str, Field(max_length=35, description='As in "en" or "zh"; "": found by itself.')] = ""
    callback_url: Annotated[
        Annotated[Address, AfterValidator(_address)] | None,
        Field(
            description="Where the end is posted to; of a host that the operator allows. https, no user, no fragment."
        ),
    ] = None


class AskHeaders(BaseModel):
    """Headers of `POST /ask`."""

    model_config = ConfigDict(hide_input_in_errors=True)

    idempotency_key: Annotated[
        str,
        Field(
            alias="Idempotency-Key",
            pattern=r"^[!-~]{1,200}$",
            description="1 to 200 visible ASCII characters of the caller's own. The same key with the same body is the"
            " same task, for as long as the task is kept; with another body it is refused.",
        ),
    ] = ""


class ResultQuery(BaseModel):
    """Query of `GET /result/{task_id}`."""

    model_config = ConfigDict(hide_input_in_errors=True)

    wait: Annotated[
        float,
        Field(
            allow_inf_nan=False,
            description="Wait up to so many seconds, 60 at most, for the task to end. An event stream always does.",
        ),
    ] = 0.0


class TextPart(BaseModel):
    """A piece of content in OpenAI's long form; only text is understood."""

    model_config = ConfigDict(hide_input_in_errors=True, strict=True)

    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    """One message of a chat completion; fields we have no use for are left aside."""

    model_config = ConfigDict(hide_input_in_errors=True, strict=True)

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]

    def plain(self) -> dict[str, str]:
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": "system" if self.role == "developer" else self.role, "content": text}


class StreamOptions(BaseModel):
    """Of a streamed completion."""

    model_config = ConfigDict(hide_input_in_errors=True, strict=True)

    include_usage: bool = False


class Completion(BaseModel):
    """Body of `POST /v1/chat/completions`, as far as this house can do what it asks."""

    model_config = ConfigDict(hide_input_in_errors=True, strict=True)

    model: Name
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=2000)]
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    n: Annotated[int, Field(ge=1, le=1), BeforeValidator(_whole)] | None = None
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
        raise _refusal(error) from error


def parse_named(model: type[BodyT], given: MultiMapping[str]) -> BodyT:
    """The headers or the query that `model` names. Raises RequestError that names every one that is wrong."""
    names = [field.alias or name for name, field in model.model_fields.items()]
    twice = [name for name in names if len(given.getall(name, [])) > 1]
    if twice:
        raise RequestError(400, f"{', '.join(twice)}: given more than once.")
    try:
        return model.model_validate({name: given[name] for name in names if name in given})
    except ValidationError as error:
        raise _refusal(error) from error


def _refusal(error: ValidationError) -> RequestError:
    problems = [
        ": ".join(
            filter(None, (".".join(str(part) for part in item["loc"]), item["msg"].removeprefix("Value error, ")))
        )
        for item in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    return RequestError(400, "; ".join(problems[:5]))


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
        return self._event({"choices": [], "usage": usage_of(usage)})

    def failure(self, message: str) -> bytes:
        return b"data: " + orjson.dumps({"error": {"message": message, "type": "engine_error", "code": None}}) + b"\n\n"

    def whole(self, text: str, finish: str, usage: Usage) -> ChatCompletion:
        choice = Choice(0, AssistantMessage("assistant", text), finish or "stop")
        return ChatCompletion(self.id, "chat.completion", self.created, self.model, [choice], usage_of(usage))

    def _event(self, body: Mapping[str, object]) -> bytes:
        head = {"id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model}
        return b"data: " + orjson.dumps({**head, **body}) + b"\n\n"


def joined(deltas: Iterable[Delta]) -> tuple[str, str, Usage]:
    """Text, finish and usage of a whole reply."""
    text, finish, usage = "", "", Usage()
    for delta in deltas:
        text += delta.text
        finish, usage = delta.finish or finish, delta.usage or usage
    return text, finish, usage
