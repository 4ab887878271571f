"""Rich messages, for what a text with entities shows badly; whoever cannot take one gets the text, once and whole.

Only tables are worth one. A client that is too old shows a request to update in place of a rich message, and some show
nothing at all, whereas headings and nested lists are readable as text; a table on a telephone is not. Written as HTML:
Telegram's rich Markdown has marks that are none of the model's (`$5 and $6` would be a formula), in HTML three
characters are escaped and nothing else means anything. Tags and limits: core.telegram.org/bots/api#rich-messages.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

import structlog

from adapters.markdown.document import (
    Block,
    Code,
    Heading,
    Listing,
    Paragraph,
    Quote,
    Run,
    Runs,
    Style,
    Table,
    join,
)
from adapters.markdown.layout import shows_address, written_out
from adapters.markdown.parse import parse
from adapters.markdown.spans import Node, nest
from adapters.markdown.telegram import leads
from adapters.telegram.refusals import Unfit, Unknown
from core.errors import DeliveryError

_COLUMNS = 20
_BLOCKS = 500
_DEPTH = 12  # of our blocks; Telegram's 16 count styles too, of which at most four are inside each other
_TAGS = {Style.BOLD: "b", Style.ITALIC: "i", Style.STRIKE: "s", Style.CODE: "code"}
# Of a server that does not know them, or not as we write them (an old one overlooks `rich_message` and misses a text).
_FOR_GOOD = ("can't parse", "unsupported", "not supported", "text is empty", "must be non-empty")


def rich_html(text: str) -> str:
    """A Markdown text as a rich message, "" where a text with entities does as well."""
    if "|" not in text:
        return ""
    document = parse(text)
    if not _has_table(document.blocks) or _depth(document.blocks) > _DEPTH or _count(document.blocks) > _BLOCKS:
        return ""
    return "".join(_block(block) for block in document.blocks)


class Rich:
    """Whether rich messages are sent: until the server shows that it does not know them."""

    def __init__(self, log: structlog.stdlib.BoundLogger, *, on: bool) -> None:
        self._log = log
        self.on = on

    def html(self, text: str) -> str:
        """The rich message that a text is better sent as, or ""."""
        return rich_html(text) if self.on else ""

    def refused(self, error: DeliveryError) -> bool:
        """Whether the same is to be sent as text. A server that does not know rich messages is not asked again."""
        reason = error.reason.lower()
        if isinstance(error, Unknown) or (isinstance(error, Unfit) and any(sign in reason for sign in _FOR_GOOD)):
            if self.on:
                self._log.warning("telegram_rich_messages_off", reason=error.reason)
            self.on = False
            return True
        if isinstance(error, Unfit) and "rich" in reason:  # such as RICH_MESSAGE_EMAIL_INVALID
            self._log.info("telegram_rich_message_refused", reason=error.reason)
            return True
        return False


def _inside(block: Block) -> tuple[Sequence[Block], ...]:
    if isinstance(block, Quote):
        return (block.blocks,)
    return block.items if isinstance(block, Listing) else ()


def _has_table(blocks: Iterable[Block]) -> bool:
    """One that is wider than a list, and that Telegram takes."""
    tables = [block for block in blocks if isinstance(block, Table)]
    if any(len(table.aligns) > _COLUMNS for table in tables):
        return False
    return any(len(table.aligns) > 1 for table in tables) or any(
        _has_table(inner) for block in blocks for inner in _inside(block)
    )


def _depth(blocks: Iterable[Block]) -> int:
    return 1 + max((_depth(inner) for block in blocks for inner in _inside(block)), default=0)


def _count(blocks: Iterable[Block]) -> int:
    """Items and rows are blocks too."""
    total = 0
    for block in blocks:
        total += 1 + (len(block.rows) if isinstance(block, Table) else 0)
        total += sum(1 + _count(inner) for inner in _inside(block))
    return total


def _block(block: Block) -> str:
    if isinstance(block, Paragraph):
        return f"<p>{_inline(block.runs)}</p>"
    if isinstance(block, Heading):
        return f"<h{block.level}>{_inline(block.runs)}</h{block.level}>"
    if isinstance(block, Code):
        return _code(block)
    if isinstance(block, Quote):
        return f"<blockquote>{''.join(_block(inner) for inner in block.blocks)}</blockquote>"
    if isinstance(block, Listing):
        items = "".join(f"<li>{_item(item)}</li>" for item in block.items)
        return f"<ul>{items}</ul>" if block.start is None else f'<ol start="{block.start}">{items}</ol>'
    if isinstance(block, Table):
        return _table(block)
    return "<hr/>"


def _item(blocks: Sequence[Block]) -> str:
    alone = blocks[0] if len(blocks) == 1 else None
    return _inline(alone.runs) if isinstance(alone, Paragraph) else "".join(_block(block) for block in blocks)


def _code(code: Code) -> str:
    said = escape(code.text.strip("\n"))
    if not code.language:
        return f"<pre>{said}</pre>"
    return f'<pre><code class="language-{escape(code.language)}">{said}</code></pre>'


def _table(table: Table) -> str:
    rows = []
    for at, row in enumerate(table.rows):
        tag = "td" if at else "th"
        cells = [(cell, f' align="{align}"' if align else "") for cell, align in zip(row, table.aligns, strict=True)]
        rows.append("".join(f"<{tag}{align}>{_inline(cell)}</{tag}>" for cell, align in cells))
    return f"<table bordered>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _inline(runs: Runs) -> str:
    linked: list[Run] = []
    for run in runs:
        # What Telegram would not make a link of, or finds by itself, is text: as in a message with entities.
        plain = run.url and (not leads(run.url) or shows_address(run))
        linked.extend(written_out((run,)) if plain else (run,))
    return _nodes(nest(join(linked)))


def _nodes(nodes: Iterable[Node]) -> str:
    written = []
    for node in nodes:
        if isinstance(node, str):
            written.append(escape(node).replace("\n", "<br>"))
        elif isinstance(node.mark, str):
            written.append(f'<a href="{escape(node.mark)}">{_nodes(node.nodes)}</a>')
        else:
            tag = _TAGS[node.mark]
            written.append(f"<{tag}>{_nodes(node.nodes)}</{tag}>")
    return "".join(written)
