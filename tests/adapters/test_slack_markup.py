"""The model's Markdown in Slack: no prefix of any text raises, pings or links where it must not; each form fits."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from adapters.markdown.slack import escape
from adapters.slack import markup, outbound
from adapters.slack.outbound import Form
from tests.examples import part_of

marked = st.text(st.sampled_from("`~ \n<>!@#&ab:/|*_[](){}-1.\\粗，") | st.characters(codec="utf-8"), max_size=60)
pieces = st.lists(
    st.sampled_from(
        [
            "**",
            "`",
            "```\n",
            "<!channel>",
            "<@U1>",
            "](javascript:x)",
            "[a",
            "\n",
            "|",
            "- ",
            "> ",
            "粗",
            "：",
            "data:x",
            "]:",
            "[a]:",
            "  ",
            "~",
        ]
    ),
    max_size=14,
).map("".join)
TOKEN = re.compile(r"<(?:[!@#]|[a-zA-Z]+:)")
OURS = re.compile(r"<(?:https?|mailto):[^<>|]*(?:\|[^<>]*)?>")  # the links that mrkdwn is written with


@given(marked | pieces, marked | pieces)
def test_what_a_stream_shows_begins_with_what_it_has_shown(beginning: str, rest: str) -> None:
    assert markup.streamed(beginning + rest).startswith(markup.streamed(beginning))


@given(marked | pieces)
def test_no_token_of_slacks_is_left_in_any_form(text: str) -> None:
    assert not TOKEN.search(markup.streamed(text))
    assert not TOKEN.search(markup.shown(text))
    assert not TOKEN.search(OURS.sub("", markup.notification(text)))


def addresses(markdown: str) -> list[str]:
    """What a reader that takes every address would link."""
    reader = MarkdownIt("commonmark")
    reader.validateLink = lambda url: True  # type: ignore[method-assign]
    tokens = (child for token in reader.parse(markdown) for child in token.children or ())
    return [str(token.attrGet("href") or token.attrGet("src") or "") for token in tokens]


@given(marked | pieces)
def test_no_unsafe_address_is_linked(text: str) -> None:
    for shown in (markup.streamed(text), markup.shown(text)):
        assert not [url for url in addresses(shown) if re.match(r"(?:javascript|vbscript|data):", url, re.IGNORECASE)]


def test_the_reader_would_notice() -> None:
    """The test above can fail."""
    assert addresses("[a](javascript:x)") == ["javascript:x", "", ""]


@given(st.text())
def test_what_is_escaped_holds_no_control_character(text: str) -> None:
    escaped = escape(text)
    assert not set("<>") & set(escaped)
    assert len(escaped) == markup.length_escaped(text)


@settings(max_examples=part_of(100))
@given(st.text(st.sampled_from("a*`|\n<&_ -"), min_size=1, max_size=3).map(lambda unit: unit * 4_000))
def test_a_preview_of_any_length_is_within_its_limit(text: str) -> None:
    draft = markup.draft_text(text)
    assert len(markup.shown(draft)) <= markup.MARKDOWN_LIMIT
    assert len(markup.streamed(markup.stream_text(text))) <= markup.MARKDOWN_LIMIT


@pytest.mark.parametrize("text", ["*a* " * 5_000, "|a" * 20 + "|\n" + "|---" * 20 + "|\n" + "|a|\n" * 2_000])
def test_a_text_that_nobody_has_split_is_cut_at_the_limit(text: str) -> None:
    assert len(markup.shown(text)) <= markup.MARKDOWN_LIMIT
    assert len(markup.notification(text)) <= markup.TEXT_LIMIT


@pytest.mark.parametrize(
    "text",
    [
        "word " * 2_000,
        "很长的答案，" * 1_500,
        "```sh\n" + "cat <file> && ls\n" * 600 + "```",
        "| order | state |\n| --- | --- |\n" + "| <order-id> | on its way |\n" * 300,
        "- **item** with `code`\n" * 400,
    ],
)
def test_each_part_of_a_reply_fits_in_every_form(text: str) -> None:
    parts = markup.parts(text)
    assert len(parts) > 1
    for part in parts:
        for form in Form:
            body = outbound.body(form, part, None)
            assert len(str(body.get("text", ""))) <= markup.TEXT_LIMIT
            assert len(str(body.get("markdown_text", ""))) <= markup.TEXT_LIMIT
        if "cat <file>" in text:
            assert part.startswith("```sh\n") and part.endswith("```")


@pytest.mark.parametrize(
    ("text", "markdown", "mrkdwn"),
    [
        ("a < b & <order-id>", "a &lt; b & &lt;order-id&gt;", "a &lt; b &amp; &lt;order-id&gt;"),
        ("**粗体：**中文", "**粗体：\u200b**中文", "*粗体：*\u200b中文"),
        ("[x](javascript:alert(1))", "\\[x\\](javascript:alert(1))", "[x](javascript:alert(1))"),
        ("[ok](https://a.b/c_(d))", "[ok](https://a.b/c_(d))", "<https://a.b/c_(d)|ok>"),
        ("# Title\ntext", "# Title\n\ntext", "*Title*\ntext"),
        ("`<!channel>`", "`<\u200b!channel>`", "`&lt;!channel&gt;`"),
        ("| a | b |\n|---|---|\n| 1 | 2 |", "| a | b |\n| --- | --- |\n| 1 | 2 |", "```\na | b\n1 | 2\n```"),
    ],
)
def test_the_two_forms(text: str, markdown: str, mrkdwn: str) -> None:
    assert markup.shown(text) == markdown
    assert markup.notification(text) == mrkdwn


@pytest.mark.parametrize(
    ("text", "streamed", "right"),
    [
        ("a < b & <order-id>", "a &lt; b &amp; &lt;order-id&gt;", True),
        ("**bold** and a [link](https://a.b)", "**bold** and a [link](https://a.b)", True),
        ("> said & done", "> said &amp; done", True),
        ("* a\n* b\n\n# T", "* a\n* b\n\n# T", True),
        ("```sh\ncat <file> && <!here>\n```\n<a>", "```sh\ncat <file> && <\u200b!here>\n```\n&lt;a&gt;", True),
        ("~~~\n<https://a|b>\n~~~~", "~~~\n<https\u200b://a|b>\n~~~~", True),
        ("use `cat <file>`", "use `cat &lt;file&gt;`", False),
        ("**粗体：**中文", "**粗体：**中文", False),
        ("**粗体**：中文", "**粗体**：中文", True),
        ("[x](javascript:alert(1))", "[x](javascript\u200b:alert(1))", False),
        ("[x](DATA:text/html)", "[x](DATA\u200b:text/html)", False),
        ("- ```\n  a < b\n  ```", "- ```\n  a &lt; b\n  ```", False),
    ],
)
def test_a_stream_knows_whether_it_looks_right(text: str, streamed: str, right: bool) -> None:
    assert markup.streamed(text) == streamed
    assert markup.streams_right(text) is right


def test_data_is_a_word_too() -> None:
    assert markup.streamed("your data: 3") == "your data: 3"
    assert markup.streamed("```yaml\ndata: javascript:x\n```") == "```yaml\ndata: javascript:x\n```"


def test_a_text_that_is_only_marks_has_a_notification() -> None:
    for text in ("***", "#", "```\n```", "---"):
        assert markup.notification(text).strip(), text
