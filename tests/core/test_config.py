"""The settings: who wins over whom, every mistake at once and by its name, and no secret ever shown."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from core.config import ChannelSettings, Environment, Settings, load, section
from core.errors import ConfigError

SECRET = "12345:made-up-and-not-to-be-shown"

Read = Callable[..., Settings]


class BotSettings(ChannelSettings):
    """As an adapter's own."""

    token: SecretStr | None = None
    token_env: str = "TELEGRAM_BOT_TOKEN"
    api_base_url: str = "https://api.example.com"
    retries: int = 3


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """Settings of a config.toml, a `.env` and variables of the process."""
    for name in [name for name in os.environ if name.startswith("FRONTDESK")]:
        monkeypatch.delenv(name)

    def read(toml: str = "", *, dotenv: str = "", **variables: str) -> Settings:
        (tmp_path / "config.toml").write_text(toml, encoding="utf-8")
        (tmp_path / ".env").write_text(dotenv, encoding="utf-8")
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return load(tmp_path / "config.toml", Environment(tmp_path / ".env", os.environ))

    return read


def problems(read: Callable[[], object]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read()
    assert SECRET not in str(caught.value)
    return caught.value.problems


def environment(tmp_path: Path, **variables: str) -> Environment:
    return Environment(tmp_path / "no.env", variables)


# Precedence


def test_an_empty_file_gives_the_defaults(read: Read) -> None:
    settings = read()
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 8080)
    assert settings.ledger.url == "sqlite:///var/frontdesk.db"
    assert (settings.engine.mode, settings.engine.model) == ("vllm", "auto")
    assert settings.channels == {}


def test_the_environment_wins_over_dotenv_over_toml_over_default(read: Read) -> None:
    toml = "[dialogue]\nlease_seconds = 1\nattempts = 1\nmerge_messages = 1"
    dotenv = "FRONTDESK__DIALOGUE__ATTEMPTS=2\nFRONTDESK__DIALOGUE__MERGE_MESSAGES=2"
    dialogue = read(toml, dotenv=dotenv, FRONTDESK__DIALOGUE__MERGE_MESSAGES="3").dialogue
    assert (dialogue.lease_seconds, dialogue.attempts, dialogue.merge_messages) == (1.0, 2, 3)
    assert dialogue.merge_seconds == 0.2


def test_a_channel_is_overridden_key_by_key(read: Read) -> None:
    toml = '[channels.telegram_de]\nkind = "telegram"\nbot = "support"'
    settings = read(toml, FRONTDESK__CHANNELS__TELEGRAM_DE__BOT="sales", FRONTDESK__CHANNELS__WEB__BOT="web")
    assert settings.channels == {"telegram_de": {"kind": "telegram", "bot": "sales"}, "web": {"bot": "web"}}


def test_an_empty_variable_counts_as_not_set(read: Read, tmp_path: Path) -> None:
    settings = read("[server]\nport = 9000", FRONTDESK__SERVER__PORT="", TELEGRAM_BOT_TOKEN="")
    assert settings.server.port == 9000
    values = Environment(tmp_path / ".env", os.environ)
    assert "TELEGRAM_BOT_TOKEN" not in values


