"""What holds for every text a model can write, wherever it stops: no exception, valid markup, nothing pinged, nothing
lost, and work that stays within bounds."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from adapters.markdown import plain, slack, source, telegram
from adapters.markdown.document import texts
from adapters.markdown.parse import parse
from tests.adapters.markdown_house import HOSTILE, NASTY, check, markdown, noise

# Nothing here has letters that a reader is not meant to see, as an address or a language has.
MARKS = ("**", "*", "_", "~~", "`", "-", "- ", ">", "#", "[", "](", ")", "|", "|-|-|", "\\", "&", ";", "!")
READABLE = (*MARKS, *["<b", "<!x>", "“", "”", "：", "内", "容", "a", "b", "😀", "x_y"], " ", "\n", "\n\n")


@settings(max_examples=150, deadline=None)
@given(markdown | noise)
@example("&#10;# a")
@example("[a](https://x.y/\\)<!channel>")
def test_every_text_has_a_valid_rendering(text: str) -> None:
    check(text)


def test_every_beginning_of_a_nasty_text_has_a_valid_rendering() -> None:
    for end in range(len(NASTY) + 1):
        check(NASTY[:end])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(READABLE), max_size=40))
def test_no_letter_is_lost(pieces: list[str]) -> None:
    text = "".join(pieces)
    letters = [char for char in text if unicodedata.category(char)[0] in "LN" or char in "“”：😀"]
    document = parse(text)
    shown = [char for char in "".join(texts(document.blocks)) if char in letters]
    assert shown == letters
    for rendered in (telegram.render(document)[0], slack.render(document), plain.render(document)):
        rest = iter(rendered)
        assert all(char in rest for char in letters), rendered


@settings(max_examples=150, deadline=None)
@given(st.text(st.sampled_from("ab内：，。 \n\t1.-%"), max_size=60))
def test_text_without_marks_reads_the_same_either_way(text: str) -> None:
    quick, whole = parse(text), parse(text + "\n\n**x**")
    if text.strip():
        assert whole.blocks[:-1] == quick.blocks


@settings(max_examples=150, deadline=None)
@given(markdown | noise)
def test_what_is_written_as_markdown_again_says_no_less(text: str) -> None:
    document = parse(text)
    once = "".join("".join(texts(document.blocks)).split())
    again = "".join("".join(texts(parse(source.write(document)).blocks)).split())
    rest = iter(again)
    assert all(char in rest for char in re.sub(r"[*~]", "", once))


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_stay_small(name: str) -> None:
    text = HOSTILE[name]
    document = parse(text)
    runs = sum(1 for _ in texts(document.blocks))
    assert runs <= len(text)
    shown, entities = telegram.render(document)
    assert len(shown) <= 3 * len(text) and len(entities) <= 100
    assert len(slack.render(document)) <= 6 * len(text)
    assert len(slack.render_markdown(document)) <= 6 * len(text)
    assert len(plain.render(document)) <= 3 * len(text)
    check(text[:300])
