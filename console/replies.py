"""What the console's answers share: their form, who asked, and which one is meant."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from console.door import Guest
from core.errors import RequestError

NO_STORE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def as_json(value: Mapping[str, object]) -> web.Response:
    return web.json_response(value, headers=NO_STORE)


def who(guest: Guest) -> str:
    """For the audit record."""
    return f"console/{guest.role}"


def identity(request: web.Request) -> int:
    """The number in the address. Raises RequestError 404 where it is none."""
    text = request.match_info["id"]
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise missing("number")
    return int(text)


def there(found: dict[str, object] | None, what: str) -> dict[str, object]:
    """Raises RequestError 404 where nothing was found."""
    if found is None:
        raise missing(what)
    return found


def missing(what: str) -> RequestError:
    return RequestError(404, f"There is no such {what}.", code="not_found")
