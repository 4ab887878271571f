"""What `main.py check --live` tells of a bot account, each with the sentence that mends it; it changes nothing.

No finding holds the token or the secret. Telegram does not tell the secret either: that it has ours is known by our
webhook's not having refused it. Fields: core.telegram.org/bots/api#webhookinfo and #user.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from adapters.telegram.bot_api import ALLOWED_UPDATES, Account, BotApi, Webhook
from core.channel import Finding
from core.errors import DeliveryError

PORTS = (443, 80, 88, 8443)  # core.telegram.org/bots/api#setwebhook
# What is read; the others only get their 200. An older server of one's own may not know them all.
NEEDED = frozenset(
    ("message", "edited_message", "business_message", "edited_business_message", "my_chat_member", "callback_query")
)
NOT_BY_DEFAULT = frozenset({"chat_member", "message_reaction", "message_reaction_count"})
_SKEW_SECONDS = 30.0
_FRESH_SECONDS = 300.0  # Telegram tries again at least every two minutes


@dataclass(frozen=True, slots=True)
class Checks:
    """`name` is the section's, `url` our webhook ("" when unknown), `base_url` the Bot API's, `now` in seconds since
    the epoch."""

    name: str
    url: str
    base_url: str
    now: Callable[[], float]

    async def findings(self, api: BotApi) -> list[Finding]:
        """All of them, or the one without which there is nothing to ask."""
        try:
            me = await api.me()
        except DeliveryError as error:
            remedy = "check the token, api_base_url, and that this machine reaches it"
            return [self._finding("token", False, error.reason, remedy)]
        found = [self._finding("token", True, f"@{me.username}, id {me.id}"), *self.account(me), *self.clock(api.date)]
        try:
            webhook = await api.webhook()
        except DeliveryError as error:
            return [*found, self._finding("webhook", False, error.reason, "try again")]
        return [*found, *self.webhook(webhook)]

    def account(self, me: Account) -> list[Finding]:
        """What @BotFather has been told of it: for the operator to know, none of it is wrong."""
        if not me.joins_groups:
            groups = "cannot be added to groups (@BotFather: /setjoingroups)"
        elif me.reads_groups:
            groups = (
                "privacy mode is off: Telegram sends all that is written in groups, only what is meant for it is read"
            )
        else:
            groups = "privacy mode is on: it gets commands, mentions and replies, which is all that it answers"
        business = "can answer for business accounts" if me.business else "not for business accounts"
        topics = "private chats have topics" if me.topics else "private chats have no topics"
        return [self._finding("groups", True, groups), self._finding("abilities", True, f"{business}; {topics}")]

    def clock(self, date: str) -> list[Finding]:
        """This machine's clock beside Telegram's, by the Date header of an answer that came just now."""
        try:
            there = parsedate_to_datetime(date)
        except ValueError:
            return []
        there = there if there.tzinfo else there.replace(tzinfo=UTC)
        skew = self.now() - there.timestamp()
        if abs(skew) <= _SKEW_SECONDS:
            return [self._finding("clock", True, "as Telegram's")]
        detail = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} Telegram's"
        return [self._finding("clock", False, detail, "set this machine's clock (timedatectl set-ntp true)")]

    def webhook(self, hook: Webhook) -> list[Finding]:
        """Where updates go, whether they arrive, and which."""
        if not self.url:
            remedy = "set server.public_url to the https address under which Telegram reaches this server"
            # Not wrong: the webhook may be registered by hand, or the rest be tried first.
            return [self._finding("webhook", True, "not registered by us: server.public_url is empty", remedy)]
        if reason := self._unreachable():
            return [self._finding("webhook", False, reason, "mend server.public_url, and the proxy before it")]
        if hook.url != self.url:
            detail = "registered elsewhere" if hook.url else "not registered"
            return [self._finding("webhook", False, detail, f"start Frontdesk: it registers {self.url}")]
        at = f", reached at {hook.ip_address}" if hook.ip_address else ""
        return [self._finding("webhook", True, f"{hook.url}{at}"), *self._arriving(hook), self._kinds(hook)]

    def _unreachable(self) -> str:
        # A server of one's own takes http and every port: core.telegram.org/bots/api#using-a-local-bot-api-server
        if not (urlsplit(self.base_url).hostname or "").endswith("telegram.org"):
            return ""
        parts = urlsplit(self.url)
        if parts.scheme != "https":
            return f"{self.url}: Telegram calls https only"
        port = parts.port or 443
        return "" if port in PORTS else f"port {port}: Telegram calls only {', '.join(map(str, PORTS))}"

    def _arriving(self, hook: Webhook) -> list[Finding]:
        waiting = f"{hook.pending} updates wait"
        if not hook.last_error:
            return [self._finding("secret", True, "nothing was refused"), self._finding("updates", True, waiting)]
        age = self.now() - hook.last_error_at
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(hook.last_error_at))
        told = f"{waiting}; at {at} UTC Telegram said: {hook.last_error}"
        # What was mended stays on record.
        over = not hook.pending and age > _FRESH_SECONDS
        if over:
            return [self._finding("secret", True, "nothing is refused now"), self._finding("updates", True, told)]
        if "401" in hook.last_error:
            detail = "Telegram was registered with another secret than ours, and we refuse what it sends"
            remedy = "start Frontdesk: it registers the secret anew"
            return [self._finding("secret", False, detail, remedy), self._finding("updates", False, told, remedy)]
        remedy = f"make {self.url} reachable from the internet (https, ports {', '.join(map(str, PORTS))})"
        if "Wrong response" in hook.last_error:
            remedy = "something answers there, but not as it should: look at Frontdesk's log and the proxy's"
        return [self._finding("secret", True, "not refused"), self._finding("updates", False, told, remedy)]

    def _kinds(self, hook: Webhook) -> Finding:
        asked = frozenset(hook.kinds) or frozenset(ALLOWED_UPDATES) - NOT_BY_DEFAULT
        missing = sorted({str(kind) for kind in ALLOWED_UPDATES} - asked)
        detail = f"all but {', '.join(missing)}" if missing else "all"
        if NEEDED & set(missing):
            return self._finding("kinds", False, detail, "start Frontdesk: it asks for all kinds of updates")
        return self._finding("kinds", True, detail)

    def _finding(self, subject: str, ok: bool, detail: str, remedy: str = "") -> Finding:
        return Finding(f"{self.name}: {subject}", ok, detail, remedy)
