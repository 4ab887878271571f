"""The settings: config.toml, `.env` and the environment, typed and read once; every mistake is reported at once.

Precedence: FRONTDESK__SECTION__KEY in the environment, the same in `.env`, config.toml, the default. A secret stands in
an environment variable that the section names (`token_env = "TELEGRAM_BOT_TOKEN"`), never in a log or an error text.
"""

from __future__ import annotations

import ipaddress
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from core.engine_settings import EngineSettings
from core.errors import ConfigError
from core.section import Count, HttpUrl, Positive, Section, Texts

ENV_PREFIX = "FRONTDESK__"
SHORTEST_PASSWORD = 10
# What settings are made of stands elsewhere, and is read from here, too.
__all__ = ["Count", "EngineSettings", "HttpUrl", "Positive", "Section", "Texts"]


def _networks(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        ipaddress.ip_network(value, strict=False)
    return values


class ServerSettings(Section):
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    public_url: HttpUrl = ""
    trusted_proxies: Annotated[Texts, AfterValidator(_networks)] = ()
    body_limit_kib: Count = 1024
    drain_seconds: Positive = 20.0


class LedgerSettings(Section):
    url: Annotated[str, Field(pattern=r"^sqlite:///.+")] = "sqlite:///var/frontdesk.db"
    keep_messages_days: Annotated[float, Field(ge=0)] = 0.0
    keep_audit_days: Annotated[float, Field(ge=0)] = 0.0


class DialogueSettings(Section):
    merge_seconds: Annotated[float, Field(ge=0, le=10)] = 0.2
    merge_cap_seconds: Annotated[float, Field(ge=0, le=30)] = 1.5
    merge_messages: Count = 20
    history_tokens: Annotated[int, Field(ge=0)] = 0
    lease_seconds: Positive = 60.0
    attempts: Count = 3
    busy_after: Annotated[int, Field(ge=0)] = 50
    answer_within_hours: Annotated[float, Field(ge=0)] = 6.0
    repeat_unclear: Annotated[int, Field(ge=0, le=10)] = 0


class AuditSettings(Section):
    mask: bool = True


class ThrottleSettings(Section):
    messages_per_minute: Positive = 20.0
    burst: Count = 10
    tokens_per_day: Annotated[int, Field(ge=0)] = 200_000
    requests_per_minute_per_ip: Positive = 10.0


class ConsoleSettings(Section):
    enabled: bool = True
    password_env: str = "FRONTDESK_CONSOLE_PASSWORD"  # noqa: S105  # a variable's name
    password: SecretStr | None = None
    viewer_password_env: str = "FRONTDESK_CONSOLE_VIEWER_PASSWORD"  # noqa: S105  # likewise
    viewer_password: SecretStr | None = None
    signed_in_hours: Positive = 12.0

    @model_validator(mode="after")
    def _passwords_are_long(self) -> Self:
        for secret in (self.password, self.viewer_password):
            if secret is not None and len(secret.get_secret_value()) < SHORTEST_PASSWORD:
                raise ValueError(f"a console password needs {SHORTEST_PASSWORD} characters or more")
        return self


class LogSettings(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "text"] = "auto"


class ChannelSettings(Section):
    """What every `[channels.x]` section has; each adapter's own `Settings` adds its fields to it."""

    kind: str = ""  # the adapter's folder; "" = the section's name
    enabled: bool | Literal["auto"] = "auto"
    bot: str = "support"

    def missing(self) -> list[str]:
        """Names of the environment variables and settings still needed before the channel can be on."""
        return []


class Settings(BaseSettings):
    """All settings. `api` and `channels` hold their sections as written; `channel_settings` types them with the model
    of the adapter, because only the adapter knows its platform."""

    model_config = SettingsConfigDict(
        # extra: `.env` holds other programs' variables too; `load` refuses unknown sections itself.
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,  # as Environment does
        enable_decoding=False,  # `Texts` reads JSON, so that its mistakes are reported with all others
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    server: ServerSettings = ServerSettings()
    ledger: LedgerSettings = LedgerSettings()
    audit: AuditSettings = AuditSettings()
    engine: EngineSettings = EngineSettings()
    dialogue: DialogueSettings = DialogueSettings()
    throttle: ThrottleSettings = ThrottleSettings()
    console: ConsoleSettings = ConsoleSettings()
    log: LogSettings = LogSettings()
    # A secret may stand in these tables as plain text, so they are not shown.
    api: dict[str, object] = Field(default_factory=dict, repr=False)
    channels: dict[str, dict[str, object]] = Field(default_factory=dict, repr=False)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # init_settings carries config.toml, so that the environment wins over it.
        return env_settings, dotenv_settings, init_settings


class Environment(Mapping[str, str]):
    """The variables of `.env` under those of the process; the process wins. Empty values count as not set."""

    def __init__(self, dotenv: Path, process: Mapping[str, str]) -> None:
        self.dotenv = dotenv
        values = {name: value or "" for name, value in dotenv_values(dotenv).items()} | dict(process)
        self._values = {name: value for name, value in values.items() if value}

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def read_table(path: Path) -> dict[str, object]:
    """The settings file as it is written. Raises ConfigError when it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read ({error.strerror}); name another file with --config"]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: not valid TOML: {error}"]) from error


def channel_tables(settings: Settings | None, table: Mapping[str, object]) -> dict[str, Mapping[str, object]]:
    """`[api]` and each section of `[channels]`, by name; as written where the settings as a whole are wrong."""
    written = table.get("channels", {}) if settings is None else settings.channels
    api = table.get("api", {}) if settings is None else settings.api
    sections = {**written, "api": api} if isinstance(written, dict) else {"api": api}
    return {str(name): section for name, section in sections.items() if isinstance(section, dict)}


def load(path: Path, environment: Environment) -> Settings:
    """Read the settings. Raises ConfigError with every mistake that can be seen at once."""
    table = read_table(path)
    overrides = {name for name in environment if name.startswith(ENV_PREFIX)}
    named = set(table) | {name.removeprefix(ENV_PREFIX).split("__")[0].lower() for name in overrides}
    problems = [
        f"{name}: no such section; config.toml lists them all" for name in sorted(named - Settings.model_fields.keys())
    ]
    try:
        settings = Settings(_env_file=environment.dotenv, **table)  # type: ignore[arg-type]  # judged by the model
    except ValidationError as error:
        raise ConfigError(problems + _problems(error, "")) from error
    if problems:
        raise ConfigError(problems)
    parts = {name: getattr(settings, name) for name in Settings.model_fields}
    sections = {name: part for name, part in parts.items() if isinstance(part, Section)}
    filled = {name: section(name, type(part), part.model_dump(), environment) for name, part in sections.items()}
    return settings.model_copy(update=filled)


SectionT = TypeVar("SectionT", bound=Section)


def section(name: str, model: type[SectionT], table: Mapping[str, object], environment: Environment) -> SectionT:
    """Type one section that an adapter owns, its secrets filled from the variables it names. Raises ConfigError."""
    default_section = name.rpartition(".")[2] == (table.get("kind") or name.rpartition(".")[2])
    values = dict(table)
    for secret in model.model_fields:
        named_by = model.model_fields.get(f"{secret}_env")
        if named_by is None or values.get(secret):
            continue
        # A second account must name its own variables, or two bots would share one token.
        variable = values.get(f"{secret}_env", named_by.default if default_section else "")
        if isinstance(variable, str) and variable in environment:
            values[secret] = environment[variable]
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_problems(error, name)) from error


def _problems(error: ValidationError, prefix: str) -> list[str]:
    lines = []
    for item in error.errors(include_url=False, include_input=False, include_context=False):
        path = ".".join(filter(None, (prefix, *(str(part) for part in item["loc"]))))
        if item["type"] == "extra_forbidden":
            lines.append(f"{path}: no such setting; config.toml lists them all")
        else:
            lines.append(f"{path}: {item['msg'].removeprefix('Value error, ')}")
    return lines
