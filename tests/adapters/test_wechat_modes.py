"""Plain, compatible and safe mode, XML and JSON, and a change of the key: a question gets its answer in each."""

from __future__ import annotations

import pytest

from adapters.wechat.simulated_push import Form, Mode
from adapters.wechat.simulator import UNAVAILABLE
from tests.adapters.wechat_house import KEY, USER, House, house

OLD_KEY = KEY[::-1]
FORMS: tuple[Form, ...] = ("xml", "json")
TEXT = 'On its way. ]]> "quoted" \\u4f60 😀'


async def answered(home: House, question: str = "Where is <my> order? 😀") -> bool:
    """Whether a question comes in as it was written, and its answer arrives as it was given."""
    said = await home.says(question)
    await home.gateway.commit(TEXT, of=[question])
    return await said == TEXT and not home.wechat.malformed


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mode", ["plain", "safe"])
async def test_a_question_is_answered_in_the_accounts_own_mode(mode: Mode, form: Form) -> None:
    async with house(safe=mode != "plain", form=form) as home:
        assert await answered(home)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("wechat_mode", ["plain", "compatible", "safe"])
async def test_the_console_may_be_changed_while_compatible_mode_is_set_here(wechat_mode: Mode, form: Form) -> None:
    async with house(safe=True, mode="compatible", wechat_mode=wechat_mode, form=form) as home:
        assert await answered(home)


@pytest.mark.parametrize("form", FORMS)
async def test_the_consoles_compatible_mode_needs_nothing_set_here(form: Form) -> None:
    async with house(safe=True, wechat_mode="compatible", form=form) as home:
        assert await answered(home)


async def test_plain_pushes_to_an_account_with_a_key_are_refused() -> None:
    async with house(safe=True, wechat_mode="plain") as home:
        assert await home.wechat.user_says(USER, "Hello") == UNAVAILABLE
        assert not home.gateway.messages


async def test_both_keys_are_read_while_the_key_is_changed() -> None:
    async with house(safe=True, aes_key_previous=OLD_KEY) as home:
        home.wechat.wire.use_key(OLD_KEY)
        assert await answered(home)
        home.wechat.wire.use_key(KEY)
        assert await answered(home, "And now?")


async def test_without_the_key_before_its_messages_are_refused() -> None:
    async with house(safe=True) as home:
        home.wechat.wire.use_key(OLD_KEY)
        assert await home.wechat.user_says(USER, "Hello") == UNAVAILABLE
        assert not home.gateway.messages
