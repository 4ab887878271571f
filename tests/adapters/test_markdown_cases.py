"""What a model writes, and what each platform then shows: one line for every case that went wrong somewhere."""

from __future__ import annotations

import pytest

from adapters.markdown import plain, slack, telegram, web
from adapters.markdown.document import Code, Document, Listing, Paragraph, Run, Style, Table
from adapters.markdown.parse import MAX_SOURCE, parse
from tests.adapters.markdown_house import cut

# Markdown -> (Telegram's text, its entities as "type: what it covers"), mrkdwn (with "·" for U+200B), plain
CASES = {
    "**“重点”**内容": ("“重点”内容", ["bold: “重点”"], "*“重点”*·内容", "“重点”内容"),
    "**注意：**请勿": ("注意：请勿", ["bold: 注意："], "*注意：*·请勿", "注意：请勿"),
    "请用**“VIP”**Card": ("请用“VIP”Card", ["bold: “VIP”"], "请用·*“VIP”*·Card", "请用“VIP”Card"),
    "~~“旧价”~~新价": ("“旧价”新价", ["strikethrough: “旧价”"], "~“旧价”~·新价", "“旧价”新价"),
    "2*3*4 a*b*c 2**3**4": ("2*3*4 a*b*c 2**3**4", [], "2*3*4 a*b*c 2**·3**·4", "2*3*4 a*b*c 2**3**4"),
    "snake_case_name": ("snake_case_name", [], "snake_case_name", "snake_case_name"),
    "__init__": ("__init__", [], "_·_·init__", "__init__"),
    r"C:\path C:\\a \\srv\x": (r"C:\path C:\\a \\srv\x", [], r"C:\path C:\\a \\srv\x", r"C:\path C:\\a \\srv\x"),
    "C:\\": ("C:\\", [], "C:\\", "C:\\"),
    r"\*no\* \# \_": ("*no* # _", [], "*·no* # _", "*no* # _"),
    "**bold": ("**bold", [], "*·*·bold", "**bold"),
    "a ~~b": ("a ~~b", [], "a ~·~·b", "a ~~b"),
    "`code": ("`code", [], "`code", "`code"),
    "~$5 and ~$6": ("~$5 and ~$6", [], "~·$5 and ~·$6", "~$5 and ~$6"),
    "**a *b* c** `d`": ("a b c d", ["bold: a b c", "italic: b", "code: d"], "*a _b_ c* `d`", "a b c d"),
    "**a `b` c**": ("a b c", ["bold: a", "code: b", "bold: c"], "*a* `b` *c*", "a b c"),
    "***x***": ("x", ["bold: x", "italic: x"], "*_x_*", "x"),
    "😀**粗**😀": ("😀粗😀", ["bold: 粗"], "😀·*粗*·😀", "😀粗😀"),
    "<order-id> <name> <div>": (
        "<order-id> <name> <div>", [], "&lt;order-id&gt; &lt;name&gt; &lt;div&gt;", "<order-id> <name> <div>"
    ),
    "<order:id>": ("<order:id>", [], "&lt;order:id&gt;", "<order:id>"),
    "&amp;lt; &lt;b&gt; AT&T": ("&lt; <b> AT&T", [], "&amp;lt; &lt;b&gt; AT&amp;T", "&lt; <b> AT&T"),
    "<!channel> <@U1>": ("<!channel> <@U1>", [], "&lt;!channel&gt; &lt;@U1&gt;", "<!channel> <@U1>"),
    "[x](javascript:alert(1))": (
        "[x](javascript:alert(1))", [], "[x](javascript:alert(1))", "[x](javascript:alert(1))"
    ),
    "[FAQ](/faq)": ("[FAQ](/faq)", [], "[FAQ](/faq)", "[FAQ](/faq)"),
    "[页](https://e.com/a_(b)?x=1&y=2)": (
        "页", ["text_link: 页"], "<https://e.com/a_(b)?x=1&amp;y=2|页>", "页 (https://e.com/a_(b)?x=1&y=2)"
    ),
    "[a|b>c](https://e.com/x|y)": (
        "a|b>c", ["text_link: a|b>c"], "<https://e.com/x%7Cy|a|b&gt;c>", "a|b>c (https://e.com/x%7Cy)"
    ),
    "**[a](https://e.com)**": ("a", ["bold: a", "text_link: a"], "*<https://e.com|a>*", "a (https://e.com)"),
    "[`a`](https://e.com)": ("a", ["text_link: a"], "<https://e.com|a>", "a (https://e.com)"),
    "![图](https://e.com/i.png)": (
        "图", ["text_link: 图"], "<https://e.com/i.png|图>", "图 (https://e.com/i.png)"
    ),
    "见https://a.com/b_c_d，好": ("见https://a.com/b_c_d，好", [], "见<https://a.com/b_c_d>，好", "见https://a.com/b_c_d，好"),
    "**https://a.com/x**.": (
        "https://a.com/x.", ["bold: https://a.com/x"], "*<https://a.com/x>*.", "https://a.com/x."
    ),
    "<me@a.co>": ("me@a.co", [], "<mailto:me@a.co|me@a.co>", "me@a.co"),
    "[us](mailto:me@a.co)": (
        "us (mailto:me@a.co)", [], "<mailto:me@a.co|us>", "us (mailto:me@a.co)"
    ),
    "[t](tg://resolve?domain=x)": (
        "t", ["text_link: t"], "t (tg://resolve?domain=x)", "t (tg://resolve?domain=x)"
    ),
    "[t](tg://user?id=1)": ("t (tg://user?id=1)", [], "t (tg://user?id=1)", "t (tg://user?id=1)"),
    "# A **b**\ntext": ("A b\ntext", ["bold: A b"], "*A b*\ntext", "A b\ntext"),
    "#": ("#", [], "#", "#"),
    "```": ("```", [], "`·`·`", "```"),
    "Title\n===": ("Title\n===", [], "Title\n===", "Title\n==="),
    "Choose:\n-": ("Choose:\n-", [], "Choose:\n-", "Choose:\n-"),
    "- a\n  1. b\n- [ ] c": ("• a\n  1. b\n• [ ] c", [], "• a\n  1. b\n• [ ] c", "• a\n  1. b\n• [ ] c"),
    "3. a\n4. b": ("3. a\n4. b", [], "3. a\n4. b", "3. a\n4. b"),
    "||s|| [^1]\n\n[^1]: n": ("||s|| [^1]\n\n[^1]: n", [], "||s|| [^1]\n\n[^1]: n", "||s|| [^1]\n\n[^1]: n"),
    "> a\n> > **b**": ("a\n\nb", ["blockquote: a\n\nb", "bold: b"], "> a\n>\n> *b*", "> a\n>\n> > b"),
    r"\> a": ("> a", [], "·&gt; a", "> a"),
    "```py\na < b\n```": ("a < b", ["pre: a < b"], "```\na &lt; b\n```", "a < b"),
    "````\n```\n````": ("```", ["pre: ```"], "```\n`·`·`\n```", "```"),
    "|名|n|\n|-|-:|\n|苹果|3|\n|b\\|c|12|": (
        "名   |  n\n苹果 |  3\nb|c  | 12", ["pre: 名   |  n\n苹果 |  3\nb|c  | 12"],
        "```\n名   |  n\n苹果 |  3\nb|c  | 12\n```", "名 | n\n苹果 | 3\nb|c | 12",
    ),
    "a  \nb\nc\\\nd": ("a\nb\nc\\\nd", [], "a\nb\nc\\\nd", "a\nb\nc\\\nd"),
    "a\n---\nb": ("a\n\n———\n\nb", [], "a\n\n———\n\nb", "a\n\n———\n\nb"),
    "": ("", [], "", ""),
    " \n\n": ("", [], "", ""),
}  # fmt: skip

