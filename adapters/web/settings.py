"""The settings of `[channels.web]`; read without loading anything that only a running channel needs."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from core.config import ChannelSettings, Count, Positive


class Settings(ChannelSettings):
    """`[channels.web]`. Nothing is missing: the web chat needs no account."""

    # Who may show the page in a frame, as in CSP: 'self', 'none', or addresses such as https://shop.example.com. The
    # cookie is SameSite=Lax, so a frame works on pages of the same site (another host of the same domain) only.
    frame_ancestors: Annotated[str, Field(pattern=r"^[^;,\s]+( [^;,\s]+)*$")] = "'self'"
    messages_per_minute_per_ip: Positive = 300.0
    streams: Count = 800  # open pages in all; each takes a file descriptor
    streams_per_ip: Count = 200
    streams_per_visitor: Count = 8
    keepalive_seconds: Positive = 15.0
