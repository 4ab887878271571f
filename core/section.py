"""What settings are made of: a section that is closed, frozen and silent about its values, and the kinds of values."""

from __future__ import annotations

import json
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(gt=0)]


def http_url(value: str) -> str:
    """An address as it is used: without a last slash. Raises ValueError."""
    if value:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be an address such as https://bot.example.com")
    return value.rstrip("/")


HttpUrl = Annotated[str, AfterValidator(http_url)]


def _json_list(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError('must be a list; in a variable it is written as JSON, such as ["a", "b"]') from None


Texts = Annotated[tuple[str, ...], BeforeValidator(_json_list)]


class Section(BaseModel):
    """A part of the settings: closed (a typo is an error), frozen, and silent about the values it was given."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
