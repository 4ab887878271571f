"""The two pages by which a workspace installs the app; no visitor leaves anything behind who has no code of Slack's.

Bolt's own OAuth flow (docs.slack.dev/authentication/installing-with-oauth) between the server and the ledger. The
state is signed and expires, and Bolt binds it to the browser by a cookie: nothing is stored to know it again.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence

import aiohttp
import structlog
from aiohttp import web
from slack_bolt.adapter.aiohttp import to_aiohttp_response
from slack_bolt.oauth.async_oauth_flow import AsyncOAuthFlow
from slack_bolt.oauth.async_oauth_settings import AsyncOAuthSettings
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse
from slack_sdk.errors import SlackClientError
from slack_sdk.oauth.state_store.async_state_store import AsyncOAuthStateStore

from adapters.slack.api import SlackApi
from adapters.slack.installations import Installations
from core.channel import Gateway

STATE_SECONDS = 600
# The page needs nothing but its own style and Slack's picture; its address holds a code that nobody else should see.
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "img-src https://platform.slack-edge.com; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class SignedStates(AsyncOAuthStateStore):
    """States that prove themselves: when they end, something random, and a signature over both."""

    def __init__(self, secret: str, clock: Callable[[], float], random: Callable[[], str]) -> None:
        self._key = hmac.new(secret.encode(), b"oauth state", hashlib.sha256).digest()
        self._clock = clock
        self._random = random

    async def async_issue(self, *args: object, **kwargs: object) -> str:
        said = f"{int(self._clock()) + STATE_SECONDS}.{self._random()}"
        return f"{said}.{self._sign(said)}"

    async def async_consume(self, state: str) -> bool:
        said, _, signature = state.rpartition(".")
        if not hmac.compare_digest(self._sign(said).encode(), signature.encode("utf-8", "surrogateescape")):
            return False
        return self._clock() < int(said.partition(".")[0])

    def _sign(self, said: str) -> str:
        return hmac.new(self._key, said.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()


class Installing:
    """GET /<name>/install and GET /<name>/oauth_redirect."""

    def __init__(
        self,
        name: str,
        gateway: Gateway,
        api: SlackApi,
        installations: Installations,
        *,
        client_id: str,
        client_secret: str,
        scopes: Sequence[str],
        public_url: str,
        authorize_url: str,
        clock: Callable[[], float],
        random: Callable[[], str],
    ) -> None:
        self._name = name
        self._gateway = gateway
        self._api = api
        self._log = structlog.get_logger().bind(channel=name)
        settings = AsyncOAuthSettings(
            client_id=client_id,
            client_secret=client_secret,
            scopes=list(scopes),
            user_scopes=[],
            # Without an address of ours Slack takes the one of the app's OAuth & Permissions page.
            redirect_uri=f"{public_url}/{name}/oauth_redirect" if public_url else None,
            install_path=f"/{name}/install",
            redirect_uri_path=f"/{name}/oauth_redirect",
            authorization_url=authorize_url,
            installation_store=installations,
            state_store=SignedStates(client_secret, clock, random),
            state_cookie_name=f"{name}-oauth-state",
            state_expiration_seconds=STATE_SECONDS,
            logger=api.logger,
        )
        self._flow = AsyncOAuthFlow(client=api.client, logger=api.logger, settings=settings)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(f"/{self._name}/install", self._install),
            web.get(f"/{self._name}/oauth_redirect", self._redirect),
        ]

    async def _install(self, request: web.Request) -> web.StreamResponse:
        self._gateway.admit(request)
        return await self._page(await self._flow.handle_installation(_asked(request)))

    async def _redirect(self, request: web.Request) -> web.StreamResponse:
        self._gateway.admit(request)
        self._api.open()
        try:
            answer = await self._flow.handle_callback(_asked(request))
        except (SlackClientError, aiohttp.ClientError, OSError, TimeoutError, KeyError, ValueError) as error:
            self._log.warning("installation_failed", reason=type(error).__name__)
            again = "Slack could not be asked just now. Please begin again."
            return web.Response(status=502, text=again, headers=_HEADERS)
        self._log.info("installation_page", status=answer.status)
        return await self._page(answer)

    async def _page(self, answer: BoltResponse) -> web.StreamResponse:
        page = await to_aiohttp_response(answer)
        page.headers.update(_HEADERS)
        return page


def _asked(request: web.Request) -> AsyncBoltRequest:
    return AsyncBoltRequest(body="", query=request.query_string, headers=dict(request.headers))
