"""What platforms send, bent: the adapters' own samples with keys lost, doubled, nested, and values of every wrong kind.

Strategies for hypothesis. Each yields a body in bytes, ready to be signed.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from hypothesis import strategies as st

from adapters.wechat.convert import fields_of

ADAPTERS = Path(__file__).resolve().parents[2] / "adapters"


class Raw(str):
    """Written into a document as it stands, where no value of JSON would do."""


VALUES: tuple[object, ...] = (  # what strict readers take
    *(None, True, 0, -1, 0.1, 1e308, 2**31, 2**53, 2**63 - 1, -(2**63), 2**64 - 1),
    *("", " ", "\0", "a\0b", "\u202e", "\u2028", "\x1b[2J", "\ufffe", "中" * 600, "x" * 8_000, "👨‍👩‍👧" * 40),
    *("/stop", "/new", "/human", "/start x", "@", "<@U0>", "<", "]]>", "&amp;", "<xml>", "{0}", "%s%n", "'; --"),
    *("1790000000.000100", "-100", "0" * 400, "²", "null", "1e9", "../..", "http://[", "a:b:c", "T0000000001", "D1"),
    *([], {}, [[]], [None], {"": {}}, {"id": None}, ["x"] * 300),
)
BROKEN: tuple[object, ...] = (  # what only lenient ones take, or nobody
    *(2**64, -(2**63) - 1, 10**400, float("nan"), float("-inf"), "\ud800", "x\udfffx"),
    *(Raw("1e999"), Raw("-0"), Raw("01"), Raw("[" * 1_500 + "]" * 1_500), Raw('{"a":' * 600 + "1" + "}" * 600)),
)
NASTY = VALUES + BROKEN


def requests(kind: str) -> list[dict[str, Any]]:
    """The requests in an adapter's samples."""
    files = sorted((ADAPTERS / kind / "samples").glob("*.json"))
    return [sample["request"] for path in files if "request" in (sample := json.loads(path.read_text("utf-8")))]


