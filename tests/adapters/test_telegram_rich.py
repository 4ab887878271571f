"""Tables as rich messages: well-formed whatever the model wrote, once, and as text where they are not known."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from adapters.telegram.channel import rendered
from adapters.telegram.rich import rich_html
from adapters.telegram.simulated_rich import rich_text
from adapters.telegram.simulator import Fault, flood
from core.errors import DeliveryError
from tests.adapters.telegram_house import CUSTOMER, GROUP, House, delivery, draft, house

TABLE = "## Prices\n\n| Item | Price |\n|:--|--:|\n| **Red** | $5 and $6 |\n| <b>Blue</b> | `7` |\n\nAnything else?"
SAID = "Prices\nItem | Price\nRed | $5 and $6\n<b>Blue</b> | 7\nAnything else?"


def sends(home: House) -> list[str]:
    return [call.method for call in home.telegram.calls if call.method.startswith(("send", "edit"))]


@pytest.mark.parametrize(
    "text",
    [
        "Hello",
        "# Heading\n\n- one\n  - two\n    - three",
        "either | or",
        "| alone |\n|---|\n| x |",
        "|" + " a |" * 21 + "\n|" + "---|" * 21,
        "> " * 20 + "| a | b |\n" + "> " * 20 + "|---|---|",
        "```\n| a | b |\n|---|---|\n```",
    ],
)
def test_what_is_readable_as_text_stays_a_message(text: str) -> None:
    assert rich_html(text) == ""


def test_only_what_the_model_said_is_in_it() -> None:
    html = rich_html(
        "| [a](javascript:x) | [b](https://e.com/?q=%22&x) |\n|---|---|\n| <script> | &amp; $x$ ==y== ||z|| |\n\n"
        '1. one\n   - two\n\n     > three\n\n```a"b\n<i>\n```\n\n- [ ] task\n\nhttps://e.com'
    )
    assert "javascript:" not in html.replace("a (javascript:x)", "").replace("[a](javascript:x)", "")
    assert '<a href="https://e.com/?q=%22&amp;x">b</a>' in html
    assert "&lt;script&gt;" in html and "<script" not in html
    assert "<ol" in html and "<li><p>one</p><ul>" in html.replace(' start="1"', "")
    assert rich_text(html)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="|-: ab*_`~[]()<>&\"'\n#>1.!$=\\字", max_size=200))
def test_anything_beside_a_table_is_well_formed(text: str) -> None:
    html = rich_html("| a | b |\n|---|---|\n| c | d |\n\n" + text)
    assert html
    assert "a | b" in rich_text(html)


def test_every_prefix_is_well_formed() -> None:
    for end in range(len(TABLE)):
        if html := rich_html(TABLE[:end]):
            rich_text(html)


async def test_a_table_is_sent_as_a_rich_message() -> None:
    async with house(render=rendered) as home:
        await home.channel.deliver(delivery(TABLE))
        (message,) = home.telegram.chats.read(CUSTOMER)
        assert (message.text, bool(message.rich)) == (SAID, True)
        assert sends(home) == ["sendRichMessage"]


async def test_a_table_lands_in_its_preview_and_stays_when_it_is_delivered_again() -> None:
    async with house(render=rendered) as home:
        reference = await home.channel.preview(draft(TABLE[:60])) or ""
        reference = await home.channel.preview(draft(TABLE, reference)) or ""
        for _ in range(2):
            assert await home.channel.deliver(delivery(TABLE, reference)) == reference
        (message,) = home.telegram.chats.read(CUSTOMER)
        assert (message.text, bool(message.rich)) == (SAID, True)
        assert sends(home) == ["sendMessage", "editMessageText", "editMessageText", "editMessageText"]


async def test_a_deleted_preview_costs_no_table() -> None:
    async with house(render=rendered) as home:
        reference = await home.channel.preview(draft("Pri")) or ""
        home.telegram.chats.delete(CUSTOMER, int(reference.partition(":")[2]))
        await home.channel.deliver(delivery(TABLE, reference))
        (message,) = home.telegram.chats.read(CUSTOMER)
        assert message.rich


async def test_a_table_quotes_the_question_in_its_topic() -> None:
    async with house() as home:
        asked = home.telegram.chats.add(GROUP, "@helper_bot prices?", by_bot=False).message_id
        await home.channel.deliver(delivery(TABLE, chat=GROUP, quoted=asked))
        assert home.telegram.chats.read(GROUP)[-1].reply_to == asked


async def test_off_means_text() -> None:
    async with house(rich="off", render=rendered) as home:
        await home.channel.deliver(delivery(TABLE))
        assert sends(home) == ["sendMessage"]


@pytest.mark.parametrize("preview", [False, True])
async def test_an_old_server_gets_text_at_once_and_is_not_asked_again(preview: bool) -> None:
    async with house(render=rendered) as home:
        home.telegram.api.old = True
        reference = (await home.channel.preview(draft("Pri")) or "") if preview else ""
        with capture_logs() as lines:
            await home.channel.deliver(delivery(TABLE, reference))
            home.clock.now += 60
            await home.channel.deliver(delivery(TABLE, turn=2))
        first, second = home.telegram.chats.read(CUSTOMER)
        assert first.text == second.text == rendered(TABLE)[0]
        assert (home.telegram.counts["sendRichMessage"], home.telegram.counts["editMessageText"]) == (
            (0, 2) if preview else (1, 0)
        )
        assert [line["event"] for line in lines].count("telegram_rich_messages_off") == 1


@pytest.mark.parametrize(
    ("description", "again"),
    [
        ("Bad Request: can't parse rich message: unexpected end tag", False),
        ("Bad Request: rich message is unsupported", False),
        ("Bad Request: rich message must be non-empty", False),
        ("Bad Request: RICH_MESSAGE_EMAIL_INVALID", True),
    ],
)
async def test_a_refused_rich_message_is_sent_as_text(description: str, again: bool) -> None:
    async with house(render=rendered) as home:
        home.telegram.fail("sendRichMessage", Fault(400, description))
        await home.channel.deliver(delivery(TABLE))
        await home.channel.deliver(delivery(TABLE, turn=2))
        first, second = home.telegram.chats.read(CUSTOMER)
        assert (bool(first.rich), bool(second.rich)) == (False, again)


@pytest.mark.parametrize(
    ("fault", "retryable", "unclear"),
    [
        (Fault(silent=True), False, True),
        (Fault(drop=True), False, True),
        (Fault(500, "Internal Server Error"), False, True),
        (Fault(502, "Bad Gateway"), True, False),
        (flood(14), True, False),
        (Fault(400, "Bad Request: chat not found"), False, False),
        (Fault(403, "Forbidden: bot was blocked by the user"), False, False),
    ],
)
async def test_other_refusals_are_as_those_of_a_text(fault: Fault, retryable: bool, unclear: bool) -> None:
    async with house(render=rendered) as home:
        home.telegram.fail("sendRichMessage", fault)
        with pytest.raises(DeliveryError) as caught:
            await home.channel.deliver(delivery(TABLE))
        assert (caught.value.retryable, caught.value.unclear) == (retryable, unclear)
        assert sends(home) == ["sendRichMessage"]
        home.clock.now += 14
        await home.channel.deliver(delivery(TABLE, turn=2))
        assert home.telegram.counts["sendRichMessage"] == 2, "it is still asked"


async def test_a_table_of_unknown_fate_in_a_preview_may_be_repeated() -> None:
    async with house(render=rendered) as home:
        reference = await home.channel.preview(draft("Pri")) or ""
        home.telegram.fail("editMessageText", Fault(drop=True))
        with pytest.raises(DeliveryError) as caught:
            await home.channel.deliver(delivery(TABLE, reference))
        assert (caught.value.retryable, caught.value.unclear) == (True, False)
        await home.channel.deliver(delivery(TABLE, reference))
        (message,) = home.telegram.chats.read(CUSTOMER)
        assert message.rich


async def test_a_migrated_group_gets_its_table() -> None:
    async with house() as home:
        home.telegram.migrate(-4001, GROUP)
        assert (await home.channel.deliver(delivery(TABLE, chat=-4001))).startswith(f"{GROUP}:")
        assert home.telegram.chats.read(GROUP)[-1].rich
