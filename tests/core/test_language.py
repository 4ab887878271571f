"""The script decides where it can, the platform's word where it cannot."""

from __future__ import annotations

import pytest

from core.language import detect, primary


@pytest.mark.parametrize(
    ("text", "hint", "language"),
    [
        ("我的订单在哪里", "en", "zh"),
        ("我的order呢", "", "zh"),
        ("注文はどこですか", "en", "ja"),
        ("配送", "ja-JP", "ja"),
        ("주문 어디", "", "ko"),
        ("where is my order", "zh-CN", "en"),
        ("dónde está mi pedido", "es", "es"),
        ("hello", "", ""),
        ("12345", "zh-Hans", "zh"),
        ("👍", "", ""),
        ("", "de", "de"),
    ],
)
def test_detect(text: str, hint: str, language: str) -> None:
    assert detect(text, hint) == language


def test_primary_subtag() -> None:
    assert [primary(tag) for tag in ("zh-Hans-CN", "en_US", " DE ", "")] == ["zh", "en", "de", ""]
