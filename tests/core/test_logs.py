"""Log lines hold what happened and never what was said, a bug's included."""

from __future__ import annotations

import io
import json

import pytest
import structlog

from core.config import LogSettings
from core.logs import configure


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_bug_is_logged_with_its_place_and_without_the_customers_words(form: str) -> None:
    stream = io.StringIO()
    before = structlog.get_config()
    try:
        configure(LogSettings.model_validate({"format": form}), stream)
        _trip("my card is 4111 1111 1111 1111")
    finally:
        structlog.configure(**before)
    logged = stream.getvalue()
    assert "turn_crashed" in logged
    assert "ZeroDivisionError" in logged
    assert "_trip" in logged, "the place is named"
    assert "4111" not in logged
    if form == "json":
        assert json.loads(logged)["action"] == "turn_crashed"


def _trip(text: str) -> None:
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        structlog.get_logger().exception("turn_crashed", characters=len(text))
