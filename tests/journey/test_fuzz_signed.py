"""Whatever a platform's own request holds: an answer and never a 500, nobody's words but the writer's, a clean log."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.slack.simulator import SlackSimulator
from adapters.wechat.simulated_push import sign
from bench.drivers import Slack, Telegram, WeChat
from tests.adapters import mutations
from tests.journey.fuzz_house import CANARY, OTHER_KEY, PLAIN_TOKEN, Answer, House, request, sealed, unharmed

pytestmark = pytest.mark.process
NUMBER = itertools.count(10_000)  # of a request; what is the same in two of them would be a redelivery
ACCOUNT = "gh_0123456789ab"
VISITOR = "frontdesk_web=" + "V" * 43
fuzz = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=400,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with unharmed(tmp_path_factory.mktemp("house")) as built:
        yield built


def checked(home: House, answer: Answer, *allowed: int) -> Answer:
    assert answer.status in allowed, (answer, home.log()[-3_000:])
    assert CANARY.encode() not in answer.body
    return answer


def fresh(body: bytes) -> bytes:
    """Under ids that were not used before, where they stand as the samples write them."""
    number = next(NUMBER)
    for old, new in (
        (b"1790000000.000", b"17%08d.000" % number),
        (b"2300000000", b"%010d" % number),
        (b'"update_id": ', b'"update_id": %d' % number),
        (b'"trigger_id": "1', b'"trigger_id": "%d' % number),
        (b"trigger_id=1", b"trigger_id=%d" % number),
        (b"0b6f8a52-6c1c-4f3e-9a51", b"%08x-6c1c-4f3e-9a51" % number),
    ):
        body = body.replace(old, new)
    return body


@fuzz
@given(mutations.json_bodies("telegram"))
def test_telegram(home: House, body: bytes) -> None:
    headers = [("X-Telegram-Bot-Api-Secret-Token", Telegram.secret), ("Content-Type", "application/json")]
    checked(home, home.send(request("POST", "/telegram", headers, fresh(body))), 200)


@fuzz
@given(st.one_of(mutations.json_bodies("slack"), mutations.forms()), st.integers(0, 3), st.sampled_from(("", "_many")))
def test_slack(home: House, body: bytes, retry: int, app: str) -> None:
    body = fresh(body)
    secret = Slack.secret if not app else "signing-of-the-many"
    headers = list(SlackSimulator(signing_secret=secret, token="").sign(body).items())
    form = b"=" in body[:30] and not body.startswith(b"{")
    headers.append(("Content-Type", "application/x-www-form-urlencoded" if form else "application/json"))
    if retry:
        headers += [("X-Slack-Retry-Num", str(retry)), ("X-Slack-Retry-Reason", "http_timeout\udcff")]
    checked(home, home.send(request("POST", f"/slack{app}/events", headers, body)), 200)


@settings(fuzz, max_examples=60)
@given(st.text(max_size=20) | st.sampled_from(("v0=" + "0" * 64, "\udcff", "v0=\u00b2", "0" * 40)))
def test_a_forged_signature(home: House, forged: str) -> None:
    """In time, and over a body that would be taken."""
    forged = "".join(letter for letter in forged if letter >= " " and letter != "\x7f")
    stamp = str(int(time.time()))
    headers = [("X-Slack-Request-Timestamp", stamp), ("X-Slack-Signature", forged)]
    checked(home, home.send(request("POST", "/slack/events", headers, b'{"type": "url_verification"}')), 401)
    headers = [("X-Telegram-Bot-Api-Secret-Token", forged)]
    checked(home, home.send(request("POST", "/telegram", headers, b'{"update_id": 1}')), 401)
    query = urlencode({"timestamp": stamp, "nonce": "1", "signature": forged.encode("utf-8", "surrogatepass")})
    for path in ("/wechat", "/wechat_plain"):
        checked(home, home.send(request("POST", f"{path}?{query}", [], b"<xml/>")), 401)


def wechat(home: House, path: str, token: str, body: bytes, more: dict[str, str] | None = None) -> Answer:
    """A push with a right signature; the answer may be that the connection is closed: WeChat asks again."""
    stamp, nonce = str(int(time.time())), str(next(NUMBER))
    query = {"timestamp": stamp, "nonce": nonce, "openid": "o1", "signature": sign(token, stamp, nonce)}
    if more is not None:
        query |= {"encrypt_type": "aes", "msg_signature": sign(token, stamp, nonce, more["encrypted"])}
    return home.send(request("POST", f"{path}?{urlencode(query)}", [("Content-Type", "text/xml")], body))


@fuzz
@given(mutations.pushes())
def test_wechat_plain(home: House, body: bytes) -> None:
    checked(home, wechat(home, "/wechat_plain", PLAIN_TOKEN, fresh(body)), 0, 200)


@fuzz
@given(mutations.pushes(), st.sampled_from(("xml", "json", "twice")))
def test_wechat_safe(home: House, body: bytes, form: str) -> None:
    encrypted = sealed(fresh(body))
    fields = f"<ToUserName>{ACCOUNT}</ToUserName><Encrypt><![CDATA[{encrypted}]]></Encrypt>"
    outside = f'{{"ToUserName": "{ACCOUNT}", "Encrypt": "{encrypted}"}}' if form == "json" else f"<xml>{fields}</xml>"
    if form == "twice":
        outside = f"<xml>{fields}<Encrypt>{encrypted}</Encrypt></xml>"
    answer = wechat(home, "/wechat", WeChat.token, outside.encode(), {"encrypted": encrypted})
    checked(home, answer, 401, 413) if form == "twice" else checked(home, answer, 0, 200, 413)


@fuzz
@given(st.one_of(mutations.json_bodies("web"), st.binary(max_size=60)), st.sampled_from(("", "en;q=x", "zh" * 400)))
def test_web(home: House, body: bytes, language: str) -> None:
    headers = [("Content-Type", "application/json"), ("Cookie", VISITOR), ("Accept-Language", language)]
    answer = home.send(request("POST", "/chat/messages", headers, fresh(body)))
    checked(home, answer, 202, 400, 413)


@fuzz
@given(mutations.json_bodies("api"), st.sampled_from(("/ask", "/v1/chat/completions")))
def test_api(home: House, body: bytes, path: str) -> None:
    headers = [("Authorization", f"Bearer {OTHER_KEY}"), ("Content-Type", "application/json")]
    checked(home, home.send(request("POST", path, headers, body)), 200, 202, 400, 404)
