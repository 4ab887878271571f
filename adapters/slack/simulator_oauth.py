"""Slack's side of an installation: the page that asks a person, codes that are good once, tokens that are renewed.

docs.slack.dev/authentication/installing-with-oauth, docs.slack.dev/reference/methods/oauth.v2.access,
docs.slack.dev/authentication/using-token-rotation.
"""

from __future__ import annotations

import base64
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from adapters.slack.simulator_api import Workspace

GRANTS_KEPT = 1_000


class Grants:
    """The installations of one app; `installer` decides at the page, by the team that `team` names there."""

    def __init__(self, client_id: str, client_secret: str) -> None:
        self.client_id = client_id
        self._secret = client_secret
        self.workspaces: dict[str, Workspace] = {}  # by team
        self.chosen = ""  # the team that the person at the page is in
        self.declines = False  # that person presses Cancel
        self.token_seconds = 0  # tokens end after that long; 0: never
        self.unreachable = False  # oauth.v2.access closes the connection
        self.whole_enterprise = ""  # the installation is that of an organisation, with this id
        self._codes: OrderedDict[str, tuple[str, str]] = OrderedDict()  # team and redirect address
        self._renewals: OrderedDict[str, str] = OrderedDict()  # team by refresh token

    async def authorize(self, request: web.Request) -> web.StreamResponse:
        """GET /oauth/v2/authorize: the person presses Allow at once."""
        asked = request.query
        back = asked.get("redirect_uri", "")
        if asked.get("client_id") != self.client_id or not back or self.chosen not in self.workspaces:
            return web.Response(status=400, text="invalid client_id, redirect_uri or team")
        if self.declines:
            raise web.HTTPFound(f"{back}?{urlencode({'error': 'access_denied', 'state': asked.get('state', '')})}")
        self.workspaces[self.chosen].scopes = asked.get("scope", "")
        code = secrets.token_hex(8)
        _keep(self._codes, code, (self.chosen, back))
        raise web.HTTPFound(f"{back}?{urlencode({'code': code, 'state': asked.get('state', '')})}")

    def access(self, request: web.Request, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """oauth.v2.access, with a code or with a refresh token."""
        name, secret = _credentials(request, arguments)
        if name != self.client_id:
            return {"ok": False, "error": "invalid_client_id"}
        if secret != self._secret:
            return {"ok": False, "error": "bad_client_secret"}
        if arguments.get("grant_type") == "refresh_token":
            team = self._renewals.pop(str(arguments.get("refresh_token")), "")
            return self._granted(self.workspaces[team]) if team else {"ok": False, "error": "invalid_refresh_token"}
        team, back = self._codes.pop(str(arguments.get("code")), ("", ""))
        if not team:
            return {"ok": False, "error": "invalid_code"}
        if arguments.get("redirect_uri", back) != back:
            return {"ok": False, "error": "bad_redirect_uri"}
        return self._granted(self.workspaces[team])

    def revoke(self) -> None:
        """No token can be renewed any more."""
        self._renewals.clear()

    def _granted(self, workspace: Workspace) -> dict[str, Any]:
        workspace.token = f"xoxb-{workspace.team}-{secrets.token_hex(8)}"
        workspace.installed = True
        whole = self.whole_enterprise
        renewal: dict[str, Any] = {}
        if self.token_seconds:
            renewal = {"refresh_token": f"xoxe-1-{secrets.token_hex(8)}", "expires_in": self.token_seconds}
            _keep(self._renewals, renewal["refresh_token"], workspace.team)
        return {
            "ok": True,
            "app_id": "A0000000001",
            "access_token": workspace.token,
            "token_type": "bot",
            "scope": workspace.scopes,
            "bot_user_id": workspace.bot_user,
            "team": None if whole else {"id": workspace.team, "name": f"Workspace {workspace.team}"},
            "enterprise": {"id": whole, "name": "Organisation"} if whole else None,
            "is_enterprise_install": bool(whole),
            "authed_user": {"id": "U0000000001"},
            **renewal,
        }


def _credentials(request: web.Request, arguments: Mapping[str, Any]) -> tuple[str, str]:
    basic = request.headers.get("Authorization", "").removeprefix("Basic ")
    if basic:
        name, _, secret = base64.b64decode(basic).decode().partition(":")
        return name, secret
    return str(arguments.get("client_id", "")), str(arguments.get("client_secret", ""))


def _keep(kept: OrderedDict[str, Any], key: str, value: Any) -> None:
    kept[key] = value
    if len(kept) > GRANTS_KEPT:
        kept.popitem(last=False)
