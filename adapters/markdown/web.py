"""The page's nodes: a tree of JSON that is built into elements one by one, so that no text is ever read as HTML.

A node is a string (a text node) or an object with `t` (its kind) and `c` (its children, always a list):
- blocks: `p`; `h` with `level` 1 to 6; `pre` with `lang` ("" when not named); `quote`; `ul`; `ol` with `start`; `li`;
  `table` of `tr` of `th` and `td` with `align` ("left", "center", "right", "");  `hr`
- in a line: `b`, `i`, `s`, `code`, `a` with `href` and `rel`, `br`
No other kind and no other key ever occurs, `href` begins with http:, https: or mailto:, and the depth is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from adapters.markdown.document import (
    Block,
    Code,
    Document,
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
from adapters.markdown.layout import written_out
from adapters.markdown.spans import Node, nest

LINKS = ("http:", "https:", "mailto:")
REL = "noopener noreferrer nofollow"

WebNode = str | dict[str, object]
_NAMES = {Style.BOLD: "b", Style.ITALIC: "i", Style.STRIKE: "s", Style.CODE: "code"}


def render(document: Document) -> list[WebNode]:
    """The document's blocks as nodes."""
    return [_block(block) for block in document.blocks]


def _block(block: Block) -> WebNode:
    if isinstance(block, Paragraph):
        return _node("p", _inline(block.runs))
    if isinstance(block, Heading):
        return _node("h", _inline(block.runs), level=block.level)
    if isinstance(block, Code):
        return _node("pre", [block.text] if block.text else [], lang=block.language)
    if isinstance(block, Quote):
        return _node("quote", [_block(inner) for inner in block.blocks])
    if isinstance(block, Listing):
        return _listing(block)
    if isinstance(block, Table):
        return _table(block)
    return _node("hr", [])


def _node(kind: str, children: Sequence[WebNode], **more: object) -> WebNode:
    return {"t": kind, "c": list(children), **more}


def _listing(listing: Listing) -> WebNode:
    items = []
    for item in listing.items:
        children: list[WebNode] = []
        for block in item:
            tight = listing.tight and isinstance(block, Paragraph)
            children.extend(_inline(block.runs) if tight and isinstance(block, Paragraph) else [_block(block)])
        items.append(_node("li", children))
    return _node("ul", items) if listing.start is None else _node("ol", items, start=listing.start)


def _table(table: Table) -> WebNode:
    rows = []
    for at, row in enumerate(table.rows):
        cells = zip(row, table.aligns, strict=True)
        rows.append(_node("tr", [_node("td" if at else "th", _inline(cell), align=align) for cell, align in cells]))
    return _node("table", rows)


def _inline(runs: Runs) -> list[WebNode]:
    linked: list[Run] = []
    for run in runs:
        linked.extend((run,) if not run.url or run.url.startswith(LINKS) else written_out((run,)))
    return _children(nest(join(linked)))


def _children(nodes: Iterable[Node]) -> list[WebNode]:
    children: list[WebNode] = []
    for node in nodes:
        if isinstance(node, str):
            first, *rest = node.split("\n")
            children.extend([first] if first else [])
            for text in rest:
                children.append(_node("br", []))
                children.extend([text] if text else [])
        elif isinstance(node.mark, str):
            children.append(_node("a", _children(node.nodes), href=node.mark, rel=REL))
        else:
            children.append(_node(_NAMES[node.mark], _children(node.nodes)))
    return children
