"""The settings of `[api]`."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BeforeValidator, SecretStr, field_validator, model_validator

from adapters.api.posting import secret_bytes
from adapters.api.receivers import place_of
from core.config import ChannelSettings, Texts


def _joined(value: object) -> object:
    """A list of keys is as good as a text with commas."""
    return ",".join(map(str, value)) if isinstance(value, list) else value


class Settings(ChannelSettings):
    keys_env: str = "FRONTDESK_API_KEYS"
    keys: Annotated[SecretStr | None, BeforeValidator(_joined)] = None
    callback_hosts: Texts = ()
    callback_secret_env: str = "FRONTDESK_CALLBACK_SECRET"  # noqa: S105  # a variable's name
    callback_secret: SecretStr | None = None

    @field_validator("callback_hosts")
    @classmethod
    def _hosts_are_such(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for listed in value:
            place_of(listed)
        return value

    @field_validator("callback_secret")
    @classmethod
    def _secret_is_such(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            secret_bytes(value.get_secret_value())
        return value

    @model_validator(mode="after")
    def _what_is_posted_is_signed(self) -> Self:
        if self.callback_hosts and self.callback_secret is None:
            raise ValueError(
                f"callback_hosts needs a secret to sign with; set {self.callback_secret_env}, made with"
                ' `echo "whsec_$(openssl rand -base64 32)"`'
            )
        return self


def api_keys(settings: Settings) -> list[str]:
    raw = settings.keys.get_secret_value() if settings.keys else ""
    return [key.strip() for key in raw.split(",") if key.strip()]


def callback_key(settings: Settings) -> bytes:
    """What call-backs are signed with; empty where none are made."""
    return secret_bytes(settings.callback_secret.get_secret_value()) if settings.callback_secret else b""
