"""Recorded and official payloads of the platforms, where they are at hand: each acknowledged as it must be, none a 500.

They stand beside a checkout of their own (../shared/payloads) and not in the project; without them the samples of the
adapters say the same in small.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest

from adapters.slack.signature import genuine
from adapters.wechat.simulated_push import sign
from tests.adapters import slack_house, telegram_house, wechat_house

PAYLOADS = Path(__file__).resolve().parents[3] / "shared" / "payloads"
EVENT_KEYS = frozenset({"event_callback", "url_verification", "app_rate_limited", "block_actions", "view_submission"})

if not PAYLOADS.is_dir():
    pytest.skip("the recorded payloads are not beside this checkout", allow_module_level=True)


def found(folder: str) -> list[Path]:
    paths = sorted(path for path in (PAYLOADS / folder).rglob("*") if path.suffix in {".json", ".xml"})
    assert paths, folder
    return paths


def objects(value: object) -> Iterator[dict[str, Any]]:
    """Every JSON object inside, the outermost first."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from objects(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from objects(inner)


def name(path: Path) -> str:
    return path.relative_to(PAYLOADS).as_posix()


@pytest.mark.parametrize("path", found("telegram"), ids=name)
async def test_telegram(path: Path) -> None:
    updates = [one for one in objects(json.loads(path.read_text(encoding="utf-8"))) if "update_id" in one]
    async with telegram_house.house() as home, aiohttp.ClientSession() as http:
        headers = {"X-Telegram-Bot-Api-Secret-Token": telegram_house.SECRET}
        for update in updates or [json.loads(path.read_text(encoding="utf-8"))]:
            async with http.post(home.url, json=update, headers=headers) as answer:
                assert answer.status == 200
            async with http.post(home.url, json=update, headers={"X-Telegram-Bot-Api-Secret-Token": "x"}) as answer:
                assert answer.status == 401
        if path.name == "private_text.json":
            (message,) = home.gateway.received
            assert message.text == "Where is my order 1234?"


@pytest.mark.parametrize("path", found("slack"), ids=name)
async def test_slack(path: Path) -> None:
    bodies = [
        one
        for one in objects(json.loads(path.read_text(encoding="utf-8")))
        if one.get("type") in EVENT_KEYS or "command" in one or "event" in one
    ]
    async with slack_house.House() as house:
        for body in bodies:
            form = "event" not in body and body.get("type") not in {"url_verification", "app_rate_limited"}
            fields = body if "command" in body else {"payload": json.dumps(body)}
            raw = urlencode(fields).encode() if form else json.dumps(body).encode()
            kind = "application/x-www-form-urlencoded" if form else "application/json"
            status, _ = await house.simulator.post(raw, kind)
            assert status == 200, body
            status, _ = await house.simulator.post(raw, kind, {"X-Slack-Signature": "v0=" + "0" * 64})
            assert status == 401


async def test_slacks_own_signature_is_right_and_too_old() -> None:
    vector = json.loads((PAYLOADS / "slack" / "official_signature_vector.json").read_text(encoding="utf-8"))
    stamp = float(vector["headers"]["X-Slack-Request-Timestamp"])
    secret, raw = vector["signing_secret"].encode(), vector["raw_body"].encode()
    assert genuine(secret, raw, vector["headers"], stamp)
    assert not genuine(secret, raw, vector["headers"], stamp + 301)
    assert not genuine(secret, raw + b"x", vector["headers"], stamp)


@pytest.mark.parametrize("path", found("wechat"), ids=name)
async def test_wechat(path: Path) -> None:
    account: dict[str, Any] = {"account_verified": True, "app_secret": wechat_house.SECRET}
    async with wechat_house.house(**account) as home, aiohttp.ClientSession() as http:
        stamp = str(int(home.clock()))
        query = {"timestamp": stamp, "nonce": "1", "signature": sign(wechat_house.TOKEN, stamp, "1")}
        async with http.post(home.url, data=path.read_bytes(), params=query) as answer:
            assert (answer.status, await answer.text()) == (200, "success")
        async with http.post(home.url, data=path.read_bytes(), params=query | {"signature": "0" * 40}) as answer:
            assert answer.status == 401
        assert len(home.gateway.messages) == path.name.startswith("text_"), "the other shapes are replies"
