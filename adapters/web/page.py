"""The page and its files: all of it served by us, under a policy that lets nothing else in."""

from __future__ import annotations

import hashlib
import html
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from adapters.web.convert import to_json

STATIC = Path(__file__).parent / "static"
FILES = {
    "chat.js": "text/javascript",
    "wire.js": "text/javascript",
    "view.js": "text/javascript",
    "markup.js": "text/javascript",
    "chat.css": "text/css",
    "icon.svg": "image/svg+xml",
}
PHRASES = (
    "chat_title",
    "chat_placeholder",
    "chat_send",
    "chat_greeting",
    "chat_connecting",
    "chat_offline",
    "chat_engine_loading",
    "chat_writing",
    "chat_too_long",
    "chat_failed_send",
    "chat_retry",
)
# Sent with everything: no guessing of types, no address of ours told to the sites that links lead to.
COMMON_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin"}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of the page as it is served."""

    body: bytes
    content_type: str


class Page:
    """The page's template and files, read once."""

    def __init__(self, base: str, *, frame_ancestors: str) -> None:
        """`base`: the path of the page, such as "/chat". Reads the files; raises OSError when one is missing."""
        self._base = base
        self._template = (STATIC / "chat.html").read_text(encoding="utf-8")
        self.assets: Mapping[str, Asset] = {
            name: Asset((STATIC / name).read_bytes(), content_type) for name, content_type in FILES.items()
        }
        digest = hashlib.sha256(b"".join(asset.body for asset in self.assets.values()))
        self.version = digest.hexdigest()[:12]
        policy = (
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
            f"form-action 'none'; base-uri 'none'; frame-ancestors {frame_ancestors}"
        )
        self.headers = {
            **COMMON_HEADERS,
            "Content-Security-Policy": policy,
            "Cache-Control": "no-store",  # it sets the visitor's cookie
            "Vary": "Accept-Language",
        }

    def render(self, language: str, wording: Mapping[str, str], *, text_limit: int) -> str:
        """The page in one language. Its words stand in an attribute, escaped: the policy allows no inline script."""
        values = {
            "language": language,
            "title": wording["chat_title"],
            "placeholder": wording["chat_placeholder"],
            "send": wording["chat_send"],
            "connecting": wording["chat_connecting"],
            "phrases": to_json(dict(wording)).decode(),
            "base": self._base,
            "version": self.version,
            "limit": str(text_limit),
        }
        # One pass: what a phrase says is never read as a placeholder again.
        head, *pieces = self._template.split("{{")
        parts = [head]
        for piece in pieces:
            name, _, rest = piece.partition("}}")
            parts += (html.escape(values[name]), rest)
        return "".join(parts)
