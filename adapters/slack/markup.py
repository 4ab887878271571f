"""The model's Markdown as Slack shows it: nothing in it can ping anybody, and each form is within its limit.

Three forms, each with its own place:
- standard Markdown (`shown`), for `markdown_text` and markdown blocks: it alone has headings and tables. At most 12,000
  characters (docs.slack.dev/reference/methods/chat.postMessage);
- mrkdwn (`notification`), for the `text` beside blocks: what a phone's lock screen and a search show, and the whole
  message where Slack takes neither of the others. At most 4,000 (docs.slack.dev/reference/methods/chat.update);
- a growing form of the first (`streamed`), for streams: they can only be appended to, so what a text becomes begins
  with what its beginning becomes, which no renderer of whole documents can promise. `streams_right` tells whether the
  two look alike in the end.
A part of a reply fits both limits (`parts`), so that each form can stand for another.
"""

from __future__ import annotations

import re

from adapters.markdown.document import Document
from adapters.markdown.parse import parse
from adapters.markdown.slack import BREAK, escape, render, render_markdown
from adapters.markdown.split import split
from core.split import clip

TEXT_LIMIT = 4_000  # of mrkdwn, and of a part in every form
MARKDOWN_LIMIT = 12_000

_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})(.*)", re.DOTALL)
_QUOTE = re.compile(r"(?:[ \t]*>)+")
_SIGN = re.compile(r"(?<=<)(?=[!@#])")
_SCHEME = re.compile(r"(<[a-zA-Z]+):")
# A link to these is no link. "data" only where an address begins: it is a word, too.
_UNSAFE = re.compile(r"(?:\b(?:javascript|vbscript)|(?:^[ \t]*|\([ \t]*|\]:[ \t]*)data)(?=:)", re.IGNORECASE)
# Without these a stream shows what it should: no entity can stand in code, no link be unsafe, no style be misread.
_DOUBTFUL = re.compile(r"[&<>]|\]\(|\]:|\u200b|[*_~][^\x00-\x7f]|[^\x00-\x7f][*_~]|~~~|!\[")


def shown(text: str) -> str:
    """Standard Markdown of a whole text."""
    written = render_markdown(parse(text))
    # A part of a reply and a preview are far below it: whoever gives more gets what fits.
    return written if len(written) <= MARKDOWN_LIMIT else clip(escape(text), MARKDOWN_LIMIT)


def notification(text: str) -> str:
    """The same as mrkdwn; never empty for a text that is not."""
    written = render(parse(text))
    if not written.strip():
        return escape(text)[:TEXT_LIMIT]
    return written if len(written) <= TEXT_LIMIT else escape(clip(text, TEXT_LIMIT, length_escaped))


def length(text: str) -> int:
    """Characters of the longer of the two forms."""
    return document_length(parse(text))


def document_length(document: Document) -> int:
    """The same of what was read already."""
    return max(len(render(document)), len(render_markdown(document)))


def length_escaped(text: str) -> int:
    """Characters of the text with & < > escaped; about what it becomes, at a hundredth of the price."""
    return len(text) + 4 * text.count("&") + 3 * (text.count("<") + text.count(">"))


def parts(text: str) -> list[str]:
    """The text in parts that fit, fences, lists and tables whole in each."""
    return split(text, TEXT_LIMIT, length, document_length)


def draft_text(text: str) -> str:
    """What a preview shows of the growing reply; "" when there is nothing to see (Slack answers no_text)."""
    text = clip(text, TEXT_LIMIT, length_escaped)
    return text if text.strip() else ""


def stream_text(text: str) -> str:
    """What a stream shows of the growing reply: the longest beginning that the final text can still extend."""
    return clip(text, TEXT_LIMIT, length_escaped, mark="")


def streamed(text: str) -> str:
    """Standard Markdown whose beginning is that of the text's beginning.

    Outside code blocks & < > become entities, which Slack shows as the characters; code shows entities as they are
    written, so there a zero-width space keeps `<!channel>` and `<https://...|label>` from being tokens. Code in a line
    is escaped, too: nobody knows yet whether it will end.
    """
    written, fence = [], ""
    lines = text.split("\n")
    for number, line in enumerate(lines):
        found = _FENCE.match(line)
        if fence:
            written.append(_code(line))
            if found and found[1].startswith(fence) and not found[2].strip():
                fence = ""
            continue
        written.append(_line(line))
        if found and number < len(lines) - 1 and not (found[1][0] == "`" and "`" in found[2]):
            fence = found[1]
    return "\n".join(written)


def streams_right(text: str) -> bool:
    """Whether a stream of the whole text looks as it should: a reader of Markdown finds the same in it."""
    if not _DOUBTFUL.search(text):
        return True
    written, wanted = streamed(text), shown(text)
    if written.count(BREAK) != wanted.count(BREAK):
        return False
    return parse(written.replace(BREAK, "")) == parse(wanted.replace(BREAK, ""))


def _line(line: str) -> str:
    quote = _QUOTE.match(line)
    start = quote.end() if quote else 0
    return line[:start] + _UNSAFE.sub(rf"\g<0>{BREAK}", escape(line[start:]))


def _code(line: str) -> str:
    return _SCHEME.sub(f"\\1{BREAK}:", _SIGN.sub(BREAK, line))
