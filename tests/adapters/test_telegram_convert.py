"""What a Telegram update means to the house: the samples, who is addressed, and that nothing makes it raise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.telegram.addressed import Identity
from adapters.telegram.convert import WORDLESS, Left, Moved, Pressed, Skipped, Stopped, Told, convert, utf16_length
from core.types import ConversationKey, InboundMessage
from tests.adapters.samples import written

SAMPLES = Path(__file__).parents[2] / "adapters" / "telegram" / "samples"
INBOUND = sorted(SAMPLES.glob("in_*.json"))
ME = Identity(6_000_001, "helper_bot")
GROUP = {"id": -100, "type": "supergroup"}


def read(update: object, me: Identity = ME) -> Told:
    return convert(update, channel="telegram", bot="support", me=me)


def group_message(text: str, /, **fields: object) -> dict[str, object]:
    message = {"message_id": 5, "from": {"id": 7, "is_bot": False}, "chat": GROUP, "date": 1, "text": text}
    return {"update_id": 1, "message": message | fields}


def entity(kind: str, offset: int, length: int, **fields: object) -> list[dict[str, object]]:
    return [{"type": kind, "offset": offset, "length": length, **fields}]


@pytest.mark.parametrize("path", INBOUND, ids=lambda path: path.stem)
def test_sample(path: Path) -> None:
    sample = json.loads(path.read_text(encoding="utf-8"))
    found = read(sample["request"]["json"])
    assert (written(found) if isinstance(found, InboundMessage) else None) == sample["message"]


def test_there_are_samples() -> None:
    assert len(INBOUND) >= 40


@pytest.mark.parametrize(
    ("text", "entities", "expected"),
    [
        ("@helper_bot opening hours?", entity("mention", 0, 11), "opening hours?"),
        ("@Helper_Bot, hi", entity("mention", 0, 11), "hi"),
        ("@helper_bot", entity("mention", 0, 11), "/help"),
        ("😀😀 @helper_bot hi", entity("mention", 5, 11), "😀😀 @helper_bot hi"),
        ("/help@helper_bot now", entity("bot_command", 0, 16), "/help now"),
    ],
)
def test_addressed_in_a_group(text: str, entities: list[dict[str, object]], expected: str) -> None:
    found = read(group_message(text, entities=entities))
    assert isinstance(found, InboundMessage)
    assert found.text == expected


@pytest.mark.parametrize(
    ("text", "entities"),
    [
        ("@helper_bot_dev hi", entity("mention", 0, 15)),
        ("helper_bot hi", []),
        ("@helper_bot in a code block", entity("code", 0, 11)),
        ("😀😀 @helper_bot hi", entity("mention", 3, 11)),  # code points instead of UTF-16 units
        ("/help", entity("bot_command", 0, 5)),
        ("/help@other_bot", entity("bot_command", 0, 15)),
        ("hi", entity("text_mention", 0, 2, user={"id": 8})),
        ("hi", entity("mention", -1, 10**30)),
    ],
)
def test_not_addressed_in_a_group(text: str, entities: list[dict[str, object]]) -> None:
    assert read(group_message(text, entities=entities)) == Skipped("not_addressed")


def test_a_mention_by_name_needs_the_name() -> None:
    update = group_message("@helper_bot hi", entities=entity("mention", 0, 11))
    assert read(update, Identity(6_000_001)) == Skipped("not_addressed")


def test_a_caption_may_mention() -> None:
    update = group_message("", caption="@helper_bot broken", caption_entities=entity("mention", 0, 11))
    found = read(update)
    assert isinstance(found, InboundMessage)
    assert found.text == "broken"


def test_group_messages_do_not_merge_and_threads_are_conversations() -> None:
    reply = {"from": {"id": ME.id}, "message_id": 4}
    found = read(group_message("hi", reply_to_message=reply, message_thread_id=3, is_topic_message=True))
    assert isinstance(found, InboundMessage)
    assert (found.merge, str(found.conversation)) == (False, "telegram/support/-100/3")


@pytest.mark.parametrize(
    ("update", "reason"),
    [
        (None, "not_an_update"),
        ([], "not_an_update"),
        ({"message": {}}, "not_an_update"),
        ({"update_id": True, "message": {}}, "not_an_update"),
        ({"update_id": 1}, "unknown_kind"),
        ({"update_id": 1, "x" * 41: {}}, "unknown_kind"),
        ({"update_id": 1, "a kind\nwith a line": {}}, "unknown_kind"),
        ({"update_id": 1, "guest_message": {}}, "guest_message"),
        ({"update_id": 1, "message": {}}, "incomplete_message"),
        (group_message("hi", chat={"id": -1, "type": "channel"}), "not_a_chat_of_people"),
        (group_message("hi", is_automatic_forward=True), "not_from_a_person"),
        (group_message(" \n"), "no_text"),
    ],
)
def test_reasons(update: object, reason: str) -> None:
    assert read(update) == Skipped(reason)


def private_message(text: str, /, **fields: object) -> dict[str, object]:
    return group_message(text, chat={"id": 7, "type": "private"}, **fields)


def replied(text: str, sender: object = 8, **fields: object) -> dict[str, object]:
    return {"message_id": 4, "from": {"id": sender, "first_name": "Other"}, "text": text, **fields}


def said(update: object, **known: object) -> str:
    found = convert(update, channel="telegram", bot="support", me=ME, **known)  # type: ignore[arg-type]
    assert isinstance(found, InboundMessage)
    return found.text


@pytest.mark.parametrize("kind", sorted(WORDLESS))
def test_what_has_no_words_is_unreadable_and_a_caption_is_its_words(kind: str) -> None:
    for caption in ("", "It is broken"):
        found = read(private_message("", **{kind: {}}, caption=caption))
        assert isinstance(found, InboundMessage)
        assert (found.text, found.unreadable) == (caption, not caption)


def test_a_quotation_is_one_bounded_line_that_cannot_pass_for_the_message() -> None:
    long = "first\r\nsecond\x00\u202e\n\n" + "x" * 2000
    quotation, empty, text = said(private_message("and this?", reply_to_message=replied(long))).split("\n")
    assert quotation.startswith("> Other: first second xxx")
    assert (len(quotation), quotation[-1], empty, text) == (500, "…", "", "and this?")


def test_our_newest_message_is_not_quoted_to_the_model_except_what_the_user_picked() -> None:
    reply = replied("It costs 5.", ME.id)
    asked: list[str] = []

    def newest(conversation: ConversationKey, source_id: str) -> int:
        asked.append(f"{conversation} {source_id}")
        return 4

    assert said(private_message("why?", reply_to_message=reply), newest=newest) == "why?"
    assert asked == ["telegram/support/7 7:5"]
    quote = {"text": "5", "is_manual": True}
    assert said(private_message("why?", reply_to_message=reply, quote=quote), newest=newest) == "> Other: 5\n\nwhy?"
    assert said(private_message("why?", reply_to_message=replied("x")), newest=newest) == "> Other: x\n\nwhy?"


@pytest.mark.parametrize(
    ("text", "expected"), [("/help", "/help"), ("转人工", "转人工"), ("help", "> Other: x\n\nhelp")]
)
def test_a_command_in_a_reply_stays_one(text: str, expected: str) -> None:
    update = private_message(text, reply_to_message=replied("x"))
    assert said(update, command=lambda said: "human" if said == "转人工" else "") == expected


def test_a_forwarded_command_is_none() -> None:
    forward = private_message("/new\n/stop", forward_origin={"type": "hidden_user", "sender_user_name": "A\nB"})
    assert said(forward, command=lambda _: "new") == "> A B: /new\n> /stop"


@pytest.mark.parametrize(
    ("sender", "speaker"),
    [
        ({"first_name": "First", "last_name": "Last"}, "First Last"),
        ({"username": "customer"}, "@customer"),
        ({"first_name": " \n", "username": "customer"}, "@customer"),
        ({"first_name": "A\nB\x00:\u202e"}, "A B :"),
        ({"first_name": "x" * 100}, "x" * 64),
        ({"first_name": 7}, ""),
    ],
)
def test_speakers_have_names_in_groups(sender: dict[str, object], speaker: str) -> None:
    update = group_message("@helper_bot hi", entities=entity("mention", 0, 11), **{"from": {"id": 7} | sender})
    found = read(update)
    assert isinstance(found, InboundMessage)
    assert found.speaker == speaker


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"status": "kicked"}, Left(ConversationKey("telegram", "support", "-100"))),
        ({"status": "left"}, Left(ConversationKey("telegram", "support", "-100"))),
        ({"status": "restricted", "is_member": False}, Left(ConversationKey("telegram", "support", "-100"))),
        ({"status": "restricted", "is_member": True}, Skipped("my_chat_member")),
        ({"status": "member"}, Skipped("my_chat_member")),
        ({}, Skipped("my_chat_member")),
    ],
)
def test_being_thrown_out(status: dict[str, object], expected: object) -> None:
    assert read({"update_id": 1, "my_chat_member": {"chat": GROUP, "new_chat_member": status}}) == expected


def test_the_stop_button_of_a_topic_is_that_topics() -> None:
    pressed = {"chat": {"id": 7, "type": "private"}, "draft_id": 1, "message_thread_id": 3}
    found = read({"update_id": 1, "stopped_message_generation": pressed})
    assert found == Stopped(ConversationKey("telegram", "support", "7", "3"), 1)


@pytest.mark.parametrize(
    "fields",
    [
        {"chat": {"id": -4001, "type": "group"}, "migrate_to_chat_id": -100},
        {"chat": {"id": -100, "type": "supergroup"}, "migrate_from_chat_id": -4001},
    ],
)
def test_a_migration_is_told_by_both_chats(fields: dict[str, object]) -> None:
    assert read(group_message("", **fields)) == Moved(ConversationKey("telegram", "support", "-4001"), "-100")


@pytest.mark.parametrize("query", [{"id": "5"}, {"id": "5", "from": None, "message": 7}])
def test_a_button_is_answered_whatever_else_the_query_holds(query: dict[str, object]) -> None:
    assert read({"update_id": 1, "callback_query": query}) == Pressed("5")


def test_a_deep_rich_message_is_read_as_far_as_it_matters() -> None:
    deep: object = "x"
    for _ in range(900):
        deep = {"blocks": [{"text": "y"}, deep]}
    found = read(private_message("", rich_message={"blocks": [{"text": ["a", {"text": "b"}]}, deep]}))
    assert isinstance(found, InboundMessage)
    assert found.text.startswith("ab\ny\ny")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
FIELDS = (
    *("chat", "from", "text", "caption", "entities", "reply_to_message", "message_id", "message_thread_id", "date"),
    *("quote", "external_reply", "forward_origin", "business_connection_id", "photo", "sender_chat", "rich_message"),
    *("migrate_to_chat_id", "migrate_from_chat_id", "draft_id", "id", "new_chat_member", "media_group_id"),
)


@given(JSON)
def test_any_json_is_understood_or_skipped(update: object) -> None:
    assert read(update) is not None


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, JSON)))
def test_any_field_may_be_anything(fields: dict[str, object]) -> None:
    for kind in ("message", "edited_message", "my_chat_member", "stopped_message_generation", "callback_query"):
        update = group_message("@helper_bot hi", **fields)
        assert read({"update_id": 1, kind: update["message"]}) is not None


@given(st.sampled_from(("type", "offset", "length", "user")), JSON)
def test_any_entity_may_be_anything(name: str, value: object) -> None:
    broken = entity("mention", 0, 11, **{name: value} if name == "user" else {})
    broken[0][name] = value
    assert read(group_message("@helper_bot hi", entities=broken)) is not None


@given(st.text())
def test_length_is_counted_in_utf16(text: str) -> None:
    assert utf16_length(text) == len(text.encode("utf-16-le", "surrogatepass")) // 2
