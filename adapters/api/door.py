"""The API's door: nobody gets in without a Bearer key, compared in constant time; guessing is limited, too."""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Awaitable, Callable, Set

import orjson
from aiohttp import web

from adapters.api.answers import Problem, Refusal
from core.channel import ALLOWANCE, Gateway
from core.errors import RequestError

Endpoint = Callable[[web.Request, str], Awaitable[web.StreamResponse]]  # takes the caller's fingerprint


class Door:
    """Stands before every endpoint."""

    def __init__(self, keys: Set[bytes], gateway: Gateway) -> None:
        self._keys = keys  # digests, so that comparing takes the same time for keys of any length
        self._gateway = gateway

    def before(self, endpoint: Endpoint, *, counted: bool) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """What aiohttp calls: the endpoint, for those who may. `counted`: it costs one of the address's requests."""

        async def answer(request: web.Request) -> web.StreamResponse:
            try:
                key = self._key(request)
                if counted:
                    self._gateway.admit(request)
                response = await endpoint(request, key)
            except RequestError as error:
                response = _refusal(error)
            if not response.prepared:
                response.headers.update(limits(request))
            return response

        return answer

    def _key(self, request: web.Request) -> str:
        """A fingerprint of the caller's key. Raises RequestError 401."""
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        digest = hashlib.sha256(given.strip().encode("utf-8", "surrogateescape")).digest()
        known = [hmac.compare_digest(digest, key) for key in self._keys]
        if scheme.lower() != "bearer" or not any(known):
            self._gateway.admit(request)
            raise RequestError(401, "A valid API key is needed: Authorization: Bearer <key>.", code="invalid_api_key")
        return digest.hex()[:16]


def limits(request: web.Request) -> dict[str, str]:
    """What is left of the address's limit, under the names and in the form of OpenAI's; none where nothing counts."""
    if ALLOWANCE not in request:
        return {}
    left = request[ALLOWANCE]
    return {
        "x-ratelimit-limit-requests": str(left.limit),
        "x-ratelimit-remaining-requests": str(left.remaining),
        "x-ratelimit-reset-requests": f"{math.ceil(left.seconds)}s",
    }


def as_json(value: object, status: int = 200, **headers: str) -> web.Response:
    """An answer; `value` is a dataclass of answers.py."""
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json", headers=headers)


def _refusal(error: RequestError) -> web.Response:
    # The same words as core/http.py finds for what is refused before it comes here.
    answer = as_json(Refusal(Problem(error.message, error.code, error.code)), error.status)
    if error.retry_after:
        answer.headers["Retry-After"] = str(math.ceil(error.retry_after))
    if error.status == 401:
        answer.headers["WWW-Authenticate"] = "Bearer"
    return answer
