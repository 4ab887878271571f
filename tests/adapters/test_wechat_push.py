"""Customer-service messages: sent as WeChat wants them, tokens renewed, refusals told apart, no secret in any of it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from adapters.wechat.settings import Settings
from adapters.wechat.simulated_api import Call, Fault
from core.config import Environment, section
from core.errors import ConfigError, DeliveryError
from core.types import ConversationKey, Delivery, Draft, ReplyKind
from tests.adapters.wechat_house import KEY, SECRET, USER, House, house

SAMPLES = Path(__file__).parents[2] / "adapters" / "wechat" / "samples"
OUTBOUND = sorted(SAMPLES.glob("out_*.json"))
CONVERSATION = ConversationKey("wechat", "support", USER)
SEND = "/custom/send"
VERIFIED: dict[str, Any] = {"app_secret": SECRET, "account_verified": True}


def part(text: str, to: str = USER) -> Delivery:
    address = {"to": to, "from": "gh_0123456789ab"}
    return Delivery(1, 1, CONVERSATION, address, text, ReplyKind.ANSWER)


async def refused(home: House, text: str = "Hello", to: str = USER) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        await home.channel.deliver(part(text, to))
    assert SECRET not in str(caught.value)
    assert "token-" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("path", OUTBOUND, ids=lambda path: path.stem)
async def test_a_sample_is_sent_as_the_call_it_says(path: Path) -> None:
    sample = json.loads(path.read_text(encoding="utf-8"))
    given = sample["delivery"]
    conversation = ConversationKey(**given.pop("conversation"))
    delivery = Delivery(conversation=conversation, kind=ReplyKind(given.pop("kind")), **given)
    async with house(**VERIFIED, verified="true") as home:
        await home.wechat.user_says(USER, "Hello")
        await home.channel.deliver(delivery)
        sent = [call for call in home.wechat.api.calls if call.path.endswith(SEND)]
    assert [{"method": "POST", "path": call.path, "body": call.body} for call in sent] == sample["calls"]


async def test_a_message_is_acknowledged_at_once_and_its_answer_sent_later() -> None:
    async with house(**VERIFIED) as home:
        assert not home.channel.traits.pull
        assert await home.wechat.user_says(USER, "Where is my order?", duplicates=2) == ""
        assert len(home.gateway.messages) == 1
        await home.channel.deliver(part("您好 😀 ]]> <b>"))
        assert home.wechat.answers(USER) == ["您好 😀 ]]> <b>"]
        assert await home.channel.preview(Draft(1, CONVERSATION, {}, "so far")) is None


async def test_the_limit_is_bytes() -> None:
    async with house(**VERIFIED) as home:
        await home.wechat.user_says(USER, "Hello")
        traits = home.channel.traits
        assert traits.text_limit < traits.measure("中" * 682) < 2048
        await home.channel.deliver(part("中" * 682))
        assert home.wechat.answers(USER) == ["中" * 682]


async def test_what_wechat_finds_too_long_goes_in_pieces_and_each_of_them_once() -> None:
    async with house(**VERIFIED) as home:
        await home.wechat.user_says(USER, "Hello")
        home.wechat.api.text_limit = 1000  # not documented, so it may change
        text = "".join(f"第{number}句。" for number in range(120))
        home.wechat.api.faults.append(Fault(SEND, errcode=45002))
        await home.channel.deliver(part(text))
        shown = home.wechat.answers(USER)
        assert ("".join(shown), len(shown)) == (text, 2)
        for number in range(2):
            await home.channel.deliver(part(str(number)))
        # One message is left: the second piece waits, and what the user has is not sent again.
        assert (await refused(home, text)).retryable
        assert len(home.wechat.answers(USER)) == 5
        await home.wechat.user_says(USER, "And?")
        await home.channel.deliver(part(text))
        assert ("".join(home.wechat.answers(USER)[4:]), len(home.wechat.answers(USER))) == (text, 6)


async def test_what_is_short_and_refused_as_too_long_is_not_cut_for_ever() -> None:
    async with house(**VERIFIED) as home:
        await home.wechat.user_says(USER, "Hello")
        home.wechat.api.text_limit = 1
        error = await refused(home, "x" * 1700)
        assert ("errcode 45002" in error.reason, error.retryable) == (True, False)
        assert len(sends(home)) < 6


async def test_one_token_serves_all_calls_until_shortly_before_its_end() -> None:
    async with house(**VERIFIED) as home:
        fetched = [call for call in home.wechat.api.calls if call.path.endswith("stable_token")]
        await home.wechat.user_says(USER, "Hello")
        await asyncio.gather(*(home.channel.deliver(part("Hello")) for _ in range(5)))
        assert tokens(home) == len(fetched) == 1
        home.clock.now += 6899
        await home.wechat.user_says(USER, "Hello")
        await home.channel.deliver(part("Hello"))
        assert tokens(home) == 1
        home.clock.now += 2
        await home.channel.deliver(part("Hello"))
        assert tokens(home) == 2


def sends(home: House) -> list[Call]:
    return [call for call in home.wechat.api.calls if call.path.endswith(SEND)]


def tokens(home: House) -> int:
    return len([call for call in home.wechat.api.calls if call.path.endswith("stable_token")])


async def test_a_spent_token_is_renewed_once_for_all_who_met_it() -> None:
    async with house(**VERIFIED) as home:
        await home.wechat.user_says(USER, "Hello")
        home.wechat.api.spend_token()
        await asyncio.gather(*(home.channel.deliver(part(f"{number}")) for number in range(4)))
        assert sorted(home.wechat.answers(USER)) == ["0", "1", "2", "3"]
        assert tokens(home) == 2
        forced = [call.body["force_refresh"] for call in home.wechat.api.calls if call.path.endswith("stable_token")]
        assert forced == [False, True]


@pytest.mark.parametrize("code", [40001, 40014, 42001])
async def test_a_token_that_stays_refused_is_not_asked_for_again_and_again(code: int) -> None:
    async with house(**VERIFIED) as home:
        await home.wechat.user_says(USER, "Hello")
        home.wechat.api.faults.extend([Fault(SEND, errcode=code)] * 3)
        error = await refused(home)
        assert (error.retryable, error.unclear) == (True, False)
        # A second forced refresh within 30 s is not allowed.
        assert (await refused(home)).retryable
        assert tokens(home) == 2
        home.clock.now += 31
        await home.channel.deliver(part("Hello"))
        assert home.wechat.answers(USER) == ["Hello"]


@pytest.mark.parametrize(
    ("code", "retryable", "pause"),
    [
        (45015, True, 900.0),
        (45047, True, 900.0),
        (48001, True, 900.0),
        (40003, False, None),
        (43019, False, None),
        (45002, False, None),
        (99999, False, None),
        (-1, True, 5.0),
        (45011, True, 60.0),
        (45009, True, 3600.0),
        (40164, True, 300.0),
    ],
)
async def test_a_refusal_is_told_by_its_code(code: int, retryable: bool, pause: float | None) -> None:
    async with house(**VERIFIED) as home:
        home.wechat.api.faults.append(Fault(SEND, errcode=code))
        error = await refused(home)
        assert (error.retryable, error.retry_after, error.unclear) == (retryable, pause, False)
        assert f"errcode {code}" in error.reason


async def test_the_real_windows_and_counts_are_met() -> None:
    async with house(**VERIFIED) as home:
        assert "40003" in (await refused(home)).reason
        await home.wechat.user_says(USER, "Hello")
        for number in range(5):
            await home.channel.deliver(part(str(number)))
        error = await refused(home)
        assert (error.retryable, len(sends(home))) == (True, 6)  # WeChat is not asked when the answer is known
        await home.wechat.user_says(USER, "Hello")
        home.clock.now += 48 * 3600 + 1
        assert (await refused(home)).retryable
        assert len(sends(home)) == 6


async def test_an_unknown_outcome_is_called_unclear() -> None:
    async with house(**VERIFIED) as home:
        await home.wechat.user_says(USER, "Hello")
        home.wechat.api.faults.append(Fault(SEND, silent=True, done=True))
        home.wechat.api.faults.append(Fault(SEND, status=502, done=True))
        for _ in range(2):
            error = await refused(home)
            assert (error.unclear, error.retryable) == (True, False)
        assert home.wechat.answers(USER) == ["Hello", "Hello"]


async def test_a_refused_connection_and_a_busy_server_are_tried_again() -> None:
    async with house(**VERIFIED) as home:
        home.wechat.api.faults.append(Fault(SEND, status=503))
        assert (await refused(home)).retryable
        home.wechat.api.faults.append(Fault("stable_token", silent=True))
        home.clock.now += 7200
        error = await refused(home)
        assert (error.retryable, error.unclear) == (True, False)
        await home.wechat.stop()
        error = await refused(home)
        assert (error.retryable, error.unclear) == (True, False)


async def test_an_unverified_account_replies_passively() -> None:
    async with house(app_secret=SECRET) as home:
        assert home.channel.traits.pull
        said = await home.says("Hello")
        await home.gateway.commit("Hi")
        assert await said == "Hi"
        assert (await refused(home)).retryable
        assert not [call for call in home.wechat.api.calls if call.path.endswith(SEND)]


async def test_an_account_that_loses_its_right_replies_passively_from_then_on() -> None:
    async with house(**VERIFIED) as home:
        assert await home.wechat.user_says(USER, "Hello") == ""
        home.wechat.api.verified = False
        error = await refused(home)
        assert error.retryable
        assert "not verified" in error.reason
        assert home.channel.traits.pull
        # The part stays in the ledger; the next message takes it.
        await home.gateway.commit("Hi")
        assert await home.wechat.user_says(USER, "?") == "Hi"


def test_settings_say_what_is_missing() -> None:
    assert Settings().missing() == ["WECHAT_TOKEN"]
    assert Settings.model_validate({"token": "t"}).missing() == [], "plain mode and passive replies need no more"
    for more in ({"aes_key": "a" * 43}, {"app_secret": "s"}, {"verified": "true", "app_secret": "s"}):
        assert Settings.model_validate({"token": "t", **more}).missing() == ["app_id"]
    assert Settings.model_validate({"token": "t", "app_id": "a"}).missing() == []
    assert Settings.model_validate({"token": "t", "app_id": "a", "verified": True}).missing() == ["WECHAT_APP_SECRET"]


def test_secrets_come_from_their_variables_and_a_wrong_key_is_named_not_shown(tmp_path: Path) -> None:
    process = {"WECHAT_TOKEN": "t", "WECHAT_APP_SECRET": "s", "WECHAT_AES_KEY": KEY}
    environment = Environment(tmp_path / ".env", process)
    given = section("channels.wechat", Settings, {"app_id": "a"}, environment)
    assert given.missing() == []
    assert "s" not in repr(given.app_secret)
    wrong = Environment(tmp_path / ".env", process | {"WECHAT_AES_KEY": "tooshort!"})
    with pytest.raises(ConfigError) as caught:
        section("channels.wechat", Settings, {"app_id": "a"}, wrong)
    assert "aes_key" in str(caught.value)
    assert "43" in str(caught.value)
    assert "tooshort" not in str(caught.value)


async def test_a_send_is_recorded_as_begun_right_before_it_and_not_while_it_waits() -> None:
    async with house(**VERIFIED) as home:
        await home.wechat.user_says(USER, "Hello")
        for _ in range(5):
            await home.channel.deliver(part("Hi"))
        assert home.gateway.begun == [1] * 5
        await refused(home)
        assert home.gateway.begun == [1] * 5, "all five are used: it waits for the user, and a crash loses nothing"
