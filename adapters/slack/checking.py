"""What `main.py check --live` asks Slack, each finding with the sentence that tells how to mend it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime

from adapters.slack.api import CallRefused, SlackApi
from adapters.slack.signature import WINDOW
from core.channel import Finding
from core.errors import DeliveryError

SCOPES = ("chat:write", "app_mentions:read", "im:history")
# Without them it works, less comfortably.
OPTIONAL = {
    "assistant:write": "suggested prompts in the agent view",
    "commands": "a slash command",
    "channels:history": "finding lost replies again in channels",
    "groups:history": "the same in private ones",
}
SKEW_SECONDS = 60.0


def wanted(*, agent: bool) -> tuple[str, ...]:
    """What an installation asks for. assistant:write is for apps that Slack knows as agents, which it adds it to
    (docs.slack.dev/ai/agent-sessions); of another it would be asked in vain."""
    return (*SCOPES, "commands", *(("assistant:write",) if agent else ()))


async def by_token(subject: str, api: SlackApi, clock: Callable[[], float]) -> list[Finding]:
    """The token, its scopes, and the clock."""
    before = clock()
    try:
        who, headers = await api.call("auth.test", {}, repeatable=True)
    except DeliveryError as error:
        again = "try again later"
        remedy = again if error.retryable else "set the bot token (xoxb-...) of the app's OAuth & Permissions page"
        return [Finding(f"{subject} token", ok=False, detail=error.reason, remedy=remedy)]
    token = Finding(f"{subject} token", ok=True, detail=f"bot {who.get('user')} in {who.get('team')}")
    return [token, *_scopes(subject, headers), *_clock(subject, headers, (before + clock()) / 2)]


async def by_client(
    subject: str, api: SlackApi, clock: Callable[[], float], client_id: str, client_secret: str
) -> list[Finding]:
    """The client's secret, tried with a code that cannot be good: Slack refuses the secret first, if it is wrong
    (docs.slack.dev/reference/methods/oauth.v2.access)."""
    before = clock()
    try:
        _, headers = await api.call("api.test", {}, repeatable=True)
        after = clock()
        arguments: dict[str, object] = {"client_id": client_id, "client_secret": client_secret, "code": "check"}
        await api.call("oauth.v2.access", arguments, repeatable=True, form=True)
    except CallRefused as refusal:
        if refusal.code != "invalid_code":
            remedy = "copy Client ID and Client Secret anew from the app's Basic Information page"
            return [Finding(f"{subject} client", ok=False, detail=refusal.reason, remedy=remedy)]
    except DeliveryError as error:
        return [Finding(f"{subject} client", ok=False, detail=error.reason, remedy="try again later")]
    client = Finding(f"{subject} client", ok=True, detail="Slack knows the app's id and secret")
    return [client, *_clock(subject, headers, (before + after) / 2)]


def addresses(subject: str, name: str, public_url: str, *, several: bool, feedback: bool) -> list[Finding]:
    """What has to stand on the app's pages; Slack does not let an app read that."""
    if not public_url:
        detail = "Slack has no address to call"
        return [Finding(f"{subject} address", ok=False, detail=detail, remedy="set server.public_url")]
    pages = "Event Subscriptions and Interactivity" if feedback else "Event Subscriptions"
    found = [Finding(f"{subject} address", ok=True, detail=f"Request URL of {pages}: {public_url}/{name}/events")]
    if several:
        detail = f"install at {public_url}/{name}/install; Redirect URL: {public_url}/{name}/oauth_redirect"
        secure = public_url.startswith("https:")
        remedy = "" if secure else "give server.public_url https: the browser keeps the installation's cookie only then"
        found.append(Finding(f"{subject} installing", ok=secure, detail=detail, remedy=remedy))
    return found


def _scopes(subject: str, headers: Mapping[str, str]) -> list[Finding]:
    granted = headers.get("X-OAuth-Scopes", "").replace(" ", "")
    if not granted:
        return []
    has = granted.split(",")
    missing = [scope for scope in SCOPES if scope not in has]
    if missing:
        remedy = "add them under OAuth & Permissions and reinstall the app"
        return [Finding(f"{subject} scopes", ok=False, detail=f"missing: {', '.join(missing)}", remedy=remedy)]
    without = [f"{scope} ({use})" for scope, use in OPTIONAL.items() if scope not in has]
    detail = f"without {', '.join(without)}" if without else "all granted"
    return [Finding(f"{subject} scopes", ok=True, detail=detail)]


def _clock(subject: str, headers: Mapping[str, str], now: float) -> list[Finding]:
    """Slack's clock against ours: beyond five minutes every request looks replayed."""
    try:
        skew = now - parsedate_to_datetime(headers.get("Date", "")).timestamp()
    except (TypeError, ValueError):
        return []
    direction = "ahead of" if skew > 0 else "behind"
    if abs(skew) <= SKEW_SECONDS:
        return [Finding(f"{subject} clock", ok=True, detail=f"{abs(skew):.0f} s {direction} Slack's")]
    detail = f"{abs(skew):.0f} s {direction} Slack's; beyond {WINDOW:.0f} s every request is refused as replayed"
    return [Finding(f"{subject} clock", ok=False, detail=detail, remedy="set the machine's clock by NTP")]
