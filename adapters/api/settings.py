"""The settings of `[api]`."""

from __future__ import annotations

from pydantic import SecretStr

from core.config import ChannelSettings


class Settings(ChannelSettings):
    keys_env: str = "FRONTDESK_API_KEYS"
    keys: SecretStr | None = None

    def missing(self) -> list[str]:
        return [] if api_keys(self) else [self.keys_env]


def api_keys(settings: Settings) -> list[str]:
    raw = settings.keys.get_secret_value() if settings.keys else ""
    return [key.strip() for key in raw.split(",") if key.strip()]
