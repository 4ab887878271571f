"""How a received message is written down in adapters/*/samples: all that it says, and nothing that it leaves open."""

from __future__ import annotations

from dataclasses import asdict

from core.types import InboundMessage

OPTIONAL = {"source_id": "", "edited": False, "speaker": "", "command": "", "unreadable": False}


def written(message: InboundMessage) -> dict[str, object]:
    """The message as JSON holds it, without the optional fields that have their default."""
    return {
        name: value for name, value in asdict(message).items() if OPTIONAL.get(name) != value or name not in OPTIONAL
    }
