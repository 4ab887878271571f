"""The settings of `[channels.slack]`; read without loading anything that only a running channel needs."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import SecretStr, field_validator, model_validator

from core.config import ChannelSettings, HttpUrl

Streaming = Literal["auto", "native", "edit"]


class Settings(ChannelSettings):
    """`[channels.slack]`: one app, in the workspace of its token or in all those that install it."""

    token_env: str = "SLACK_BOT_TOKEN"  # noqa: S105  # a variable's name
    token: SecretStr | None = None
    signing_secret_env: str = "SLACK_SIGNING_SECRET"  # noqa: S105  # likewise
    signing_secret: SecretStr | None = None
    client_id: str = ""
    client_secret_env: str = "SLACK_CLIENT_SECRET"  # noqa: S105  # likewise
    client_secret: SecretStr | None = None
    api_base_url: HttpUrl = "https://slack.com/api"  # as HttpUrl normalises it
    # "auto": appending takes 100 calls a minute where editing takes 50, but Slack streams in threads only, and 20
    # replies a minute; whatever it refuses grows by edits (docs.slack.dev/apis/web-api/rate-limits).
    streaming: Streaming = "auto"
    feedback: bool = True

    @field_validator("token")
    @classmethod
    def _token_fits_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        token = "" if value is None else value.get_secret_value()
        if not (token.isascii() and token.isprintable()) or " " in token:
            raise ValueError("is not a bot token as OAuth & Permissions shows it, such as xoxb-...")
        return value

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        # With both it would be unknown, until Slack has been asked, whose token that of the settings is.
        if self.token and self.client_id:
            raise ValueError(
                f"takes one workspace by its token ({self.token_env}), or several that install the app (client_id); "
                "unset one of the two"
            )
        return self

    @property
    def several(self) -> bool:
        """Whether workspaces install the app themselves."""
        return bool(self.client_id)

    def missing(self) -> list[str]:
        key = {self.client_secret_env: self.client_secret} if self.several else {self.token_env: self.token}
        needed = key | {self.signing_secret_env: self.signing_secret}
        return [variable for variable, secret in needed.items() if not secret]
