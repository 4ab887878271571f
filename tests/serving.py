"""The house's own server, where a test wants one in its process."""

from __future__ import annotations

from aiohttp import web
from aiohttp.test_utils import TestServer

from core.http import runner_of


class HouseServer(TestServer):
    """aiohttp's own test server cancels the work for a caller who leaves; the house's does not, and must not: a message
    that a platform has sent is stored, however soon it hangs up."""

    async def _make_runner(self, **_: object) -> web.AppRunner:
        return runner_of(self.app)
