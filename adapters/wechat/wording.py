"""What a user reads of the model's Markdown: plain words, and nothing that WeChat could take for a link of ours.

WeChat shows Markdown as it is and makes a link of `<a href="...">` in any text, the one that writes a word in the
user's name included (developers.weixin.qq.com, "被动回复用户消息"; "客服消息" > msgmenu). So an anchor in the model's
words, in Latin letters of either case, gets a full-width sign: it can be read, and leads nowhere. Other words in angle
brackets (`<order-id>`) mean nothing to WeChat and stay.
"""

from __future__ import annotations

import re

from adapters.markdown.document import Document
from adapters.markdown.parse import parse
from adapters.markdown.plain import render
from adapters.markdown.split import split
from adapters.wechat.convert import TEXT_LIMIT, clean, utf8_length

PHRASE_ROOM = 320  # bytes kept free in a part, so that "more follows" and its link fit behind it
# The same for both ways: a part that could not be sent may be taken by a passive reply, with words behind it.
PART_LIMIT = TEXT_LIMIT - PHRASE_ROOM

_ANCHOR = re.compile(r"<(?=/?a(?![a-z0-9_-]))", re.IGNORECASE)


def shown(text: str) -> str:
    """The words as a user sees them; never empty unless the text is."""
    # Cleaned before the anchors: what is taken out later could join a sign and its letter again.
    return _ANCHOR.sub("＜", clean(render(parse(clean(text))) or text))


def shown_length(text: str) -> int:
    """Bytes of UTF-8 of what a user sees."""
    return utf8_length(shown(text))


def parts_of(text: str) -> list[str]:
    """Markdown in parts each of which fits one text when it is rendered, with room for the words behind it."""
    return split(clean(text), PART_LIMIT, shown_length, _length)


def _length(document: Document) -> int:
    return utf8_length(_ANCHOR.sub("＜", clean(render(document))))
