"""One request to the simulated Web API, and what may go wrong with it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with one call. A fault with no field set is no fault, to let a call pass in a row of faults."""

    error: str = ""  # {"ok": false, "error": ...}
    status: int = 200
    retry_after: int | None = None  # seconds
    body: bytes | None = None  # sent instead of Slack's answer: as JSON with status 200, else as a gateway's HTML
    delay: float = 0.0  # seconds before anything happens
    drop: bool = False  # carry it out, then close the connection without an answer
    reset: bool = False  # close the connection without carrying it out
    hold: asyncio.Event | None = None  # carry it out, then answer when this is set


@dataclass(frozen=True, slots=True)
class Call:
    """One request to the Web API."""

    method: str
    arguments: Mapping[str, Any]
