"""A text that grows is read anew only where it can still change, and is the same Document as when read at once."""

from __future__ import annotations

from adapters.markdown.document import Block, Document
from adapters.markdown.parse import as_shown, parse_growing


class Growth:
    """One growing text. Each `read` works on what was added and on the last two blocks before it."""

    def __init__(self) -> None:
        self._settled: tuple[Block, ...] = ()
        self._from = 0  # the character that the rest begins with

    def read(self, text: str) -> tuple[Document, int]:
        """The text so far, which begins with what was read before; and how many of its first blocks never change."""
        rest, blocks, characters = parse_growing(text[self._from :])
        document = Document((*self._settled, *rest.blocks))
        self._settled = document.blocks[: len(self._settled) + blocks]
        self._from += characters
        shown = as_shown(document, text)
        return shown, len(self._settled) if shown is document else 0
