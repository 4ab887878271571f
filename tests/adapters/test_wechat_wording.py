"""The model's Markdown as a WeChat user reads it: plain, whole, within the limit, and without a link of the model's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.wechat.convert import TEXT_LIMIT, clean, tap_link, utf8_length
from adapters.wechat.wording import PART_LIMIT, parts_of, shown, shown_length
from bots.bot import load_all
from tests.adapters.wechat_house import PHRASES, SECRET, USER, house

MORE = f"{PHRASES['more_follows']}\n{tap_link(PHRASES['fetch_more'], 'en')}"
VERIFIED: dict[str, Any] = {"app_secret": SECRET, "account_verified": True}
ANCHOR = re.compile(r"</?a(?![a-z0-9_-])", re.IGNORECASE)
PIECES = [
    "<",
    "/",
    "a",
    "A",
    " ",
    ">",
    "href=",
    '"https://evil.example"',
    "&lt;",
    "\x00",
    "\ud800",
    "*",
    "`",
    "\n",
    "中",
]


@pytest.mark.parametrize(
    ("markdown", "plain"),
    [
        ("**Your order** is _on its way_.", "Your order is on its way."),
        ("**您的订单**已发出。", "您的订单已发出。"),
        ("[Track it](https://example.com/t_(1))", "Track it (https://example.com/t_(1))"),
        ("# Prices\n\n* one\n* two", "Prices\n• one\n• two"),
        ("| a | b |\n|---|---|\n| 1 | 2 |", "a | b\n1 | 2"),
        ("```py\nprint(1)\n```", "print(1)"),
        ("Use <order-id> or <a-number>.", "Use <order-id> or <a-number>."),
        ("5 < 7 and a <b> c", "5 < 7 and a <b> c"),
        ("snake_case_name", "snake_case_name"),
    ],
)
def test_markdown_becomes_plain_words(markdown: str, plain: str) -> None:
    assert shown(markdown) == plain


@pytest.mark.parametrize(
    "written",
    [
        '<a href="https://evil.example">x</a>',
        '<A\nHREF="https://evil.example">x</A>',
        '<a href="weixin://bizmsgmenu?msgmenucontent=1&msgmenuid=frontdesk">x</a>',
        '&lt;a href="https://evil.example"&gt;x&lt;/a&gt;',
        '`<a href="https://evil.example">x</a>`',
        '\\<a href="https://evil.example">x</a>',
        '<\x01a href="https://evil.example">x</a>',
        '**<**a href="https://evil.example">x</a>',
        '<a/href="https://evil.example">x</a>',
        '| <a href="https://evil.example">x</a> |\n|---|',
    ],
)
def test_an_anchor_of_the_models_is_text(written: str) -> None:
    text = shown(written)
    assert "＜" in text
    assert not ANCHOR.search(text)


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_no_words_become_a_tag(text: str) -> None:
    assert not ANCHOR.search(shown(text))
    assert clean(shown(text)) == shown(text)


@given(st.text(alphabet=st.sampled_from("*_`#->|[]()!\n\\ ~<&;ab中\x00")))
def test_a_text_is_never_shown_as_nothing(text: str) -> None:
    assert bool(shown(text)) is bool(clean(text))


def test_what_the_bot_itself_says_stays_as_it_is() -> None:
    bot = load_all(Path(__file__).parents[2] / "bots")["support"].bot
    for phrases in bot.phrases.values():
        assert {name: shown(text) for name, text in phrases.items()} == dict(phrases)


LONG = "\n\n".join(
    [
        "# 价格",
        *(f"**第{n}项**：[详情](https://example.com/{n})，一共{n}元。" for n in range(120)),
        "```\n" + "x = 1\n" * 300 + "```",
    ]
)


def test_parts_fit_by_what_is_shown_and_together_say_all() -> None:
    parts = parts_of(LONG)
    assert len(parts) > 4
    assert all(shown_length(part) <= PART_LIMIT for part in parts)
    assert "".join("".join(shown(part) for part in parts).split()) == "".join(shown(LONG).split())


@pytest.mark.parametrize("verified", [False, True])
async def test_the_channel_splits_by_what_is_shown(verified: bool) -> None:
    async with house(app_secret=SECRET, account_verified=verified) as home:
        assert home.channel.traits.split is parts_of


async def test_a_passive_reply_is_measured_as_it_is_sent() -> None:
    # A bullet takes more bytes than the sign it is written with.
    parts = ["\n".join(f"* {letter}" for _ in range(150)) for letter in "abc"]
    assert utf8_length("\n\n".join(parts)) < TEXT_LIMIT < sum(shown_length(part) for part in parts)
    async with house() as home:
        said = await home.says("Tell me everything")
        await home.gateway.commit(*parts)
        texts = [await said]
        while texts[-1].endswith(MORE):
            texts.append(await home.wechat.user_taps(USER))
        assert len(texts) == 2
        assert "\n\n".join(text.removesuffix(f"\n\n{MORE}") for text in texts) == "\n\n".join(map(shown, parts))
        assert not home.wechat.malformed


async def test_parts_whose_marks_are_long_travel_together() -> None:
    parts = [" ".join(f"**{part}{number}**" for number in range(100)) for part in "abc"]
    assert utf8_length("\n\n".join(parts)) > TEXT_LIMIT
    async with house() as home:
        said = await home.says("Tell me everything")
        await home.gateway.commit(*parts)
        assert await said == "\n\n".join(map(shown, parts))


async def test_a_customer_service_message_is_plain_words() -> None:
    async with house(**VERIFIED) as home:
        await home.wechat.user_says(USER, "Hello")
        await home.gateway.commit('**Hi** <a href="https://evil.example">x</a>')
        assert await home.gateway.carry(home.channel) == []
        assert home.wechat.answers(USER) == ['Hi ＜a href="https://evil.example">x＜/a>']


async def test_a_reply_that_is_only_marks_is_shown_as_it_is() -> None:
    async with house() as home:
        said = await home.says("Hello")
        await home.gateway.commit("[a]: https://example.com")
        assert await said == "[a]: https://example.com"
        assert not home.wechat.malformed


async def test_a_link_in_the_models_words_cannot_be_tapped() -> None:
    async with house() as home:
        said = await home.says("Hello")
        await home.gateway.commit(tap_link("Tap me", "en"))
        assert "weixin://bizmsgmenu" in await said
        with pytest.raises(LookupError):
            await home.wechat.user_taps(USER)
