"""The settings of `[channels.wechat]`; read without loading anything that only a running channel needs."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from core.config import ChannelSettings, HttpUrl, Positive

_AES_KEY = re.compile("[A-Za-z0-9+/]{43}")


def _valid_key(value: SecretStr | None) -> SecretStr | None:
    if value and not _AES_KEY.fullmatch(value.get_secret_value()):
        raise ValueError("must be the 43 letters and digits of the console's EncodingAESKey")
    return value


def _word(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


class Settings(ChannelSettings):
    """`[channels.wechat]`."""

    token_env: str = "WECHAT_TOKEN"  # noqa: S105  # a variable's name
    token: SecretStr | None = None
    app_id: str = ""
    app_secret_env: str = "WECHAT_APP_SECRET"  # noqa: S105  # likewise
    app_secret: SecretStr | None = None
    aes_key_env: str = "WECHAT_AES_KEY"
    aes_key: Annotated[SecretStr | None, AfterValidator(_valid_key)] = None
    aes_key_previous_env: str = "WECHAT_AES_KEY_PREVIOUS"
    aes_key_previous: Annotated[SecretStr | None, AfterValidator(_valid_key)] = None
    replay_seconds: Annotated[float, Field(ge=0)] = 600.0  # how far a push's timestamp may be off; 0: any
    mode: Literal["auto", "compatible"] = "auto"  # compatible: unencrypted pushes are taken in spite of an aes_key
    verified: Annotated[Literal["auto", "true", "false"], BeforeValidator(_word)] = "auto"
    human_console: bool = False  # the account has WeChat's console for human agents: /human gives the user to it
    api_base_url: HttpUrl = "https://api.weixin.qq.com"
    answer_seconds: Positive = 4.6  # when the last delivery is answered; WeChat waits 5 s
    hold_seconds: Positive = 5.5  # when a delivery that WeChat did not close is closed by us

    def missing(self) -> list[str]:
        """What must be set before the channel can be on."""
        names = [] if self.token else [self.token_env]
        # Plain mode and passive replies never name the account.
        named = bool(self.aes_key or self.app_secret or self.verified == "true")
        names += ["app_id"] if named and not self.app_id else []
        return names + ([self.app_secret_env] if self.verified == "true" and not self.app_secret else [])
