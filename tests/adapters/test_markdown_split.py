"""A long Markdown text in parts: each renders within the limit, together they say all of it, and nothing is torn."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from adapters.markdown import plain, slack, telegram
from adapters.markdown.document import Code, Heading, Listing
from adapters.markdown.parse import parse
from adapters.markdown.split import split
from tests.adapters.markdown_house import HOSTILE, NASTY, check, markdown, said

PLATFORMS = {
    "telegram": (telegram.rendered_length, 4096),
    "mrkdwn": (slack.rendered_length, 4000),
    "markdown_text": (slack.rendered_markdown_length, 12_000),
    "plain": (plain.rendered_bytes, 2048),
}
platforms = pytest.mark.parametrize("platform", PLATFORMS)


def test_a_text_that_fits_is_left_as_it_is() -> None:
    assert split("*a*  b", 4, telegram.rendered_length) == ["*a*  b"]
    assert split("", 10, telegram.rendered_length) == [""]


@platforms
def test_a_long_answer_arrives_whole_within_the_limit(platform: str) -> None:
    length, limit = PLATFORMS[platform]
    text = (NASTY + "\n\n") * 30
    parts = split(text, limit, length)
    assert len(parts) > 1
    assert all(length(part) <= limit for part in parts)
    assert "".join(map(said, parts)) == said(text)
    assert sum(length(part) for part in parts[:-1]) > 0.6 * limit * (len(parts) - 1), "parts are filled"


@settings(max_examples=60, deadline=None)
@given(markdown)
def test_parts_say_what_the_whole_says(text: str) -> None:
    text = text.replace("](https", " [l](https")  # a label longer than a part is another test's concern
    for length, limit in ((telegram.rendered_length, 120), (slack.rendered_length, 300), (plain.rendered_bytes, 300)):
        parts = split(text, limit, length)
        assert all(length(part) <= limit for part in parts)
        if len(parts) > 1:
            assert "".join(map(said, parts)) == said(text)


def test_a_code_block_is_closed_and_opened_again_in_its_language() -> None:
    code = "\n".join(f'    print("``` {number}")' for number in range(40))
    parts = split(f"Look:\n\n````py\n{code}\n````\n\nDone.", 300, telegram.rendered_length)
    blocks = [block for part in parts for block in parse(part).blocks if isinstance(block, Code)]
    assert len(blocks) > 2
    assert {block.language for block in blocks} == {"py"}
    assert "\n".join(block.text for block in blocks) == code


def test_a_block_is_cut_only_when_it_must_be_and_a_heading_stays_with_its_text() -> None:
    text = "Intro " * 5 + "\n\n# Head\n\n" + "word " * 20 + "\n\nend"
    parts = split(text, 106, plain.rendered_bytes)
    assert parts[0] == ("Intro " * 5).strip()
    assert isinstance(parse(parts[1]).blocks[0], Heading)
    assert len(parse(parts[1]).blocks) == 2


def test_sentences_styles_and_links_stay_whole() -> None:
    text = "**" + "这是一句话。" * 12 + "** [" + "很长的链接文字" * 3 + "](https://e.com/x) 结束。"
    parts = split(text, 40, telegram.rendered_length)
    assert all(part.rstrip("*").endswith(("。", ")")) for part in parts)
    assert all(telegram.render(parse(part))[1][0]["type"] == "bold" for part in parts[:2])
    assert sum("https://e.com/x" in part for part in parts) == 1


def test_a_link_longer_than_a_part_becomes_text() -> None:
    parts = split(f"[{'很长' * 40}](https://e.com/{'a' * 60})", 50, telegram.rendered_length)
    assert all(telegram.rendered_length(part) <= 50 for part in parts)
    assert "".join(map(said, parts)) == "很长" * 40 + f"(https://e.com/{'a' * 60})"


def test_numbers_of_a_list_go_on() -> None:
    parts = split("\n".join(f"{number}. item {number}" for number in range(1, 31)), 80, plain.rendered_bytes)
    starts = [block.start or 0 for part in parts for block in parse(part).blocks if isinstance(block, Listing)]
    assert starts[0] == 1 and starts == sorted(starts) and len(starts) == len(parts)
    assert "\n".join(plain.render(parse(part)) for part in parts).splitlines()[-1] == "30. item 30"


def test_a_family_of_emoji_is_not_torn() -> None:
    parts = split("👨‍👩‍👧" * 30, 20, telegram.rendered_length)
    assert {part.replace("👨‍👩‍👧", "") for part in parts} == {""}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_are_cut_too(name: str) -> None:
    text = HOSTILE[name][:12_000]
    parts = split(text, 2048, plain.rendered_bytes)
    assert all(plain.rendered_bytes(part) <= 2048 for part in parts)
    assert len(parts) <= 40
    check(parts[-1][:200])
