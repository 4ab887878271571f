"""The [engine] section: one engine or several, what its calls carry, and what the settings build of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from commands.building import Engines, build_engine
from commands.reading import read
from core.client import OpenAIEngine
from core.config import EngineSettings
from core.engine import EngineRequest, EngineState
from core.engine_simulator import EngineSimulator
from core.errors import ConfigError
from core.fleet import Fleet
from core.types import Sampling
from tests.core.fleet_stand import say
from tests.fakes import FakeClock

SALT = "0123456789abcdef0123456789abcdef"
TWO = '["http://one:8000/v1", "http://two:8000/v1"]'

Built = Callable[..., Engines]


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Built:
    """What a config.toml with that [engine] section builds."""

    def make(section: str, **variables: str) -> Engines:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        (tmp_path / "config.toml").write_text(f'[engine]\nmode = "remote"\n{section}\n')
        return build_engine(read(tmp_path / "config.toml", ()), FakeClock())

    return make


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("", 'engine: mode "remote" needs base_url'),
        (f'base_url = "http://one:8000/v1"\nbase_urls = {TWO}', "engine: set base_url (one engine) or base_urls"),
        ('base_urls = ["http://one:8000/v1", "one:8000"]', "engine.base_urls: must be an address"),
        ('base_urls = ["http://one:8000/v1", ""]', "engine.base_urls: holds an empty address"),
        (
            'base_urls = ["http://one/v1", "http://me:secret@ONE/v1/"]',
            "engine.base_urls: names the engine at one twice",
        ),
        ('base_url = "http://one/v1"\npriority = "yes please"', "engine.priority"),
    ],
)
def test_what_cannot_be_meant_stops_the_start(built: Built, section: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        built(section)
    assert all(problem.startswith(said) for problem in caught.value.problems)
    assert "secret" not in str(caught.value)


def test_several_engines_are_not_started_here(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(f"[engine]\nbase_urls = {TWO}\n")
    with pytest.raises(ConfigError, match='base_urls needs mode "remote"'):
        read(tmp_path / "config.toml", ())


def test_a_salt_that_could_be_guessed_is_refused(built: Built) -> None:
    with pytest.raises(ConfigError, match="engine: a cache salt needs 32 characters") as caught:
        built('base_url = "http://one:8000/v1"', FRONTDESK_ENGINE_CACHE_SALT="guess-me")
    assert "guess-me" not in str(caught.value)


def test_one_address_is_one_client_and_several_are_a_fleet(built: Built) -> None:
    assert isinstance(built('base_url = "http://one:8000/v1"').engine, OpenAIEngine)
    assert isinstance(built('base_urls = ["http://one:8000/v1"]').engine, OpenAIEngine)
    assert isinstance(built(f"base_urls = {TWO}").engine, Fleet)
    assert isinstance(built("", FRONTDESK__ENGINE__BASE_URLS=TWO).engine, Fleet)


def test_priorities_are_for_the_engine_that_is_started_here_unless_it_is_said() -> None:
    assert EngineSettings().by_priority
    assert not EngineSettings(priority=False).by_priority


async def test_what_was_built_answers_and_says_how_many_it_is(built: Built) -> None:
    request = EngineRequest(({"role": "user", "content": "Hello"},), Sampling(), "r-1", "session", bot="support")
    async with EngineSimulator() as one, EngineSimulator() as two:
        urls = [one.base_url, two.base_url.replace("//", "//me:hidden@")]
        engine = built(f"base_urls = {urls}".replace("'", '"'), FRONTDESK_ENGINE_API_KEY="key-1").engine
        await engine.wait_ready()
        await engine.look()
        assert engine.detail == "2 of 2 ready"
        assert await say(engine, request)
        (call,) = (*one.calls, *two.calls)
        assert call.authorization == "Bearer key-1"
        assert not {"priority", "cache_salt"} & set(call.body)  # other servers refuse what they do not know
        await two.stop()
        await engine.look()
        assert engine.state is EngineState.READY
        assert "hidden" not in engine.detail
        await engine.close()


@pytest.mark.parametrize(("priority", "sent"), [("true", True), ("false", False), ('"auto"', False)])
async def test_a_remote_engine_is_told_priorities_and_salts_only_where_it_is_said(
    built: Built, priority: str, sent: bool
) -> None:
    async with EngineSimulator() as server:
        section = f'base_url = "{server.base_url}"\npriority = {priority}\ncache_salt_env = "OTHER_SALT"'
        engine = built(section, OTHER_SALT=SALT).engine
        for bot, number in (("support", 0), ("support", 10), ("sales", 10)):
            await say(engine, EngineRequest((), Sampling(), bot=bot, priority=number))
        await engine.close()
        bodies = [call.body for call in server.calls]
    assert [body.get("priority") for body in bodies] == ([0, 10, 10] if sent else [None] * 3)
    support, again, sales = [str(body["cache_salt"]) for body in bodies]
    assert support == again != sales
    # vLLM 0.32, entrypoints/generate/base/protocol.py: at most 128 characters, none of these.
    assert all(0 < len(salt) <= 128 and not set("@/\\\0") & set(salt) for salt in (support, sales))
    assert SALT not in f"{support}{sales}"
