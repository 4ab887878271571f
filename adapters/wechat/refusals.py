"""What WeChat's error codes mean to the house: whether to try again, when, and what the operator can do about it.

Codes: developers.weixin.qq.com, "全局返回码" and service/api/customer/message/api_sendcustommessage; 61004 and 40243:
"服务端 API 调用说明" (doc/subscription/guide/dev/api).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from core.errors import DeliveryError

TOKEN_REFUSED = frozenset({40001, 40014, 42001})  # wrong, replaced, expired: one forced refresh, one repeat
UNVERIFIED = 48001
TOO_LONG = 45002
SPENT = frozenset({45015, 45047})  # nothing may be sent before the user writes again
NOT_LISTED = frozenset({40164, 61004})  # the IP whitelist
# These say nothing of the account's rights: no call was tried, or none of this account is for now (frozen, punished).
UNTRIED = frozenset({-1, 45009, 45011, 40013, 40125, 40243, 48004, 50002, 50004, *NOT_LISTED, *TOKEN_REFUSED})
HELD = 900.0  # seconds between two tries of a part that waits for its user's next message

# "invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist rid: ..."
_ADDRESS = re.compile(r"invalid ip ([0-9A-Fa-f.:]{2,45})")


@dataclass(frozen=True, slots=True)
class _Meaning:
    reason: str
    retry_after: float | None = None  # seconds; None: repeating it is pointless
    remedy: str = ""


_SECRET = "compare the app_secret with the console (基本配置), or reset it there"  # noqa: S105  # words about it
_LIST = "the IP whitelist (console: 基本配置 > IP白名单)"
_NOTICES = "read WeChat's notices to the account (console: 通知中心)"
_MEANINGS: Mapping[int, _Meaning] = {
    -1: _Meaning("WeChat is busy", 5.0),
    45009: _Meaning("the daily quota of the API is used up", 3600.0),
    45011: _Meaning("too many calls in this minute", 60.0),
    40001: _Meaning("the access token or app_secret is refused", 60.0, _SECRET),
    40014: _Meaning("the access token is refused", 60.0),
    42001: _Meaning("the access token has expired", 60.0),
    40164: _Meaning("this server's address is not in the account's IP whitelist", 300.0),
    61004: _Meaning("this server's address is not in the account's IP whitelist", 300.0),
    40013: _Meaning("the app_id is wrong", 300.0, "compare app_id with the console (基本配置)"),
    40125: _Meaning("the app_secret is wrong", 300.0, _SECRET),
    40243: _Meaning("the app_secret is frozen", 300.0, "unfreeze the app_secret in the console (基本配置)"),
    48004: _Meaning("the account may not use this API for now, for a violation", 3600.0, _NOTICES),
    50002: _Meaning("the account is frozen", 3600.0, _NOTICES),
    50004: _Meaning("the account may not have access tokens for now", 3600.0, _NOTICES),
    40003: _Meaning("the user is not of this account"),
    43019: _Meaning("the user is on the block list"),
    TOO_LONG: _Meaning("the text is too long"),
    45015: _Meaning("48 hours have passed since the user's last message, or they unsubscribed", HELD),
    45047: _Meaning("5 messages have been sent since the user's last one", HELD),
    UNVERIFIED: _Meaning("the account is not verified, so it may not send customer-service messages", HELD),
}


class Refused(DeliveryError):
    """WeChat understood the call and said no, with its errcode; `remedy` is "" where the operator can do nothing."""

    def __init__(self, code: int, message: str) -> None:
        said = "".join(char for char in message[:120] if char.isprintable())
        meaning = _MEANINGS.get(code, _Meaning(f"WeChat refused it ({said})"))
        retryable = meaning.retry_after is not None
        super().__init__(f"{meaning.reason} (errcode {code})", retryable=retryable, retry_after=meaning.retry_after)
        self.code = code
        self.remedy = f"add {_address(message)} to {_LIST}" if code in NOT_LISTED else meaning.remedy


def _address(message: str) -> str:
    """Our address as WeChat names it in the error, for nobody else here knows it."""
    found = _ADDRESS.search(message)
    try:
        return str(ip_address(found[1])) if found else "this server's address"
    except ValueError:
        return "this server's address"
