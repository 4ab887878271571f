"""Which Markdown is read: CommonMark with tables and strikethrough, less whatever would lose or change the text.

Differences from CommonMark, each with its reason:
- HTML is text: a model writes placeholders such as `<order-id>`, and they must reach the reader.
- Emphasis works next to Chinese, Japanese and Korean text and punctuation: `**“重点”**内容`, `**注意：**请勿`.
- `2*3*4`, `2**3` and `__init__` are text.
- `\\\\` stays two backslashes and a backslash at a line's end stays, for `\\\\server\\share` and `C:\\`.
- Links need an address of a safe kind; otherwise the whole is text. A bare web address is a link, and its `_` and `*`
  are its own. Reference definitions and footnotes are text, since both would vanish.
- No indented code and no underlined headings: a model means neither, and both flicker while the text grows.
- Work is bounded: so many blocks, signs, brackets, columns and levels of nesting, and what is beyond is text. The
  numbers are beyond what an answer of 16,000 characters has.
"""

from __future__ import annotations

import re
import unicodedata

from markdown_it import MarkdownIt
from markdown_it.common.utils import unescapeAll
from markdown_it.rules_block import StateBlock, table
from markdown_it.rules_inline import StateInline, autolink
from markdown_it.rules_inline.state_inline import Delimiter

from adapters.markdown.document import SAFE_SCHEMES

MAX_DEPTH = 16  # levels of tokens; a quote is one, a list two
MAX_COLUMNS = 24
MAX_TOKENS = 2_000  # of blocks: an item of a list has five, a table's cell three
MAX_STEPS = 2_500  # in lines: each sign that could mean something is one, and so is each look ahead at it
MAX_BRACKETS = 300  # each may look for its end through the whole paragraph
MAX_URL = 2_048

_ESCAPES = re.compile(r"\\\\|\\[!-/:-@\[\]^-`{-~]|&#?\w{1,31};", re.ASCII)
REST = "rest"  # the type of a token that holds text as it was written, with its line breaks

_AUTOLINK = re.compile(r"<(?:(?:https?|mailto|tg):[^<>\x00-\x20]+|[\w.+-]+@[\w.-]+)>", re.IGNORECASE | re.ASCII)
_SCHEME = re.compile(r"\bhttps?\Z", re.IGNORECASE | re.ASCII)
_ADDRESS = re.compile(r"://[A-Za-z0-9](?:[A-Za-z0-9\-._/?#@!$'()+,;=%:]|~(?!~)|&amp;|&(?!#?\w{1,31};))*")
_ESCAPABLE = frozenset("!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~")


def reader() -> MarkdownIt:
    """A parser of our dialect. It keeps no state between texts."""
    markdown = MarkdownIt("commonmark", {"html": False, "maxNesting": MAX_DEPTH * 2})
    markdown.enable(["table", "strikethrough"])
    markdown.disable(["html_block", "html_inline", "reference", "code", "lheading", "image"])
    markdown.block.ruler.at("table", _table, {"alt": ["paragraph"]})
    markdown.block.ruler.before("table", "too_much", _too_much)
    markdown.inline.ruler.before("text", "enough", _enough)
    markdown.inline.ruler.at("emphasis", _emphasis)
    markdown.inline.ruler.at("strikethrough", _strike)
    markdown.inline.ruler.at("escape", _escape)
    markdown.inline.ruler.at("autolink", _autolink)
    markdown.inline.ruler.at("link", _link)
    markdown.inline.ruler.after("text", "bare_address", _bare_address)
    return markdown


def safe_url(markdown: MarkdownIt, raw: str) -> str:
    """The address, encoded; "" when it is not of a kind that is safe to follow."""
    if len(raw) > MAX_URL or not raw.lower().startswith(SAFE_SCHEMES):
        return ""
    url = markdown.normalizeLink(raw)
    scheme, _, rest = url.partition(":")
    return f"{scheme.lower()}:{rest}" if rest.strip("/") and url.lower().startswith(SAFE_SCHEMES) else ""


