"""A bot's folder becomes a bot, the same every time, and each mistake in it is told with its file and line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bots.bot
from bots.bot import PHRASES, load, load_all
from bots.source import Source, fill
from core.errors import ConfigError
from core.types import Sampling

ROOT = Path(bots.bot.__file__).parent


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the real bot, to be spoilt."""
    shutil.copytree(ROOT / "support", tmp_path / "bots" / "support")
    return tmp_path / "bots" / "support"


def change(folder: Path, name: str, old: str, new: str) -> int:
    """Replace one text in a file; returns the line where it stood."""
    text = (folder / name).read_text(encoding="utf-8")
    assert old in text
    (folder / name).write_text(text.replace(old, new, 1), encoding="utf-8")
    return text[: text.index(old)].count("\n") + 1


def problems(folder: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(folder)
    return caught.value.problems


def test_the_real_bots_load() -> None:
    found = load_all(ROOT)
    support = found["support"].bot
    assert support.name == "support"
    assert set(support.prompts) == set(support.phrases) == {"en", "zh"}
    assert (support.title, support.timezone, support.sampling) == (
        "Customer service",
        "",
        Sampling(frequency_penalty=0.5),
    )
    for prompt in support.prompts.values():
        assert "{" not in prompt.system
        assert "each turn" not in prompt.system
        assert "{current_time}" in prompt.note
    for language, words in support.phrases.items():
        assert set(words) == set(PHRASES), language
        left = {name: text for name, text in words.items() if "{" in text}
        assert set(left) == {"throttled", "chat_too_long", "edited", "brief", "busy"}
    assert support.phrase("chat_title", "zh") == "在线客服"
    assert "our company" in support.prompts["en"].system
    assert "本公司" in support.prompts["zh"].system
    assert "30" in support.phrase("throttled", "en", seconds="30")


@pytest.mark.parametrize(("name", "limit"), [("prompt.md", 900), ("prompt.zh.md", 300)])
def test_the_stable_part_stays_short_enough_for_a_small_model(name: str, limit: int) -> None:
    assert len((ROOT / "support" / name).read_text(encoding="utf-8").partition("--- each")[0]) < limit


def test_the_same_files_give_the_same_bytes_whatever_the_editor_wrote(folder: Path) -> None:
    before = load(folder)
    assert load(folder) == before
    for name in ("bot.toml", "phrases.toml", "prompt.md", "prompt.zh.md"):
        text = (folder / name).read_text(encoding="utf-8")
        (folder / name).write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode() + b"\r\n\r\n")
    assert load(folder) == before


def test_a_bot_of_one_language_with_plain_words(folder: Path) -> None:
    (folder / "prompt.zh.md").unlink()
    change(folder, "bot.toml", '{ en = "Customer service", zh = "在线客服" }', '"Kettle help"')
    change(folder, "bot.toml", '{ en = "our company", zh = "本公司" }', '"Blue Kettle"')
    change(folder, "bot.toml", 'timezone = ""', 'timezone = "Asia/Shanghai"')
    change(folder, "phrases.toml", '"您好！请问', '"您好，这里是{company_name}！请问')
    bot = load(folder)
    assert (bot.title, bot.timezone, set(bot.prompts)) == ("Kettle help", "Asia/Shanghai", {"en"})
    assert "Blue Kettle" in bot.prompts["en"].system
    assert "Blue Kettle" in bot.phrase("chat_greeting", "zh")


def test_braces_that_are_no_placeholder_survive(folder: Path) -> None:
    kept = 'Answer as {"a": 1, "b": {"c": []}} or {} or { order } or {A1} or {{x.y}} or }{ or {"company_name"}.'
    change(folder, "prompt.md", "- Answer in", f"{kept}\n- Answer in")
    assert kept in load(folder).prompts["en"].system


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_a_value_is_never_read_as_a_placeholder(value: str) -> None:
    found: list[str] = []
    source = Source("x", "", found)
    assert fill(source, "a {n} b {later} c", 1, {"n": value}, {"later"}) == f"a {value} b {{later}} c"
    assert found == []


