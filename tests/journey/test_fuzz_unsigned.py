"""Whatever a stranger sends to whatever route: an answer in time, never a 500, nobody's words, and a clean log."""

from __future__ import annotations

import gzip
import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.journey.fuzz_house import CANARY, OTHER_KEY, Answer, House, request, routes, unharmed

pytestmark = pytest.mark.process
fuzz = settings(derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "BREW", "CONNECT", "get", "PRI")
PIECES = (
    *("%00", "%ff%fe", "%2e%2e%2f", "..", "%", "//", "\\", "\u00e9", "%ed%a0%80", ";a=b", "%0d%0aX:%20y", "chat.js"),
    "x" * 3_000,
)
QUERIES = (
    *("signature=0&timestamp=1&nonce=1", "echostr=%00&signature=%ff", "encrypt_type=aes&msg_signature=x&timestamp=%b2"),
    *(
        "wait=nan",
        "wait=1e999",
        "wait=-1",
        "wait=1e9&wait=x",
        "after=-1",
        "from=[]",
        "before=1e99&limit=-1",
        "search=%00",
    ),
    *("a=" + "b" * 3_000, "=&&=", "%ff=%00", "a&" * 500, "code=x&state=x.y", "state=%ff.%ff.%ff", "state=9.x.%c2%b2"),
)
HEADERS: dict[str, tuple[str, ...]] = {
    "Authorization": (
        f"Bearer {OTHER_KEY}",
        f"bearer  {OTHER_KEY} ",
        "Bearer guessed",
        "Basic eA==",
        "Bearer",
        "\udcff",
        "Bearer \u00e9",
    ),
    "X-Telegram-Bot-Api-Secret-Token": ("wrong", "", "\udcff", "test-secre", "test-secret\x01"),
    "X-Slack-Signature": ("v0=" + "0" * 64, "\udcff", ""),
    "X-Slack-Request-Timestamp": ("1", "never", "9" * 400, "\u00b2", "-1"),
    "X-Slack-Retry-Num": ("1", "\udcff"),
    "Cookie": (
        "frontdesk_web=" + "S" * 43,
        "frontdesk_web=x",
        'frontdesk_web="\\377\\000',
        "a=b; " * 200,
        "=;=;",
        "\udcff",
    ),
    "Content-Type": (
        *(
            "application/json",
            "text/xml",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            "multipart/form-data; boundary=x",
        ),
        *(
            "application/json; charset=nobody-knows",
            "\u2603",
            "",
            "a/b; c=\x7f",
            "application/json; charset=utf-16",
            "x" * 2_000,
        ),
    ),
    "Content-Encoding": ("gzip", "deflate", "br", "zstd", "identity", "gzip, gzip", "\u2603", ""),
    "Accept-Language": ("de", "zh;q=nan", "\udcff", "en;q=" + "9" * 500, "*"),
    "X-Forwarded-For": ("1.2.3.4, 5.6.7.8", "not an address", "", "::1%lo", "," * 500),
    "Origin": ("https://elsewhere.example", "null", "http://[", "http://127.0.0.1:x", "\udcff"),
    "Sec-Fetch-Site": ("same-origin", "cross-site", "\udcff"),
    "Host": ("evil.example", "", "[::1", "a" * 300, "x:99999", "\u00e9"),
    "Expect": ("100-continue", "banana"),
    "Upgrade": ("websocket", "h2c", "\udcff"),
    "Connection": ("keep-alive, Upgrade", "close, Upgrade"),
    "Range": ("bytes=0-0,1-1,2-2", "bytes=-1", "x=1"),
    "If-None-Match": ('"x"', "*"),
    "Last-Event-ID": ("-1", "\udcff", "9" * 40),
    "Idempotency-Key": ("x", "", "\udcff", "k" * 5_000),
    "Prefer": ("respond-async", "wait=nan"),
    "Transfer-Encoding": ("chunked", "gzip, chunked", "identity", "chunked, chunked"),
}
BODIES = (
    *(
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"text": "Hello"}',
        b'{"id": "0b6f8a52-6c1c-4f3e-9a51-3d1f2a7c9e10", "text": "Hello"}',
    ),
    *(
        b'{"update_id": 1}',
        b"<xml/>",
        b"payload=%7B%7D",
        b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\nb\r\n--x--",
    ),
    *(
        b'{"model": "support", "messages": [{"role": "user", "content": "Hello"}]}',
        b"\xff\xfe\0",
        b"\0" * 1_000,
        b"[" * 9_000,
    ),
    *(gzip.compress(b'{"text": "Hello"}'), gzip.compress(b"0" * (50 << 20)), gzip.compress(b"x")[:-4], b"\x1f\x8b"),
    *(
        b"5\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhel",
        b"ZZ\r\n",
        b"-1\r\n\r\n",
        b"ffffffffffffffff\r\nx",
        b"1;x=" + b"y" * 9_000 + b"\r\nz\r\n0\r\n\r\n",
    ),
)
LENGTHS = (*[""] * 40, "0", "1", "100", "99999999", "-1", "1e3", "1, 1", "9" * 30, "x")


