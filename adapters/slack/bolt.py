"""Everything Slack sends that is no message goes through Bolt; what no listener takes is acknowledged and logged.

Messages never come here: they must be on disk before Slack hears "200", while Bolt acknowledges an event before its
listeners run, unless told otherwise, and makes an answer of its own out of a listener's exception.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import orjson
import structlog
from aiohttp import web
from slack_bolt.adapter.aiohttp import to_aiohttp_response
from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.error import BoltUnhandledRequestError
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse
from slack_sdk.web.async_client import AsyncWebClient


class BoltSide:
    """Bolt's AsyncApp behind our own server and our own check of the signature.

    It answers url_verification and acknowledges interactions that are none of ours (incoming.py takes those that are).
    No listener is ever run, so no workspace's token is needed.
    """

    def __init__(self, name: str, client: AsyncWebClient, logger: logging.Logger) -> None:
        self._log = log = structlog.get_logger().bind(channel=name)

        # Functions, not methods: Bolt fills arguments by their names, and would fill `self` too.
        async def authorize(enterprise_id: str | None, team_id: str | None) -> AuthorizeResult:
            return AuthorizeResult(enterprise_id=enterprise_id, team_id=team_id, bot_token=client.token or "none")

        async def failed(error: Exception, body: dict[str, object]) -> BoltResponse:
            if not isinstance(error, BoltUnhandledRequestError):
                raise error
            event = body.get("event")
            kind = event.get("type") if isinstance(event, dict) else body.get("type") or body.get("command")
            log.info("request_ignored", reason="no_listener", type=str(kind)[:64])
            return BoltResponse(status=200)

        self._app = AsyncApp(
            name=name,
            logger=logger,
            client=client,
            # Without `authorize` Bolt asks Slack's auth.test inside the first request, within the three seconds it has.
            authorize=authorize,
            # Done before, on the raw bytes: Bolt answers 500 to a timestamp that is no number or a non-ASCII signature.
            request_verification_enabled=False,
            # A listener's exception reaches the server before the answer leaves.
            process_before_response=True,
            # Its own answer to what has no listener is 404, which Slack counts as a failure and repeats.
            raise_error_for_unhandled_request=True,
        )
        self._app.error(failed)

    async def answer(self, request: web.Request, body: Mapping[str, Any]) -> web.StreamResponse:
        """Bolt's answer to a verified request, `body` being its JSON object (convert.envelope)."""
        try:
            # As we read it, not as Bolt would: the two disagree on bodies whose content type is wrong.
            asked = AsyncBoltRequest(
                body=orjson.dumps(body).decode(), query=request.query_string, headers=dict(request.headers)
            )
            return await to_aiohttp_response(await self._app.async_dispatch(asked))
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):  # Bolt trusts the types of the fields
            self._log.warning("request_unreadable", type=str(body.get("type"))[:64])
            return web.Response()