cases = pytest.mark.parametrize("source", CASES)


@cases
def test_telegram_shows(source: str) -> None:
    text, entities = telegram.render(parse(source))
    covered = [f"{entity['type']}: {cut(text, int(entity['offset']), int(entity['length']))}" for entity in entities]
    assert (text, covered) == CASES[source][:2]


@cases
def test_slack_shows(source: str) -> None:
    assert slack.render(parse(source)).replace(slack.BREAK, "·") == CASES[source][2]


@cases
def test_wechat_shows(source: str) -> None:
    assert plain.render(parse(source)) == CASES[source][3]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("请**“重点”**内容 <!channel>", "请**·“重点”·**内容 &lt;!channel&gt;"),
        ("`<!here>` and `a<b`", "`<·!here>` and `a<b`"),
        ("```\n<@U1>\n```", "```\n<·@U1>\n```"),
        ("[x](javascript:a) 2*3*4", r"\[x\](javascript:a) 2\*3\*4"),
        ("[a]b](https://e.com/(", r"\[a\]b\]([https://e.com/(](https://e.com/%28)"),
        ("# A\n\n- b\n  - c\n\n> d", "# A\n\n- b\n  - c\n\n> d"),
        ("*a***b**", "*a*·**b**"),
    ],
)
def test_slack_reads_standard_markdown(source: str, expected: str) -> None:
    assert slack.render_markdown(parse(source)).replace(slack.BREAK, "·") == expected


