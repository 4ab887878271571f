"""One walk over the parser's tokens: any text in, a Document out, never an exception and nothing visible lost.

A text that is only marks (a lone `#`, an empty fence) stays as it was written, so that what has text has a rendering.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice

from markdown_it.token import Token

from adapters.markdown.document import (
    Block,
    Code,
    Document,
    Heading,
    Listing,
    Paragraph,
    Quote,
    Rule,
    Run,
    Runs,
    Style,
    Table,
    join,
    texts,
)
from adapters.markdown.syntax import REST, reader

MAX_SOURCE = 100_000  # characters; a longer text is shown as it was written

# Without one of these a text is paragraphs and nothing else. Digits and signs count only where a list could begin.
_MARKS = re.compile(
    r"[*_`~\[\]<>&\\|#\0\r\x0b\x0c\x1c-\x1f\x85\u2028\u2029]|://|^[ \t]*(?:[-+]|\d{1,9}[.)])(?:[ \t]|$)|(?:-[ \t]*){3}",
    re.MULTILINE,
)
_LONE = re.compile("[\ud800-\udfff]")  # half a character, which no platform takes
_BLANK = re.compile(r"\n(?:[ \t]*\n)+")
_LINE_END = re.compile(r"\r\n?|\n")
_LINE_EDGE = re.compile(r" *\n[ \t]*")
_LANGUAGE = re.compile(r"[A-Za-z0-9_.+#-]{1,32}")
_STYLES = {"strong": Style.BOLD, "em": Style.ITALIC, "s": Style.STRIKE}
_MARKDOWN = reader()  # like a compiled pattern: built once, the same for every text


def parse(text: str) -> Document:
    """Read a Markdown text, whole or cut off anywhere."""
    text = _LONE.sub("\ufffd", text)
    if len(text) > MAX_SOURCE:
        return _literal(text)
    if _MARKS.search(text) is None:
        return _paragraphs(text)
    return as_shown(Document(tuple(_blocks(_Cursor(_MARKDOWN.parse(text, {}))))), text)


def parse_growing(text: str) -> tuple[Document, int, int]:
    """What `parse` gives, and how many blocks of it, from how many characters, stay as they are whatever is added.

    The last two blocks can change: the last line may turn out not to begin a block, and then belongs to the one before
    it. Nothing reaches further back, since this Markdown has no references. What is behind those characters can be
    read by itself.
    """
    text = _LONE.sub("\ufffd", text)
    if len(text) > MAX_SOURCE:
        return _literal(text), 0, 0
    if _MARKS.search(text) is None:
        gaps = list(_BLANK.finditer(text))
        at = gaps[-2].end() if len(gaps) > 1 else 0
        before, after = _paragraphs(text[:at]).blocks, _paragraphs(text[at:]).blocks
    else:
        tokens = _MARKDOWN.parse(text, {})
        tops = [place for place, token in enumerate(tokens) if token.level == 0 and token.nesting >= 0]
        place = tops[-2] if len(tops) > 1 else 0
        at = _start_of_line(text, (tokens[place].map or [0])[0]) if place else 0
        before, after = tuple(_blocks(_Cursor(tokens[:place]))), tuple(_blocks(_Cursor(tokens[place:])))
    return Document((*before, *after)), len(before), at


def as_shown(document: Document, text: str) -> Document:
    """The document; where it shows nothing, the text as it was written."""
    return document if any(_shows(block) for block in document.blocks) else _literal(_LONE.sub("\ufffd", text))


def _start_of_line(text: str, line: int) -> int:
    """Where that line begins; lines as the parser counts them."""
    at = 0
    for found in islice(_LINE_END.finditer(text), line):
        at = found.end()
    return at


def _shows(block: Block) -> bool:
    if isinstance(block, Quote):
        return any(_shows(inner) for inner in block.blocks)
    return isinstance(block, Rule | Listing) or any(text.strip() for text in texts((block,)))


def _literal(text: str) -> Document:
    runs = join([Run(text.replace("\0", "\ufffd"))])
    return Document((Paragraph(runs),) if runs else ())


def _paragraphs(text: str) -> Document:
    parts = (_LINE_EDGE.sub("\n", part) for part in _BLANK.split(text))
    return Document(tuple(Paragraph(runs) for part in parts if (runs := join([Run(part)]))))


class _Cursor:
    """The tokens still to be read."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self._next = 0

    def peek(self) -> Token | None:
        """The next token, not taken."""
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def until(self, *closing: str) -> Iterator[Token]:
        """Tokens up to the first of these types, which is taken too."""
        while self._next < len(self._tokens):
            token = self._tokens[self._next]
            self._next += 1
            if token.type in closing:
                return
            yield token


