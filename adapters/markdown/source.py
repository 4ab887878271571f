"""A Document as Markdown again: read by `parse` it is the same text, so a part of a Document is a part of its source.

The dialect for Slack differs where Slack's reader is not ours: its tokens are made harmless (see `slack`), and a
zero-width space inside a mark lets CommonMark see a style that touches both punctuation and Chinese text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from adapters.markdown.document import (
    Block,
    Code,
    Document,
    Heading,
    Listing,
    Paragraph,
    Quote,
    Runs,
    Style,
    Table,
)
from adapters.markdown.layout import written_out
from adapters.markdown.spans import Node, nest


@dataclass(frozen=True, slots=True)
class Dialect:
    """For whom the Markdown is written."""

    slack: bool = False


OURS = Dialect()
SLACK = Dialect(slack=True)

_BREAK = "\u200b"
_SIGNS = {Style.BOLD: "**", Style.ITALIC: "*", Style.STRIKE: "~~"}
_PUNCTUATION = frozenset("!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~\\")
_LINE_START = re.compile(
    r"^([ \t]*)(?:(?=#{1,6}(?:\s|$)|>|[-+](?:\s|$)|=+[^\S\n]*$|[-:|](?:[-:|]|[^\S\n])*$|-{3,})"
    r"|(\d{1,9})(?=[.)](?:\s|$)))",
    re.MULTILINE,
)
_ENTITY = re.compile(r"&(?=#?\w{1,31};)", re.ASCII)
_MARK = re.compile(r"[&<>\\*`~\[\]_!]")
_TOKEN = re.compile(r"<(?=[!@#]|[a-zA-Z]+:)")


def write(document: Document, dialect: Dialect = OURS) -> str:
    """The Markdown source."""
    return "\n".join(_Writer(dialect).blocks(document.blocks))


class _Writer:
    def __init__(self, dialect: Dialect) -> None:
        self._slack = dialect.slack

    def blocks(self, blocks: Sequence[Block], tight: bool = False) -> list[str]:
        """The lines of these blocks."""
        written: list[str] = []
        before: Block | None = None
        other = False  # two lists side by side would be one: every second one has other signs
        for block in blocks:
            other = isinstance(block, Listing) and isinstance(before, Listing) and not other
            shown = self._listing(block, other) if isinstance(block, Listing) else self._block(block)
            if before is not None and not (tight and isinstance(before, Paragraph) and _interrupts(block)):
                written.append("")
            written += shown
            before = block
        return written

    def _block(self, block: Block) -> list[str]:
        if isinstance(block, Paragraph):
            return self._lines(block.runs)
        if isinstance(block, Heading):
            text = re.sub(r"#(?=#*\s*$)", r"\\#", self._inline(block.runs).replace("\n", " "))
            return [f"{'#' * block.level} {text}"]
        if isinstance(block, Code):
            longest = max((len(run) for run in re.findall("`+", block.text)), default=0)
            fence = "`" * max(3, longest + 1)
            return [fence + block.language, *(self._code(block.text).split("\n") if block.text else ()), fence]
        if isinstance(block, Quote):
            return [f"> {line}".rstrip() if line else ">" for line in self.blocks(block.blocks)]
        if isinstance(block, Table):
            return self._table(block)
        return ["___"]  # the only rule that is none of a list's signs

    def _listing(self, listing: Listing, other: bool) -> list[str]:
        written: list[str] = []
        for at, item in enumerate(listing.items):
            if at and not listing.tight:
                written.append("")
            label = "*" if other else "-"
            if listing.start is not None:
                label = f"{listing.start + at}{')' if other else '.'}"
            first, *rest = self.blocks(item, listing.tight) or [""]
            written.append(f"{label} {first}".rstrip())
            written += [" " * (len(label) + 1) + line if line else "" for line in rest]
        return written

    def _table(self, table: Table) -> list[str]:
        rules = {"left": ":--", "center": ":-:", "right": "--:"}
        rows = ["| " + " | ".join(self._cell(cell) for cell in row) + " |" for row in table.rows]
        rows.insert(1, "| " + " | ".join(rules.get(align, "---") for align in table.aligns) + " |")
        return rows

    def _cell(self, runs: Runs) -> str:
        return self._inline(runs).replace("\n", " ").replace("|", "\\|")

    def _lines(self, runs: Runs) -> list[str]:
        text = _LINE_START.sub(lambda found: f"{found[1]}{found[2] or ''}\\", self._inline(runs))
        return text.split("\n")

    def _inline(self, runs: Runs) -> str:
        if self._slack:
            runs = tuple(
                part for run in runs for part in (written_out((run,)) if run.url.startswith("tg:") else (run,))
            )
        said = "".join(run.text for run in runs)
        return self._nodes(nest(runs), any(pair in said for pair in ("](", "]:", "][")))

    def _nodes(self, nodes: Sequence[Node], brackets: bool) -> str:
        written = ""
        for at, node in enumerate(nodes):
            before = _last(nodes[at - 1]) if at else ""
            behind = _first(nodes[at + 1]) if at + 1 < len(nodes) else ""
            # Two styles side by side would share one run of stars.
            touching = self._slack and at and not isinstance(node, str) and not isinstance(nodes[at - 1], str)
            written += (_BREAK if touching else "") + self._node(node, before, behind, brackets)
        return written

    def _node(self, node: Node, before: str, behind: str, brackets: bool) -> str:
        if isinstance(node, str):
            return self._literal(node, before, behind, brackets)
        if isinstance(node.mark, str):
            return f"[{self._nodes(node.nodes, True)}]({self._address(node.mark)})"
        said = _said(node.nodes)
        if node.mark is Style.CODE:
            return self._span(said)
        if not said.strip():
            return said
        sign, inside = _SIGNS[node.mark], self._nodes(node.nodes, brackets)
        lead, trail = inside[: len(inside) - len(inside.lstrip())], inside[len(inside.rstrip()) :]
        inside, said = inside.strip(), said.strip()
        if self._slack:
            opens = _BREAK if not lead and _blocks_mark(said[0], before) else ""
            closes = _BREAK if not trail and _blocks_mark(said[-1], behind) else ""
            inside = opens + inside + closes
        return lead + sign + inside + sign + trail

    def _address(self, url: str) -> str:
        depth = list(accumulate({"(": 1, ")": -1}.get(char, 0) for char in url))
        if depth[-1] or min(depth) < 0:
            url = url.replace("(", "%28").replace(")", "%29")
        return url if self._slack else _ENTITY.sub("&amp;", url)

    def _span(self, text: str) -> str:
        runs = {len(run) for run in re.findall("`+", text)}
        fence = "`" * next(length for length in range(1, len(runs) + 2) if length not in runs)
        padded = (text[0] in "` " and text[-1] in "` " and text.strip(" ")) or "`" in (text[0], text[-1])
        text = self._code(text)
        return f"{fence} {text} {fence}" if padded else f"{fence}{text}{fence}"

    def _code(self, text: str) -> str:
        return _TOKEN.sub(f"<{_BREAK}", text) if self._slack else text

    def _literal(self, text: str, before: str, behind: str, brackets: bool) -> str:
        def escaped(found: re.Match[str]) -> str:
            at = found.start()
            if found.group() == "&":
                return "&amp;" if _ENTITY.match(text, at) else "&"
            left = text[at - 1] if at else before
            right = text[at + 1] if at + 1 < len(text) else behind
            return self._char(found.group(), left, right, brackets)

        return _MARK.sub(escaped, text)

    def _char(self, char: str, left: str, right: str, brackets: bool) -> str:
        if char in "<>":
            return {"<": "&lt;", ">": "&gt;"}[char] if self._slack else "\\<" if char == "<" else ">"
        if char == "\\":
            return self._backslash(right)
        marks = char in "*`" or (char == "~" and "~" in (left, right)) or (char in "[]" and brackets)
        word = left.isascii() and left.isalnum() and right.isascii() and right.isalnum()
        if marks or (char == "_" and not word) or (char == "!" and right == "["):
            return "\\" + char
        return char

    def _backslash(self, right: str) -> str:
        # At the end of a node a sign may follow.
        if right and right not in _PUNCTUATION and not (self._slack and right == "\n"):
            return "\\"
        return "\\\\" if self._slack else "&#92;"


def _interrupts(block: Block) -> bool:
    return isinstance(block, Listing) and block.start in {None, 1} and bool(block.items and block.items[0])


def _blocks_mark(inside: str, outside: str) -> bool:
    return _punctuation(inside) and bool(outside) and not outside.isspace() and not _punctuation(outside)


def _punctuation(char: str) -> bool:
    return char in _PUNCTUATION or (char > "\x7f" and unicodedata.category(char)[0] in "PS")


def _said(nodes: Sequence[Node]) -> str:
    return "".join(node if isinstance(node, str) else _said(node.nodes) for node in nodes)


def _first(node: Node) -> str:
    return node[0] if isinstance(node, str) else "*" if not isinstance(node.mark, str) else "["


def _last(node: Node) -> str:
    return node[-1] if isinstance(node, str) else "*" if not isinstance(node.mark, str) else ")"
