"""What the API answers, as values: what is sent and what /openapi.json says of it are the same types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from core.types import MessageState, Outcome, ReplyKind, Usage

Status = Literal["waiting", "running", "answered", "throttled", "withdrawn"]
OPEN = (MessageState.WAITING, MessageState.RUNNING)
STATUS: dict[MessageState, Status] = {
    MessageState.WAITING: "waiting",
    MessageState.RUNNING: "running",
    MessageState.ANSWERED: "answered",
    MessageState.THROTTLED: "throttled",
    # What was set aside is the operator's business; the caller has an answer, of the kind "apology".
    MessageState.SET_ASIDE: "answered",
    MessageState.WITHDRAWN: "withdrawn",
    # Nobody has the id of such a task: its call was refused, or was no call of ours (an edit).
    MessageState.BLOCKED: "withdrawn",
    MessageState.REPLACED: "withdrawn",
}


@dataclass(frozen=True, slots=True)
class Task:
    """A question that is on disk."""

    task_id: str
    status: Annotated[
        Status,
        Field(
            description="waiting: in line. running: being answered. answered: see `answer`; a question that failed as"
            " often as it may is answered, too, by an apology. withdrawn: taken back before it was answered (a later"
            " /stop in its conversation), for good. throttled: over its user's limit, for good."
        ),
    ]


@dataclass(frozen=True, slots=True)
class PromptDetails:
    """Of the prompt's tokens."""

    cached_tokens: int


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens, as the engine counted them."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails


@dataclass(frozen=True, slots=True)
class Result:
    """A task that came to its end with words."""

    task_id: str
    status: Status
    answer: str
    kind: Annotated[
        ReplyKind,
        Field(
            description="answer: the model's. apology: the engine could not answer, or the question was set aside."
            " notice: the house's own words, to a command such as /help."
        ),
    ]
    cut: Annotated[bool, Field(description="It ended before it was whole.")]
    model: str
    usage: TokenUsage


@dataclass(frozen=True, slots=True)
class TaskAnswered:
    """What is posted to a callback_url."""

    type: Literal["task.answered"]
    timestamp: Annotated[str, Field(description="When it was answered: ISO 8601, UTC.")]
    data: Result


@dataclass(frozen=True, slots=True)
class AssistantMessage:
    role: Literal["assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Choice:
    index: int
    message: AssistantMessage
    finish_reason: str


@dataclass(frozen=True, slots=True)
class ChatCompletion:
    """OpenAI's object of that name."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: TokenUsage


@dataclass(frozen=True, slots=True)
class Model:
    """A bot, or the engine's own model."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


@dataclass(frozen=True, slots=True)
class ModelList:
    object: Literal["list"]
    data: list[Model]


@dataclass(frozen=True, slots=True)
class Problem:
    message: Annotated[str, Field(description="What to do.")]
    type: str
    code: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Any error, in OpenAI's shape."""

    error: Problem


def usage_of(usage: Usage) -> TokenUsage:
    details = PromptDetails(usage.cached_tokens)
    return TokenUsage(usage.prompt_tokens, usage.completion_tokens, usage.total, details)


def result_of(task_id: str, outcome: Outcome) -> Task | Result:
    """What became of a task."""
    status = STATUS[outcome.state]
    if not outcome.kind:
        return Task(task_id, status)
    return Result(
        task_id,
        status,
        answer=outcome.text,
        kind=ReplyKind(outcome.kind),
        cut=outcome.cut,
        model=outcome.model,
        usage=usage_of(outcome.usage),
    )
