"""Several workspaces: each installs the app by Slack's own pages, and is answered with its own token and no other."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from adapters.slack.events import Home
from adapters.slack.simulator import Event, Workspace
from adapters.slack.workspaces import WORKSPACES_KEPT
from core.errors import DeliveryError
from core.types import Delivery, InboundMessage
from tests.adapters.slack_house import CLIENT_SECRET, SECRET, House, delivery, draft, installed

# slack_sdk's way of sending the client's secret, which aiohttp 4 will no longer have.
pytestmark = pytest.mark.filterwarnings("ignore:BasicAuth is deprecated:DeprecationWarning")


def house_of(public_url: str = "", **settings: Any) -> House:
    return House(several=True, public_url=public_url, **settings)


async def answered(house: House, channel: str, at: Workspace, text: str) -> InboundMessage:
    """A person mentions the bot there, and is answered."""
    await house.simulator.mention(channel, "where is my order?", at=at)
    message = list(house.gateway.messages.values())[-1]
    shown = await house.channel.preview(
        replace(draft("It"), address=message.address, turn_id=len(house.gateway.messages))
    )
    item = replace(delivery(text, shown or ""), address=message.address, turn_id=len(house.gateway.messages))
    await house.channel.deliver(item)
    return message


def addressed(team: str) -> Delivery:
    return replace(delivery("the answer"), address={"channel": "C1", "thread_ts": "", "team": team, "home_team": team})


async def test_two_workspaces_install_it_and_each_is_answered_with_its_own_token() -> None:
    async with house_of(feedback=True, streaming="auto") as house:
        one, two = house.simulator.add("T1", "UB1"), house.simulator.add("T2", "UB2")
        with capture_logs() as lines:
            await installed(house, one)
            await installed(house, two)
            first = await answered(house, "C1", one, "the first")
            second = await answered(house, "C1", two, "the second")  # ids are unique within a workspace only
        assert [reply.text for reply in one.replies("C1")] == ["the first"]
        assert [reply.text for reply in two.replies("C1")] == ["the second"]
        assert first.conversation.chat_id != second.conversation.chat_id
        assert first.user_id != second.user_id
        assert one.token != two.token
        assert house.workspace.counts.total() == house.workspace.counts["oauth.v2.access"]
        for secret in (one.token, two.token, CLIENT_SECRET, SECRET):
            assert secret not in str(lines)


async def test_a_vote_is_for_the_conversation_of_its_workspace() -> None:
    async with house_of(feedback=True) as house:
        one = house.simulator.add("T1", "UB1")
        await installed(house, one)
        await house.simulator.mention("C1", "hello", at=one)
        (message,) = house.gateway.messages.values()
        item = replace(delivery("hi"), address=message.address, conversation=message.conversation, turn_id=3)
        await house.channel.deliver(item)
        assert await house.simulator.vote(one.replies("C1")[0], good=False, user="U5", at=one) == 200
        assert house.gateway.votes == [(message.conversation, 3, "T1/U5", "bad")]


async def test_installations_outlive_a_restart() -> None:
    async with house_of() as house:
        one = house.simulator.add("T1", "UB1")
        await installed(house, one)
        message = await answered(house, "C1", one, "the first")
        restarted = house.open()
        list(restarted.routes(house.gateway))  # type: ignore[arg-type]  # as the house does
        await restarted.deliver(replace(delivery("after it"), address=message.address, turn_id=9))
        await restarted.close()
        assert [reply.text for reply in one.replies("C1")] == ["the first", "after it"]


async def test_a_workspace_that_is_not_installed_is_acknowledged_and_never_answered() -> None:
    async with house_of() as house:
        one, stranger = house.simulator.add("T1", "UB1"), house.simulator.add("T9", "UB9")
        await installed(house, one)
        with capture_logs() as lines:
            said = await house.simulator.mention("C1", "hello", at=stranger)
            assert await house.simulator.slash_command("C1", "/frontdesk", "hello") == 200
        assert said.accepted
        assert house.gateway.calls == 0
        assert [line["workspace"] for line in lines if line["event"] == "workspace_not_installed"][:1] == ["T9"]
        with pytest.raises(DeliveryError) as caught:
            await house.channel.deliver(addressed("T9"))
        assert (caught.value.retryable, caught.value.unclear) == (False, False)
        assert "not installed in workspace T9" in caught.value.reason
        with pytest.raises(DeliveryError):
            await house.channel.deliver(delivery("no team in its address"))
        assert one.counts["chat.postMessage"] == 0


async def test_url_verification_needs_no_installation() -> None:
    async with house_of() as house:
        status, body = await house.simulator.post(b'{"type": "url_verification", "challenge": "abc"}')
        assert (status, json.loads(body)) == (200, {"challenge": "abc"})


@pytest.mark.parametrize(
    "event",
    [{"type": "app_uninstalled"}, {"type": "tokens_revoked", "tokens": {"oauth": [], "bot": ["UB1"]}}],
)
async def test_a_removed_app_is_forgotten_and_its_chats_are_left(event: dict[str, object]) -> None:
    async with house_of() as house:
        one, two = house.simulator.add("T1", "UB1"), house.simulator.add("T2", "UB2")
        for workspace in (one, two):
            await installed(house, workspace)
            await answered(house, "C1", workspace, "hi")
        envelope = house.simulator.envelope(event, one) | {"event_time": int(house.simulator._clock()) + 1}
        assert await house.simulator.redeliver(Event(envelope)) == 200
        assert [conversation.chat_id for conversation in house.gateway.left] == ["T1/C1"]
        assert [name for _, name in house.gateway.facts] == ["installation/-/T2"]
        with pytest.raises(DeliveryError, match="not installed"):
            await house.channel.deliver(addressed("T1"))
        await answered(house, "C1", two, "still here")


async def test_a_late_report_of_a_removal_does_not_undo_a_new_installation() -> None:
    async with house_of() as house:
        one = house.simulator.add("T1", "UB1")
        await installed(house, one)
        envelope = house.simulator.envelope({"type": "app_uninstalled"}, one) | {"event_time": 1_600_000_000}
        assert await house.simulator.redeliver(Event(envelope)) == 200
        assert len(house.gateway.facts) == 1
        assert house.gateway.left == []
        await answered(house, "C1", one, "hi")


async def test_a_workspace_is_found_by_its_organisation_and_from_before_it_joined_one() -> None:
    async with house_of() as house:
        one, workspaces = house.simulator.add("T1", "UB1"), house.channel._workspaces
        assert workspaces is not None
        await installed(house, one)
        joined = await workspaces.find(Home("T1", "E1"))
        assert joined is not None and joined.apart == "T1/"
        assert await workspaces.find(Home("T2", "E1")) is None
        house.simulator.grants.whole_enterprise = "E1"
        await installed(house, one)
        member = await workspaces.find(Home("T2", "E1"))
        assert member is not None and member.apart == "E1/"
        assert await workspaces.find(Home("T2", "E2")) is None


async def test_an_installation_anew_replaces_the_token() -> None:
    async with house_of() as house:
        one = house.simulator.add("T1", "UB1")
        await installed(house, one)
        await answered(house, "C1", one, "the first")
        before = one.token
        await installed(house, one)
        assert one.token != before
        await answered(house, "C1", one, "the second")
        assert len(house.gateway.facts) == 1


async def test_a_whole_organisation_is_one_installation() -> None:
    async with house_of() as house:
        one = house.simulator.add("T1", "UB1")
        house.simulator.grants.whole_enterprise = "E1"
        await installed(house, one)
        assert [name for _, name in house.gateway.facts] == ["installation/E1/-"]
        message = await answered(house, "C1", one, "hi")
        assert message.conversation.chat_id == "E1/C1"
        assert [reply.text for reply in one.replies("C1")] == ["hi"]


async def test_a_token_that_ends_is_renewed_once_in_time() -> None:
    async with house_of() as house:
        one = house.simulator.add("T1", "UB1")
        house.simulator.grants.token_seconds = 60  # within the two hours before its end from the start
        await installed(house, one)
        before = one.token
        house.simulator.grants.token_seconds = 43_200
        await house.simulator.mention("C1", "hello", at=one)
        (message,) = house.gateway.messages.values()
        items = [replace(delivery(f"{n}"), address=message.address, turn_id=n) for n in range(5)]
        await asyncio.gather(*(house.channel.deliver(item) for item in items))
        assert one.token != before
        assert house.simulator.workspace.counts["oauth.v2.access"] == 2, "once to install, once to renew"
        assert len(one.replies("C1")) == 5


async def test_a_token_that_cannot_be_renewed_says_what_to_do() -> None:
    async with house_of() as house:
        one = house.simulator.add("T1", "UB1")
        house.simulator.grants.token_seconds = 60
        await installed(house, one)
        house.simulator.grants.revoke()
        said = await house.simulator.mention("C1", "hello", at=one)
        assert said.accepted, "what people write is kept all the same"
        (message,) = house.gateway.messages.values()
        with pytest.raises(DeliveryError, match="install the app again") as caught:
            await house.channel.deliver(replace(delivery("hi"), address=message.address))
        assert not caught.value.retryable


async def test_a_ledger_that_fails_is_worth_a_repeat() -> None:
    async with house_of() as house:
        one = house.simulator.add("T1", "UB1")
        await installed(house, one)
        house.gateway.failures = 2
        with pytest.raises(DeliveryError) as caught:
            await house.channel.deliver(addressed("T1"))
        assert caught.value.retryable
        said = await house.simulator.mention("C1", "hello", at=one, pair=False)
        assert said.events[0].statuses == [503, 200]


async def test_as_many_workspaces_as_are_kept_and_no_more() -> None:
    async with house_of() as house:
        one = house.simulator.add("T1", "UB1")
        await installed(house, one)
        ((_, name),) = house.gateway.facts
        values, workspaces = house.gateway.facts["slack", name], house.channel._workspaces
        assert workspaces is not None
        for number in range(WORKSPACES_KEPT + 5):
            team = f"T{number:05d}"
            await house.gateway.keep("slack", f"installation/-/{team}", {**values, "team_id": team})
            assert await workspaces.find(Home(team)) is not None
        assert len(workspaces.known()) == WORKSPACES_KEPT