def test_a_prompt_without_a_marker_has_no_note(folder: Path) -> None:
    (folder / "prompt.md").write_text("You are the help.\n", encoding="utf-8")
    prompt = load(folder).prompts["en"]
    assert (prompt.system, prompt.note) == ("You are the help.", "")


SPOILT = [
    # file, what stands there, what is written instead, what the problem says
    ("prompt.md", "in the customer", "at {current_time} in the customer", "move it there"),
    ("prompt.zh.md", "先道歉", "{current_time}先道歉", "move it there"),
    ("prompt.md", "customer wants", "{customer} wants", "[variables]"),
    ("prompt.md", "customer wants", "{compny_name} wants", "did you mean {company_name}?"),
    ("prompt.md", "customer wants", "{ Company Name } wants", "write {company_name}"),
    ("prompt.md", "It is now {current_time}", "It is now {curent_time}", "did you mean {current_time}?"),
    ("prompt.md", "--- each turn ---", "---- Each turn:", "exactly as --- each turn ---"),
    ("prompt.md", "It is now", "--- each turn ---\nIt is now", "only once"),
    ("bot.toml", "[sampling]", "[sampling\n", "not valid TOML"),
    ("bot.toml", "temperature = 0.3", "temperature = 2.5", "from 0 to 2"),
    ("bot.toml", "temperature = 0.3", "temperature = true", "from 0 to 2"),
    ("bot.toml", "top_p = 0.9", "top_p = 0", "over 0, up to 1"),
    ("bot.toml", "frequency_penalty = 0.5", "frequency_penalty = 3", "from -2 to 2"),
    ("bot.toml", 'help = ["help"', 'halp = ["help"', "did you mean help?"),
    ("bot.toml", 'stop = ["stop", "停止"]', 'stop = "stop"', "must be a list of texts"),
    ("bot.toml", "max_tokens = 512", "max_tokens = 5.5", "whole number"),
    ("bot.toml", "stop = []", 'stop = ["a", ""]', "list of at most four"),
    ("bot.toml", "stop = []", 'stop = "a"', "list of at most four"),
    ("bot.toml", "stop = []", "temprature = 0.1", "did you mean temperature?"),
    ("bot.toml", "title =", "titel =", "did you mean title?"),
    ("bot.toml", "timezone = ", 'timezone = "Mars/Base" # ', "Asia/Shanghai"),
    ("bot.toml", "timezone = ", 'timezone = "Asia" # ', "Asia/Shanghai"),
    ("bot.toml", "timezone = ", "timezone = 8 # ", "Asia/Shanghai"),
    ("bot.toml", 'default_language = "en"', 'default_language = "English"', "default_language must be"),
    ("bot.toml", 'en = "our company", ', "", "lacks the default language"),
    ("bot.toml", '"our company"', '"{title} & co"', "may not hold {...}"),
    ("bot.toml", '"our company"', "7", "must be a text in quotes"),
    ("bot.toml", "company_name =", 'Shop-Name = "x" #', "small letters"),
    ("bot.toml", "company_name =", 'title = "x"\ncompany_name =', "choose another name"),
    ("phrases.toml", "cut_mark =", "cut_marc =", "did you mean cut_mark?"),
    ("phrases.toml", "[zh]", '[zh]\nhello_world = "x"', "there is no phrase hello_world"),
    ("phrases.toml", 'chat_send = "Send"', "chat_send = 1", "must be a text"),
    ("phrases.toml", 'chat_send = "Send"', 'chat_send = " "', "not empty"),
    ("phrases.toml", 'chat_send = "Send"', 'chat_send = "Send {seconds}"', "{seconds}"),
    ("phrases.toml", 'chat_send = "Send"', 'chat_send = "Send at {current_time}"', "only stand in a prompt"),
    ("phrases.toml", 'chat_send = "Send"', "chat_send = Send", "not valid TOML"),
    ("phrases.toml", "# What the bot itself", 'cut_mark = "x"\n# What the bot itself', "outside a language"),
    ("phrases.toml", "[zh]", "[zh-cn]", "outside a language"),
]


