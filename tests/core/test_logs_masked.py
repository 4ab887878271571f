"""No line of the log tells who a customer is, whatever a platform's reason, an exception or a library says."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from core import logs
from core.config import LogSettings

SECRETS = ("4111 1111 1111 1111", "13800138000", "11010519491231002X", "anna@shop.example")
SHOWN = ("***1111", "***00", "***2X", "***@shop.example")


@pytest.fixture(params=["json", "text"])
def stream(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    stream, before = io.StringIO(), structlog.get_config()
    handlers = logging.getLogger().handlers[:]
    logs.configure(LogSettings(format=request.param), stream)
    yield stream
    structlog.configure(**before)
    logging.getLogger().handlers[:] = handlers


def masked(stream: io.StringIO) -> str:
    line = stream.getvalue()
    assert not [secret for secret in SECRETS if secret in line]
    assert [shown for shown in SHOWN if shown not in line] == []
    return line


def test_a_platforms_reason(stream: io.StringIO) -> None:
    structlog.get_logger().warning("delivery_refused", reason=f"no such user: {', '.join(SECRETS)}", turn=13800138000)
    line = stream.getvalue()
    assert line.count("13800138000") == 1, "a number of ours stays one"
    assert all(shown in line for shown in SHOWN)


def test_values_within_values_and_objects(stream: io.StringIO) -> None:
    structlog.get_logger().info(
        "step", told={"one": [SECRETS[0], (SECRETS[1],)]}, error=ValueError(SECRETS[2]), who={SECRETS[3]}
    )
    masked(stream)


def test_an_exceptions_words(stream: io.StringIO) -> None:
    try:
        raise ValueError(" / ".join(SECRETS))
    except ValueError:
        structlog.get_logger().exception("turn_crashed")
    assert "ValueError" in masked(stream)


def test_a_librarys_line_and_its_traceback(stream: io.StringIO) -> None:
    try:
        raise ValueError(SECRETS[0])
    except ValueError:
        logging.getLogger("library").warning("to %s, %s and %s", *SECRETS[1:], exc_info=True)
    assert masked(stream).startswith("WARNING library: to ***00, ***2X and ***@shop.example\nTraceback")


def test_what_the_log_is_for_stays_readable() -> None:
    stream, before = io.StringIO(), structlog.get_config()
    logs.configure(LogSettings(format="json"), stream)
    structlog.get_logger().info(
        "received", channel="telegram", message=1234567890123456, reason="Order #4711-2345-88", ms=1.5
    )
    structlog.configure(**before)
    line = json.loads(stream.getvalue())
    assert (line["message"], line["reason"], line["ms"]) == (1234567890123456, "Order #4711-2345-88", 1.5)