def test_the_page_builds_nodes() -> None:
    tree = web.render(parse("**a** [b](https://e.com)\nc\n\n3. d\n\n```py\ne\n```\n|f|\n|:-|\n|<b>|\n\n[t](tg://x)"))
    assert tree == [
        {
            "t": "p",
            "c": [
                {"t": "b", "c": ["a"]},
                " ",
                {"t": "a", "c": ["b"], "href": "https://e.com", "rel": web.REL},
                {"t": "br", "c": []},
                "c",
            ],
        },
        {"t": "ol", "c": [{"t": "li", "c": ["d"]}], "start": 3},
        {"t": "pre", "c": ["e"], "lang": "py"},
        {
            "t": "table",
            "c": [
                {"t": "tr", "c": [{"t": "th", "c": ["f"], "align": "left"}]},
                {"t": "tr", "c": [{"t": "td", "c": ["<b>"], "align": "left"}]},
            ],
        },
        {"t": "p", "c": ["t (tg://x)"]},
    ]


def test_a_document_is_what_the_text_says() -> None:
    bold = Run("b", Style.BOLD | Style.ITALIC)
    assert parse("a ***b***") == Document((Paragraph((Run("a "), bold)),))
    assert parse("- a\n\n- b").blocks == (
        Listing(((Paragraph((Run("a"),)),), (Paragraph((Run("b"),)),)), start=None, tight=False),
    )
    assert parse("```sh -x\nls\n```").blocks == (Code("sh -x\nls"),)
    assert parse('```js title="a"\nx').blocks == (Code("x", "js"),)
    assert parse("|a|\n|-|\n||").blocks == (Table((((Run("a"),),),), ("",)),)


def test_a_text_that_is_too_long_is_shown_as_it_is() -> None:
    text = "**a** " * (MAX_SOURCE // 6 + 1)
    assert parse(text).blocks == (Paragraph((Run(text.strip()),)),)


def test_telegram_keeps_what_informs_when_there_are_too_many_entities() -> None:
    text, entities = telegram.render(parse("**a** `b`, " * 80 + "[c](https://e.com) " * 110))
    kinds = [entity["type"] for entity in entities]
    assert kinds == ["text_link"] * 100
    assert text.count("https://e.com") == 10, "an address that cannot be a link is written out"
    kinds = [entity["type"] for entity in telegram.render(parse("**a** `b`, " * 80))[1]]
    assert (kinds.count("code"), kinds.count("bold")) == (80, 20)
