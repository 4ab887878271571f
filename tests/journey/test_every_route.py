"""Every route there is, asked by somebody without a key, a cookie or a signature: refused, or an open door that is
named here with its reason. A new route has to come into one of the two.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

import main
from adapters.slack.simulator import SlackSimulator
from adapters.wechat.simulated_push import sign
from bench.stand import SECRETS, SETTINGS
from commands.reading import read
from core.http import address_of, listen, runner_of
from tests.journey.fuzz_house import MORE, sealed

REFUSED = (401, 403)
# What opens a door, each to be found in no answer.
HIDDEN = {
    "TELEGRAM_BOT_TOKEN": "6000001:hidden-telegram-token",
    "TELEGRAM_WEBHOOK_SECRET": "hidden-telegram-secret",
    "SLACK_BOT_TOKEN": "xoxb-hidden-slack-token",
    "SLACK_SIGNING_SECRET": "hidden-slack-signing",
    "SLACK_MANY_SECRET": "hidden-many-signing",
    "SLACK_MANY_CLIENT_SECRET": "hidden-many-client",
    "WECHAT_TOKEN": "hidden-wechat-token",
    "WECHAT_PLAIN_TOKEN": "hidden-plain-token",
    "WECHAT_AES_KEY": "hiddenwechatkey0123456789abcdefghijklmnopqr",
    "FRONTDESK_API_KEYS": "hidden-api-key",
    "FRONTDESK_CONSOLE_PASSWORD": "hidden-console-password",
    "FRONTDESK_CONSOLE_VIEWER_PASSWORD": "hidden-viewer-password",
    "FRONTDESK_ENGINE_API_KEY": "hidden-engine-key",
    "FRONTDESK_CALLBACK_SECRET": "whsec_" + "aGlkZGVu" * 5,
}
# Each with what a stranger gets there. A HEAD is as good as its GET.
OPEN = {
    # Whoever watches the house must learn that it stands when nothing else works: no names, no texts, no secrets.
    ("GET", "/healthz"): 200,
    ("GET", "/readyz"): 503,  # no engine runs here
    # Counts and times by channel; docs/operating.md has the proxy keep it and /readyz from the outside.
    ("GET", "/metrics"): 200,
    # What the API can do, for whoever writes a client; it names no bot, no host and no key.
    ("GET", "/openapi.json"): 200,
    # The customers' page and its files. Nobody's words are on it: these come by a cookie, which the page itself sets.
    ("GET", "/"): 302,
    ("GET", "/chat"): 200,
    ("GET", "/chat/"): 200,
    ("GET", "/chat/static/{version}/{file}"): 404,
    # Slack's app is installed from here, on Slack's own pages. Who comes back from there without a state of ours,
    # signed and for this browser, is sent away.
    ("GET", "/slack_many/install"): 200,
    ("GET", "/slack_many/oauth_redirect"): 400,
    # The console's empty page and its files, which stand in this repository; what it shows is asked for from inside.
    ("GET", "/console"): 200,
    ("GET", "/console/{page}"): 200,
    ("GET", "/console/static/{name}"): 404,
    # The door itself: without the right link or password it leads nowhere, and tries are counted.
    ("GET", "/console/enter"): 303,
    ("POST", "/console/api/sign-in"): 400,
}


@dataclass(frozen=True, slots=True)
class House:
    """All channels and the console, on loopback."""

    app: web.Application
    http: aiohttp.ClientSession

    @property
    def routes(self) -> set[tuple[str, str]]:
        """Method and path of each."""
        assert all(route.resource is not None for route in self.app.router.routes())
        return {(route.method, route.resource.canonical) for route in self.app.router.routes() if route.resource}

    async def ask(self, method: str, path: str) -> tuple[int, str]:
        """Status and all that comes back, headers included; a JSON object is sent where something can be."""
        address = re.sub(r"{\w+}", "1", path)
        body: dict[str, str] | None = {} if method not in {"GET", "HEAD", "OPTIONS"} else None
        async with self.http.request(method, address, json=body, allow_redirects=False) as answer:
            return answer.status, f"{answer.headers} {await answer.text()}"


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    for name in [name for name in os.environ if name.startswith("FRONTDESK")]:
        monkeypatch.delenv(name)
    more = {"FRONTDESK__ENGINE__BASE_URL": "http://127.0.0.1:9/v1", "FRONTDESK__API__CALLBACK_HOSTS": '["a.example"]'}
    for name, value in (SECRETS | SETTINGS | MORE | more | HIDDEN).items():
        monkeypatch.setenv(name, value)
    (tmp_path / "config.toml").write_text(f'[ledger]\nurl = "sqlite:///{tmp_path}/ledger.db"\n', encoding="utf-8")
    plan = read(tmp_path / "config.toml", ())
    assert not plan.off, "every channel is on"
    built = main.build(plan)
    await built.ledger.open(time.time(), frozenset())
    runner = runner_of(built.app)
    await runner.setup()
    try:
        await listen(runner, "127.0.0.1", 0)
        timeout = aiohttp.ClientTimeout(total=20)
        async with aiohttp.ClientSession(
            address_of(runner, "127.0.0.1"), cookie_jar=aiohttp.DummyCookieJar(), timeout=timeout
        ) as http:
            yield House(built.app, http)
    finally:
        await runner.cleanup()
        for channel in built.channels.values():
            await channel.close()
        await built.engine.close()
        await built.ledger.close()


async def test_every_route_refuses_a_stranger_or_is_an_open_door(house: House) -> None:
    wrong = {}
    for method, path in sorted(house.routes):
        status, told = await house.ask(method, path)
        door = ("GET" if method == "HEAD" else method, path)
        if not (status == OPEN[door] if door in OPEN else status in REFUSED):
            wrong[method, path] = status
        assert not [secret for secret in HIDDEN.values() if secret in told], path
    assert not wrong, "refuse these, or name them in OPEN with a reason"


async def test_no_open_door_is_named_that_is_not_there(house: House) -> None:
    assert house.routes >= OPEN.keys()


async def test_no_other_method_gets_in(house: House) -> None:
    methods = {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
    paths = {path for _, path in house.routes}
    others = {(method, path) for method in methods for path in paths} - house.routes
    answers = {(method, path): (await house.ask(method, path))[0] for method, path in sorted(others)}
    assert set(answers.values()) == {405}, answers


async def test_no_forged_webhook_gets_in_and_a_real_one_does(house: House) -> None:
    channels = ("/telegram", "/slack/events", "/slack_many/events", "/wechat", "/wechat_plain")
    known = ("/ask", "/v1/", "/chat/", "/console/")
    assert {path for method, path in house.routes if method == "POST" and not path.startswith(known)} == set(channels)
    secret = "X-Telegram-Bot-Api-Secret-Token"
    for given in ("", "wrong", HIDDEN["TELEGRAM_WEBHOOK_SECRET"][:-1], HIDDEN["TELEGRAM_WEBHOOK_SECRET"] + "x"):
        assert await _post(house, "/telegram", b"{}", {secret: given}) == 401
    assert await _post(house, "/telegram", b"{}", {secret: HIDDEN["TELEGRAM_WEBHOOK_SECRET"]}) == 200
    hello = b'{"type": "url_verification", "challenge": "x"}'
    for path, name in (("/slack/events", "SLACK_SIGNING_SECRET"), ("/slack_many/events", "SLACK_MANY_SECRET")):
        right = SlackSimulator(signing_secret=HIDDEN[name], token="")
        forged = SlackSimulator(signing_secret="guessed", token="")
        assert await _post(house, path, hello, forged.sign(hello)) == 401
        assert await _post(house, path, hello + b" ", right.sign(hello)) == 401, "of another body"
        assert await _post(house, path, hello, right.sign(hello, int(time.time()) - 3_600)) == 401, "of an hour ago"
        assert await _post(house, path, hello, right.sign(hello)) == 200


async def _post(house: House, path: str, body: bytes, headers: dict[str, str]) -> int:
    async with house.http.post(path, data=body, headers={"Content-Type": "application/json"} | headers) as answer:
        return answer.status


@pytest.mark.parametrize(("path", "name"), [("/wechat", "WECHAT_TOKEN"), ("/wechat_plain", "WECHAT_PLAIN_TOKEN")])
async def test_no_forged_push_of_wechat_gets_in_and_the_real_echo_does(house: House, path: str, name: str) -> None:
    now = str(int(time.time()))
    encrypted = sealed(b"<xml/>", key="x" * 43)
    statuses = {}
    for token in ("guessed", HIDDEN[name]):
        query = {"timestamp": now, "nonce": "n", "signature": sign(token, now, "n"), "echostr": "echo"}
        async with house.http.get(path, params=query) as answer:
            statuses["GET", token] = answer.status, await answer.text()
    assert statuses == {("GET", "guessed"): (401, ""), ("GET", HIDDEN[name]): (200, "echo")}
    # None of these is under the account's token and key.
    forged = {"timestamp": now, "nonce": "n", "signature": sign("guessed", now, "n")}
    async with house.http.post(path, params=forged, data=b"<xml/>") as answer:
        assert answer.status == 401
    forged |= {"encrypt_type": "aes", "msg_signature": sign("guessed", now, "n", encrypted)}
    async with house.http.post(path, params=forged, data=f"<xml><Encrypt>{encrypted}</Encrypt></xml>") as answer:
        assert answer.status == 401
