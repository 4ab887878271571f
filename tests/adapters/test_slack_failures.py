"""When Slack says no, or nothing: every failure as the DeliveryError that it is, and no text shown twice."""

from __future__ import annotations

import asyncio

import pytest

from adapters.slack.simulator import Fault
from core.errors import DeliveryError
from tests.adapters.slack_house import TOKEN, House, delivery, draft, ready


async def refused(house: House, reference: str = "") -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        await house.channel.deliver(delivery("the answer", reference))
    assert TOKEN not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    "error",
    [
        "channel_not_found",
        "is_archived",
        "not_in_channel",
        "account_inactive",
        "invalid_auth",
        "token_revoked",
        "missing_scope",
        "msg_too_long",
        "something_new",
    ],
)
@pytest.mark.parametrize("reference", ["", "C1:1.000001"])
async def test_what_a_repeat_cannot_cure(error: str, reference: str) -> None:
    async with House() as house:
        house.workspace.fail("chat.update" if reference else "chat.postMessage", Fault(error=error))
        refusal = await refused(house, reference)
        assert (refusal.retryable, refusal.unclear) == (False, False)
        assert error in refusal.reason
        assert house.workspace.counts.total() == 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault(error="fatal_error"),
        Fault(error="internal_error"),
        Fault(error="service_unavailable", status=503),
        Fault(status=502, body=b"<html>Bad gateway</html>"),
        Fault(status=500, body=b""),
    ],
)
@pytest.mark.parametrize("reference", ["", "C1:1.000001"])
async def test_what_passes_by_itself(fault: Fault, reference: str) -> None:
    async with House() as house:
        house.workspace.fail("chat.update" if reference else "chat.postMessage", fault)
        refusal = await refused(house, reference)
        assert (refusal.retryable, refusal.unclear) == (True, False)


@pytest.mark.parametrize(
    ("fault", "pause"),
    [
        (Fault(error="ratelimited", status=429, retry_after=30), 30.0),
        (Fault(error="ratelimited", status=429), None),
        (Fault(error="rate_limited"), None),
        (Fault(status=429, retry_after=7, body=b"slow down"), 7.0),
    ],
)
async def test_floods_say_how_long_to_wait(fault: Fault, pause: float | None) -> None:
    async with House() as house:
        house.workspace.fail("chat.postMessage", fault)
        refusal = await refused(house)
        assert (refusal.retryable, refusal.unclear, refusal.retry_after) == (True, False, pause)


async def test_no_connection_is_worth_a_repeat() -> None:
    async with House(base_url="http://127.0.0.1:9/api/") as house:
        refusal = await refused(house)
        assert (refusal.retryable, refusal.unclear) == (True, False)


@pytest.mark.parametrize("fault", [Fault(drop=True), Fault(reset=True)])
async def test_a_lost_answer_to_a_new_message_is_unclear_and_not_repeated(fault: Fault) -> None:
    async with House() as house:
        await ready(house)
        house.workspace.fail("chat.postMessage", fault)
        refusal = await refused(house)
        assert (refusal.retryable, refusal.unclear) == (False, True)
        assert house.workspace.counts["chat.postMessage"] == 1
        assert len(house.workspace.replies("C1")) == (1 if fault.drop else 0)


async def test_a_lost_answer_to_an_edit_is_repeated() -> None:
    async with House() as house:
        await ready(house)
        reference = await house.channel.preview(draft("half"))
        assert reference
        house.workspace.fail("chat.update", Fault(drop=True))
        refusal = await refused(house, reference)
        assert (refusal.retryable, refusal.unclear) == (True, False)
        assert await house.channel.deliver(delivery("the answer", reference)) == reference
        (reply,) = house.workspace.replies("C1")
        assert reply.text == "the answer"


async def test_a_time_out_is_unclear_for_a_new_message_and_harmless_for_an_edit() -> None:
    async with House(timeout_seconds=0.05) as house:
        await ready(house)
        hold = asyncio.Event()
        for method in ("chat.postMessage", "chat.update"):
            house.workspace.fail(method, Fault(hold=hold))
        posted, edited = await refused(house), await refused(house, "C1:1.000001")
        hold.set()
        assert (posted.retryable, posted.unclear) == (False, True)
        assert (edited.retryable, edited.unclear) == (True, False)


@pytest.mark.parametrize("body", [b"not json", b"[1]", b"null", b'{"ok": true}'])
async def test_a_200_that_names_no_message_is_unclear(body: bytes) -> None:
    async with House() as house:
        house.workspace.fail("chat.postMessage", Fault(body=body))
        assert (await refused(house)).unclear
