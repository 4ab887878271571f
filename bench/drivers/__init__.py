"""Every platform through one face: a driver makes its simulator's users write, and tells what they see of the bot.

One file for each folder in adapters/; the contract tests, the journeys and the proof run over all of them.
"""

from __future__ import annotations

from collections.abc import Callable

from bench.drivers.api import Api
from bench.drivers.driver import Driver
from bench.drivers.slack import Slack
from bench.drivers.telegram import Telegram
from bench.drivers.web import Web
from bench.drivers.wechat import WeChat

__all__ = ["DRIVERS", "Api", "Driver", "Slack", "Telegram", "WeChat", "Web"]

DRIVERS: dict[str, Callable[[], Driver]] = {
    "telegram": Telegram,
    "slack": Slack,
    "wechat": WeChat,
    "web": Web,
    "api": Api,
}
