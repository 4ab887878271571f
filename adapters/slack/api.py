"""Calls to Slack's Web API: one pool for all workspaces, every failure mapped to DeliveryError, the token in no text.

Nothing is repeated in here: whether a repeat is safe is said in the error, and the core decides.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from core.errors import DeliveryError

# A code that a repeat may cure (docs.slack.dev/reference/methods, "Common errors").
_PASSING = frozenset(
    {
        "fatal_error",
        "internal_error",
        "service_unavailable",
        "request_timeout",
        "update_failed",
        "external_channel_migrating",
        "streaming_state_conflict",  # until the stream is stopped, or dies after some minutes
    }
)
_FLOOD = frozenset({"ratelimited", "rate_limited"})  # HTTP 429 says the first, the method pages list the second

_REMEDIES = {
    "account_inactive": "the bot's account was deactivated: reinstall the app and set the new bot token",
    "cant_update_message": "Slack does not let the bot edit this message",
    "channel_not_found": "the channel does not exist or the bot cannot see it: invite the bot",
    "edit_window_closed": "the workspace no longer allows this message to be edited",
    "invalid_auth": "Slack does not accept the bot token: copy it anew from OAuth & Permissions",
    "is_archived": "the channel is archived: unarchive it or move to another one",
    "is_inactive": "the channel is frozen, archived or deleted",
    "message_not_found": "the message to edit is gone",
    "missing_scope": "the app lacks a scope: `main.py check --live` says which; add it and reinstall the app",
    "msg_too_long": "the text is over Slack's limit",
    "not_authed": "no bot token was sent: set it",
    "not_in_channel": "the bot is not in the channel: invite it",
    "restricted_action": "a workspace preference keeps the bot from posting here",
    "token_expired": "the bot token expired: copy the new one",
    "token_revoked": "the bot token was revoked: reinstall the app and set the new one",
}


class CallRefused(DeliveryError):
    """Slack answered, with this error code; the call changed nothing."""

    def __init__(self, code: str, reason: str, *, retryable: bool = False, retry_after: float | None = None) -> None:
        super().__init__(reason, retryable=retryable, retry_after=retry_after)
        self.code = code


class Pool:
    """The connections to Slack; opens with the first call. Use only from the running event loop."""

    def __init__(self, timeout_seconds: float = 15.0, connect_seconds: float = 5.0) -> None:
        # `total` ends a call that hangs; `connect` ends before anything was sent, so that a repeat is safe.
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds, connect=connect_seconds)
        self._session: aiohttp.ClientSession | None = None

    def open(self) -> aiohttp.ClientSession:
        """The pool: without one the SDK opens a new one for each call and costs twice the CPU."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout, trust_env=True)
        return self._session

    async def close(self) -> None:
        """A later call opens it anew."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


class SlackApi:
    """The Web API with one token, or with none for the calls that need none."""

    def __init__(self, *, token: str, base_url: str, pool: Pool) -> None:
        # The SDK logs message texts at debug level, and formats them even when nobody reads that.
        quiet = logging.getLogger("frontdesk.slack.sdk")
        quiet.setLevel(logging.CRITICAL)
        # retry_handlers=[]: the SDK's own would repeat chat.postMessage after a lost connection and show a text twice.
        self.client = AsyncWebClient(token=token or None, base_url=base_url, logger=quiet, retry_handlers=[])
        # The SDK takes HTTPS_PROXY and ignores NO_PROXY; the pool's trust_env minds both.
        self.client.proxy = None
        self.logger = quiet
        self._base_url = base_url
        self._pool = pool

    def with_token(self, token: str) -> SlackApi:
        """The same for another workspace, through the same pool."""
        return SlackApi(token=token, base_url=self._base_url, pool=self._pool)

    def open(self) -> AsyncWebClient:
        """The SDK's client, ready to be used by the SDK's own parts."""
        self.client.session = self._pool.open()
        return self.client

    async def close(self) -> None:
        """Close the pool, for all who share it."""
        self.client.session = None
        await self._pool.close()

    async def call(
        self, method: str, arguments: dict[str, object], *, repeatable: bool, form: bool = False
    ) -> tuple[dict[str, Any], Mapping[str, str]]:
        """Slack's answer to a method, and its headers. `repeatable`: doing it twice shows nothing twice. `form`: for
        methods that take no JSON.

        Raises DeliveryError: CallRefused when Slack said no; retryable when nothing was sent or a repeat is harmless;
        unclear when a call that must not be repeated may have been carried out.
        """
        try:
            call = self.open().api_call
            answer = await (call(method, data=arguments) if form else call(method, json=arguments))
            data = answer.data
        except SlackApiError as error:
            raise self._refused(method, error, repeatable) from None  # the SDK's text quotes headers and body
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise DeliveryError(f"{method}: no connection to Slack ({type(error).__name__})", retryable=True) from None
        except (SlackClientError, aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._lost(method, type(error).__name__, repeatable) from None
        except (AttributeError, ValueError):  # a 200 that is no JSON object trips the SDK itself
            raise self._lost(method, "unreadable answer", repeatable) from None
        if not isinstance(data, dict):
            raise self._lost(method, "unreadable answer", repeatable)
        return data, answer.headers

    def _refused(self, method: str, error: SlackApiError, repeatable: bool) -> DeliveryError:
        response: Any = error.response  # ours, or aiohttp's when the body was no JSON
        data = getattr(response, "data", None)
        status: int = getattr(response, "status_code", 0) or getattr(response, "status", 0)
        code = data.get("error") if isinstance(data, dict) else None
        if status == 429 or code in _FLOOD:
            pause = _seconds(response.headers.get("Retry-After"))
            return CallRefused("ratelimited", f"{method}: rate limited by Slack", retryable=True, retry_after=pause)
        if isinstance(code, str) and code:
            reason = f"{method}: {code}" + (f" ({_REMEDIES[code]})" if code in _REMEDIES else "")
            return CallRefused(code, reason, retryable=code in _PASSING or status >= 500)
        if status >= 400:
            return CallRefused(f"http_{status}", f"{method}: HTTP {status} from Slack", retryable=status >= 500)
        return self._lost(method, "unreadable answer", repeatable)

    @staticmethod
    def _lost(method: str, why: str, repeatable: bool) -> DeliveryError:
        return DeliveryError(f"{method}: outcome unknown ({why})", retryable=repeatable, unclear=not repeatable)


class Allowance:
    """How many calls of a method Slack still takes: `calls` within `seconds`, of which previews leave `reserve`.

    chat.update is tier 3: 50 a minute for the app in a workspace, all conversations together
    (docs.slack.dev/apis/web-api/rate-limits). Finals always go; previews only when there is room, so that no final has
    to wait for a 429 to pass.
    """

    def __init__(
        self, clock: Callable[[], float], *, calls: int = 50, seconds: float = 60.0, reserve: int = 10
    ) -> None:
        self._clock = clock
        self._seconds = seconds
        self._room = calls - reserve
        self._taken: deque[float] = deque(maxlen=calls)
        self._paused_until = 0.0

    @property
    def room(self) -> bool:
        """Whether a preview may go out now."""
        now = self._clock()
        while self._taken and self._taken[0] <= now - self._seconds:
            self._taken.popleft()
        return now >= self._paused_until and len(self._taken) < self._room

    def take(self) -> None:
        """Count a call that goes out in any case."""
        self._taken.append(self._clock())

    def spare(self) -> bool:
        """Whether a preview may go out now; counts it if so."""
        spare = self.room
        if spare:
            self.take()
        return spare

    def pause(self, seconds: float) -> None:
        """Slack said no: no previews for that long."""
        self._paused_until = max(self._paused_until, self._clock() + seconds)


def _seconds(header: str | None) -> float | None:
    return float(header) if header is not None and header.isascii() and header.isdigit() else None
