"""What the simulated workspace makes of a message's text, Markdown and blocks: the errors, and what people then see.

docs.slack.dev/reference/methods/chat.postMessage, chat.update, docs.slack.dev/reference/block-kit/blocks.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

MARKDOWN_LIMIT, UPDATE_LIMIT, BLOCKS_LIMIT = 12_000, 4_000, 50
BLOCKS_TEXT_LIMIT = 13_200  # github.com/slackapi/bolt-js/issues/2509
LABEL_LIMIT, VALUE_LIMIT = 75, 2_000

_CODE = re.compile(r"(^```.*?(?:^```|\Z)|`[^`\n]+`)", re.DOTALL | re.MULTILINE)
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")


@dataclass(slots=True)
class Shown:
    """A message as the people in the channel see it."""

    channel: str
    ts: str
    text: str  # entities decoded
    thread_ts: str = ""
    user: str = ""  # who wrote it
    bot: bool = False
    edits: deque[str] = field(default_factory=lambda: deque(maxlen=200))  # every text it had, oldest first
    pings: int = 0  # mentions that rang somebody's phone
    links: bool = False  # unfurled
    notification: str = ""  # what a lock screen shows
    blocks: tuple[Mapping[str, Any], ...] = ()  # under or in place of the text
    metadata: Mapping[str, Any] = field(default_factory=dict)  # seen by apps only


def text_error(method: str, arguments: Mapping[str, Any]) -> str:
    """The error code of chat.postMessage or chat.update, "" if the text is taken."""
    text, markdown = str(arguments.get("text") or ""), str(arguments.get("markdown_text") or "")
    blocks = arguments.get("blocks")
    if markdown and (text or blocks):
        return "markdown_text_conflict"
    if not (text or markdown).strip() and not blocks:
        return "no_text"
    if len(markdown) > MARKDOWN_LIMIT or (method == "chat.update" and len(text) > UPDATE_LIMIT):
        return "msg_too_long"
    return blocks_error(blocks)


def blocks_error(blocks: object) -> str:
    """What is wrong with blocks, "" if nothing is."""
    if not blocks:
        return ""
    if not isinstance(blocks, list) or len(blocks) > BLOCKS_LIMIT:
        return "invalid_blocks"
    size = sum(len(str(block.get("text", ""))) for block in blocks if isinstance(block, dict))
    if size > BLOCKS_TEXT_LIMIT:
        return "msg_blocks_too_long"
    return "" if all(_block(block) for block in blocks) else "invalid_blocks"


def _block(block: Any) -> bool:
    if not isinstance(block, dict):
        return False
    if block.get("type") == "markdown":
        return isinstance(block.get("text"), str) and 0 < len(block["text"]) <= MARKDOWN_LIMIT
    elements = block.get("elements")
    if block.get("type") != "context_actions" or not isinstance(elements, list) or not 0 < len(elements) <= 5:
        return False
    return all(_feedback(element) for element in elements)


def _feedback(element: Mapping[str, Any]) -> bool:
    buttons = [element.get("positive_button"), element.get("negative_button")]
    fit = all(
        0 < len(button["text"]["text"]) <= LABEL_LIMIT
        and button["text"]["type"] == "plain_text"
        and len(button["value"]) <= VALUE_LIMIT
        for button in buttons
        if button
    )
    return element.get("type") == "feedback_buttons" and bool(element.get("action_id")) and all(buttons) and fit


def as_read(arguments: Mapping[str, Any]) -> str:
    """The text as people see it: blocks before text, entities and escapes decoded except in Markdown's code."""
    blocks = [block for block in arguments.get("blocks") or () if block.get("type") == "markdown"]
    if blocks:
        return read_markdown("\n\n".join(block["text"] for block in blocks))
    if arguments.get("markdown_text"):
        return read_markdown(str(arguments["markdown_text"]))
    return _decoded(str(arguments.get("text") or "")).replace("\u200b", "")


def read_markdown(raw: str) -> str:
    """Its marks stay, for tests to see them."""
    pieces = _CODE.split(raw)
    for number in range(0, len(pieces), 2):
        pieces[number] = _decoded(_ESCAPED.sub(r"\1", pieces[number]))
    return "".join(pieces).replace("\u200b", "")


def _decoded(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def texts(blocks: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those that hold a message's text."""
    return [block for block in blocks if block.get("type") == "markdown"]


def true(value: object) -> bool:
    """A boolean argument, as JSON and as a form give it."""
    return value in (True, 1, "1", "true")
