"""What the pages ask for, understood or refused: pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.errors import RequestError
from core.ledger.archive import Wanted
from core.recipe import Recipe
from core.types import Sampling

MOST = 200  # items of one page
NOTE_CHARACTERS = 2_000
PROMPT_CHARACTERS = 100_000


class Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class SignIn(Asked):
    password: Annotated[str, Field(min_length=1, max_length=1000)]


class Mark(Asked):
    mark: Literal["", "good", "bad"]
    note: Annotated[str, Field(max_length=NOTE_CHARACTERS)] = ""


class Retry(Asked):
    ids: Annotated[list[Annotated[str, Field(pattern=r"^[md]\d{1,18}$")]], Field(max_length=1000)] = []
    failed: bool = False


class Limits(Asked):
    messages_per_minute: Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)] | None
    tokens_per_day: Annotated[int, Field(gt=0, le=10**12)] | None


class Block(Asked):
    blocked: bool


class NewKey(Asked):
    name: Annotated[str, Field(max_length=1000)]  # core/ledger/keys.py says what makes a good one
    bots: Annotated[list[str], Field(max_length=1000)] = []
    requests_per_minute: float | None = None


class Erase(Asked):
    confirm: str


Text = Annotated[str, Field(max_length=PROMPT_CHARACTERS)]


class Drawn(Asked):
    """Sampling as it was typed; what it may be is the bot's workshop's to say."""

    temperature: Annotated[float, Field(allow_inf_nan=False)]
    top_p: Annotated[float, Field(allow_inf_nan=False)]
    max_tokens: int
    stop: Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=10)] = []
    frequency_penalty: Annotated[float, Field(allow_inf_nan=False)]

    def drawn(self) -> Sampling:
        return Sampling(self.temperature, self.top_p, self.max_tokens, tuple(self.stop), self.frequency_penalty)


class Draft(Asked):
    prompts: Annotated[dict[str, Text], Field(max_length=50)]
    sampling: Drawn

    def recipe(self) -> Recipe:
        return Recipe(self.prompts, self.sampling.drawn())


class Publish(Draft):
    base: int  # the version that it was made of
    note: Annotated[str, Field(max_length=NOTE_CHARACTERS)] = ""


class Restore(Asked):
    number: Annotated[int, Field(gt=0, lt=10**9)]
    base: int


class Try(Draft):
    text: Annotated[Text, Field(min_length=1)]
    said: Annotated[list[Text], Field(max_length=200)] = []  # both sides in turn, as `done` gave them back
    language: Annotated[str, Field(pattern=r"^([a-z]{2,3})?$")] = ""
    model: Annotated[str, Field(max_length=200)] = ""


class Nothing(Asked):
    """A body without anything in it."""


AskedT = TypeVar("AskedT", bound=Asked)


def body(model: type[AskedT], raw: bytes) -> AskedT:
    """Raises RequestError 400 that names what is wrong."""
    try:
        return model.model_validate_json(raw or b"{}")
    except ValidationError as error:
        problems = [
            ": ".join(filter(None, (".".join(str(part) for part in item["loc"]), item["msg"])))
            for item in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        raise RequestError(400, "; ".join(problems[:5])) from error


def number(query: Mapping[str, str], name: str, default: float) -> float:
    """A number of the query. Raises RequestError 400."""
    try:
        value = float(query.get(name) or default)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise RequestError(400, f"{name}: a number is needed.")
    return value


def whole(query: Mapping[str, str], name: str, default: int, most: int = 2**62) -> int:
    """A whole number from 1 to `most` of the query. Raises RequestError 400."""
    value = query.get(name) or str(default)
    if not (value.isascii() and value.isdigit() and len(value) < 20 and 0 < int(value) <= most):
        raise RequestError(400, f"{name}: a whole number from 1 to {most} is needed.")
    return int(value)


def wanted(query: Mapping[str, str]) -> Wanted:
    """The filters of the list of conversations. Raises RequestError 400."""
    ids = [part for part in query.get("ids", "").split(",") if part]
    if not all(part.isascii() and part.isdigit() and len(part) < 19 for part in ids):
        raise RequestError(400, "ids: numbers with commas between them are needed.")
    return Wanted(
        search=query.get("search", "")[:200],
        channel=query.get("channel", ""),
        bot=query.get("bot", ""),
        state=query.get("state", ""),
        since=number(query, "since", 0.0),
        until=number(query, "until", math.inf),
        before=whole(query, "before", 2**62),
        limit=whole(query, "limit", 50, MOST),
        ids=tuple(map(int, ids)),
    )
