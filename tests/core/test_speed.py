"""What can be written in time: measured, cautious, and nothing is claimed before it was measured."""

from __future__ import annotations

from core.speed import Speed


def test_nothing_is_known_before_a_reply_was_measured() -> None:
    speed = Speed()
    assert speed.tokens_in(10.0) is None
    speed.observe(0.1, 0.2, 3)
    assert speed.tokens_in(10.0) is None, "three tokens say nothing"


def test_it_counts_the_first_token_and_what_comes_after_the_reply() -> None:
    speed = Speed()
    speed.observe(1.0, 11.0, 200)  # 20 tokens a second
    assert speed.tokens_in(11.5) == 170
    assert speed.tokens_in(1.5) == 0
    assert speed.tokens_in(-5.0) == 0


def test_it_follows_the_engine() -> None:
    speed = Speed()
    speed.observe(0.0, 1.0, 100)
    for _ in range(20):
        speed.observe(0.0, 10.0, 100)
    tokens = speed.tokens_in(10.5)
    assert tokens is not None
    assert 80 <= tokens <= 90
