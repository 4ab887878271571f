"""What the tests of the Markdown share: nasty texts, hostile texts, and what must be true of every rendering."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Any

from hypothesis import strategies as st
from markdown_it import MarkdownIt

from adapters.markdown import plain, slack, telegram, web
from adapters.markdown.document import Document, texts
from adapters.markdown.parse import parse

NASTY = """# 退货 **Guide** #
**注意：**请勿拆封。**“重点”**内容 *it* ***both*** ~~gone~~ ~~“删”~~内容
`a<b` 2*3*4 snake_case __init__ C:\\\\path \\*x\\*
Write <order-id>, <name>, <div>, <order:id>, &amp;lt; &lt;b&gt; AT&T. <!channel> <@U1> <#C1|x> [x](javascript:alert(1))
See [页 (1)](https://e.com/a_(b)?x=1&y=2|z "title"), ![pic](https://e.com/i.png),
<https://x.y/a_b>，https://z.io/a_b_c。

1. one
   - two `<!here>`
     - three
       - [x] four **bold

> quote
> > deeper <@U2>
lazy 👨‍👩‍👧 😀**粗**😀

| 名称 | a \\| b | n |
|:-:|--|--:|
| **苹果** | `x \\| y` | 3 |
| [l](tg://resolve?domain=x) |

````py
print("```") <!channel>
````
***
||spoiler|| [^1] ~$5 and ~$6 _a_b_ **unclosed *and `more

[^1]: note
Title
===
\tend\\"""

# Whatever a platform could take for its own, a browser for code, and a reader of Markdown for something else.
WORSE = """~~~md
```py
<!everyone> **not bold**
```
~~~
- ```sh
  rm -r <dir>
  ~~~
  ```
  after
> ```
> quoted `code
> ```

<!-- a comment <script>alert(1)</script> --> <![CDATA[x]]> <?php x ?> <a href="javascript:alert(2)">x</a>
<javascript:alert(3)> ![i](javascript:alert(4)) ![d](data:text/html;base64,PHN2Zz4=) [v](VBScript:x)
[j](java&#115;cript:x)
[a](<javascript:alert(5)>) [b](jav\tascript:x) [c](//e.com/x) [d](https://e.com/a_(b_(c))_d "t(") [e](https://e.com/(
<!channel> <!here|here> <!subteam^S1> <@W012A3CDE> <#C024BE7LR|general> &lt;!channel&gt; <tg://user?id=1> @everyone
\u200fשלום **עולם**\u200e \u202eevil\u202c \u2067مرحبا\u2069 *\u200b* **\ufeff**
👩🏽‍🚀**👨‍👩‍👧‍👦**1️⃣ ~~🏳️‍🌈~~ **「重要」**请*（注意）*。__粗__ **a**中**b** ＊全角＊
|a|**b
|:-|-:|
|`x|y`|[l](https://e.com/(z))|<@U1>|
|
| <!channel> |

1) a
   > - b
   >   1. c **d
+ [ ] e ***f** g*

# #
####### seven
--- ---
*****bold***** ** a ** __a__b **a*b**c* `` ` `` \\` \\<b> &#0; &#x1F600; &nosuch; \x00end"""

HOSTILE = {
    "bullets": "- a\n" * 5_000,
    "numbers": "1. a\n" * 4_000,
    "loose bullets": "- **a**\n\n" * 2_000,
    "headings": "# a\n" * 5_000,
    "rules": "---\n" * 5_000,
    "paragraphs": "a\n\n" * 6_000,
    "lines": "a*\n" * 6_000,
    "quoted lists": "> - a\n>\n" * 2_000,
    "styles": "**a** *b* `c` ~~d~~ " * 1_000,
    "brackets": "[" * 10_000,
    "images": "![" * 10_000,
    "stars": "*" * 10_000,
    "openers": "*a " * 5_000 + "b*" * 5_000,
    "mixed stars": "*a _b " * 5_000,
    "quotes": ">" * 5_000,
    "stairs of quotes": "\n".join(">" * level + " x" for level in range(250)),
    "deep list": "\n".join("  " * level + "- x" for level in range(170)),
    "list signs": "- " * 10_000,
    "lists": "- - x\n" * 3_000,
    "pipes": "|" * 100_000,
    "wide table": "|a" * 2_000 + "|\n" + "|-" * 2_000 + "|\n" + "|\n" * 2_000,
    "long table": "|a" * 20 + "|\n" + "|-" * 20 + "|\n" + "|\n" * 10_000,
    "ticks": " ".join("`" * length for length in range(1, 250)),
    "links": "[a](" * 5_000,
    "targets": "[x](<" * 5_000,
    "addresses": "https://a.b/" * 2_000,
    "entities": "&amp;" * 5_000,
    "backslashes": "\\" * 20_000,
    "fences": "```\n" * 5_000,
    "too long": "**a** " * 20_000,
}

PIECES = (
    "**", "*", "_", "__", "~~", "~", "`", "```", "```py\n", "\n", "\n\n", "- ", "1. ", "3) ", "+ ",
    "    ", "> ", "# ", "|", "|-|-|\n", "|a|b|\n", "---\n", "===", "[", "](", ")",
    "](https://e.com/a_(b))", "](javascript:x)", "](tg://x)", "![", "]", "<!channel>", "<@U1>",
    "<#C1|x>", "<div>", "<https://x.y>", "<order-id>", "&amp;", "&lt;", "&#10;", "&#92;", "&copy;",
    "\\", "\\*", "“", "”", "内容", "：", "，", "a", "b2", "é", "😀", "👨‍👩‍👧", " ", "\t",
    "https://a.com/x_y", "2*3*4", "__init__", "!", "\x00", "\r\n", "\x1c", "\u2028", "\ud800", "://",
    "[ ] ", "a@b.co", "\xa0", "~~~\n", "````\n", "<!-- x -->", "<script>", "<javascript:x>", "\u200f", "\u202e",
    "\u200b", "\ufeff", "](<javascript:x>)", "](https://e.com/(", "[x](data:text/html,y)", "\t- ", "\n> ",
)  # fmt: skip

markdown = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)
noise = st.text(st.sampled_from("*_`~[]()<>!#|-+.\\&; \n1a内“：😀"), max_size=80)


COMMONMARK = MarkdownIt("commonmark")


def cut(text: str, offset: int, length: int) -> str:
    """What an entity covers; fails where it would tear a surrogate pair."""
    units = text.encode("utf-16-le", "surrogatepass")[2 * offset : 2 * (offset + length)]
    assert len(units) == 2 * length
    assert not 0xDC00 <= int.from_bytes(units[:2], "little") <= 0xDFFF
    assert not 0xD800 <= int.from_bytes(units[-2:], "little") <= 0xDBFF
    return units.decode("utf-16-le", "surrogatepass")


def check_telegram(document: Document) -> str:
    """Entities are what Telegram takes. Returns the text that they are about."""
    text, entities = telegram.render(document)
    assert text == text.rstrip()
    assert len(entities) <= telegram.MAX_ENTITIES
    ranges = []
    for entity in entities:
        offset, length = int(entity["offset"]), int(entity["length"])
        covered = cut(text, offset, length)
        assert covered.strip()
        assert covered == covered.rstrip()
        assert entity["type"] == "pre" or covered == covered.lstrip()
        assert str(entity.get("url", "https:")).startswith(telegram.LINKS)
        assert not str(entity.get("url", "")).lower().startswith("tg://user")
        ranges.append((offset, offset + length, entity["type"]))
    for (a, b, first), (c, d, second) in combinations(ranges, 2):
        if c < b and a < d:
            assert (a <= c and d <= b) or (c <= a and b <= d), "overlap halfway"
            assert first not in {"code", "pre"} and second != "pre", "code stands alone"
            assert first != second or first not in {"text_link", "blockquote"}
    return text


def check_slack(document: Document) -> str:
    """Nothing pings, and every angle bracket in mrkdwn is a link of ours. Returns the mrkdwn."""
    mrkdwn, standard = slack.render(document), slack.render_markdown(document)
    assert not re.search(r"<[!@#]", mrkdwn + standard)
    assert "<" not in re.sub(r"<(?:https?|mailto):[^<>|\s]+(?:\|[^<>\n]+)?>", "", mrkdwn)
    for token in COMMONMARK.parse(standard):
        for child in token.children or ():
            assert str(child.attrs.get("href", "https:")).startswith(slack.LINKS), "as another reader reads it"
    return mrkdwn


def check_web(document: Document) -> list[Any]:
    """Only the kinds and keys that the page knows. Returns what the page is given."""
    kinds = {
        "p",
        "h",
        "pre",
        "quote",
        "ul",
        "ol",
        "li",
        "table",
        "tr",
        "th",
        "td",
        "hr",
        "b",
        "i",
        "s",
        "code",
        "a",
        "br",
    }
    rendered = list(web.render(document))
    waiting: list[Any] = [*rendered]
    while waiting:
        node = waiting.pop()
        if isinstance(node, str):
            assert node
            continue
        assert node["t"] in kinds
        assert set(node) <= {"t", "c", "level", "lang", "start", "align", "href", "rel"}
        assert ("href" in node) == (node["t"] == "a")
        if node["t"] == "a":
            assert node["href"].startswith(web.LINKS) and node["rel"] == web.REL
        waiting += node["c"]
    return rendered


def check(text: str) -> None:
    """Everything that holds for every text."""
    document = parse(text)
    shown = plain.render(document)
    assert shown == shown.rstrip()
    everywhere = (check_telegram(document), check_slack(document), check_web(document), shown)
    if text.split():
        assert all(everywhere)


def said(text: str) -> str:
    """What a Markdown text says, without white space and without the bars that stand between a table's cells."""
    return words(parse(text))


def words(document: Document) -> str:
    return "".join("".join(texts(document.blocks)).split()).replace("|", "")
