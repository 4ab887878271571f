"""Where answers may be posted to, and what the settings must hold for it: mistakes are named, and show no secret."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path

import pytest

from adapters.api.convert import Ask
from adapters.api.receivers import Receivers, url_of
from adapters.api.repeats import digest_of
from adapters.api.settings import Settings
from core.config import Environment, section
from core.errors import ConfigError
from tests.adapters.api_house import KEY, Receiver, api
from tests.adapters.test_api_callback import ANOTHER, SECRET
from tests.adapters.test_api_repeats import call, stored
from tests.fakes import FakeEngine

HOSTS = ["hooks.example.com", "Else.example:8443", "127.0.0.1:9000", "[::1]", "localhost:81", "10.0.0.1:9000"]
LISTED = {"callback_hosts": HOSTS, "callback_secret": SECRET}


def read(tmp_path: Path, table: Mapping[str, object], **variables: str) -> Settings:
    return section("api", Settings, table, Environment(tmp_path / "no.env", variables))


def problem(tmp_path: Path, table: Mapping[str, object], **variables: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, table, **variables)
    (told,) = caught.value.problems
    return told


def test_hosts_and_their_secret(tmp_path: Path) -> None:
    hosts: dict[str, object] = {"callback_hosts": ["hooks.example.com"]}
    settings = read(tmp_path, hosts, FRONTDESK_CALLBACK_SECRET=SECRET)
    assert settings.callback_secret is not None and settings.callback_secret.get_secret_value() == SECRET
    assert SECRET not in repr(settings)
    other = read(tmp_path, hosts | {"callback_secret_env": "OTHER"}, OTHER=ANOTHER)
    assert other.callback_secret is not None and other.callback_secret.get_secret_value() == ANOTHER
    written = read(tmp_path, {"callback_hosts": '["a.example", "b.example:1"]'}, FRONTDESK_CALLBACK_SECRET=SECRET)
    assert written.callback_hosts == ("a.example", "b.example:1"), "as in a variable"
    assert read(tmp_path, {}).callback_hosts == ()


def test_hosts_without_a_secret_stop_the_start(tmp_path: Path) -> None:
    told = problem(tmp_path, {"callback_hosts": ["hooks.example.com"]})
    assert told.startswith("api: callback_hosts ")
    assert "FRONTDESK_CALLBACK_SECRET" in told and "openssl rand" in told
    assert "OTHER" in problem(tmp_path, {"callback_hosts": ["a.example"], "callback_secret_env": "OTHER"})


@pytest.mark.parametrize(
    "secret",
    [
        "plain",
        "c2VjcmV0" * 5,
        "whsec_",
        "whsec_not!base64" + "x" * 40,
        "whsec_" + base64.b64encode(b"x" * 23).decode(),
        "whsec_" + base64.b64encode(b"x" * 65).decode(),
        "whsec_é" + "x" * 40,
    ],
)
def test_a_secret_that_is_none_stops_the_start(tmp_path: Path, secret: str) -> None:
    told = problem(tmp_path, {"callback_hosts": ["hooks.example.com"]}, FRONTDESK_CALLBACK_SECRET=secret)
    assert told.startswith("api.callback_secret: must be whsec_") and "openssl rand" in told
    assert secret.removeprefix("whsec_") == "" or secret not in told


@pytest.mark.parametrize("bytes_", [24, 64])
def test_the_shortest_and_the_longest_secret(tmp_path: Path, bytes_: int) -> None:
    secret = "whsec_" + base64.b64encode(b"x" * bytes_).decode()
    assert read(tmp_path, {"callback_secret": secret}).callback_secret is not None


@pytest.mark.parametrize(
    "host", ["", "https://a.example", "a.example/x", "a b", "*.example", "u@a", "a:0", "a:65536", "a:"]
)
def test_a_host_that_is_none_stops_the_start(tmp_path: Path, host: str) -> None:
    told = problem(tmp_path, {"callback_hosts": ["a.example", host], "callback_secret": SECRET})
    assert told.startswith("api.callback_hosts: each must be a host")


@pytest.mark.parametrize(
    "url",
    [
        *("https://hooks.example.com", "https://HOOKS.example.com:443/x?y=1@2", "https://else.example:8443/"),
        *("http://127.0.0.1:9000/", "https://127.0.0.1:9000/", "http://[::1]/", "http://localhost:81/a"),
        "https://hooks.example.com/" + "x" * (2_000 - len("https://hooks.example.com/")),
    ],
)
async def test_an_allowed_address_is_taken(tmp_path: Path, url: str) -> None:
    assert Receivers(HOSTS).flaw(url_of(url)) == ""
    assert Ask.model_validate({"text": "x", "callback_url": url}).callback_url == url, "exactly as it came"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://other.example/", "api.callback_hosts"),
        ("https://sub.hooks.example.com/", "api.callback_hosts"),
        ("https://hooks.example.com.evil.example/", "api.callback_hosts"),
        ("https://hooks.example.com./", "api.callback_hosts"),
        ("https://evil.example/@hooks.example.com", "api.callback_hosts"),
        ("https://evil.example?@hooks.example.com", "api.callback_hosts"),
        ("https://hooks%2eexample.com/", "api.callback_hosts"),
        ("https://hooks.example.com:444/", "api.callback_hosts"),
        ("https://else.example/", "api.callback_hosts"),
        ("http://127.0.0.1/", "api.callback_hosts"),
        ("https://169.254.169.254/", "api.callback_hosts"),
        ("http://hooks.example.com/", "https"),
        ("http://10.0.0.1:9000/", "https"),
        ("https://user:word@hooks.example.com/", "password"),
        ("https://@hooks.example.com/", "password"),
        ("https://hooks.example.com/#part", "callback_url"),
        ("https://hooks.example.com\\@evil.example/", "callback_url"),
        ("https://hooks.example.com/\r\nX: y", "callback_url"),
        ("https://hooks.example.com/ é", "callback_url"),
        ("https://hooks.example.com:x/", "callback_url"),
        ("https://hooks.example.com:99999/", "callback_url"),
        ("https://[hooks.example.com/", "callback_url"),
        ("https:///x", "callback_url"),
        ("ftp://hooks.example.com/", "callback_url"),
        ("//hooks.example.com/", "callback_url"),
        ("", "callback_url"),
        ("https://hooks.example.com/" + "x" * 2_000, "callback_url"),
        (5, "callback_url"),
    ],
)
async def test_an_address_that_is_not_allowed_is_refused_with_a_sentence(
    tmp_path: Path, url: str | int, why: str
) -> None:
    async with api(tmp_path, FakeEngine(), callbacks=LISTED) as (_, http):
        answer = await http.post("/ask", json={"text": "x", "callback_url": url}, headers=KEY)
        told = await answer.json()
        assert (answer.status, told["error"]["code"]) == (400, "invalid_request")
        assert told["error"]["message"].startswith("callback_url: ")
        assert why in told["error"]["message"]
        assert stored(tmp_path) == 0


async def test_nothing_is_posted_where_the_operator_lists_no_host(tmp_path: Path) -> None:
    async with Receiver().listening() as receiver, api(tmp_path, FakeEngine()) as (_, http):
        answer = await http.post("/ask", json={"text": "x", "callback_url": receiver.url()}, headers=KEY)
        assert answer.status == 400
        assert "api.callback_hosts" in (await answer.json())["error"]["message"]
        assert stored(tmp_path) == 0


async def test_another_address_is_another_call(tmp_path: Path) -> None:
    async with Receiver().listening() as receiver:
        hosts = {"callback_hosts": [receiver.host], "callback_secret": SECRET}
        async with api(tmp_path, FakeEngine(), callbacks=hosts) as (_, http):
            asked = {"text": "Hello", "callback_url": receiver.url("/a")}
            _, first, _ = await call(http, "order-7", asked)
            status, again, headers = await call(http, "order-7", asked)
            assert (status, again["task_id"], headers["Idempotent-Replayed"]) == (202, first["task_id"], "true")
            for other in (asked | {"callback_url": receiver.url("/b")}, {"text": "Hello"}):
                status, error, _ = await call(http, "order-7", other)
                assert (status, error["code"]) == (422, "idempotency_key_reused")


def test_a_call_without_an_address_has_the_digest_it_had_before_there_were_any() -> None:
    """A repeat may come after an update."""
    before = "5af232d20f2c6f262bfaa9660ec9bea254a89bd9709bc36726d2b62b80accb50"
    assert digest_of(Ask(text="Hello", user="u")) == before
