"""The append-only record of every input and output: who, what, when, and what produced it; never the text itself.

The text stands in `messages` and `turns`, where it can be erased; the record keeps its digest, so that a text that is
still there can be shown to be the one that was said.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import orjson

from core.types import InboundMessage, MessageState, Reply, Turn, Usage


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of the record."""

    action: str
    subject: str  # what it is about, e.g. "message/17"
    detail: str  # a JSON object


def digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def message_entry(message_id: int, message: InboundMessage, state: MessageState) -> AuditEntry:
    """An input, as it was accepted."""
    detail = {
        "conversation": str(message.conversation),
        "user": message.user_id,
        "event": message.event_id,
        "state": state,
        "text_sha256": digest(message.text),
    }
    return AuditEntry("message", f"message/{message_id}", orjson.dumps(detail).decode())


def reply_entry(turn: Turn, reply: Reply) -> AuditEntry:
    """An output, with what produced it."""
    detail = {
        "conversation": str(turn.conversation),
        "messages": [message.id for message in turn.messages],
        "kind": reply.kind,
        "cut": reply.cut,
        "reason": reply.reason,
        "model": reply.model,
        "prompt_tokens": reply.usage.prompt_tokens,
        "completion_tokens": reply.usage.completion_tokens,
        "text_sha256": digest(reply.text),
    }
    return AuditEntry("reply", f"turn/{turn.id}", orjson.dumps(detail).decode())


def notice_entry(turn_id: int, message_id: int, text: str) -> AuditEntry:
    """What the house itself said, in place of a reply."""
    detail = {"messages": [message_id], "kind": "notice", "text_sha256": digest(text)}
    return AuditEntry("reply", f"turn/{turn_id}", orjson.dumps(detail).decode())


def feedback_entry(turn_id: int, user_id: str, vote: str) -> AuditEntry:
    """What a user thinks of a reply."""
    return AuditEntry("feedback", f"turn/{turn_id}", orjson.dumps({"user": user_id, "vote": vote}).decode())


def completion_entry(request_id: str, bot: str, model: str, usage: Usage, ending: str) -> AuditEntry:
    """A reply that was streamed outside any conversation."""
    detail = {
        "bot": bot,
        "model": model,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "ending": ending,
    }
    return AuditEntry("completion", f"request/{request_id}", orjson.dumps(detail).decode())
