"""The event stream: nothing lost and nothing repeated, over reconnects, tabs, restarts and slow readers."""

from __future__ import annotations

import asyncio
import uuid

from adapters.web.client import Event, View, WebClient
from adapters.web.settings import Settings
from core.channel import EngineStatus
from core.types import ConversationKey
from tests.adapters.web_house import House, Site, served, visitor, watching


async def say(site: Site, client: WebClient, text: str) -> ConversationKey:
    """Post a message; returns its conversation."""
    assert (await client.post(text, str(uuid.uuid4())))[0] == 202
    return site.house.received[-1].conversation


def draft(at: int, text: str, nodes: list[object], *, keep: int = 0) -> Event:
    return "draft", {"turn": 1, "at": at, "text": text, "keep": keep, "nodes": nodes}


async def test_a_reply_grows_and_becomes_whole() -> None:
    async with served(House()) as site, visitor(site) as client, watching(client) as watcher:
        assert watcher.view.engine_ready
        key = await say(site, client, "hello")
        assert (await watcher.next())[0] == "message"
        await site.grow(key, 1, "Guten")
        assert await watcher.next() == draft(0, "Guten", [{"t": "p", "c": ["Guten"]}])
        await site.grow(key, 1, "Guten Tag 😀")
        assert await watcher.next() == draft(5, " Tag 😀", [{"t": "p", "c": ["Guten Tag 😀"]}])
        await site.grow(key, 1, "Guten Tag 😀!")
        assert await watcher.next() == draft(12, "!", [{"t": "p", "c": ["Guten Tag 😀!"]}])
        await site.grow(key, 1, "Guten Tag 😀!")  # the same text again is not sent
        await site.answer(key, 1, "Guten Tag 😀! Bye")
        name, reply = await watcher.next()
        assert (name, reply["id"], reply["waiting"]) == ("reply", "t1", [])
        assert reply["nodes"] == [{"t": "p", "c": ["Guten Tag 😀! Bye"]}]
        assert watcher.texts() == ["hello", "Guten Tag 😀! Bye"]
        assert not any(bubble.pending or bubble.growing for bubble in watcher.view.bubbles.values())


async def test_a_replaced_draft_starts_again() -> None:
    async with served(House()) as site, visitor(site) as client, watching(client) as watcher:
        key = await say(site, client, "hello")
        await site.grow(key, 1, "first try")
        await watcher.until("draft")
        await site.grow(key, 1, "other try")
        assert await watcher.next() == draft(0, "other try", [{"t": "p", "c": ["other try"]}])


async def test_a_page_gets_the_nodes_of_what_the_bot_says_and_of_nothing_else() -> None:
    async with served(House()) as site, visitor(site) as client, watching(client) as watcher:
        key = await say(site, client, "**hello**")
        assert "nodes" not in (await watcher.until("message"))[1]
        bold = {"t": "p", "c": [{"t": "b", "c": ["One"]}]}
        two, three = ({"t": "p", "c": [text]} for text in ("two", "three"))
        await site.grow(key, 1, "**One**\n\ntwo\n\nthr")
        assert await watcher.next() == draft(0, "**One**\n\ntwo\n\nthr", [bold, two, {"t": "p", "c": ["thr"]}])
        await site.grow(key, 1, "**One**\n\ntwo\n\nthree")
        assert await watcher.next() == draft(17, "ee", [two, three], keep=1)  # what is settled is not sent again
        async with watching(client) as late:
            assert late.seen[0][1]["draft"] == draft(0, "**One**\n\ntwo\n\nthree", [bold, two, three])[1]
            await site.grow(key, 1, "**One**\n\ntwo\n\nthree\n\n4")
            assert (await late.next())[1]["keep"] == 1
        await site.answer(key, 1, "**One**\n\ntwo")
        assert (await watcher.until("reply"))[1]["nodes"] == [bold, two]
        async with watching(client) as later:
            entries = later.seen[0][1]["entries"]
            assert [entry.get("nodes") for entry in entries] == [None, [bold, two]]  # type: ignore[attr-defined]


