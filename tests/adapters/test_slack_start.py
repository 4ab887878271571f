"""Settings, start, close and check of the Slack channel."""

from __future__ import annotations

import asyncio
import json

import pytest
from pydantic import ValidationError

from adapters.slack.channel import build
from adapters.slack.settings import Settings
from adapters.slack.simulator import Fault
from tests.adapters.slack_house import SECRET, TOKEN, House


async def test_start_survives_an_unreachable_slack_and_learns_its_name_later() -> None:
    async with House() as house:
        house.workspace.fail("auth.test", Fault(error="internal_error"), times=2)
        await house.channel.start()
        assert house.channel._introduction is not None
        await asyncio.wait_for(house.channel._introduction, 10)
        assert house.workspace.counts["auth.test"] == 3


async def test_a_started_channel_knows_itself_without_the_envelopes_help() -> None:
    async with House() as house:
        await house.channel.start()
        event = {"type": "message", "channel_type": "im", "channel": "D1", "ts": "1.000001", "text": "hello"}
        for user in (house.workspace.bot_user, "U1"):
            envelope = house.simulator.envelope(event | {"user": user}) | {"authorizations": None}
            assert (await house.simulator.post(json.dumps(envelope).encode()))[0] == 200
        assert [message.user_id for message in house.gateway.messages.values()] == ["U1"]


async def test_start_does_not_ask_again_with_a_token_that_was_refused() -> None:
    async with House() as house:
        channel = house.open(token="xoxb-wrong")
        await channel.start()
        assert channel._introduction is None
        assert house.workspace.counts["auth.test"] == 1
        await channel.close()


async def test_close_ends_the_attempts() -> None:
    async with House(base_url="http://127.0.0.1:9/api/", retry_seconds=1000.0) as house:
        await house.channel.start()
        task = house.channel._introduction
        await house.channel.close()
        assert task is not None
        assert task.cancelled()


async def test_check_says_what_to_do() -> None:
    async with House(scopes="chat:write", public_url="") as house:
        found = {finding.subject: finding for finding in await house.channel.check()}
        assert found["channels.slack token"].ok
        assert found["channels.slack scopes"].detail == "missing: app_mentions:read, im:history"
        assert found["channels.slack address"].remedy == "set server.public_url"
        channel = house.open(token="xoxb-wrong")
        (finding,) = await channel.check()
        assert not finding.ok
        assert "invalid_auth" in finding.detail
        assert "xoxb-wrong" not in str(finding)
        await channel.close()


async def test_check_is_content_when_all_is_set() -> None:
    async with House() as house:
        findings = await house.channel.check()
        assert all(finding.ok for finding in findings)
        assert findings[-1].detail.endswith("https://bot.example.com/slack/events")


async def test_check_names_what_would_be_more_comfortable() -> None:
    async with House(scopes="chat:write,app_mentions:read, im:history, commands") as house:
        (scopes,) = [finding for finding in await house.channel.check() if finding.subject.endswith("scopes")]
        wanted = "without assistant:write (suggested prompts in the agent view), channels:history ("
        assert scopes.ok
        assert scopes.detail.startswith(wanted)


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize(
    ("skew", "ok", "said"),
    [
        (0.0, True, "0 s"),
        (-59.0, True, "59 s ahead of Slack's"),
        (120.0, False, "120 s behind Slack's"),
        (-400.0, False, "400 s ahead of Slack's"),
    ],
)
async def test_check_compares_the_clocks(several: bool, skew: float, ok: bool, said: str) -> None:
    async with House(clock=lambda: 1_790_000_000.0, several=several) as house:
        house.workspace.clock_skew = skew
        (clock,) = [finding for finding in await house.channel.check() if finding.subject.endswith("clock")]
        assert (clock.ok, clock.detail.startswith(said), bool(clock.remedy)) == (ok, True, not ok)


async def test_check_of_an_app_for_several_workspaces_says_where_to_install_it() -> None:
    async with House(several=True) as house:
        found = {finding.subject: finding for finding in await house.channel.check()}
        assert all(finding.ok for finding in found.values())
        assert "https://bot.example.com/slack/install" in found["channels.slack installing"].detail
        assert "channels.slack token" not in found
    async with House(several=True, public_url="http://bot.example.com") as house:
        (finding,) = [finding for finding in await house.channel.check() if not finding.ok]
        assert "https" in finding.remedy


async def test_check_notices_a_wrong_client_secret() -> None:
    async with House(several=True) as house:
        channel = house.open(client_secret="a-wrong-secret")
        (finding,) = await channel.check()
        assert (finding.ok, "bad_client_secret" in finding.detail) == (False, True)
        assert "a-wrong-secret" not in str(finding)
        await channel.close()


async def test_check_of_an_unreachable_slack_says_so() -> None:
    for several in (False, True):
        async with House(base_url="http://127.0.0.1:9/api/", several=several) as house:
            (finding,) = await house.channel.check()
            assert (finding.ok, finding.remedy) == (False, "try again later")


def test_settings_of_several_workspaces_need_no_token() -> None:
    settings = Settings.model_validate({"client_id": "1.2", "signing_secret": SECRET})
    assert settings.missing() == ["SLACK_CLIENT_SECRET"]
    complete = Settings.model_validate({"client_id": "1.2", "client_secret": "s3cret", "signing_secret": SECRET})
    assert complete.missing() == []
    assert "s3cret" not in repr(complete)
    assert Settings.model_validate({"client_secret": "s3cret"}).missing() == ["SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET"]


def test_a_token_and_a_client_id_are_a_mistake_at_the_start() -> None:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"client_id": "1.2", "token": TOKEN})
    assert "unset one of the two" in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_a_section_without_its_secrets_is_not_built() -> None:
    with pytest.raises(ValueError, match="SLACK_SIGNING_SECRET"):
        build("slack", Settings.model_validate({"token": TOKEN}), public_url="")


def test_settings_name_what_is_missing() -> None:
    assert Settings().missing() == ["SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET"]
    settings = Settings.model_validate({"token": TOKEN, "signing_secret": SECRET})
    assert settings.missing() == []
    assert TOKEN not in repr(settings)


@pytest.mark.parametrize("token", ["xoxb-1 2", "xoxb-\n", "xoxb-é"])
def test_a_token_that_cannot_be_sent_is_a_mistake_at_the_start(token: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"token": token, "signing_secret": SECRET})
    assert token not in str(caught.value)


async def test_build_opens_nothing_and_fills_the_port() -> None:
    settings = Settings.model_validate({"token": TOKEN, "signing_secret": SECRET})
    channel = build("slack_de", settings, public_url="")
    assert channel.name == "slack_de"
    assert channel.traits.preview_seconds == 0.65
    await channel.close()


@pytest.mark.parametrize(("streaming", "pace"), [("auto", 0.65), ("native", 0.65), ("edit", 1.3)])
async def test_the_pace_is_that_of_the_streams(streaming: str, pace: float) -> None:
    settings = Settings.model_validate({"token": TOKEN, "signing_secret": SECRET, "streaming": streaming})
    channel = build("slack", settings, public_url="")
    assert channel.traits.preview_seconds == pace
    await channel.close()


def test_another_way_of_streaming_is_a_mistake_at_the_start() -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({"token": TOKEN, "signing_secret": SECRET, "streaming": "always"})