def test_the_process_wins_over_dotenv_for_secrets_too(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=file\nB=file\nC\n")
    values = Environment(tmp_path / ".env", {"A": "process", "D": ""})
    assert dict(values) == {"A": "process", "B": "file"}


def test_other_programs_variables_in_dotenv_are_no_mistake(read: Read) -> None:
    assert read(dotenv="OPENAI_API_KEY=x\nFRONTDESK_API_KEYS=y\nPORT=1").server.port == 8080


def test_lists_are_json_in_a_variable_and_a_list_in_toml(read: Read) -> None:
    engine = read('[engine]\nargs = ["--a"]', FRONTDESK__SERVER__TRUSTED_PROXIES='["10.0.0.0/8", "::1"]')
    assert engine.engine.args == ("--a",)
    assert engine.server.trusted_proxies == ("10.0.0.0/8", "::1")


def test_the_last_slash_of_an_address_does_not_count(read: Read) -> None:
    assert read('[server]\npublic_url = "https://bot.example.com/"').server.public_url == "https://bot.example.com"


def test_the_houses_own_secrets_stand_in_the_variables_that_are_named(read: Read) -> None:
    assert read().engine.api_key is None
    by_default = read(dotenv="FRONTDESK_ENGINE_API_KEY=from-env\nFRONTDESK_CONSOLE_PASSWORD=a long password")
    assert by_default.engine.api_key == SecretStr("from-env")
    assert by_default.console.password == SecretStr("a long password")
    named = read('[engine]\napi_key_env = "OTHER_KEY"', OTHER_KEY="other", FRONTDESK_ENGINE_API_KEY="usual")
    assert named.engine.api_key == SecretStr("other")


# Mistakes


def test_a_short_password_of_the_console_is_refused_wherever_it_stands(read: Read) -> None:
    (problem,) = problems(lambda: read(FRONTDESK_CONSOLE_VIEWER_PASSWORD="short"))
    assert problem.startswith("console: ") and "10 characters" in problem and "short" not in problem


def test_every_mistake_is_named_at_once(read: Read) -> None:
    toml = """
    [sever]
    [server]
    port = 70000
    hots = "x"
    trusted_proxies = ["10.0.0.0/99"]
    public_url = "bot.example.com"
    [engine]
    mode = "cloud"
    [ledger]
    url = "postgres://db"
    [throttle]
    burst = 0
    """
    variables = {
        "FRONTDESK__NOPE__X": "1",
        "FRONTDESK__ENGINE__ARGS": '["--a',
        "FRONTDESK__DIALOGUE__ATTEMPTS": "many",
    }
    found = problems(lambda: read(toml, **variables))
    assert sorted(problem.partition(":")[0] for problem in found) == [
        "dialogue.attempts",
        "engine.args",
        "engine.mode",
        "ledger.url",
        "nope",
        "server.hots",
        "server.port",
        "server.public_url",
        "server.trusted_proxies",
        "sever",
        "throttle.burst",
    ]


def test_a_list_that_is_not_json_says_how_it_is_written(read: Read) -> None:
    (problem,) = problems(lambda: read(FRONTDESK__SERVER__TRUSTED_PROXIES="10.0.0.0/8"))
    assert problem.startswith("server.trusted_proxies: ")
    assert '["a", "b"]' in problem


def test_a_remote_engine_needs_its_address(read: Read) -> None:
    (problem,) = problems(lambda: read('[engine]\nmode = "remote"'))
    assert problem.startswith("engine: ")
    assert "base_url" in problem
    settings = read('[engine]\nmode = "remote"', FRONTDESK__ENGINE__BASE_URL="http://127.0.0.1:8000/v1/")
    assert settings.engine.base_url == "http://127.0.0.1:8000/v1"


@pytest.mark.parametrize("url", ["ftp://example.com", "example.com:8080", "http://", "https:///path"])
def test_an_address_must_be_one(read: Read, url: str) -> None:
    (problem,) = problems(lambda: read(f'[engine]\nbase_url = "{url}"'))
    assert problem.startswith("engine.base_url: must be an address")


@pytest.mark.parametrize("toml", ["port = 1", "[channels]\ntelegram = 1", "[server", "[server]\nport = 1\nport = 2"])
def test_what_stands_in_the_wrong_place_is_a_mistake(read: Read, toml: str) -> None:
    assert len(problems(lambda: read(toml))) == 1


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    (problem,) = problems(lambda: load(tmp_path / "none.toml", environment(tmp_path)))
    assert "none.toml" in problem
    assert "--config" in problem
    (tmp_path / "latin.toml").write_bytes(b'x = "\xe4"')
    (problem,) = problems(lambda: load(tmp_path / "latin.toml", environment(tmp_path)))
    assert "not valid TOML" in problem


# Secrets


def test_secrets_are_not_shown(read: Read, tmp_path: Path) -> None:
    toml = f'[channels.telegram]\ntoken = "{SECRET}"\n[api]\nkeys = ["{SECRET}"]'
    settings = read(toml, FRONTDESK__ENGINE__API_KEY=SECRET, FRONTDESK__CHANNELS__SLACK__TOKEN=SECRET)
    assert settings.engine.api_key is not None
    assert settings.engine.api_key.get_secret_value() == SECRET
    typed = section("channels.telegram", BotSettings, settings.channels["telegram"], environment(tmp_path))
    assert typed.token is not None
    assert typed.token.get_secret_value() == SECRET
    for value in (settings, settings.engine, typed):
        assert SECRET not in f"{value!r} {value}"


def test_a_mistake_does_not_show_the_value(read: Read, tmp_path: Path) -> None:
    assert problems(lambda: read(f'[engine]\napi_key = ["{SECRET}"]\nmax_concurrency = "{SECRET}"'))
    table = {"token": [SECRET], "retries": SECRET, "tokn": SECRET}
    found = problems(lambda: section("channels.telegram", BotSettings, table, environment(tmp_path)))
    assert sorted(problem.partition(":")[0] for problem in found) == [
        "channels.telegram.retries",
        "channels.telegram.token",
        "channels.telegram.tokn",
    ]


def test_a_secret_comes_from_the_variable_that_is_named(tmp_path: Path) -> None:
    values = environment(tmp_path, TELEGRAM_BOT_TOKEN="default", OTHER="other")

    def token(name: str, table: dict[str, object]) -> str | None:
        secret = section(name, BotSettings, table, values).token
        return secret.get_secret_value() if secret else None

    assert token("channels.telegram", {}) == "default"
    assert token("channels.telegram", {"kind": "telegram"}) == "default"
    assert token("channels.telegram", {"token": ""}) == "default"
    assert token("channels.telegram", {"token": "written"}) == "written"
    assert token("channels.telegram", {"token_env": "OTHER"}) == "other"
    assert token("channels.telegram", {"token_env": "NOT_SET"}) is None


def test_a_second_account_names_its_own_variables(tmp_path: Path) -> None:
    values = environment(tmp_path, TELEGRAM_BOT_TOKEN="the first bot's", DE="the second's")
    assert section("channels.telegram_de", BotSettings, {"kind": "telegram"}, values).token is None
    second = section("channels.telegram_de", BotSettings, {"kind": "telegram", "token_env": "DE"}, values)
    assert second.token is not None
    assert second.token.get_secret_value() == "the second's"


def test_a_section_is_typed_from_variables_too(read: Read, tmp_path: Path) -> None:
    settings = read(FRONTDESK__CHANNELS__TELEGRAM__ENABLED="false", FRONTDESK__CHANNELS__TELEGRAM__RETRIES="5")
    typed = section("channels.telegram", BotSettings, settings.channels["telegram"], environment(tmp_path))
    assert (typed.enabled, typed.retries) == (False, 5)
    assert section("channels.telegram", BotSettings, {}, environment(tmp_path)).enabled == "auto"
