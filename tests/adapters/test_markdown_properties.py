"""What holds for every text a model can write, wherever it stops: no exception, valid markup, nothing pinged, nothing
lost, and work that stays within bounds."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from adapters.markdown import plain, slack, source, telegram
from adapters.markdown.document import Block, Document, Heading, Listing, Paragraph, Quote, Run, Table, texts
from adapters.markdown.growth import Growth
from adapters.markdown.parse import parse, parse_growing
from tests.adapters.markdown_house import HOSTILE, NASTY, WORSE, check, markdown, noise

# Nothing here has letters that a reader is not meant to see, as an address or a language has.
MARKS = ("**", "*", "_", "~~", "`", "-", "- ", ">", "#", "[", "](", ")", "|", "|-|-|", "\\", "&", ";", "!")
READABLE = (*MARKS, *["<b", "<!x>", "“", "”", "：", "内", "容", "a", "b", "😀", "x_y"], " ", "\n", "\n\n")


@settings(max_examples=150, deadline=None)
@given(markdown | noise)
@example("&#10;# a")
@example("[a](https://x.y/\\)<!channel>")
def test_every_text_has_a_valid_rendering(text: str) -> None:
    check(text)


@pytest.mark.parametrize("text", [NASTY, WORSE], ids=["nasty", "worse"])
def test_every_beginning_of_a_nasty_text_has_a_valid_rendering(text: str) -> None:
    for end in range(len(text) + 1):
        check(text[:end])


@pytest.mark.parametrize("text", [WORSE, NASTY + "\n\n" + WORSE], ids=["worse", "nasty, then worse"])
def test_a_text_that_grows_is_read_as_when_read_at_once(text: str) -> None:
    growth = Growth()
    for end in range(0, len(text) + 1, 3):
        document, _ = growth.read(text[:end])
        assert document == parse(text[:end])


@settings(max_examples=300, deadline=None)
@given(markdown | noise, st.lists(st.integers(1, 9), max_size=60))
def test_what_is_settled_of_a_growing_text_never_changes(text: str, steps: list[int]) -> None:
    growth, end, shown, settled = Growth(), 0, Document(()), 0
    for step in [*steps, len(text)]:
        end = min(len(text), end + step)
        document, now = growth.read(text[:end])
        assert document == parse(text[:end])
        keep = min(settled, now)  # none are settled where the text shows nothing and is shown as it is
        assert document.blocks[:keep] == shown.blocks[:keep]
        shown, settled = document, now


def test_a_growing_text_is_read_anew_only_at_its_end() -> None:
    blocks = [f"# {number}\n\n- **a**\n- b" for number in range(50)]
    for count in range(2, 51):
        _, settled, characters = parse_growing("\n\n".join(blocks[:count]))
        assert (settled, characters) == (2 * count - 2, sum(len(block) + 2 for block in blocks[: count - 1]))


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
@example("-- -")  # a rule
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


def _pieces(blocks: Iterable[Block]) -> Iterator[Block | Run]:
    """Every block and every run."""
    for block in blocks:
        yield block
        if isinstance(block, Paragraph | Heading):
            yield from block.runs
        elif isinstance(block, Quote):
            yield from _pieces(block.blocks)
        elif isinstance(block, Listing):
            for item in block.items:
                yield from _pieces(item)
        elif isinstance(block, Table):
            yield from (run for row in block.rows for cell in row for run in cell)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_stay_small(name: str) -> None:
    text = HOSTILE[name]
    document = parse(text)
    pieces = list(_pieces(document.blocks))
    # Text without marks is only cut at its blank lines, which costs next to nothing.
    assert len(pieces) <= 7_000 or set(text) <= set("a\n")
    shown, entities = telegram.render(document)
    assert len(shown) <= 3 * len(text) and len(entities) <= 100
    assert len(slack.render(document)) <= 6 * len(text)
    assert len(slack.render_markdown(document)) <= 6 * len(text)
    assert len(plain.render(document)) <= 3 * len(text)
    check(text[:300])
