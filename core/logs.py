"""One line a step: readable on a terminal, JSON on a pipe; ids and milliseconds, never message text, never secrets."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import orjson
import structlog
from structlog.typing import EventDict, WrappedLogger

from core.config import LogSettings


def configure(settings: LogSettings, stream: TextIO = sys.stderr) -> None:
    """Set the process's logging up; called once, by main."""
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    readable = stream.isatty() if settings.format == "auto" else settings.format == "text"
    processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
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
        processors += [structlog.processors.format_exc_info, _action, structlog.processors.JSONRenderer(_json)]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    # Libraries' own lines: warnings and worse only; an HTTP client's debug line would hold a token in its URL.
    logging.basicConfig(level=logging.WARNING, stream=stream, format="%(levelname)s %(name)s: %(message)s", force=True)


def _action(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    event["action"] = event.pop("event")
    return event


def _json(event: object, **_: object) -> str:
    return orjson.dumps(event, default=str).decode()
