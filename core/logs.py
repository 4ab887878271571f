"""One line a step: readable on a terminal, JSON on a pipe; ids and milliseconds, never message text, never secrets.

What an exception or a platform says is not in our hand: telephone, card and id numbers and addresses in it are masked.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from typing import TextIO

import orjson
import structlog
from structlog.typing import EventDict, WrappedLogger

from core.config import LogSettings
from core.masking import mask


def configure(settings: LogSettings, stream: TextIO = sys.stderr) -> None:
    """Set the process's logging up; called once, by main."""
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    readable = stream.isatty() if settings.format == "auto" else settings.format == "text"
    processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.format_exc_info,
        _mask,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=not readable),
    ]
    if readable:
        # The plain formatter: the default one shows local variables, and they hold what customers wrote.
        console = structlog.dev.ConsoleRenderer(
            event_key="action", colors=True, exception_formatter=structlog.dev.plain_traceback
        )
        processors += [_action, console]
    else:
        processors += [_action, structlog.processors.JSONRenderer(_json)]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    # Libraries' own lines: warnings and worse only; an HTTP client's debug line would hold a token in its URL.
    logging.basicConfig(level=logging.WARNING, stream=stream, force=True)
    for output in logging.getLogger().handlers:
        output.setFormatter(_Masking("%(levelname)s %(name)s: %(message)s"))


class _Masking(logging.Formatter):
    """The libraries' lines, with what tells who somebody is masked."""

    def format(self, record: logging.LogRecord) -> str:
        return mask(super().format(record))


def _mask(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """No line is meant to hold anything of a person, but a platform's reason or an exception may."""
    for name, value in event.items():
        event[name] = _masked(value)
    return event


def _masked(value: object) -> object:
    if isinstance(value, str):
        return mask(value)
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, Mapping):
        return {name: _masked(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked(inner) for inner in value]
    return mask(str(value))


def _action(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    event["action"] = event.pop("event")
    return event


def _json(event: object, **_: object) -> str:
    try:
        return orjson.dumps(event, default=str).decode()
    except TypeError:
        # What a caller wrote may hold half a character or a number of any size, and no line may fail because of it.
        return json.dumps(event, default=str)
