"""What Slack sends: only its own requests come in, each message once, and the 200 only after it is on disk."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import urlencode

import pytest
from structlog.testing import capture_logs

from adapters.slack.simulator import FORM
from tests.adapters.slack_house import SECRET, THREAD, TOKEN, House, samples

NOW = 1_790_000_000
BODY = b"token=t&team_id=T1&team_domain=workspace&channel_id=C1&user_id=U1&command=%2Forder&text=42"


def signature(body: bytes, timestamp: str = str(NOW), secret: str = SECRET) -> str:
    """Written anew from the documentation, not taken from the simulator."""
    return "v0=" + hmac.new(secret.encode(), f"v0:{timestamp}:".encode() + body, hashlib.sha256).hexdigest()


async def test_a_signature_computed_elsewhere_is_accepted() -> None:
    # openssl dgst -sha256 -hmac sample-signing-secret, over "v0:1790000000:" and BODY.
    vector = "v0=66859d3739ca618e9e6d9cb4d89a84cf5bf2088bc8b6756f29c07242ccf14d9e"
    assert signature(BODY) == vector
    async with House(clock=lambda: NOW) as house:
        headers = {"X-Slack-Request-Timestamp": str(NOW), "X-Slack-Signature": vector}
        assert (await house.simulator.post(BODY, FORM, headers))[0] == 200


@pytest.mark.parametrize(
    ("timestamp", "given"),
    [
        (str(NOW), "v0=" + "0" * 64),
        (str(NOW), signature(BODY, secret="another")),
        (str(NOW), signature(BODY + b"&text=43")),
        (str(NOW), signature(BODY).removeprefix("v0=")),
        (str(NOW), signature(BODY).upper()),
        (str(NOW), ""),
        (str(NOW), "v0=é☃"),
        (str(NOW - 301), signature(BODY, str(NOW - 301))),
        (str(NOW + 301), signature(BODY, str(NOW + 301))),
        ("yesterday", signature(BODY, "yesterday")),
        ("", signature(BODY, "")),
        ("-1", signature(BODY, "-1")),
        (f"{NOW}.0", signature(BODY, f"{NOW}.0")),
        ("٣", signature(BODY, "٣")),
        ("²", signature(BODY, "²")),  # a digit to str.isdigit, no number to int
        ("9" * 400, signature(BODY, "9" * 400)),
    ],
)
async def test_forgeries_and_replays_get_401(timestamp: str, given: str) -> None:
    async with House(clock=lambda: NOW) as house:
        headers = {"X-Slack-Request-Timestamp": timestamp, "X-Slack-Signature": given}
        assert (await house.simulator.post(BODY, FORM, headers))[0] == 401
        assert house.gateway.calls == 0


async def test_an_old_request_of_slacks_own_gets_401() -> None:
    now = float(NOW)
    async with House(clock=lambda: now) as house:
        said = await house.simulator.user_says("D1", "hello")
        headers = house.simulator.sign(json.dumps(said.events[0].envelope).encode(), NOW)
        now += 301
        status, _ = await house.simulator.post(json.dumps(said.events[0].envelope).encode(), headers=headers)
        assert status == 401
        assert house.gateway.calls == 1


async def test_unsigned_headers_missing_get_401() -> None:
    async with House() as house:
        headers = {"X-Slack-Request-Timestamp": "", "X-Slack-Signature": ""}
        challenge = json.dumps({"type": "url_verification", "challenge": "abc"}).encode()
        assert (await house.simulator.post(challenge, headers=headers))[0] == 401


async def test_url_verification_is_answered_when_signed() -> None:
    async with House() as house:
        body = json.dumps({"type": "url_verification", "token": "t", "challenge": "3eZbrw1a"}).encode()
        status, answer = await house.simulator.post(body)
        assert status == 200
        assert json.loads(answer) == {"challenge": "3eZbrw1a"}


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"x"', b"null", b"\xff\xfe", b"{}", b'{"type": {}}', b'{"team": 1}']
)
@pytest.mark.parametrize("content_type", ["application/json", FORM])
async def test_what_cannot_be_read_gets_200_or_slack_repeats_it(body: bytes, content_type: str) -> None:
    async with House() as house:
        assert (await house.simulator.post(body, content_type))[0] == 200
        assert house.gateway.calls == 0


EVENTS = [sample for sample in samples("request") if "json" in sample["request"]]  # interactions: see below


@pytest.mark.parametrize("sample", EVENTS, ids=lambda sample: sample["name"])
async def test_samples_arrive(sample: dict[str, Any]) -> None:
    async with House() as house:
        status, _ = await house.simulator.post(json.dumps(sample["request"]["json"]).encode())
        assert status == 200
        assert house.gateway.calls == (0 if sample["message"] is None else 1)


async def test_interactions_are_acknowledged_and_logged() -> None:
    async with House() as house:
        with capture_logs() as lines:
            assert await house.simulator.press_button("C1", "feedback") == 200
            assert (await house.simulator.push({"type": "reaction_added", "user": "U1"})).statuses == [200]
        ignored = [line["type"] for line in lines if line["event"] == "request_ignored"]
        assert ignored == ["block_actions", "reaction_added"]
        assert house.workspace.counts.total() == 0  # and Slack was not asked anything meanwhile


@pytest.mark.parametrize(
    "kind", ["block_actions", "view_submission", "view_closed", "block_suggestion", "shortcut", "message_action", "new"]
)
async def test_every_kind_of_interaction_is_acknowledged(kind: str) -> None:
    asked: dict[str, Any] = {
        "type": kind,
        "user": {"id": "U1"},
        "team": {"id": "T1"},
        "callback_id": "c",
        "view": {"callback_id": "c"},
    }
    asked |= {"actions": [{"type": "feedback_buttons", "action_id": "a", "block_id": "b", "value": "1"}]}
    async with House() as house:
        status, _ = await house.simulator.post(urlencode({"payload": json.dumps(asked)}).encode(), FORM)
        assert status == 200
        assert house.gateway.calls == 0


async def test_the_200_waits_until_the_message_is_on_disk() -> None:
    async with asyncio.timeout(10), House() as house:
        house.gateway.gate.clear()
        saying = asyncio.create_task(house.simulator.user_says("D1", "hello"))
        await house.gateway.entered.wait()
        # The server answers others meanwhile, so it is this message's 200 that is held back.
        for _ in range(3):
            assert (await house.simulator.push({"type": "reaction_added"})).statuses == [200]
        assert not saying.done()
        assert house.gateway.messages == {}
        house.gateway.gate.set()
        assert (await saying).events[0].statuses == [200]
        assert house.gateway.texts == ["hello"]


async def test_a_failing_ledger_makes_slack_deliver_again() -> None:
    async with House() as house:
        house.gateway.failures = 2
        said = await house.simulator.user_says("D1", "hello")
        assert said.events[0].statuses == [503, 503, 200]
        assert house.gateway.texts == ["hello"]


async def test_a_ledger_that_never_recovers_never_yields_a_200() -> None:
    async with House() as house:
        house.gateway.failures = 100
        said = await house.simulator.user_says("D1", "hello")
        assert said.events[0].statuses == [503] * 4
        assert not said.accepted


async def test_a_redelivery_after_a_slow_200_is_the_same_message() -> None:
    async with House(acknowledge_seconds=0.05) as house:
        house.gateway.gate.clear()
        said = await house.simulator.user_says("D1", "hello")
        assert said.events[0].statuses == [0] * 4
        house.gateway.gate.set()
        assert await house.simulator.redeliver(said.events[0], 1) == 200
        assert house.gateway.calls == 5
        assert house.gateway.texts == ["hello"]


async def test_a_mention_arrives_twice_and_is_kept_once() -> None:
    async with House() as house:
        said = await house.simulator.mention("C1", "where is my order?")
        assert [event.statuses for event in said.events] == [[200], [200]]
        assert house.gateway.calls == 2
        (message,) = house.gateway.messages.values()
        assert message.text == "where is my order?"
        assert message.conversation.thread_id == said.shown.ts


async def test_talk_in_a_channel_is_left_alone() -> None:
    async with House() as house:
        await house.simulator.user_says("C1", "lunch?", dm=False)
        await house.simulator.user_says("C1", "anyone?", dm=False, thread_ts=THREAD)
        assert house.gateway.calls == 0


async def test_bots_get_no_answer() -> None:
    async with House() as house:
        await house.simulator.user_says("D1", "beep", bot_id="B9")
        await house.simulator.user_says("D1", "beep", user=house.workspace.bot_user)
        assert house.gateway.calls == 0


async def test_another_name_has_another_address() -> None:
    async with House(name="slack_de") as house:
        await house.simulator.user_says("D1", "hallo")
        assert [key[0] for key in house.gateway.messages] == ["slack_de"]


async def test_logs_hold_neither_text_nor_secret() -> None:
    async with House() as house:
        with capture_logs() as lines:
            await house.channel.start()
            house.gateway.failures = 1
            await house.simulator.user_says("D1", "my card is 4242")
            await house.simulator.post(b"my card is 4242", headers={"X-Slack-Signature": "v0=x"})
        assert lines
        for secret in ("4242", TOKEN, SECRET):
            assert secret not in str(lines)
