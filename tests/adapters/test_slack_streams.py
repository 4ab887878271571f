"""Slack's own streams: exact suffixes, one message, and every way they can end finished by an edit of that message."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from adapters.slack.simulator import Fault
from core.errors import DeliveryError
from core.types import ConversationKey, Delivery, Draft
from tests.adapters.slack_house import THREAD, House, delivery, draft, ready

READER = {"channel": "C1", "thread_ts": THREAD, "team": "T0000000001", "user": "U0000000001"}


def growing(text: str, reference: str = "", *, turn_id: int = 1) -> Draft:
    return replace(draft(text, reference, turn_id=turn_id), address=READER)


def final(text: str, reference: str = "", *, turn_id: int = 1) -> Delivery:
    return replace(delivery(text, reference, turn_id=turn_id), address=READER)


def house_of(**settings: Any) -> House:
    return House(**({"streaming": "auto"} | settings))


async def begun(house: House, *texts: str) -> str:
    """A stream in C1 that shows the texts; returns its reference."""
    await ready(house)
    reference = ""
    for text in texts:
        reference = await house.channel.preview(growing(text, reference)) or ""
    assert house.workspace.counts["chat.startStream"] == 1
    return reference


async def finished(house: House, text: str, reference: str) -> list[str]:
    """Deliver, and see one message with that text; returns the methods that it took."""
    before = len(house.workspace.calls)
    assert await house.channel.deliver(final(text, reference)) == reference
    (reply,) = house.workspace.replies("C1")
    assert reply.text == text
    assert reply.pings == 0
    channel, _, ts = reference.partition(":")
    assert not house.workspace.streams.live(channel, ts)
    methods = [call.method for call in list(house.workspace.calls)[before:]]
    return [method for method in methods if method.startswith("chat.")]


async def test_a_stream_gets_exactly_what_it_does_not_have() -> None:
    async with house_of() as house:
        reference = await begun(house, "It <b>", "It <b> & left", "It <b> & left")
        assert await finished(house, "It <b> & left today.", reference) == ["chat.stopStream"]
        assert [call.arguments.get("markdown_text") for call in house.workspace.calls] == [
            "It &lt;b&gt;",
            " &amp; left",
            " today.",
        ]
        start = house.workspace.calls[0].arguments
        assert (start["recipient_user_id"], start["recipient_team_id"]) == ("U0000000001", "T0000000001")


async def test_a_whole_text_needs_no_more_than_the_end() -> None:
    async with house_of() as house:
        reference = await begun(house, "whole")
        assert await finished(house, "whole", reference) == ["chat.stopStream"]
        assert "markdown_text" not in house.workspace.calls[-1].arguments


async def test_a_thread_of_direct_messages_streams_too() -> None:
    async with house_of() as house:
        said = await house.simulator.user_says("D1", "hello", thread_ts=THREAD)
        address = {"channel": "D1", "thread_ts": THREAD}
        reference = await house.channel.preview(replace(draft("a"), address=address))
        assert reference
        await house.channel.deliver(replace(delivery("a b", reference), address=address))
        assert said.accepted
        assert [reply.text for reply in house.workspace.replies("D1", THREAD)] == ["a b"]
        assert house.workspace.counts["chat.stopStream"] == 1


async def test_outside_threads_replies_grow_by_edits() -> None:
    async with house_of() as house:
        await house.simulator.user_says("D1", "hello")
        reference = await house.channel.preview(draft("a", chat="D1", thread=""))
        assert reference
        await house.channel.deliver(delivery("a b", reference, chat="D1", thread=""))
        assert house.workspace.counts == {"chat.postMessage": 1, "chat.update": 1}


async def test_in_the_agent_view_direct_messages_are_answered_in_their_thread() -> None:
    async with House(streaming="native") as house:
        said = await house.simulator.user_says("D1", "hello")
        (message,) = house.gateway.messages.values()
        key = ConversationKey("slack", "support", "D1", said.shown.ts)
        assert message.conversation == key
        await house.channel.preview(Draft(1, key, message.address, "a"))
        assert [reply.thread_ts for reply in house.workspace.replies("D1")] == [said.shown.ts]
        assert house.workspace.counts["chat.startStream"] == 1
        assert house.workspace.counts["chat.postMessage"] == 0


@pytest.mark.parametrize("error", ["unknown_method", "method_deprecated", "feature_not_enabled"])
async def test_a_slack_that_cannot_stream_is_asked_once(error: str) -> None:
    async with house_of() as house:
        await ready(house)
        assert house.channel.traits.preview_seconds == 0.65
        house.workspace.fail("chat.startStream", Fault(error=error), times=10)
        for turn in (1, 2):
            reference = await house.channel.preview(growing("a", turn_id=turn))
            assert reference
            await house.channel.deliver(final("a b", reference, turn_id=turn))
        assert [reply.text for reply in house.workspace.replies("C1")] == ["a b", "a b"]
        assert house.workspace.counts["chat.startStream"] == 1
        assert house.channel.traits.preview_seconds == 1.3


@pytest.mark.parametrize(
    "fault",
    [
        Fault(error="missing_recipient_team_id"),
        Fault(error="missing_recipient_user_id"),
        Fault(error="channel_type_not_supported"),
        Fault(error="something_new"),
        Fault(error="ratelimited", status=429, retry_after=30),
        Fault(status=502, body=b"<html>"),
    ],
)
async def test_a_reply_that_slack_does_not_stream_is_posted_and_edited(fault: Fault) -> None:
    now = 1_790_000_000.0
    async with house_of(clock=lambda: now) as house:
        await ready(house)
        house.workspace.fail("chat.startStream", fault)
        reference = await house.channel.preview(growing("a"))
        assert reference
        now += 2
        await house.channel.preview(growing("a b", reference))
        now += 60
        await finished(house, "a b c", reference)
        assert house.workspace.counts == {"chat.startStream": 1, "chat.postMessage": 1, "chat.update": 2}
        await house.channel.preview(growing("next", turn_id=2))
        assert house.workspace.counts["chat.startStream"] == 2, "the next reply tries again"


async def test_a_lost_start_ends_the_previews_and_nothing_is_posted_meanwhile() -> None:
    async with house_of() as house:
        await ready(house)
        house.workspace.fail("chat.startStream", Fault(reset=True))
        with pytest.raises(DeliveryError) as caught:
            await house.channel.preview(growing("a"))
        assert caught.value.unclear
        assert house.workspace.replies("C1") == []


@pytest.mark.parametrize(
    "error", ["message_not_in_streaming_state", "msg_blocks_too_long", "streaming_state_conflict_2", "internal"]
)
async def test_a_stream_that_takes_no_more_goes_on_by_edits(error: str) -> None:
    now = 1_790_000_000.0
    async with house_of(clock=lambda: now) as house:
        reference = await begun(house, "a")
        now += 2
        house.workspace.fail("chat.appendStream", Fault(error=error))
        assert await house.channel.preview(growing("a b", reference)) == reference
        now += 2
        assert await house.channel.preview(growing("a b c", reference)) == reference
        assert house.workspace.replies("C1")[0].text == "a b c"
        assert house.workspace.counts["chat.appendStream"] == 1
        assert await finished(house, "a b c d", reference) == ["chat.update"]


async def test_a_stream_that_died_of_age_goes_on_by_edits() -> None:
    now = 1_790_000_000.0
    async with house_of(clock=lambda: now, stream_seconds=300.0) as house:
        reference = await begun(house, "a", "a b")
        now += 301
        assert await house.channel.preview(growing("a b c", reference)) == reference
        assert house.workspace.replies("C1")[0].text == "a b c"
        assert await finished(house, "a b c d", reference) == ["chat.update"]


async def test_a_stream_that_died_before_its_end_is_finished_by_an_edit() -> None:
    now = 1_790_000_000.0
    async with house_of(clock=lambda: now, stream_seconds=300.0) as house:
        reference = await begun(house, "a")
        now += 301
        assert await finished(house, "a b", reference) == ["chat.stopStream", "chat.update"]


async def test_stop_ends_the_generation_and_what_stands_is_kept() -> None:
    async with house_of() as house:
        reference = await begun(house, "a", "a b")
        house.workspace.streams.stop("C1", THREAD)  # without the event: the app may not be subscribed to it
        draft = growing("a b c", reference)
        with pytest.raises(DeliveryError):
            await house.channel.preview(draft)
        assert house.gateway.stopped == [draft.conversation]
        assert await finished(house, "a b c…", reference) == ["chat.update"]


async def test_stop_after_the_last_preview() -> None:
    async with house_of() as house:
        reference = await begun(house, "a")
        await house.simulator.press_stop("C1", THREAD)
        assert await finished(house, "a b", reference) == ["chat.stopStream", "chat.update"]


async def test_the_stream_of_a_process_that_died_is_ended_and_overwritten() -> None:
    async with house_of() as house:
        reference = await begun(house, "half of")
        await house.channel.close()
        house.channel = house.open()
        assert await finished(house, "the whole", reference) == ["chat.update", "chat.stopStream", "chat.update"]


async def test_a_turn_taken_over_goes_on_in_the_same_message() -> None:
    async with house_of() as house:
        reference = await begun(house, "half of")
        await house.channel.close()
        house.channel = house.open()
        assert await house.channel.preview(growing("another", reference)) == reference
        assert await finished(house, "another text", reference) == ["chat.update"]


async def test_a_text_that_begins_anew_replaces_the_stream() -> None:
    now = 1_790_000_000.0
    async with house_of(clock=lambda: now) as house:
        reference = await begun(house, "first try")
        now += 2
        await house.channel.preview(growing("second", reference))
        assert house.workspace.replies("C1")[0].text == "second"
        assert await finished(house, "second try", reference) == ["chat.update"]


@pytest.mark.parametrize("fault", [Fault(drop=True), Fault(reset=True)])
async def test_an_append_of_unknown_outcome_is_mended_by_an_edit(fault: Fault) -> None:
    async with house_of() as house:
        reference = await begun(house, "a")
        house.workspace.fail("chat.appendStream", fault)
        with pytest.raises(DeliveryError):
            await house.channel.preview(growing("a b", reference))
        methods = await finished(house, "a b c", reference)
        assert methods == ["chat.update", "chat.stopStream", "chat.update"]


@pytest.mark.parametrize("fault", [Fault(drop=True), Fault(reset=True)])
async def test_an_end_of_unknown_outcome_is_repeated_without_doubling_the_text(fault: Fault) -> None:
    async with house_of() as house:
        reference = await begun(house, "a")
        house.workspace.fail("chat.stopStream", fault)
        with pytest.raises(DeliveryError) as caught:
            await house.channel.deliver(final("a b", reference))
        assert (caught.value.retryable, caught.value.unclear) == (True, False)
        await finished(house, "a b", reference)


async def test_a_flood_at_the_end_is_waited_for() -> None:
    async with house_of() as house:
        reference = await begun(house, "a")
        house.workspace.fail("chat.stopStream", Fault(error="ratelimited", status=429, retry_after=30))
        with pytest.raises(DeliveryError) as caught:
            await house.channel.deliver(final("a b", reference))
        assert (caught.value.retryable, caught.value.retry_after) == (True, 30.0)
        assert await finished(house, "a b", reference) == ["chat.stopStream"]


async def test_a_message_that_was_deleted_while_it_grew_is_written_anew() -> None:
    async with house_of() as house:
        reference = await begun(house, "a")
        house.workspace.fail("chat.stopStream", Fault(error="message_not_found"))
        house.workspace.fail("chat.update", Fault(error="message_not_found"))
        assert await house.channel.deliver(final("a b", reference)) != reference
        assert house.workspace.replies("C1")[-1].text == "a b"


async def test_all_streams_together_keep_to_the_rates() -> None:
    now = 1_790_000_000.0
    limits = {"chat.startStream": 20, "chat.appendStream": 100, "chat.stopStream": 20, "chat.update": 50}
    async with house_of(clock=lambda: now, limits=limits) as house:
        await ready(house)
        references = [await house.channel.preview(growing("0", turn_id=turn)) or "" for turn in range(20)]
        assert house.workspace.counts == {"chat.startStream": 18, "chat.postMessage": 2}
        for step in range(1, 10):
            for turn, reference in enumerate(references):
                text = "0" + "x" * step
                assert await house.channel.preview(growing(text, reference, turn_id=turn)) == reference
        assert house.workspace.counts["chat.appendStream"] == 90
        for turn, reference in enumerate(references):
            await house.channel.deliver(final("0" + "x" * 20, reference, turn_id=turn))
        assert [reply.text for reply in house.workspace.replies("C1")] == ["0" + "x" * 20] * 20


async def test_a_text_longer_than_a_message_ends_with_its_first_part() -> None:
    async with house_of() as house:
        reference = await begun(house, "<", "<" * 900, "<" * 5_000, "<" * 6_000)
        assert house.workspace.replies("C1")[0].text == "<" * 1_000
        assert await finished(house, "<" * 1_000, reference) == ["chat.stopStream"]


async def test_a_first_part_shorter_than_the_stream_replaces_it() -> None:
    async with house_of() as house:
        reference = await begun(house, "word " * 700)
        assert (await finished(house, ("word " * 600).strip(), reference))[-1] == "chat.update"


@pytest.mark.parametrize("cut", [2, 5, 11])
async def test_no_piece_can_mention_anybody(cut: int) -> None:
    text = "<!channel> <@U0000000001> <!subteam^S1> & <order-id>"
    async with house_of() as house:
        reference = await begun(house, text[:cut], text[: cut + 7])
        await finished(house, text, reference)
        house.workspace.streams.begin("C1", reference.partition(":")[2], THREAD)
        await house.channel.deliver(final(text + "!", reference))
        assert house.workspace.replies("C1")[0].pings == 0
        for call in house.workspace.calls:
            assert "<" not in str(call.arguments.get("markdown_text"))


async def test_code_looks_as_it_was_written() -> None:
    async with house_of() as house:
        text = "Run this:\n```sh\ncat <file> && ls\n```\nthen <wait> & see"
        reference = await begun(house, text[:25], text[:40])
        assert await finished(house, text, reference) == ["chat.stopStream"]


async def test_code_in_a_line_is_set_right_at_the_end() -> None:
    async with house_of() as house:
        text = "Give `--name <name>` & wait"
        reference = await begun(house, text[:12], text[:24])
        assert await finished(house, text, reference) == ["chat.stopStream", "chat.update"]
