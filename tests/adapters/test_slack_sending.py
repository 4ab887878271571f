"""What goes to Slack: previews and finals in one message, whole, paced, and unable to mention anybody."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.slack.api import Allowance
from adapters.slack.markup import TEXT_LIMIT, length
from adapters.slack.simulator import Fault
from core.errors import DeliveryError
from core.types import ConversationKey, Delivery, ReplyKind
from tests.adapters.slack_house import House, delivery, draft, ready, samples


@pytest.mark.parametrize("sample", samples("delivery"), ids=lambda sample: sample["name"])
async def test_samples_are_what_slack_gets(sample: dict[str, Any]) -> None:
    fields = sample["delivery"]
    key, kind = ConversationKey(**fields["conversation"]), ReplyKind(fields["kind"])
    item = Delivery(**(fields | {"conversation": key, "kind": kind}))
    async with House(feedback=True) as house:
        await ready(house, str(item.address["channel"]))
        # A preview in a sample is unknown to the simulator; the first call is made all the same.
        await house.channel.deliver(item)
        first = house.workspace.calls[0]
        assert {"method": first.method, "arguments": first.arguments} == sample["calls"][0]


async def test_a_reply_grows_and_ends_in_one_message() -> None:
    async with House() as house:
        said = await house.simulator.mention("C1", "where is my order?")
        thread = said.shown.ts
        reference = await house.channel.preview(draft("It", thread=thread))
        assert reference
        assert await house.channel.preview(draft("It left", reference, thread=thread)) == reference
        assert await house.channel.deliver(delivery("It left today.", reference, thread=thread)) == reference
        (reply,) = house.workspace.replies("C1", thread)
        assert reply.text == "It left today."
        assert reply.thread_ts == thread
        assert list(reply.edits) == ["It", "It left", "It left today."]


async def test_the_same_text_is_never_sent_twice() -> None:
    async with House() as house:
        await ready(house)
        reference = await house.channel.preview(draft("whole"))
        assert reference
        assert await house.channel.preview(draft("whole", reference)) == reference
        assert await house.channel.deliver(delivery("whole", reference)) == reference
        assert house.workspace.counts == {"chat.postMessage": 1}


async def test_a_preview_of_unknown_outcome_is_overwritten_by_the_final() -> None:
    async with House() as house:
        await ready(house)
        reference = await house.channel.preview(draft("one"))
        assert reference
        house.workspace.fail("chat.update", Fault(drop=True))
        with pytest.raises(DeliveryError):
            await house.channel.preview(draft("one two", reference))
        await house.channel.deliver(delivery("one", reference))
        assert house.workspace.replies("C1")[0].text == "one"


async def test_a_final_after_a_restart_lands_in_the_preview() -> None:
    async with House() as house:
        await ready(house)
        reference = await house.channel.preview(draft("half"))
        assert reference
        restarted = house.open()
        await restarted.deliver(delivery("half", reference))
        await restarted.close()
        (reply,) = house.workspace.replies("C1")
        assert list(reply.edits) == ["half", "half"]


async def test_nothing_visible_is_no_preview() -> None:
    async with House() as house:
        await ready(house)
        assert await house.channel.preview(draft(" \n")) is None
        assert house.workspace.counts.total() == 0


async def test_a_preview_longer_than_a_message_shows_its_beginning() -> None:
    async with House() as house:
        await ready(house)
        reference = await house.channel.preview(draft("a"))
        assert reference
        await house.channel.preview(draft("<" * 5_000, reference))
        await house.channel.preview(draft("<" * 6_000, reference))
        (reply,) = house.workspace.replies("C1")
        assert reply.text == "<" * ((TEXT_LIMIT - 1) // 4) + "…"
        assert house.workspace.counts["chat.update"] == 1


async def test_the_longest_text_the_core_may_send_is_taken_whole() -> None:
    async with House() as house:
        await ready(house)
        traits = house.channel.traits
        text = "&" * (traits.text_limit // traits.measure("&"))
        assert length(text) == traits.text_limit
        reference = await house.channel.preview(draft("a"))
        assert reference
        await house.channel.deliver(delivery(text, reference))
        assert house.workspace.replies("C1")[0].text == text


async def test_the_model_can_mention_nobody() -> None:
    text = "<!channel> <@U0000000001> <!subteam^S1> @here @channel <https://example.com|x> & *bold*"
    async with House() as house:
        await ready(house)
        reference = await house.channel.preview(draft(text))
        assert reference
        await house.channel.preview(draft(f"{text}.", reference))
        await house.channel.deliver(delivery(f"{text}!", reference))
        await house.channel.deliver(delivery(text, turn_id=2))
        for reply in house.workspace.replies("C1"):
            assert reply.pings == 0
            assert not reply.links
        read = text.replace("<https://example.com|x>", "[https://example.com|x](https://example.com%7Cx)")
        assert [reply.text for reply in house.workspace.replies("C1")] == [f"{read}!", read]


async def test_the_simulator_would_notice_a_mention() -> None:
    """The test above can fail."""
    async with House() as house:
        await ready(house)
        api = house.open()._api
        await api.call("chat.postMessage", {"channel": "C1", "text": "<!channel>"}, repeatable=False)
        await api.call("chat.postMessage", {"channel": "C1", "text": "@here", "link_names": True}, repeatable=False)
        await api.close()
        assert [reply.pings for reply in house.workspace.replies("C1")] == [1, 1]


@pytest.mark.parametrize("error", ["message_not_found", "cant_update_message", "edit_window_closed"])
async def test_a_preview_that_is_gone_is_replaced_by_a_new_message(error: str) -> None:
    async with House() as house:
        await ready(house)
        house.workspace.fail("chat.update", Fault(error=error))
        reference = await house.channel.deliver(delivery("the answer", "C1:1.000001"))
        (reply,) = house.workspace.replies("C1")
        assert (reply.text, reference) == ("the answer", f"C1:{reply.ts}")


async def test_previews_leave_room_for_finals_and_finals_always_go() -> None:
    now = 1_790_000_000.0
    async with House(clock=lambda: now, limits={"chat.update": 50}) as house:
        await ready(house)
        references = [await house.channel.preview(draft("0", turn_id=turn)) or "" for turn in range(10)]
        for step in range(1, 10):
            for turn, reference in enumerate(references):
                assert await house.channel.preview(draft(str(step), reference, turn_id=turn)) == reference
        assert house.workspace.counts["chat.update"] == 40
        for turn, reference in enumerate(references):
            await house.channel.deliver(delivery("final", reference, turn_id=turn))
        assert [reply.text for reply in house.workspace.replies("C1")] == ["final"] * 10
        now += 61
        assert await house.channel.preview(draft("later", references[0], turn_id=0)) == references[0]
        assert house.workspace.replies("C1")[0].text == "later"


async def test_a_refused_preview_silences_the_others_for_as_long_as_slack_says() -> None:
    now = 1_790_000_000.0
    async with House(clock=lambda: now) as house:
        await ready(house)
        reference = await house.channel.preview(draft("a"))
        assert reference
        house.workspace.fail("chat.update", Fault(error="ratelimited", status=429, retry_after=30))
        with pytest.raises(DeliveryError):
            await house.channel.preview(draft("ab", reference))
        now += 29
        await house.channel.preview(draft("abc", reference))
        assert house.workspace.counts["chat.update"] == 1
        now += 2
        await house.channel.preview(draft("abcd", reference))
        assert house.workspace.replies("C1")[0].text == "abcd"


def test_the_allowance_counts_a_sliding_minute() -> None:
    now = 0.0
    allowance = Allowance(lambda: now, calls=3, seconds=60, reserve=1)
    allowance.take()
    assert allowance.spare()
    assert not allowance.spare()
    now = 60.0
    assert allowance.spare()


async def test_a_proxy_of_the_environment_is_used_only_where_it_should_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    async with House() as house:
        await ready(house)
        assert await house.channel.deliver(delivery("the answer"))


async def test_only_a_new_message_is_recorded_as_begun() -> None:
    """After a crash an edit may be repeated; a post that may have been made may not."""
    async with House() as house:
        await ready(house)
        reference = await house.channel.preview(draft("Hello"))
        assert reference
        await house.channel.deliver(delivery("Hello there", reference))
        assert house.gateway.begun == []
        house.workspace.fail("chat.update", Fault(error="message_not_found"))
        await house.channel.deliver(delivery("Hello again", reference))
        await house.channel.deliver(delivery("And more"))
        assert len(house.gateway.begun) == 2


@pytest.mark.parametrize("seconds", [1, 7, 30, 60, 119, 250])
async def test_a_final_text_waits_as_long_as_slack_says_and_is_whole(seconds: int) -> None:
    text = " ".join(f"word{number}" for number in range(300))
    async with House() as house:
        await ready(house)
        reference = await house.channel.preview(draft("word0"))
        assert reference
        for method, into in (("chat.update", reference), ("chat.postMessage", "")):
            house.workspace.fail(method, Fault(error="ratelimited", status=429, retry_after=seconds))
            with pytest.raises(DeliveryError) as caught:
                await house.channel.deliver(delivery(text, into))
            assert (caught.value.retryable, caught.value.retry_after, caught.value.unclear) == (True, seconds, False)
            await house.channel.deliver(delivery(text, into))
        assert [reply.text for reply in house.workspace.replies("C1")] == [text, text]