def _blocks(cursor: _Cursor, *closing: str) -> Iterator[Block]:
    for token in cursor.until(*closing):
        if token.type in {"paragraph_open", "heading_open"}:
            runs = join(run for inner in cursor.until(token.type.replace("open", "close")) for run in _runs(inner))
            if runs:
                yield Paragraph(runs) if token.type == "paragraph_open" else Heading(int(token.tag[1]), runs)
        elif token.type == "fence":
            yield _code(token)
        elif token.type == "blockquote_open":
            if quoted := tuple(_blocks(cursor, "blockquote_close")):
                yield Quote(quoted)
        elif token.type in {"bullet_list_open", "ordered_list_open"}:
            yield _listing(cursor, token)
        elif token.type == "table_open":
            yield _table(cursor)
        elif token.type == "hr":
            yield Rule()


def _listing(cursor: _Cursor, opening: Token) -> Listing:
    items, tight = [], True
    for token in cursor.until(opening.type.replace("open", "close")):
        if token.type == "list_item_open":
            first = cursor.peek()
            tight = tight and not (first is not None and first.type == "paragraph_open" and not first.hidden)
            items.append(tuple(_blocks(cursor, "list_item_close")))
    start = None
    if opening.type == "ordered_list_open":
        number = opening.attrGet("start")
        start = 1 if number is None else int(number)
    return Listing(tuple(items), start, tight)


def _table(cursor: _Cursor) -> Table:
    rows: list[tuple[Runs, ...]] = []
    aligns: list[str] = []
    for token in cursor.until("table_close"):
        if token.type == "tr_open":
            cells = []
            for cell in cursor.until("tr_close"):
                if cell.type in {"th_open", "td_open"}:
                    closing = cell.type.replace("open", "close")
                    cells.append(join(run for inner in cursor.until(closing) for run in _runs(inner)))
                    if not rows:
                        aligns.append(str(cell.attrGet("style") or "").removeprefix("text-align:"))
            if not rows or any(cells):
                rows.append(tuple(cells))
    return Table(tuple(rows), tuple(aligns))


def _code(token: Token) -> Code:
    """What stands behind the opening marks is a language, perhaps with settings; if it reads like text, it is text."""
    content, info = token.content.removesuffix("\n"), token.info.strip()
    first, _, more = info.partition(" ")
    if not info or (_LANGUAGE.fullmatch(first) and (not more or "=" in more or "{" in more)):
        return Code(content, first)
    return Code(f"{info}\n{content}".rstrip("\n"))


def _runs(token: Token) -> Iterator[Run]:
    """The runs of an inline token. Nested marks of one kind count once; of nested addresses the outer one holds."""
    depth = dict.fromkeys(_STYLES.values(), 0)
    urls: list[str] = []
    style, url = Style.PLAIN, ""
    for child in token.children or ():
        if child.type == "text":
            # A line break that was written as an entity would not survive being written as Markdown again.
            yield Run(child.content.replace("\n", " "), style, url)
        elif child.type == REST:
            yield Run(_LINE_EDGE.sub("\n", child.content), style, url)
        elif child.type in {"softbreak", "hardbreak"}:
            yield Run("\n", style, url)
        elif child.type == "code_inline":
            yield Run(child.content, Style.CODE, url)
        elif child.tag in _STYLES:
            depth[_STYLES[child.tag]] += child.nesting
            style = Style.PLAIN
            for mark, level in depth.items():
                style |= mark if level else Style.PLAIN
        elif child.type == "link_open":
            urls.append(str(child.attrGet("href") or ""))
            url = urls[0]
        elif child.type == "link_close":
            urls.pop()
            url = urls[0] if urls else ""
