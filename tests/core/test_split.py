"""A split text loses nothing, fits everywhere, and breaks where a reader would pause."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.split import clip, split


def utf16(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def utf8(text: str) -> int:
    return len(text.encode())


MEASURES = st.sampled_from([len, utf16, utf8])
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=400)


@given(TEXTS, st.integers(8, 60), MEASURES)
def test_parts_fit_and_joined_are_the_text(text: str, limit: int, measure: Callable[[str], int]) -> None:
    parts = split(text, limit, measure)
    assert "".join(parts) == text
    assert all(measure(part) <= limit for part in parts)
    assert all(parts) or text == ""


@given(TEXTS, st.integers(8, 60), MEASURES)
def test_a_clipped_text_fits_and_begins_the_same(text: str, limit: int, measure: Callable[[str], int]) -> None:
    clipped = clip(text, limit, measure)
    assert measure(clipped) <= limit
    assert clipped == text or text.startswith(clipped.removesuffix("…"))


@pytest.mark.parametrize(
    ("text", "limit", "parts"),
    [
        ("One two three. Four five six seven.", 20, ["One two three. ", "Four five six seven."]),
        ("您好，我来帮您查。请告诉我订单号。", 12, ["您好，我来帮您查。", "请告诉我订单号。"]),
        ("first paragraph\n\nsecond one here", 24, ["first paragraph\n\n", "second one here"]),
        ("x" * 25, 10, ["x" * 10, "x" * 10, "x" * 5]),
        ("", 10, [""]),
    ],
)
def test_it_breaks_where_a_reader_pauses(text: str, limit: int, parts: list[str]) -> None:
    assert split(text, limit) == parts


def test_a_joined_emoji_stays_whole() -> None:
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    assert split("12345678" + family, 10) == ["12345678", family]


def test_a_long_text_in_bytes_is_cut_at_characters() -> None:
    parts = split("汉" * 3000, 2048, utf8)
    assert [len(part) for part in parts] == [682, 682, 682, 682, 272]
