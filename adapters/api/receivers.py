"""Where answers may be posted to: the hosts that the operator lists, over https; over http on this machine alone.

One reader of addresses, yarl's, judges and sends, so that no address can mean one host here and another one there.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from yarl import URL

URL_LIMIT = 2_000  # characters
# Visible ASCII without "#" (a fragment is sent to nobody) and "\" (which some take for a slash).
URL_PATTERN = r'^https?://[!"$-\[\]-~]+$'
_LISTED = re.compile(r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")
_OWN_PORTS = {"http": 80, "https": 443}

Place = tuple[str, int | None]  # a host in small letters and a port; None: the scheme's own


def place_of(listed: str) -> Place:
    """A host of the settings, as "hooks.example.com" or "127.0.0.1:9000". Raises ValueError."""
    found = _LISTED.fullmatch(listed)
    port = int(found[2]) if found and found[2] else None
    if found is None or (port is not None and not 0 < port < 65536):
        raise ValueError('each must be a host, with its port where that is not the usual one, as "hooks.example.com"')
    return found[1].lower().strip("[]"), port


def url_of(text: str) -> URL:
    """The address as it will be asked for. Raises ValueError that says what is wrong, and shows nothing of it."""
    if len(text) > URL_LIMIT or not re.match(URL_PATTERN, text):
        raise ValueError(f"must be an address such as https://hooks.example.com/x, {URL_LIMIT} characters at most")
    try:
        url = URL(text, encoded=True)
        host = url.host
    except ValueError:
        raise ValueError("must be an address such as https://hooks.example.com/x") from None
    if not host:
        raise ValueError("must name a host")
    if "@" in url.raw_authority:
        raise ValueError("must hold no user and no password")
    return url


class Receivers:
    """The hosts that are listed."""

    def __init__(self, listed: Iterable[str]) -> None:
        self._places = frozenset(map(place_of, listed))

    def __bool__(self) -> bool:
        return bool(self._places)

    def flaw(self, url: URL) -> str:
        """Why nothing is posted there, as a sentence; "" where it is."""
        host, port = (url.host or "").lower(), url.port
        usual = port == _OWN_PORTS[url.scheme]
        if (host, port) not in self._places and not (usual and (host, None) in self._places):
            return "Its host is not one that the operator allows (api.callback_hosts)."
        if url.scheme == "http" and not _is_loopback(host):
            return "It must be https: only a host of the server's own machine is called without."
        return ""


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
