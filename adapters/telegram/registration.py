"""Registers the webhook until it works.

No log line holds the token, which is part of every address of the Bot API.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from adapters.telegram.bot_api import Account, BotApi
from core.errors import DeliveryError

_LONGEST_PAUSE_SECONDS = 60.0


def derived_secret(token: str) -> str:
    """The webhook's secret where none is set: the same after a restart, and it tells nothing of the token."""
    return hmac.new(token.encode(), b"frontdesk telegram webhook", hashlib.sha256).hexdigest()


@dataclass(frozen=True, slots=True)
class Hook:
    """Our side of the webhook; `url` is "" when the public address is not known."""

    url: str
    secret: str
    connections: int


async def register(
    api: BotApi,
    hook: Hook,
    learn: Callable[[Account], None],
    pause: Callable[[float], Awaitable[None]],
    log: structlog.stdlib.BoundLogger,
) -> None:
    """Learn the bot's name and register the webhook; returns when that is done or refused for good."""
    seconds_next = 1.0
    while True:
        try:
            me = await api.me()
            learn(me)
            if hook.url:
                await api.set_webhook(hook.url, hook.secret, connections=hook.connections)
        except DeliveryError as error:
            if not error.retryable:
                log.error("telegram_registration_refused", reason=error.reason, webhook=hook.url)
                return
            seconds = max(seconds_next, error.retry_after or 0.0)
            log.warning("telegram_registration_failed", reason=error.reason, again_in_seconds=seconds)
            await pause(seconds)
            seconds_next = min(2 * seconds_next, _LONGEST_PAUSE_SECONDS)
        else:
            log.info("telegram_registered", username=me.username, webhook=hook.url)
            return
