"""The settings of `[channels.telegram]`; read without loading anything that only a running channel needs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator

from core.config import ChannelSettings, HttpUrl, Positive

Streaming = Literal["edit", "draft"]
Rich = Literal["auto", "off"]


class Settings(ChannelSettings):
    """`[channels.telegram]`. Without a secret one is derived from the token, so that the token is enough."""

    token_env: str = "TELEGRAM_BOT_TOKEN"  # noqa: S105  # a variable's name
    token: SecretStr | None = None
    secret_env: str = "TELEGRAM_WEBHOOK_SECRET"  # noqa: S105  # likewise
    secret: SecretStr | None = None
    api_base_url: HttpUrl = "https://api.telegram.org"
    timeout_seconds: Positive = 10.0
    messages_per_second: Positive = 30.0  # over all chats; growing texts keep below it
    # "edit": every client shows it, and the message is there after a crash, for the final text to land in. A draft is a
    # preview of 30 s that clients show, and remove, each in its own way; it is smoother, and has a stop button.
    streaming: Streaming = "edit"
    rich: Rich = "auto"  # tables as rich messages, where the server knows them
    max_connections: Annotated[int, Field(ge=1, le=100)] = 40  # of Telegram to us

    @field_validator("token")
    @classmethod
    def _token_fits_an_address(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not _plain(value.get_secret_value(), also=":"):
            raise ValueError("is not a bot token as @BotFather shows it, such as 123456:ABC-DEF")
        return value

    @field_validator("secret")
    @classmethod
    def _secret_fits_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not (_plain(value.get_secret_value()) and len(value.get_secret_value()) <= 256):
            raise ValueError("must be 1 to 256 of the letters A-Z a-z 0-9 _ -")
        return value

    def missing(self) -> list[str]:
        return [] if self.token else [self.token_env]


def _plain(value: str, *, also: str = "") -> bool:
    return value.isascii() and value.translate(str.maketrans("", "", f"_-{also}")).isalnum()
