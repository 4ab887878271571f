"""The replies that were shown lately, as the page's nodes: each is drawn once, however often its page is opened."""

from __future__ import annotations

from collections import OrderedDict

from adapters.markdown.parse import parse
from adapters.markdown.web import WebNode, render

REMEMBERED = 256  # texts


class Drawings:
    """The nodes of whole texts, the latest ones remembered."""

    def __init__(self) -> None:
        self._nodes: OrderedDict[str, list[WebNode]] = OrderedDict()

    def __contains__(self, text: object) -> bool:
        return text in self._nodes

    def of(self, text: str) -> list[WebNode]:
        """The text as nodes."""
        nodes = self._nodes.get(text)
        if nodes is None:
            nodes = self._nodes[text] = render(parse(text))
            if len(self._nodes) > REMEMBERED:
                self._nodes.popitem(last=False)
        self._nodes.move_to_end(text)
        return nodes
