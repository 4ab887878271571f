"""The API's door: nobody gets in without a Bearer key; each opens what it is for, and guessing is limited, too.

Keys of the settings are compared in constant time; those of the ledger are looked up by their digest, each time, so
that one that is revoked opens nothing any more.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Set
from dataclasses import dataclass

import orjson
from aiohttp import web

from adapters.api.answers import Problem, Refusal
from core.channel import ALLOWANCE, Gateway
from core.errors import RequestError
from core.ledger.keys import fact_name, fingerprint, known
from core.throttle import Rate, left, spend, wait

KEYS_COUNTED = 10_000  # whose last requests are remembered


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose key it is. `bots` empty: all of them, and the raw model."""

    key: str  # a fingerprint
    bots: tuple[str, ...] = ()
    rate: Rate | None = None  # of its own; None: that of the address counts

    def may_ask(self, model: str) -> bool:
        return not self.bots or model in self.bots


Endpoint = Callable[[web.Request, Caller], Awaitable[web.StreamResponse]]


class Door:
    """Stands before every endpoint."""

    def __init__(self, name: str, keys: Set[bytes], gateway: Gateway, clock: Callable[[], float]) -> None:
        self._name = name
        self._keys = keys  # digests, so that comparing takes the same time for keys of any length
        self._gateway = gateway
        self._clock = clock
        self._arrivals: OrderedDict[str, float] = OrderedDict()  # by key: see core/throttle.py

    def before(self, endpoint: Endpoint, *, counted: bool) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """What aiohttp calls: the endpoint, for those who may. `counted`: it costs one of the address's requests."""

        async def answer(request: web.Request) -> web.StreamResponse:
            try:
                caller = await self._caller(request)
                if counted:
                    self._admit(request, caller)
                response = await endpoint(request, caller)
            except RequestError as error:
                response = _refusal(error)
            if not response.prepared:
                response.headers.update(limits(request))
            return response

        return answer

    async def _caller(self, request: web.Request) -> Caller:
        """Raises RequestError 401."""
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        digest = hashlib.sha256(given.strip().encode("utf-8", "surrogateescape")).digest()
        named = fingerprint(given)
        if scheme.lower() == "bearer":
            same = [hmac.compare_digest(digest, key) for key in self._keys]  # all of them are compared
            if any(same):
                return Caller(named)
            fact = await self._gateway.kept(self._name, fact_name(given))
            key = known(fact) if fact is not None else None
            if key is not None and key.revoked_at is None:
                per_minute = key.requests_per_minute
                rate = Rate.per_minute(per_minute, max(1.0, per_minute)) if per_minute else None
                return Caller(named, key.bots, rate)
        self._gateway.admit(request)
        raise RequestError(401, "A valid API key is needed: Authorization: Bearer <key>.", code="invalid_api_key")

    def _admit(self, request: web.Request, caller: Caller) -> None:
        """Raises RequestError 429."""
        if caller.rate is None:
            self._gateway.admit(request)
            return
        now, arrival = self._clock(), self._arrivals.get(caller.key, 0.0)
        seconds = wait(arrival, now, caller.rate)
        if not seconds:
            self._arrivals[caller.key] = arrival = spend(arrival, now, caller.rate)
            self._arrivals.move_to_end(caller.key)
            if len(self._arrivals) > KEYS_COUNTED:
                self._arrivals.popitem(last=False)
        request[ALLOWANCE] = left(arrival, now, caller.rate)
        if seconds:
            message = f"Too many requests with this key; try again in {math.ceil(seconds)} seconds."
            raise RequestError(429, message, code="rate_limit_exceeded", retry_after=seconds)


def admits(caller: Caller, model: str) -> None:
    """Raises RequestError 403 where the key is not for that bot or model."""
    if not caller.may_ask(model):
        raise RequestError(403, f"This key is not for {model!r}.", code="not_for_this_key")


def limits(request: web.Request) -> dict[str, str]:
    """What is left of the key's or the address's limit, under the names and in the form of OpenAI's; none where nothing
    counts."""
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
