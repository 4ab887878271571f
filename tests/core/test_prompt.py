"""What the model saw stays byte for byte at the front of the next prompt, until the budget forces one big cut."""

from __future__ import annotations

from dataclasses import replace

from core.prompt import compose, estimate, note
from core.types import ConversationKey, HistoryEntry, StoredMessage, Turn
from tests.fakes import make_bot

NOW = 1_800_000_000.0  # 2027-01-15 08:00 UTC, a Friday
BOT = replace(make_bot(), timezone="UTC")


def turn(text: str, *, history_from: int = 0, prompt_tokens: int = 0) -> Turn:
    message = StoredMessage(1, "user", text, {}, "", NOW)
    key = ConversationKey("web", "support", "chat")
    return Turn(1, 1, key, (message,), "", 1, "", history_from, prompt_tokens)


def test_the_time_stands_with_the_newest_message_and_not_in_the_system_prompt() -> None:
    composed = compose(BOT, "en", turn("Hello"), (), NOW, 4000)
    assert composed.messages == (
        {"role": "system", "content": "You answer customers of a shop."},
        {"role": "user", "content": "It is 2027-01-15 08:00 Friday.\nHello"},
    )
    assert composed.user_text == "It is 2027-01-15 08:00 Friday.\nHello"


def test_each_prompt_begins_with_the_one_before() -> None:
    history: list[HistoryEntry] = []
    before: tuple[object, ...] = ()
    for number in range(20):
        composed = compose(BOT, "en", turn(f"Question {number}"), history, NOW + 60 * number, 100_000)
        assert composed.messages[: len(before)] == before
        history.append(HistoryEntry(2 * number + 1, "user", composed.user_text))
        history.append(HistoryEntry(2 * number + 2, "assistant", f"Answer {number}"))
        before = (*composed.messages, {"role": "assistant", "content": f"Answer {number}"})


def test_a_full_budget_cuts_history_to_half_once_and_from_a_users_message() -> None:
    history = [HistoryEntry(n, "user" if n % 2 else "assistant", "word " * 60) for n in range(1, 41)]
    size = sum(estimate(entry.text) + 4 for entry in history)
    composed = compose(BOT, "en", turn("New"), history, NOW, size // 2)
    kept = composed.messages[1:-1]
    assert kept and kept[0]["role"] == "user"
    assert composed.tokens <= size // 2
    assert sum(estimate(message["content"]) for message in kept) <= size // 4
    again = compose(
        BOT, "en", turn("New", history_from=composed.history_from), history[composed.history_from - 1 :], NOW, size // 2
    )
    assert again.history_from == composed.history_from, "the next turns keep the same beginning"


def test_the_engines_exact_count_beats_the_estimate() -> None:
    history = [HistoryEntry(1, "user", "汉" * 400), HistoryEntry(2, "assistant", "字" * 400)]
    assert len(compose(BOT, "zh", turn("新", prompt_tokens=500), history, NOW, 1000).messages) == 4
    assert len(compose(BOT, "zh", turn("新", prompt_tokens=2000), history, NOW, 1000).messages) < 4


def test_halving_goes_on_until_nothing_is_left() -> None:
    history: list[HistoryEntry] = [HistoryEntry(n, "user" if n % 2 else "assistant", "x") for n in range(1, 9)]
    lengths = []
    while history:
        composed = compose(BOT, "en", turn("New"), history, NOW, 100_000, halve=True)
        history = [entry for entry in history if entry.id >= composed.history_from]
        lengths.append(len(history))
    assert lengths == [4, 2, 0]
    assert composed.history_from == 9


def test_a_bot_without_a_note_adds_nothing() -> None:
    silent = replace(BOT, prompts={"en": replace(BOT.prompts["en"], note="")})
    assert note(silent, "en", NOW) == ""
    assert compose(silent, "en", turn("Hello"), (), NOW, 4000).user_text == "Hello"


def test_the_weekday_is_in_the_prompts_language() -> None:
    assert note(BOT, "zh", NOW) == "现在是 2027-01-15 08:00 星期五。"
