"""Who may look into the console, and who may act: nothing is answered to anybody who has not come in by the door.

Coming in leaves a random ticket in a cookie that scripts cannot read and other sites cannot send; the ledger keeps its
digest. What changes something needs, too, a word that only our own pages know (against cross-site requests).
"""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from core.config import ConsoleSettings
from core.errors import RequestError
from core.throttle import IpThrottle
from core.types import JsonObject

COOKIE = "frontdesk_console"
CSRF_HEADER = "X-CSRF-Token"
TRIES_A_MINUTE = 6  # passwords from one address
VIEWER, OPERATOR = "viewer", "operator"

Keep = Callable[[str, JsonObject | None], Awaitable[None]]
Kept = Callable[[str], Awaitable[JsonObject | None]]


@dataclass(frozen=True, slots=True)
class Guest:
    """Somebody who came in."""

    role: str
    csrf: str


Answer = Callable[[web.Request, Guest], Awaitable[web.StreamResponse]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Door:
    """Lets in, remembers until when, and sees out. `address` tells the caller's address behind our proxies."""

    def __init__(
        self,
        settings: ConsoleSettings,
        keep: Keep,
        kept: Kept,
        address: Callable[[web.Request], str],
        clock: Callable[[], float],
        *,
        secure: bool,
    ) -> None:
        self._passwords = {
            role: _digest(secret.get_secret_value())
            for role, secret in ((OPERATOR, settings.password), (VIEWER, settings.viewer_password))
            if secret is not None
        }
        self._seconds = settings.signed_in_hours * 3600
        self._keep = keep
        self._kept = kept
        self._address = address
        self._clock = clock
        self._secure = secure
        self._tries = IpThrottle(TRIES_A_MINUTE)
        self._link = ""  # the digest of the one link that lets in without a password

    def new_link(self) -> str | None:
        """The path that lets one person in, once, as an operator; None where there is a password for that."""
        if OPERATOR in self._passwords:
            return None
        token = secrets.token_urlsafe(32)
        self._link = _digest(token)
        return f"/console/enter?token={token}"

    async def enter(self, request: web.Request) -> web.StreamResponse:
        """Whoever follows the link is in; it leads nowhere afterwards."""
        self._count_try(request)
        given = _digest(request.query.get("token", ""))
        if not (self._link and hmac.compare_digest(given, self._link)):
            raise web.HTTPSeeOther("/console/sign-in?failed=link")
        self._link = ""
        response = web.HTTPSeeOther("/console")
        await self._let_in(response, OPERATOR, secrets.token_urlsafe(32))
        raise response

    async def sign_in(self, request: web.Request, password: str) -> web.Response:
        """Raises RequestError 401 and, for too many tries, 429."""
        self._count_try(request)
        given, role = _digest(password), ""
        for known, digest in self._passwords.items():
            if hmac.compare_digest(given, digest):
                role = role or known
        if not role:
            raise RequestError(401, "That is not the password.", code="wrong_password")
        ticket = secrets.token_urlsafe(32)
        response = web.json_response({"role": role, "csrf": _csrf(ticket)})
        await self._let_in(response, role, ticket)
        return response

    async def sign_out(self, request: web.Request) -> web.Response:
        """The ticket is worth nothing from now on, wherever a copy of it may be."""
        await self._keep(_name(request.cookies.get(COOKIE, "")), None)
        response = web.Response(status=204)
        response.del_cookie(COOKIE, path="/console")
        return response

    async def guest(self, request: web.Request) -> Guest:
        """Who asks. Raises RequestError 401; 403 where a change comes without our pages' word or from another site."""
        ticket = request.cookies.get(COOKIE, "")
        known = await self._kept(_name(ticket)) if ticket else None
        if known is None or _until(known) <= self._clock():
            raise RequestError(401, "Please sign in.", code="signed_out")
        guest = Guest(str(known["role"]), _csrf(ticket))
        if request.method not in {"GET", "HEAD"}:
            given = request.headers.get(CSRF_HEADER, "")
            same = request.headers.get("Sec-Fetch-Site", "same-origin") == "same-origin"
            if not same or not hmac.compare_digest(given.encode(), guest.csrf.encode()):
                raise RequestError(403, "This did not come from the console's own page.", code="csrf")
        return guest

    def inside(self, answer: Answer) -> Handler:
        """What aiohttp calls: the answer, for those who came in."""

        async def handler(request: web.Request) -> web.StreamResponse:
            return await answer(request, await self.guest(request))

        return handler

    def acting(self, answer: Answer) -> Handler:
        """The same, for operators only: it changes something."""

        async def handler(request: web.Request) -> web.StreamResponse:
            guest = await self.guest(request)
            operates(guest)
            return await answer(request, guest)

        return handler

    async def still_in(self, request: web.Request) -> bool:
        """Whether that ticket is good for anything, still."""
        known = await self._kept(_name(request.cookies.get(COOKIE, "")))
        return known is not None and _until(known) > self._clock()

    async def _let_in(self, response: web.StreamResponse, role: str, ticket: str) -> None:
        await self._keep(_name(ticket), {"role": role, "until": self._clock() + self._seconds})
        response.set_cookie(
            COOKIE,
            ticket,
            path="/console",
            max_age=int(self._seconds),
            httponly=True,
            samesite="Strict",
            secure=self._secure,
        )

    def _count_try(self, request: web.Request) -> None:
        seconds = self._tries.admit(self._address(request), self._clock())
        if seconds:
            message = f"Too many tries; the next one counts in {math.ceil(seconds)} seconds."
            raise RequestError(429, message, code="too_many_tries", retry_after=seconds)


def operates(guest: Guest) -> None:
    """Raises RequestError 403 for who may only look."""
    if guest.role != OPERATOR:
        raise RequestError(403, "Only an operator may do that.", code="viewer")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _name(ticket: str) -> str:
    return f"ticket-{_digest(ticket)}"


def _csrf(ticket: str) -> str:
    return _digest(f"csrf {ticket}")


def _until(known: Mapping[str, object]) -> float:
    until = known.get("until")
    return float(until) if isinstance(until, int | float) else 0.0