@pytest.mark.parametrize(("name", "old", "new", "words"), SPOILT)
def test_a_mistake_is_told_with_file_and_line(folder: Path, name: str, old: str, new: str, words: str) -> None:
    at = change(folder, name, old, new)
    found = problems(folder)
    # Where a line was put before the marker or the name, the mistake is on the one or the other.
    places = tuple(f"bots/support/{name}:{line}: " for line in (at, at + 1))
    assert any(problem.startswith(places) and words in problem for problem in found), found


def test_every_mistake_is_told_at_once(folder: Path) -> None:
    lines = [
        ("prompt.md", change(folder, "prompt.md", "customer wants", "{who} wants")),
        ("prompt.zh.md", change(folder, "prompt.zh.md", "先道歉", "{who}先道歉")),
        ("phrases.toml", change(folder, "phrases.toml", 'chat_send = "Send"', 'chat_snd = "Send"')),
        ("bot.toml", change(folder, "bot.toml", "top_p = 0.9", "top_p = 9")),
    ]
    found = problems(folder)
    assert len(found) == 5  # chat_snd is unknown, and chat_send is missing
    for name, line in lines:
        assert any(problem.startswith(f"bots/support/{name}:{line}: ") for problem in found), (name, line, found)


def test_a_missing_phrase_is_told_at_its_language(folder: Path) -> None:
    change(folder, "phrases.toml", 'chat_retry = "重试"\n', "")
    line = (folder / "phrases.toml").read_text(encoding="utf-8").split("\n").index("[zh]") + 1
    assert problems(folder) == [
        f'bots/support/phrases.toml:{line}: [zh] lacks chat_retry; add them, such as chat_retry = "..."'
    ]


def test_lines_are_right_after_a_long_text(folder: Path) -> None:
    change(folder, "phrases.toml", 'chat_send = "Send"', 'chat_send = """\nSend\nchat_retry = now\n"""')
    at = change(folder, "phrases.toml", 'chat_retry = "Try again"', "chat_retry = 3")
    assert [problem.split(":")[1] for problem in problems(folder)] == [str(at)]


def test_files_that_are_missing_unreadable_or_wrongly_named(folder: Path) -> None:
    (folder / "prompt.md").unlink()
    (folder / "prompt.zh.md").rename(folder / "prompt-zh.md")
    (folder / "prompt.en.md").write_text("You are the help.")
    (folder / "prompt.de.md").write_bytes("Du bist\nder Kundendienst für".encode("latin-1"))
    assert [problem.split(" ")[0] for problem in problems(folder)] == [
        "bots/support/prompt-zh.md:",
        "bots/support/prompt.en.md:",
        "bots/support/prompt.md:",
        "bots/support/prompt.de.md:2:",
    ]
    (folder / "bot.toml").unlink()
    assert [problem.split(" ")[0] for problem in problems(folder)] == ["bots/support/bot.toml:"]


def test_a_prompt_needs_phrases_in_its_language_and_words(folder: Path) -> None:
    (folder / "prompt.de.md").write_text("\n--- each turn ---\nEs ist {current_time}.", encoding="utf-8")
    found = problems(folder)
    assert any("add a part [de]" in problem for problem in found)
    assert any(problem.startswith("bots/support/prompt.de.md:1: says nothing above") for problem in found)


def test_all_bots_are_read_and_their_mistakes_told_together(folder: Path) -> None:
    root = folder.parent
    (root / "__pycache__").mkdir()
    (root / "bot.py").write_text("")
    assert list(load_all(root)) == ["support"]
    shutil.copytree(folder, root / "Sales Team")
    change(folder, "bot.toml", "top_p = 0.9", "top_p = 9")
    with pytest.raises(ConfigError) as caught:
        load_all(root)
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["bots/Sales Team", "bots/support/bot.toml"]
    for empty in (root / "__pycache__", root / "nowhere"):
        with pytest.raises(ConfigError, match="holds no bot"):
            load_all(empty)


def test_commands_in_any_wording() -> None:
    support = load(ROOT / "support")
    said = [
        "/start",
        "/START now",
        "/help",
        " 转人工 ",
        "Talk to a person",
        "停止",
        "/new\nplease",
        "stop it",
        "/nothing",
        "",
    ]
    expected = ["start", "start", "help", "human", "human", "stop", "new", "", "", ""]
    assert [support.command(text) for text in said] == expected
