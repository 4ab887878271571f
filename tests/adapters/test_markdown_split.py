"""A long Markdown text in parts: each renders within the limit, together they say all of it, and nothing is torn."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings

from adapters.markdown import plain, slack, telegram
from adapters.markdown.document import Code, Document, Heading, Listing, texts
from adapters.markdown.parse import parse
from adapters.markdown.split import split
from tests.adapters.markdown_house import HOSTILE, NASTY, WORSE, check, markdown, said, words

PLATFORMS = {
    "telegram": (telegram.rendered_length, 4096),
    "mrkdwn": (slack.rendered_length, 4000),
    "markdown_text": (slack.rendered_markdown_length, 12_000),
    "plain": (plain.rendered_bytes, 2048),
}
MEASURES = {"telegram": telegram.length, "mrkdwn": slack.length, "plain": plain.length}
platforms = pytest.mark.parametrize("platform", PLATFORMS)


def test_a_text_that_fits_is_left_as_it_is() -> None:
    assert split("*a*  b", 4, telegram.rendered_length) == ["*a*  b"]
    assert split("", 10, telegram.rendered_length) == [""]


@platforms
def test_a_long_answer_arrives_whole_within_the_limit(platform: str) -> None:
    length, limit = PLATFORMS[platform]
    text = (NASTY + "\n\n" + WORSE + "\n\n") * 8
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


class Scale:
    """Measures documents, and how much it was given to measure."""

    def __init__(self, length: Callable[[Document], int]) -> None:
        self._length = length
        self.characters = 0
        self.documents = 0

    def __call__(self, document: Document) -> int:
        self.documents += 1
        self.characters += sum(map(len, texts(document.blocks)))
        return self._length(document)


# Quotes in quotes say little and are measured anew at each of their levels.
@pytest.mark.parametrize("name", [name for name in HOSTILE if "quotes" not in name])
@pytest.mark.parametrize("platform", ["telegram", "mrkdwn", "plain"])
def test_the_work_of_cutting_is_a_few_renderings_of_the_text(platform: str, name: str) -> None:
    length, limit = PLATFORMS[platform]
    limit //= 4  # the work depends on how many parts there are, not on how long one is
    scale = Scale(MEASURES[platform])
    text = HOSTILE[name][:5_000]
    parts = split(text, limit, length, scale)
    assert scale.characters <= 6 * len(text)
    assert scale.documents <= len(text) // 2 + 10 * len(parts)
    documents = [parse(part) for part in parts]
    assert all(MEASURES[platform](document) <= limit for document in documents)
    assert "".join(map(words, documents)) == said(text)


@pytest.mark.parametrize("block", ["- **a** b\n", "a *b* " * 50 + "\n\n", "> - a\n>\n", "`a` "])
def test_twice_the_text_is_twice_the_work(block: str) -> None:
    work = []
    for size in (6_000, 12_000):
        scale = Scale(telegram.length)
        split((block * size)[:size], 1_000, telegram.rendered_length, scale)
        work.append(scale.characters + scale.documents)
    assert work[1] <= 2.5 * work[0]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_are_cut_too(name: str) -> None:
    text = HOSTILE[name][:3_000]
    parts = split(text, 512, plain.rendered_bytes)
    assert all(plain.rendered_bytes(part) <= 512 for part in parts)
    assert len(parts) <= 40
    check(parts[-1][:200])
