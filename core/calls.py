"""What our calls of other servers share: how much of an answer is read, and what went wrong in words."""

from __future__ import annotations

import aiohttp

ANSWER_LIMIT = 1 << 18  # bytes read of an answer that is not a stream


async def whole(content: aiohttp.StreamReader) -> bytes:
    """A body that is no stream, as far as ANSWER_LIMIT."""
    parts, size = [], 0
    while size < ANSWER_LIMIT and (part := await content.readany()):
        parts.append(part)
        size += len(part)
    return b"".join(parts)[:ANSWER_LIMIT]


def broken(error: Exception) -> str:
    """Why there was no answer, as the end of a sentence."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"refused the connection ({error.os_error.strerror or 'unknown host'})"
    return "did not answer in time" if isinstance(error, TimeoutError) else f"broke off ({type(error).__name__})"
