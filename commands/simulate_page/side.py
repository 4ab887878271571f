"""The one face of the simulators: made-up users who write, what each of them sees, and what can go wrong.

Nothing behind it reaches further than loopback; the credentials are made up at each start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from core.config import ChannelSettings

USERS = 3
SHOWN = 100  # bubbles of a chat
FLOOD_SECONDS = 10
By = Literal["user", "bot", "platform"]


@dataclass(frozen=True, slots=True)
class Bubble:
    """One line of a chat as its user sees it now; `edits` is how often it changed."""

    by: By
    text: str
    edits: int = 0


class Side(Protocol):
    """A platform with three users, numbered from 1."""

    troubles: tuple[str, ...]  # what can go wrong on demand
    acts: tuple[str, ...]  # what a user can do besides writing

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def credentials(self, settings: ChannelSettings) -> Mapping[str, object]:
        """The settings that connect the channel with this side; known after start()."""

    def meet(self, address: str, paths: tuple[str, ...]) -> None:
        """Where the house listens, and the channel's paths there."""

    async def say(self, user: int, text: str, language: str) -> None:
        """A user writes; ends when the platform is done with it, which may take a while."""

    async def act(self, user: int, name: str) -> None:
        """A user does one of `acts`."""

    def seen(self, user: int) -> list[Bubble]:
        """The newest SHOWN lines of a user's chat, oldest first."""

    def typing(self, user: int) -> bool:
        """Whether the user sees that the bot is typing."""

    def trouble(self, name: str, user: int) -> None:
        """Begin one of `troubles`, or end one that lasts."""

    def active(self, user: int) -> list[str]:
        """The troubles at work now."""

    def counts(self) -> Mapping[str, int]:
        """What went over the wire so far."""