def _too_much(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    # The parser itself would drop what is nested more deeply.
    if silent or (state.level < MAX_DEPTH and len(state.tokens) < MAX_TOKENS):
        return False
    state.line = end
    state.push("paragraph_open", "p", 1)
    token = state.push("inline", "", 0)
    token.content = state.getLines(start, end, state.blkIndent, False).strip()
    token.children = []
    state.push("paragraph_close", "p", -1)
    return True


def _table(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    # Rows are filled up to the header's width: a few wide lines could become very many cells.
    header = state.src[state.bMarks[start] : state.eMarks[start]]
    columns = header.strip(" |").count("|") + 1
    if columns > MAX_COLUMNS:
        return False
    rows = max(1, (MAX_TOKENS - len(state.tokens)) // (3 * columns + 2))
    return table(state, start, min(end, start + 2 + rows), silent)


def _wide(char: str) -> bool:
    """Chinese, Japanese and Korean writing, and punctuation and signs outside ASCII."""
    return char > "\x7f" and (unicodedata.east_asian_width(char) in "WFH" or unicodedata.category(char)[0] in "PS")


def _flanks(before: str, after: str) -> tuple[bool, bool]:
    """Whether a run of stars between these two characters may open and close."""
    open_space, close_space = after.isspace(), before.isspace()
    hard_before, hard_after = before in _ESCAPABLE or before == "\\", after in _ESCAPABLE or after == "\\"
    opens = not open_space and (not hard_after or close_space or hard_before or _wide(before))
    closes = not close_space and (not hard_before or open_space or hard_after or _wide(after))
    return opens, closes


def _neighbours(state: StateInline, end: int) -> tuple[str, str]:
    """The characters before the marks at the present position and behind them; a border counts as white space."""
    return state.src[state.pos - 1] if state.pos else " ", state.src[end] if end < state.posMax else " "


def _enough(state: StateInline, silent: bool) -> bool:
    steps = state.env["steps"] = state.env.get("steps", 0) + 1
    if steps <= MAX_STEPS:
        return False
    if not silent:
        rest = state.src[state.pos : state.posMax]
        # Escapes still count, so that text written as Markdown reads as that text, however much there is of it.
        state.push(REST, "", 0).content = _ESCAPES.sub(_unescaped, rest)
    state.pos = state.posMax
    return True


def _unescaped(found: re.Match[str]) -> str:
    return found.group() if found.group() == "\\\\" else unescapeAll(found.group())


def _emphasis(state: StateInline, silent: bool) -> bool:
    marker = state.src[state.pos]
    if silent or marker not in "*_":
        return False
    scanned = state.scanDelims(state.pos, marker == "*")
    end, opens, closes = state.pos + scanned.length, scanned.can_open, scanned.can_close
    if marker == "*":
        before, after = _neighbours(state, end)
        opens, closes = _flanks(before, after)
        if before.isascii() and before.isalnum() and after.isascii():
            opens = opens and not (after.isdigit() or (scanned.length == 1 and after.isalnum()))
    elif scanned.length > 1:
        opens = closes = False
    for _ in range(scanned.length):
        token = state.push("text", "", 0)
        token.content = marker
        at = len(state.tokens) - 1
        state.delimiters.append(Delimiter(ord(marker), scanned.length, at, -1, opens, closes))
    state.pos = end
    return True


def _strike(state: StateInline, silent: bool) -> bool:
    if silent or not state.src.startswith("~~", state.pos):
        return False
    end = state.pos
    while end < state.posMax and state.src[end] == "~":
        end += 1
    token = state.push("text", "", 0)
    token.content = state.src[state.pos : end]
    if end - state.pos == 2:
        opens, closes = _flanks(*_neighbours(state, end))
        state.delimiters.append(Delimiter(ord("~"), 0, len(state.tokens) - 1, -1, opens, closes))
    state.pos = end
    return True


def _escape(state: StateInline, silent: bool) -> bool:
    if state.src[state.pos] != "\\":
        return False
    after = state.src[state.pos + 1] if state.pos + 1 < state.posMax else ""
    if after != "\\" and after not in _ESCAPABLE:
        return False
    if not silent:
        token = state.push("text_special", "", 0)
        token.content = "\\\\" if after == "\\" else after
        token.markup, token.info = "\\" + after, "escape"
    state.pos += 2
    return True


def _autolink(state: StateInline, silent: bool) -> bool:
    found = _AUTOLINK.match(state.src, state.pos, state.posMax) if state.src[state.pos] == "<" else None
    return found is not None and len(found.group()) <= MAX_URL and autolink(state, silent)


def _bare_address(state: StateInline, silent: bool) -> bool:
    """`https://...` in running text, up to the first character that is not an address's: Chinese text needs no space
    after it."""
    if silent or not state.src.startswith("://", state.pos):
        return False
    scheme = _SCHEME.search(state.pending[-8:])
    found = _ADDRESS.match(state.src, state.pos, state.posMax)
    if scheme is None or found is None:
        return False
    if len(found.group()) > MAX_URL:
        # Text, all of it: whatever in it could begin another address would be as long.
        state.append_pending(found.group())
        state.pos = found.end()
        return True
    rest = _without_closing_marks(found.group())
    text = scheme.group() + rest.replace("&amp;", "&")
    url = safe_url(state.md, text)
    if not url:
        return False
    state.pending = state.pending[: -len(scheme.group())]
    if state.linkLevel == 0:
        state.push("link_open", "a", 1).attrs = {"href": url}
    state.push("text", "", 0).content = text
    if state.linkLevel == 0:
        state.push("link_close", "a", -1)
    state.pos += len(rest)
    return True


def _without_closing_marks(address: str) -> str:
    """Without punctuation at its end that belongs to the sentence, and without a bracket it did not open."""
    while address and (address[-1] in ".,;:!?'_~" or (address[-1] == ")" and address.count(")") > address.count("("))):
        address = address.removesuffix("&amp;") if address.endswith("&amp;") else address[:-1]
    return address


def _link(state: StateInline, silent: bool) -> bool:
    """`[label](address "title")` and, with a `!` before it, the same for an image: its label, linked."""
    start = state.pos
    image = state.src.startswith("![", start)
    if not image and state.src[start] != "[":
        return False
    first = start + 2 if image else start + 1
    tried = state.env["brackets"] = state.env.get("brackets", 0) + 1
    if tried > MAX_BRACKETS or state.src.find("](", start, state.posMax) < 0:
        return False
    last = state.md.helpers.parseLinkLabel(state, first - 1, not image)
    if last < 0 or not state.src.startswith("](", last):
        return False
    found = _target(state, last + 2)
    if found is None:
        return False
    url, end = found
    if not silent:
        maximum = state.posMax
        state.pos, state.posMax = first, last
        state.push("link_open", "a", 1).attrs = {"href": url}
        if state.src[first:last].strip():
            state.linkLevel += 1
            state.md.inline.tokenize(state)
            state.linkLevel -= 1
        else:
            state.push("text", "", 0).content = url
        state.push("link_close", "a", -1)
        state.posMax = maximum
    state.pos = end
    return True


def _target(state: StateInline, start: int) -> tuple[str, int] | None:
    """The safe address from `start`, just behind `(`, and the position behind `)`. A title is read and not shown."""
    helpers, src, maximum = state.md.helpers, state.src, state.posMax
    pos = _skip_space(src, start, maximum)
    destination = helpers.parseLinkDestination(src, pos, maximum)
    url = safe_url(state.md, destination.str) if destination.ok else ""
    if not url:
        return None
    pos = _skip_space(src, destination.pos, maximum)
    if pos > destination.pos:
        title = helpers.parseLinkTitle(src, pos, maximum)
        if title.ok:
            pos = _skip_space(src, title.pos, maximum)
    return (url, pos + 1) if src.startswith(")", pos) and pos < maximum else None


def _skip_space(src: str, pos: int, maximum: int) -> int:
    while pos < maximum and src[pos] in " \t\n":
        pos += 1
    return pos
