"""Whether a running vLLM makes tokens: its /health says only that no process of it has died.

An engine whose card or loop hangs goes on answering /health with 200. So, when its own counter shows no reply being
written, one token is asked of it; a prompt that takes long to read shows in its other numbers, and is no hang.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import aiohttp

from core.errors import EngineUnavailable

TOKENS = "vllm:generation_tokens_total"
ONE_TOKEN = {"prompt": "Hello", "max_tokens": 1, "temperature": 0}  # no model: vLLM takes its own
GONE = (aiohttp.ClientError, OSError)


async def health(http: aiohttp.ClientSession) -> int:
    """The status of GET /health; 0 when nothing answers."""
    try:
        async with http.get("http://engine/health") as answer:
            return answer.status
    except (*GONE, TimeoutError):
        return 0


class Pulse:
    """Of one life of a server. *seconds*: how long one token may take."""

    def __init__(self, http: aiohttp.ClientSession, seconds: float) -> None:
        self._http, self._seconds = http, seconds
        self._made = -1.0  # tokens, at the last look

    async def complaint(self) -> str:
        """What is wrong; "" when it makes tokens, is busy, or cannot be asked (which its health then shows)."""
        before = await self._signs()
        made, self._made = self._made, tokens(before)
        if made >= 0 and self._made > made + 1:  # one of them may be the one that we asked for
            return ""
        try:
            async with asyncio.timeout(self._seconds):
                status = await self._one_token()
        except TimeoutError:
            after = await self._signs()
            if after and after != before:
                return ""
            return f"it answers /health, but made no token in {self._seconds:g} s"
        except EngineUnavailable:
            return ""
        return f"it answers /health, but a call with HTTP {status}" if status >= 500 else ""

    async def _one_token(self) -> int:
        """The call's HTTP status. Raises EngineUnavailable when the server goes meanwhile."""
        url, forever = "http://engine/v1/completions", aiohttp.ClientTimeout(total=None)
        try:
            async with self._http.post(url, json=ONE_TOKEN, timeout=forever) as answer:
                await answer.read()
                return answer.status
        except GONE as error:
            raise EngineUnavailable("the engine went away") from error

    async def _signs(self) -> str:
        """All that vLLM counts and measures of its engine; "" where its statistics are off or it does not answer."""
        with suppress(*GONE, TimeoutError):
            async with self._http.get("http://engine/metrics") as answer:
                lines = (await answer.text()).splitlines()
                return "\n".join(line for line in lines if line.startswith("vllm:"))
        return ""


def tokens(signs: str) -> float:
    """The tokens made so far, over all engines of the server."""
    lines = [line for line in signs.splitlines() if line.startswith(TOKENS)]
    return sum(float(line.rpartition(" ")[2]) for line in lines)