async def test_a_reconnect_in_the_middle_of_a_draft_shows_it_whole() -> None:
    async with served(House()) as site, visitor(site) as client:
        key = await say(site, client, "hello")
        async with watching(client) as watcher:
            await site.grow(key, 1, "The first half")
            await watcher.until("draft")
        await site.grow(key, 1, "The first half, what was missed")
        async with watching(client) as watcher:
            assert watcher.texts() == ["hello", "The first half, what was missed"]
            await site.grow(key, 1, "The first half, what was missed, and the end")
            assert (await watcher.next())[1]["text"] == ", and the end"
            await site.answer(key, 1, "The first half, what was missed, and the end.")
            await watcher.until("reply")
            assert watcher.texts() == ["hello", "The first half, what was missed, and the end."]
        async with watching(client) as watcher:
            assert watcher.texts() == ["hello", "The first half, what was missed, and the end."]


async def test_what_is_said_while_a_snapshot_is_read_is_not_lost() -> None:
    async with served(House()) as site, visitor(site) as client:
        key = await say(site, client, "hello")
        site.house.gate.clear()
        site.house.reading.clear()
        opening = asyncio.create_task(_open(client))
        await site.house.reading.wait()
        await site.grow(key, 1, "draft")  # after the transcript was read, before the snapshot left
        delivering = asyncio.create_task(site.answer(key, 1, "whole"))
        site.house.gate.set()
        await delivering
        assert await opening == ["hello", "whole"]


async def _open(client: WebClient) -> list[str]:
    """What a page shows once the reply is there."""
    view = View()
    async with asyncio.timeout(10):
        async for event in client.events():
            view.apply(event)
            if "t1" in view.bubbles and not view.bubbles["t1"].growing:
                break
    return [bubble.text for bubble in view.bubbles.values()]


async def test_a_draft_whose_reply_is_committed_is_not_shown_again() -> None:
    async with served(House()) as site, visitor(site) as client:
        key = await say(site, client, "hello")
        await site.grow(key, 1, "almost")
        site.house.commit(key, 1, "almost done")  # committed, and not delivered yet
        async with watching(client) as watcher:
            assert watcher.texts() == ["hello", "almost done"]
            assert watcher.seen[0][1]["draft"] is None


async def test_two_tabs_show_the_same() -> None:
    async with served(House()) as site, visitor(site) as client, watching(client) as one, watching(client) as two:
        key = await say(site, client, "from the first tab")
        await site.grow(key, 1, "growing")
        await one.until("draft")
        async with watching(client) as three:
            await site.grow(key, 1, "growing on")
            await site.answer(key, 1, "growing on and done")
            for tab in (one, two, three):
                await tab.until("reply")
                assert tab.texts() == ["from the first tab", "growing on and done"]


async def test_other_visitors_see_nothing_of_it() -> None:
    async with (
        served(House()) as site,
        visitor(site) as client,
        visitor(site) as other,
        watching(other) as stranger,
    ):
        key = await say(site, client, "secret")
        await site.grow(key, 1, "secret too")
        await site.answer(key, 1, "secret three")
        other_key = await say(site, other, "mine")
        await site.answer(other_key, 2, "yours")
        await stranger.until("reply")
        assert stranger.texts() == ["mine", "yours"]


async def test_the_conversation_survives_a_restart_of_the_server() -> None:
    async with served(House()) as site, visitor(site) as client:
        key = await say(site, client, "hello")
        await site.answer(key, 1, "hi")
        await site.stop()
        await site.start()
        async with visitor(site, cookie=client.cookie) as again:
            assert again.cookie == client.cookie
            async with watching(again) as watcher:
                assert watcher.texts() == ["hello", "hi"]


