"""Plain text for platforms that show Markdown as it is (WeChat): no sign of style is left, no word or address lost.

Links are written out, `label (address)`: WeChat makes a bare address clickable, and with no `<a>` of ours there is
nothing in the text that could be a tag.
"""

from __future__ import annotations

from adapters.markdown.document import Document, plain_text
from adapters.markdown.layout import lines, written_out
from adapters.markdown.parse import parse


def render(document: Document) -> str:
    """The text to send; bullets are "• ", quotes "> ", a table's row "a | b"."""
    shown: list[str] = []
    for line in lines(document, columns=False):
        text = line.code.text if line.code is not None else plain_text(written_out(line.runs))
        quote = "> " * line.quote
        shown.extend(f"{quote}{part}".rstrip() for part in text.split("\n"))
    return "\n".join(shown).strip("\n").rstrip()


def length(document: Document) -> int:
    """Bytes of UTF-8 of the message that a Document becomes."""
    return len(render(document).encode("utf-8", "surrogatepass"))


def rendered_bytes(text: str) -> int:
    """Bytes of UTF-8 of the message that a Markdown text becomes."""
    return length(parse(text))
