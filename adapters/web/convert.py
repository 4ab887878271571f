"""The page's JSON, headers and event frames to our words and back: pure and total, nothing makes it raise."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import orjson

from core.types import ConversationKey, Delivery, Entry, InboundMessage, MessageState, Receipt

TEXT_LIMIT = 4_000  # characters (code points) of one message
BODY_LIMIT = 64 * 1024  # bytes; 4,000 characters outside the BMP, each escaped as two \\uXXXX, are 48,000

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_VISITOR = re.compile(r"[A-Za-z0-9_-]{43}")  # secrets.token_urlsafe(32): 256 bits
_LANGUAGE = re.compile(r"([A-Za-z]{2,8})(?:-[A-Za-z0-9]{1,8})*\s*(?:;\s*q\s*=\s*([01](?:\.[0-9]{0,3})?))?\s*")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not taken: the HTTP status, a code for programs and a sentence for people."""

    status: int
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Written:
    """What the page posted: its own id of the message (a UUID, lower case) and the text."""

    id: str
    text: str


def parse_post(body: bytes) -> Written | Refusal:
    """`{"id": UUID, "text": str}`; the text loses surrounding white space and NULs, never its line breaks."""
    if len(body) > BODY_LIMIT:
        return Refusal(413, "text_too_long", f"A message has at most {TEXT_LIMIT} characters.")
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Refusal(400, "invalid_json", 'The body must be JSON: {"id": a UUID, "text": a string}.')
    if not isinstance(payload, dict):
        return Refusal(400, "invalid_json", "The body must be a JSON object with id and text.")
    client_id, text = payload.get("id"), payload.get("text")
    if not isinstance(client_id, str) or not _UUID.fullmatch(client_id):
        return Refusal(400, "invalid_id", "id must be a UUID made by the client, the same one when it tries again.")
    if not isinstance(text, str):
        return Refusal(400, "invalid_text", "text must be a string.")
    text = text.replace("\0", "").replace("\r\n", "\n").strip()
    if not text:
        return Refusal(400, "invalid_text", "text must not be empty.")
    if len(text) > TEXT_LIMIT:
        return Refusal(
            413, "text_too_long", f"A message has at most {TEXT_LIMIT} characters; this one has {len(text)}."
        )
    return Written(client_id.lower(), text)


def is_visitor(cookie: str) -> bool:
    """Whether a cookie's value has the shape of the ids we give out."""
    return _VISITOR.fullmatch(cookie) is not None


def visitor_key(cookie: str) -> str:
    """The visitor's name in our records: a digest, so that no log and no ledger holds what opens a conversation."""
    return hashlib.sha256(cookie.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def inbound(written: Written, conversation: ConversationKey, *, accept_language: str, now: float) -> InboundMessage:
    """The message to receive; `now` is when it was posted (seconds since the epoch)."""
    return InboundMessage(
        event_id=event_id(conversation, written.id),
        conversation=conversation,
        user_id=conversation.chat_id,
        text=written.text,
        language=next(iter(languages(accept_language)), ""),
        sent_at=now,
    )


def event_id(conversation: ConversationKey, client_id: str) -> str:
    """Bound to the visitor, so that no visitor can meet another's row, whatever id he sends."""
    return f"{conversation.chat_id}.{client_id}"


def accepted_entry(message: InboundMessage, receipt: Receipt) -> Entry:
    """The bubble of a message that was just received."""
    return Entry(
        id=f"m{receipt.message_id}",
        role="user",
        text=message.text,
        at=message.sent_at,
        event_id=message.event_id,
        pending=receipt.state in (MessageState.WAITING, MessageState.RUNNING),
    )


def delivered_entry(delivery: Delivery, now: float) -> Entry:
    """The bubble of a reply that was just committed."""
    return Entry(id=f"t{delivery.turn_id}", role="bot", text=delivery.text, at=now, kind=delivery.kind.value)


def entry_json(entry: Entry) -> dict[str, object]:
    """A bubble for the page; `client_id` is the id that the page itself gave the message."""
    return {
        "id": entry.id,
        "role": entry.role,
        "text": entry.text,
        "at": entry.at,
        "kind": entry.kind,
        "client_id": entry.event_id.rpartition(".")[2],
        "pending": entry.pending,
    }


def to_json(value: object) -> bytes:
    """Compact JSON in UTF-8. A model may emit half a surrogate pair, which orjson refuses and escapes can carry."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, separators=(",", ":")).encode("ascii")


def frame(event: str, data: Mapping[str, object]) -> bytes:
    """One server-sent event (html.spec.whatwg.org, section 9.2.5); JSON has no line breaks: one data line."""
    return b"event: " + event.encode("ascii") + b"\ndata: " + to_json(data) + b"\n\n"


def utf16_length(text: str) -> int:
    """Length in UTF-16 code units, the unit of JavaScript's strings and so of a draft's `at`."""
    if text.isascii():
        return len(text)
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def splice(text: str, at: int, suffix: str) -> str | None:
    """`text` up to `at` UTF-16 units, followed by `suffix`; None when `at` lies beyond it: something was missed."""
    units = text.encode("utf-16-le", "surrogatepass")
    if not 0 <= at <= len(units) // 2:
        return None
    return units[: 2 * at].decode("utf-16-le", "surrogatepass") + suffix


def languages(accept_language: str) -> list[str]:
    """Primary tags of an Accept-Language header, most wanted first, lower case (RFC 9110, section 12.5.4)."""
    weighed: list[tuple[float, str]] = []
    for item in accept_language[:500].split(","):
        match = _LANGUAGE.fullmatch(item.strip())
        if match is not None and (weight := float(match[2] or 1)) > 0:
            weighed.append((-weight, match[1].lower()))
    return list(dict.fromkeys(tag for _, tag in sorted(weighed, key=lambda pair: pair[0])))


def page_language(accept_language: str, available: Collection[str], default: str) -> str:
    """The first wanted language that the bot has words for."""
    return next((tag for tag in languages(accept_language) if tag in available), default)


def from_own_page(headers: Mapping[str, str], hosts: Iterable[str]) -> bool:
    """Whether a POST may come from our page: CSRF protection beside the cookie's SameSite=Lax.

    Browsers say so in Sec-Fetch-Site on trustworthy addresses (w3.org/TR/fetch-metadata) and in Origin on all; a
    program that is no browser sends neither and has no cookie that could be borrowed. `hosts`: our host[:port]s.
    """
    site = headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    origin = headers.get("Origin")
    if origin is None:
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return (
        parts.scheme in ("http", "https") and bool(parts.netloc) and parts.netloc.lower() in {h.lower() for h in hosts}
    )
