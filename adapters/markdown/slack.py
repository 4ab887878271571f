"""Slack's two markups, in which nothing the model writes can ping anybody.

No `<!channel>`, `<@U...>` or `<#C...>` that it wrote ever reaches Slack as one.

- `render`: mrkdwn (docs.slack.dev/messaging/formatting-message-text) for `text` and sections. `& < >` are escaped
  first; only links of ours have real angle brackets.
- `render_markdown`: standard Markdown for `markdown_text`, at most 12,000 characters (chat.postMessage,
  chat.appendStream). There Slack reads its tokens too, and shows `&lt;` and `&gt;` as the characters (measured in
  github.com/PostHog/posthog pull 95054). In code, which shows entities as they are, a zero-width space keeps a token
  from being one.

mrkdwn has no escape for `* _ ~` and the backtick, and needs a word border beside a mark, which Chinese text has not.
Both are met with U+200B, and only there: beside a mark of ours that touches a letter or sign, behind a literal mark
that could begin a style and has a partner in its line, inside three backticks in a code block, and before a literal
`>` that begins a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from adapters.markdown.document import Document, Run, Runs, Style, plain_text
from adapters.markdown.layout import lines, written_out
from adapters.markdown.parse import parse
from adapters.markdown.source import SLACK, write
from adapters.markdown.spans import Node, nest

LINKS = ("http:", "https:", "mailto:")
BREAK = "\u200b"

_SIGNS = {Style.BOLD: "*", Style.ITALIC: "_", Style.STRIKE: "~", Style.CODE: "`"}
_SPECIAL = re.compile(r"[*_~`&<>]")
_OPENER = re.compile(r"(?<![0-9A-Za-z])([*_~`])(?=\S)")
_BEFORE = frozenset(" \n([{\"'")  # behind these Slack lets a style begin
_BEHIND = frozenset(" \n)]}\"'.,;:!?")  # before these it lets one end


def render(document: Document) -> str:
    """mrkdwn: `*bold*`, `_italic_`, `~strike~`, code, `<address|label>`; tables are code blocks in columns."""
    shown = []
    for line in lines(document, columns=True):
        if line.code is not None:
            code = escape(line.code.text).replace("```", f"`{BREAK}`{BREAK}`")
            shown.append(f"```\n{code}\n```")
            continue
        text = "".join(run.text for run in line.runs)
        if _SPECIAL.search(text) or any(run.style is not Style.PLAIN or run.url for run in line.runs):
            text = _Inline(line.runs).text()
        if line.quote:
            text = f"> {text}"
        elif text.startswith("&gt;"):
            text = BREAK + text
        shown.append(text.rstrip())
    return "\n".join(shown).rstrip()


def render_markdown(document: Document) -> str:
    """Standard Markdown for `markdown_text`, with every token of Slack's own made harmless."""
    return write(document, SLACK)


def length(document: Document) -> int:
    """Characters of the mrkdwn that a Document becomes."""
    return len(render(document))


def markdown_length(document: Document) -> int:
    """Characters of the `markdown_text` that a Document becomes."""
    return len(render_markdown(document))


def rendered_length(text: str) -> int:
    """Characters of the mrkdwn that a Markdown text becomes."""
    return length(parse(text))


def rendered_markdown_length(text: str) -> int:
    """Characters of the `markdown_text` that a Markdown text becomes."""
    return markdown_length(parse(text))


def escape(text: str) -> str:
    """Text as Slack takes it (docs.slack.dev/messaging/formatting-message-text#escaping)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class _Inline:
    """One line of mrkdwn."""

    def __init__(self, runs: Runs) -> None:
        kept: list[Run] = []
        for run in runs:
            linked = not run.url or run.url.startswith(LINKS)
            kept.extend((run,) if linked else written_out((run,)))
        self._nodes = nest(kept)
        # A sign alone in its line pairs with nothing.
        said = plain_text(kept)
        self._signs = {sign: said.count(sign) for sign in _SIGNS.values()}
        for run in kept:
            if run.style is not Style.PLAIN:
                for style, sign in _SIGNS.items():
                    self._signs[sign] += bool(style & run.style)

    def text(self) -> str:
        return self._join(self._nodes)

    def _join(self, nodes: Iterable[Node]) -> str:
        joined, ended = "", False
        for node in nodes:
            shown, begins, ends = self._node(node)
            if not shown:
                continue
            if (ended and shown[0] not in _BEHIND) or (begins and joined and joined[-1] not in _BEFORE):
                joined += BREAK
            joined += shown
            ended = ends
        return joined

    def _node(self, node: Node) -> tuple[str, bool, bool]:
        """What the node becomes, and whether it begins and ends with a style's sign."""
        if isinstance(node, str):
            return self._literal(node), False, False
        said = _said(node.nodes)
        if isinstance(node.mark, str):
            # The address has no "|" (it is encoded), so the first one ends it and a label may hold more.
            url, label = escape(node.mark), escape(said.strip())
            return (f"<{url}>" if label == url else f"<{url}|{label}>" if label else ""), False, False
        sign = _SIGNS[node.mark]
        if not said.strip() or sign in said:
            # Its own sign inside would end it too early: shown without the style, but whole.
            return self._join(node.nodes), False, False
        if node.mark is Style.CODE:
            return f"{sign}{escape(said)}{sign}", True, True
        lead, trail = said[: len(said) - len(said.lstrip())], said[len(said.rstrip()) :]
        return f"{lead}{sign}{self._join(node.nodes).strip()}{sign}{trail}", not lead, not trail

    def _literal(self, text: str) -> str:
        text = _OPENER.sub(lambda found: found[1] + (BREAK if self._signs[found[1]] > 1 else ""), text)
        return escape(text)


def _said(nodes: Sequence[Node]) -> str:
    return "".join(node if isinstance(node, str) else _said(node.nodes) for node in nodes)