async def test_following_over_a_cut_connection_loses_and_repeats_nothing() -> None:
    async with served(House()) as site, visitor(site) as client:
        key = await say(site, client, "hello")
        view, names = View(), []
        async with asyncio.timeout(20):
            async for event in client.follow(pauses=(0.01,)):
                names.append(event[0])
                view.apply(event)
                match names:
                    case ["snapshot"]:
                        await site.grow(key, 1, "One, two")
                    case ["snapshot", "draft"]:
                        site.cut()
                    case ["snapshot", "draft", "down"]:
                        await site.grow(key, 1, "One, two, three")
                    case [*_, "snapshot"] if len(names) == 4:
                        assert view.bubbles["t1"].text == "One, two, three"
                        await site.answer(key, 1, "One, two, three, four")
                    case [*_, "reply"]:
                        break
        assert [bubble.text for bubble in view.bubbles.values()] == ["hello", "One, two, three, four"]
        assert names == ["snapshot", "draft", "down", "snapshot", "reply"]


async def test_the_engines_state_reaches_the_page() -> None:
    house = House()
    house.status = EngineStatus(False, "starting", "loading /secret/path")
    async with served(house) as site, visitor(site) as client, watching(client) as watcher:
        assert watcher.seen[0][1]["engine"] == {"ready": False, "state": "starting"}
        await say(site, client, "can be sent already")
        house.status = EngineStatus(True, "ready")
        assert await watcher.until("engine") == ("engine", {"ready": True, "state": "ready"})
        assert watcher.view.engine_ready
        assert "secret" not in repr(watcher.seen)


async def test_messages_of_a_later_turn_still_wait() -> None:
    async with served(House()) as site, visitor(site) as client, watching(client) as watcher:
        key = await say(site, client, "first")
        await say(site, client, "second")
        await site.answer(key, 1, "to the first", answers={"m1"})
        _, reply = await watcher.until("reply")
        assert reply["waiting"] == ["m2"]
        assert [bubble.pending for bubble in watcher.view.bubbles.values()] == [False, True, False]


async def test_keepalive_comments_come_and_mean_nothing() -> None:
    async with (
        served(House(), Settings(keepalive_seconds=0.02)) as site,
        visitor(site) as client,
        client.http.get(f"{site.url}/chat/events", headers=client.headers()) as answer,
    ):
        assert answer.content_type == "text/event-stream"
        assert answer.headers["Cache-Control"] == "no-store"
        received = b""
        async with asyncio.timeout(10):
            while b": keep-alive\n\n" not in received:
                received += await answer.content.readany()


async def test_a_newer_page_takes_the_place_of_the_oldest() -> None:
    async with (
        served(House(), Settings(streams_per_visitor=2)) as site,
        visitor(site) as client,
        watching(client) as one,
        watching(client) as two,
        watching(client) as three,
    ):
        assert (await one.next())[0] == "replaced"
        key = await say(site, client, "hello")
        await site.answer(key, 1, "hi")
        for tab in (two, three):
            await tab.until("reply")


async def test_streams_are_bounded_in_all_and_per_address() -> None:
    for settings in (Settings(streams=2), Settings(streams_per_ip=2)):
        async with (
            served(House(), settings) as site,
            visitor(site) as a,
            visitor(site) as b,
            visitor(site) as c,
            watching(a) as oldest,
            watching(b),
            watching(c),
        ):
            assert (await oldest.next())[0] == "replaced"


async def test_a_reply_in_parts_is_shown_once_and_whole() -> None:
    async with served(House()) as site, visitor(site) as client, watching(client) as watcher:
        key = await say(site, client, "hello")
        site.house.commit(key, 1, "one two")
        for part, text in ((1, "one "), (2, "two")):
            await site.deliver(key, 1, text, part=part, parts=2)
        await watcher.until("reply")
        assert watcher.texts() == ["hello", "one two"]


async def test_deliver_does_not_fail_with_the_ledger() -> None:
    async with served(House()) as site, visitor(site) as client, watching(client) as watcher:
        key = await say(site, client, "hello")
        site.house.broken = True
        await site.deliver(key, 1, "still shown")
        await watcher.until("reply")
        assert watcher.texts() == ["hello", "still shown"]
