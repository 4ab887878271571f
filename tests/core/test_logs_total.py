"""Whatever is in a line, the line is written: a log that can fail would fail the request it tells of."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest
import structlog

from core import logs
from core.config import LogSettings


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    stream, before = io.StringIO(), structlog.get_config()
    logs.configure(LogSettings(format="json"), stream)
    yield stream
    structlog.configure(**before)


@pytest.mark.parametrize(
    "value", ["\udcff", "a\ud800b", 1 << 64, -(1 << 70), float("nan"), {"\udc80": 1}, b"\xff", {1}]
)
def test_any_value_can_be_logged(stream: io.StringIO, value: object) -> None:
    structlog.get_logger().info("step", value=value)
    line = json.loads(stream.getvalue())
    assert line["action"] == "step"
    assert "value" in line
