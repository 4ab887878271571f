"""Telegram's text and message entities: valid for every Document, so that a message never is refused for its markup.

Entities instead of HTML or MarkdownV2: there is nothing to escape and nothing to be unbalanced. Offsets and lengths
are UTF-16 code units (core.telegram.org/api/entities). Rules of core.telegram.org/bots/api#formatting-options: `pre`
and `code` stand alone, quotes do not nest, entities nest or are apart, never overlap halfway.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from adapters.markdown.document import Document, Run, Runs, Style, plain_text
from adapters.markdown.layout import Line, lines, shows_address, written_out
from adapters.markdown.parse import parse
from adapters.markdown.spans import Node, nest

MAX_ENTITIES = 100  # Telegram drops what comes later (PTB constants.MessageLimit.MESSAGE_ENTITIES)
LINKS = (
    "http:",
    "https:",
    "tg:",
)  # TDLib's LinkManager takes no mailto: in a text_link; it finds bare addresses itself

_MENTION = re.compile(r"tg:/*user\b", re.IGNORECASE)  # calls a person, and the model is to call nobody

Entity = dict[str, str | int]
_NAMES = {Style.BOLD: "bold", Style.ITALIC: "italic", Style.STRIKE: "strikethrough", Style.CODE: "code"}
# What is given up last when there are too many: first what carries information, then what carries looks.
_WORTH = ("text_link", "pre", "code", "blockquote", "bold", "italic", "strikethrough")


def render(document: Document) -> tuple[str, list[Entity]]:
    """The text to send and its entities, `{type, offset, length}` and for links `url`, for code blocks `language`."""
    page = _Page()
    for line in lines(document, columns=True):
        page.add(line)
    return page.finished()


def length(document: Document) -> int:
    """UTF-16 units of the message that a Document becomes."""
    return utf16_length(render(document)[0])


def rendered_length(text: str) -> int:
    """UTF-16 units of the message that a Markdown text becomes."""
    return length(parse(text))


def utf16_length(text: str) -> int:
    """Length in UTF-16 code units."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


class _Page:
    """The message as far as it is written."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._length = 0
        self._entities: list[Entity] = []
        self._links = 0
        self._quote: tuple[int, int] | None = None  # from where, up to where

    def add(self, line: Line) -> None:
        if self._texts:
            self._write("\n")
        start = self._length
        if line.code is not None:
            # A code block inside a quote would be a conflict: the quote stops before it.
            self._end_quote()
            code = line.code.text.strip("\n").rstrip()
            self._write(code)
            self._mark("pre", code, start, {"language": line.code.language} if line.code.language else {})
            return
        if not line.quote:
            self._end_quote()
        self._nodes(nest(self._linked(line.runs)))
        if line.quote and self._length > start:
            said = plain_text(line.runs)
            lead = len(said) - len(said.lstrip())  # white space is one unit each
            self._quote = (self._quote[0] if self._quote else start + lead, self._length)

    def finished(self) -> tuple[str, list[Entity]]:
        self._end_quote()
        text = "".join(self._texts)
        return text.rstrip(), _worthiest(self._entities)

    def _write(self, text: str) -> None:
        self._texts.append(text)
        self._length += utf16_length(text)

    def _linked(self, runs: Runs) -> Runs:
        """Links that Telegram would not make, or finds by itself, as text; a link that is code is a link."""
        kept: list[Run] = []
        for run in runs:
            if run.url and (not leads(run.url) or self._links >= MAX_ENTITIES or shows_address(run)):
                kept.extend(written_out((run,)))
            elif run.url:
                self._links += 1
                kept.append(replace(run, style=run.style & ~Style.CODE))
            else:
                kept.append(run)
        return tuple(kept)

    def _nodes(self, nodes: Iterable[Node]) -> None:
        for node in nodes:
            if isinstance(node, str):
                self._write(node)
                continue
            start, first = self._length, len(self._texts)
            at = len(self._entities)
            self._nodes(node.nodes)
            inside = self._entities[at:]
            del self._entities[at:]
            written = "".join(self._texts[first:])
            if isinstance(node.mark, str):
                self._mark("text_link", written, start, {"url": node.mark})
            else:
                self._mark(_NAMES[node.mark], written, start, {})
            self._entities += inside

    def _mark(self, kind: str, written: str, start: int, more: dict[str, str]) -> None:
        lead = len(written) - len(written.lstrip()) if kind != "pre" else 0
        text = written.strip() if kind != "pre" else written
        if text.strip():
            self._entities.append({"type": kind, "offset": start + lead, "length": utf16_length(text), **more})

    def _end_quote(self) -> None:
        if self._quote is not None:
            start, end = self._quote
            self._quote = None
            inside = [entity for entity in self._entities if int(entity["offset"]) >= start]
            del self._entities[len(self._entities) - len(inside) :]
            self._entities += [{"type": "blockquote", "offset": start, "length": end - start}, *inside]


def leads(url: str) -> bool:
    """Whether Telegram makes a link of it, and not a mention of somebody."""
    return url.startswith(LINKS) and not _MENTION.match(url)


def _worthiest(entities: Sequence[Entity]) -> list[Entity]:
    if len(entities) <= MAX_ENTITIES:
        return list(entities)
    order = sorted(range(len(entities)), key=lambda at: (_WORTH.index(str(entities[at]["type"])), at))
    return [entities[at] for at in sorted(order[:MAX_ENTITIES])]
