"""Rich messages as a server reads them: well-formed, of the tags that are documented, within the limits.

core.telegram.org/bots/api#rich-messages; only what a bot without media writes.
"""

from __future__ import annotations

from html.parser import HTMLParser

_TAGS = frozenset(
    (
        *("p", "h1", "h2", "h3", "h4", "h5", "h6", "pre", "code", "hr", "ul", "ol", "li", "blockquote", "table"),
        *("tr", "th", "td", "b", "i", "s", "a", "br"),
    )
)
_EMPTY = frozenset({"br", "hr"})
_BLOCKS = frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6", "pre", "hr", "ul", "ol", "li", "blockquote", "tr"})
_CELLS = frozenset({"th", "td"})
_TEXT_LIMIT = 32_768


class Malformed(Exception):
    """A rich message that a server would refuse."""


def rich_text(html: str) -> str:
    """What it says, a line for each block, cells apart by " | ". Raises Malformed."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    if reader.open:
        raise Malformed(f"tag {reader.open[-1]} is not closed")
    said = "".join(reader.said)
    if not said.strip():
        raise Malformed("rich message must be non-empty")
    if len(said) > _TEXT_LIMIT or reader.blocks > 500 or reader.deepest > 16 or reader.widest > 20:
        raise Malformed("rich message is too long")
    return "\n".join(line.removesuffix(" | ") for line in said.split("\n") if line.strip())


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.said: list[str] = []
        self.blocks = self.deepest = self.widest = 0
        self._cells = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _TAGS:
            raise Malformed(f"unsupported tag {tag}")
        if any(name.startswith("on") or name == "style" for name, _ in attrs):
            raise Malformed("unsupported attribute")
        self.blocks += tag in _BLOCKS
        if tag in _BLOCKS or tag == "br":
            self.said.append("\n")
        self._cells = 0 if tag == "tr" else self._cells + (tag in _CELLS)
        self.widest = max(self.widest, self._cells)
        if tag not in _EMPTY:
            self.open.append(tag)
            self.deepest = max(self.deepest, len(self.open))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _EMPTY:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            raise Malformed(f"unexpected end tag {tag}")
        if tag in _CELLS:
            self.said.append(" | ")
        elif tag in _BLOCKS:
            self.said.append("\n")

    def handle_data(self, data: str) -> None:
        self.said.append(data)
