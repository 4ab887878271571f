"""When a chat may see the next preview: in Telegram's flood limits, previews take what final texts leave.

Bounded: the chats held longest ago are forgotten first, which at worst costs one refused preview.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable


class Pace:
    """`clock` in seconds, never going back."""

    def __init__(self, clock: Callable[[], float], *, chats: int = 10_000) -> None:
        self._clock = clock
        self._chats = chats
        self._held_until: OrderedDict[int, float] = OrderedDict()

    def held(self, chat_id: int) -> bool:
        """Whether previews to this chat have to wait."""
        return self._held_until.get(chat_id, 0.0) > self._clock()

    def hold(self, chat_id: int, seconds: float) -> None:
        """No previews to this chat for so long; a longer hold stays."""
        until = max(self._clock() + seconds, self._held_until.get(chat_id, 0.0))
        self._held_until[chat_id] = until
        self._held_until.move_to_end(chat_id)
        if len(self._held_until) > self._chats:
            self._held_until.popitem(last=False)
