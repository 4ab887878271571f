"""The settings of `[api]`."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, SecretStr

from core.config import ChannelSettings


def _joined(value: object) -> object:
    """A list of keys is as good as a text with commas."""
    return ",".join(map(str, value)) if isinstance(value, list) else value


class Settings(ChannelSettings):
    keys_env: str = "FRONTDESK_API_KEYS"
    keys: Annotated[SecretStr | None, BeforeValidator(_joined)] = None


def api_keys(settings: Settings) -> list[str]:
    raw = settings.keys.get_secret_value() if settings.keys else ""
    return [key.strip() for key in raw.split(",") if key.strip()]
