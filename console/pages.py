"""The console's files: all of it served by us, under a policy that lets nothing else in and runs nothing inline."""

from __future__ import annotations

import hashlib
from pathlib import Path

from aiohttp import web

STATIC = Path(__file__).parent / "static"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # asked for again each time, and answered with 304 while it is the same
}
TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


class Pages:
    """The files, read once. Nothing of them is secret."""

    def __init__(self) -> None:
        """Raises OSError when one is missing."""
        self._index = (STATIC / "index.html").read_bytes()
        self._files = {
            path.relative_to(STATIC).as_posix(): path.read_bytes()
            for path in sorted(STATIC.rglob("*"))
            if path.is_file() and path.suffix in TYPES
        }
        self._tags = {name: f'"{hashlib.sha256(body).hexdigest()[:20]}"' for name, body in self._files.items()}

    async def index(self, _: web.Request) -> web.Response:
        """One page for every address below /console: it looks at the address itself."""
        return web.Response(body=self._index, content_type="text/html", charset="utf-8", headers=HEADERS)

    async def file(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name not in self._files:
            raise web.HTTPNotFound
        content_type = TYPES[Path(name).suffix]
        if request.headers.get("If-None-Match") == self._tags[name]:
            return web.Response(status=304, headers=HEADERS | {"ETag": self._tags[name]})
        response = web.Response(
            body=self._files[name],
            content_type=content_type,
            charset="utf-8",
            headers=HEADERS | {"ETag": self._tags[name]},
            zlib_executor_size=1024,
        )
        response.enable_compression()
        return response