API: tuple[object, ...] = (
    {"text": "Where is my order?", "bot": "support", "conversation": "one", "user": "me", "language": "en"},
    {"text": "Hello"},
    {
        "model": "support",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.5,
        "top_p": 0.9,
        "frequency_penalty": 0.1,
        "max_tokens": 50,
        "stop": ["END"],
        "n": 1,
        "tools": [],
    },
    {"model": "support", "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}], "stop": "x"},
)


@cache
def documents(kind: str) -> tuple[object, ...]:
    """What those requests hold as JSON: bodies, and the objects inside of forms and XML."""
    if kind == "api":
        return API
    found: list[object] = []
    for request in requests(kind):
        if "json" in request:
            found.append(request["json"])
        elif "form" in request:
            inside = request["form"].get("payload")
            found.append(request["form"] if inside is None else json.loads(inside))
        elif (fields := fields_of(request["body"].encode())) is not None and "Encrypt" not in fields:
            found.append(fields)
    assert found, kind
    return tuple(found)


def _places(value: object) -> Iterator[tuple[Any, Any]]:
    """Every container with a key or an index in it."""
    if isinstance(value, dict):
        yield from ((value, key) for key in value)
        for inner in list(value.values()):
            yield from _places(inner)
    elif isinstance(value, list):
        yield from ((value, index) for index in range(len(value)))
        for inner in list(value):
            yield from _places(inner)


def _bend(draw: st.DrawFn, value: object) -> None:
    """Change one place of the document."""
    places = list(_places(value))
    if not places:
        return
    inside, key = places[draw(st.integers(0, len(places) - 1))]
    match draw(st.integers(0, 9)):
        case 9:
            del inside[key]
        case 8:
            inside[key] = {"text": inside[key], "id": 7}
        case 7:
            inside[key] = [inside[key], inside[key]]
        case 6:
            other, name = places[draw(st.integers(0, len(places) - 1))]
            inside[key] = copy.deepcopy(other[name])
        case 5:
            inside[key] = draw(st.sampled_from(BROKEN))
        case _:
            inside[key] = copy.deepcopy(draw(st.sampled_from(VALUES)))


@st.composite
def bent(draw: st.DrawFn, kind: str) -> object:
    """A document of that adapter with one to three places changed; it may hold `Raw` and what JSON cannot write."""
    if draw(st.integers(0, 29)) == 29:
        return copy.deepcopy(draw(st.sampled_from(NASTY)))
    value = copy.deepcopy(draw(st.sampled_from(documents(kind))))
    for _ in range(draw(st.integers(1, 3))):
        _bend(draw, value)
    return value


def written(value: object) -> str:
    """JSON with the raw pieces in it, and with NaN and lone surrogates as other languages' encoders write them."""
    pieces: list[str] = []

    def plain(inner: object) -> object:
        if isinstance(inner, Raw):
            pieces.append(str(inner))
            return f"\x01{len(pieces) - 1}\x01"
        if isinstance(inner, dict):
            return {str(key): plain(one) for key, one in inner.items()}
        return [plain(one) for one in inner] if isinstance(inner, list) else inner

    text = json.dumps(plain(value))
    for number, piece in enumerate(pieces):
        text = text.replace(f'"\\u0001{number}\\u0001"', piece)
    return text


@st.composite
def json_bodies(draw: st.DrawFn, kind: str) -> bytes:
    """A bent document as a body, sometimes with a key given twice, in another encoding, or cut off."""
    text = written(draw(bent(kind)))
    if draw(st.integers(0, 7)) == 7 and '"' in text:
        name = text.split('"')[1]
        text = text.replace(f'"{name}":', f'"{name}": {written(draw(st.sampled_from(NASTY)))}, "{name}":', 1)
    return _encoded(draw, text)


def _encoded(draw: st.DrawFn, text: str) -> bytes:
    match draw(st.integers(0, 31)):
        case 31:
            return text.encode(draw(st.sampled_from(("utf-8-sig", "utf-16", "utf-32", "utf-7"))))
        case 30:
            return text.encode()[: draw(st.integers(0, len(text)))]
        case 29:
            return text.encode() + draw(st.sampled_from((b"\0", b"\xff\xfe", b"}", b" {}", b"\n")))
        case 28:
            return text.replace("\\ud800", "\ud800").encode("utf-8", "surrogatepass").replace(b"e", b"\xe9")
    return text.encode()


@st.composite
def forms(draw: st.DrawFn) -> bytes:
    """A bent form of Slack's: a command's fields, or an interaction inside of its one field."""
    if draw(st.booleans()):
        return b"payload=" + urlencode({"": draw(json_bodies("slack"))}).encode()[1:]
    value = draw(bent("slack"))
    fields = value if isinstance(value, dict) else {}
    pairs = [(name, one if isinstance(one, str) else written(one)) for name, one in fields.items()]
    body = urlencode([(name, one.encode("utf-8", "surrogatepass")) for name, one in pairs]).encode()
    return body + draw(
        st.sampled_from((b"", b"", b"&&==", b"&text=%", b"&%ff=%ed%a0%80", b"&command=%2f", b"&a=1" * 300))
    )


BOMB = b'<!DOCTYPE xml [<!ENTITY a "ha">%s]><xml><Content>&z;</Content></xml>' % b"".join(
    b'<!ENTITY %c "%s">' % (98 + level, b"&%c;" % (97 + level) * 10) for level in range(25)
)
DOCUMENTS = (
    *(BOMB, b"<xml>" + b"<a>" * 5_000, b"<xml>" * 15 + b"</xml>" * 15, b"<xml><![CDATA[", b"<xml><a>&#0;</a></xml>"),
    b'<!DOCTYPE xml [<!ENTITY x SYSTEM "file:///etc/passwd">]><xml><Content>&x;</Content></xml>',
    b'<!DOCTYPE xml SYSTEM "http://127.0.0.1:9/x.dtd"><xml><MsgType>text</MsgType></xml>',
    b"<xml " + b" ".join(b'a%d="1"' % number for number in range(1_500)) + b"/>",
    *(b"<xml><MsgType>&#xD800;</MsgType></xml>", b"<?xml version='1.0' encoding='utf-16'?><xml><a>b</a></xml>"),
    *(
        b"<?xml version='1.0' encoding='nobody-knows'?><xml/>",
        b"<?xml version='1.1'?><xml>\x85</xml>",
        b"<xml><?php x?></xml>",
    ),
    "<?xml version='1.0'?><xml><MsgType>text</MsgType></xml>".encode("utf-16"),
)


@st.composite
def pushes(draw: st.DrawFn) -> bytes:
    """A bent push of WeChat's, in XML or JSON, or XML that is an attack."""
    choice = draw(st.integers(0, 9))
    if choice == 9:
        return draw(st.sampled_from(DOCUMENTS))
    if choice >= 6:
        return draw(json_bodies("wechat"))
    value = draw(bent("wechat"))
    text = f"<xml>{_elements(value if isinstance(value, dict) else {'Content': value})}</xml>"
    if draw(st.integers(0, 4)) == 4:
        text = text.replace("<xml>", "<xml><MsgType>text</MsgType>", 1)
    return _encoded(draw, text)


def _elements(fields: dict[str, Any], depth: int = 0) -> str:
    parts = []
    for name, value in fields.items():
        for one in value if isinstance(value, list) else [value]:
            inner = _elements(one, depth + 1) if isinstance(one, dict) and depth < 40 else f"<![CDATA[{_said(one)}]]>"
            parts.append(f"<{name}>{inner}</{name}>")
    return "".join(parts)


def _said(value: object) -> str:
    text = value if isinstance(value, str) else written(value)
    return text.encode("utf-8", "replace").decode()