NO_ROUTES = (  # of files and other people's servers
    *("/nowhere", "//", "/console", "/../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/chat/static/x/../../../main.py"),
    *("*", "http://elsewhere.example/chat", "/chat/static/x/..%2f..%2fchannel.py", "/.env", "/var/frontdesk.db"),
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with unharmed(tmp_path_factory.mktemp("house")) as built:
        yield built


@pytest.fixture(scope="module")
def all_routes(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str]]:
    found = routes(tmp_path_factory.mktemp("routes"))
    paths = {path for _, path in found}
    assert {
        "/",
        "/ask",
        "/telegram",
        "/slack/events",
        "/slack_many/install",
        "/wechat",
        "/chat/events",
        "/readyz",
    } <= paths
    return found + [("GET", path) for path in NO_ROUTES]


def checked(home: House, answer: Answer) -> None:
    assert answer.status < 500, (answer, home.log()[-3_000:])
    for word in (CANARY, "root:x:0", "from __future__"):
        assert word.encode() not in answer.body


@dataclass(frozen=True, slots=True)
class Stranger:
    """A request but for the route; `filled` stands in the places of its path and `rest` behind it."""

    method: str  # "": the route's own
    filled: str
    rest: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    length: str  # "": the body's own

    @property
    def whole(self) -> bool:
        """Whether nothing more can be waited for, so that an answer has to come."""
        framing = {"Transfer-Encoding", "Upgrade", "Connection"} & {name for name, _ in self.headers}
        return not self.length and not framing and self.method not in {"CONNECT", "PRI"}


@st.composite
def strangers(draw: st.DrawFn) -> Stranger:
    names = draw(st.lists(st.sampled_from(sorted(HEADERS)), max_size=5))
    headers = [(name, draw(st.sampled_from(HEADERS[name]))) for name in names]
    if draw(st.booleans()):
        headers += [("Authorization", f"Bearer {OTHER_KEY}"), ("Cookie", "frontdesk_web=" + "S" * 43)]
    return Stranger(
        method=draw(st.sampled_from((*[""] * 20, *METHODS))),
        filled=draw(st.sampled_from(("x", *PIECES))),
        rest=draw(st.sampled_from((*[""] * 30, "/", *PIECES)))
        + draw(st.sampled_from((*[""] * 5, *(f"?{query}" for query in QUERIES)))),
        headers=tuple(headers),
        body=draw(st.sampled_from(BODIES)),
        length=draw(st.sampled_from(LENGTHS)),
    )


def asked(home: House, own: str, path: str, stranger: Stranger) -> None:
    method = stranger.method or own
    target = re.sub(r"{\w+}", lambda _: stranger.filled, path) + stranger.rest
    raw = request(method, target, stranger.headers, stranger.body, stranger.length)
    answer = home.send(raw, method=method, whole=stranger.whole)
    checked(home, answer)
    assert answer.status or not stranger.whole, ("closed without an answer", raw)


@settings(fuzz, max_examples=120)
@given(strangers())
def test_any_request(home: House, all_routes: list[tuple[str, str]], stranger: Stranger) -> None:
    for own, path in all_routes:
        asked(home, own, path, stranger)


@pytest.mark.parametrize("name", sorted(HEADERS))
def test_each_header_by_itself(home: House, all_routes: list[tuple[str, str]], name: str) -> None:
    for value in HEADERS[name]:
        for own, path in all_routes:
            asked(home, own, path, Stranger("", "x", "", ((name, value),), b"{}" if own == "POST" else b"", ""))


@settings(fuzz, max_examples=200)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.lists(
            st.sampled_from(
                (
                    *(
                        b"GET ",
                        b"POST ",
                        b"/chat",
                        b" HTTP/1.1",
                        b" HTTP/9.9",
                        b"\r\n",
                        b"\n",
                        b"\r",
                        b": ",
                        b"Host",
                        b"Content-Length: 5",
                        b"\0",
                    ),
                    *(
                        b"Transfer-Encoding: chunked",
                        b"\x16\x03\x01\x02\x00\x01",
                        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                        b"a" * 9_000,
                        b"\xff",
                        b" ",
                    ),
                )
            ),
            max_size=20,
        ).map(b"".join),
    )
)
def test_any_bytes(home: House, raw: bytes) -> None:
    checked(home, home.send(raw, method="GET", whole=False))


def test_what_others_said_cannot_be_asked_for(home: House) -> None:
    """With a key that is good, and all that the ledger knows of them."""
    with closing(sqlite3.connect(home.folder / "bench.db")) as ledger:
        rows = ledger.execute(
            "SELECT m.event_id, c.chat_id, u.user_id FROM messages m JOIN conversations c ON c.id = m.conversation_id"
            " JOIN users u ON u.id = m.user"
        ).fetchall()
    assert len(rows) >= 5
    good = ("Authorization", f"Bearer {OTHER_KEY}")
    for known in {piece for row in rows for value in row for piece in (value, *re.split("[:.]", value)) if piece}:
        name = quote(known, safe="")
        answer = home.send(request("GET", f"/result/{name}", [good]), method="GET")
        checked(home, answer)
        assert answer.status == 404
        checked(home, home.send(request("GET", "/chat/events", [("Cookie", f"frontdesk_web={name}")]), method="GET"))
        body = json.dumps({"text": "What did I say?", "conversation": known[:200], "user": known[:200]}).encode()
        answer = home.send(request("POST", "/ask", [good, ("Content-Type", "application/json")], body))
        assert answer.status == 202
        task = json.loads(answer.body)["task_id"]
        checked(home, home.send(request("GET", f"/result/{task}?wait=10", [good]), method="GET"))
