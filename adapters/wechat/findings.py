"""What `main.py check` finds of an account, each with the sentence that mends it; none holds a secret.

WeChat tells nobody which webhook is entered, so that can only be tried in the console. Its answers carry the time
(HTTP Date): a machine whose clock is off refuses WeChat's pushes as replayed.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from adapters.wechat.api import Api
from adapters.wechat.refusals import Refused
from adapters.wechat.rights import may_write
from core.channel import Finding
from core.errors import DeliveryError

_CONSOLE = "the console (基本配置 > 服务器配置)"
_PORTS = frozenset({None, 80, 443})  # developers.weixin.qq.com, dev/push: WeChat calls no other
SKEW_SECONDS = 60.0


def webhook_finding(name: str, *, public_url: str, encrypts: bool, compatible: bool) -> Finding:
    """The address to enter and the mode that goes with it."""
    mode = "safe mode" if encrypts else "plain mode (WECHAT_AES_KEY makes it safe mode)"
    mode = "compatible mode (unencrypted messages are taken, too)" if encrypts and compatible else mode
    detail, remedy = f"{public_url or '<server.public_url>'}/{name}, {mode}", ""
    if not public_url:
        remedy = f"set server.public_url, then enter this address in {_CONSOLE}"
    elif _port(public_url) not in _PORTS:
        remedy = "WeChat calls ports 80 and 443 only: put a proxy there and set server.public_url to its address"
    else:
        detail += f"; WeChat tries it when you press 提交 in {_CONSOLE}"
    return Finding(f"{name} webhook", not remedy, detail, remedy)


async def api_findings(name: str, api: Api, *, verified: str, replay_seconds: float) -> list[Finding]:
    """The credentials, the account's rights and the clock; `verified` is the setting. `api` is open."""
    findings = [await _token(name, api)]
    if findings[0].ok:
        findings.append(await _account(name, api, verified))
    if api.ahead is not None:
        findings.append(_clock(name, api.ahead, replay_seconds))
    return findings


async def _token(name: str, api: Api) -> Finding:
    subject = f"{name} token"
    try:
        await api.token()
    except DeliveryError as error:
        return _failed(subject, error)
    return Finding(subject, True, "app_id and app_secret are right, and WeChat lets this server's address in")


async def _account(name: str, api: Api, setting: str) -> Finding:
    subject = f"{name} account"
    try:
        verified = await may_write(api)
    except DeliveryError as error:
        return _failed(subject, error)
    if setting == "true" and not verified:
        remedy = 'set verified = "auto", or have the account verified'
        return Finding(subject, False, "the account is not verified", remedy)
    if not verified:
        return Finding(subject, True, "not verified: passive replies")
    unused = ', but verified = "false": passive replies' if setting == "false" else ": customer-service messages"
    return Finding(subject, True, f"verified{unused}")


def _failed(subject: str, error: DeliveryError) -> Finding:
    if isinstance(error, Refused):
        return Finding(subject, False, error.reason, error.remedy or "try again later")
    return Finding(subject, False, error.reason, "check the network and api_base_url")


def _clock(name: str, ahead: float, replay_seconds: float) -> Finding:
    subject = f"{name} clock"
    if abs(ahead) <= SKEW_SECONDS:
        return Finding(subject, True, "goes as WeChat's does")
    behind = "behind" if ahead > 0 else "ahead of"
    remedy = "set this machine's clock (NTP)"
    if replay_seconds:
        remedy += f": a message that seems more than {replay_seconds:.0f} s old or early is refused"
    return Finding(subject, False, f"this machine is {abs(ahead):.0f} s {behind} WeChat", remedy)


def _port(address: str) -> int | None:
    try:
        return urlsplit(address).port
    except ValueError:
        return 0
