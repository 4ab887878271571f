"""Growing replies as drafts: shown while they are written, kept alive while nothing is added, gone without a trace.

core.telegram.org/bots/api#sendmessagedraft: private chats only, a draft lives 30 s, and it is no message: the final
text is sent as one, and whoever presses the stop button sends `stopped_message_generation` with the draft's id. What
refuses the first draft of a reply is a server or an account without them: it is not asked again. A later one may be
refused because its stop button was pressed a moment ago: then only that reply goes on by edits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from adapters.telegram.pace import Pace
from adapters.telegram.places import Place
from adapters.telegram.recent import Bounded
from adapters.telegram.refusals import ChatGone, Refused, Unfit, Unknown
from core.errors import DeliveryError
from core.types import ConversationKey

_REFRESH_SECONDS = 20.0  # of the 30 that a draft lives
_AGAIN_SECONDS = 1.0  # when there was no room for it
_LONGEST_SECONDS = 300.0  # without a new word: nobody writes at this reply any more
_MOST = 2_000
_HIGHEST_ID = 2**31 - 1


def draft_id_of(turn_id: int) -> int:
    """Non-zero, and the same for all attempts at a turn."""
    return 1 + (turn_id - 1) % _HIGHEST_ID


@dataclass(slots=True)
class _Open:
    """A draft on somebody's screen."""

    draft_id: int
    conversation: ConversationKey
    place: Place
    text: str = ""
    changed_at: float = 0.0
    shown: str = ""
    shown_at: float = 0.0
    ended: bool = False  # by its stop button, its final text, or because the chat is gone
    calling: asyncio.Lock = field(default_factory=asyncio.Lock)
    keeper: asyncio.Task[None] | None = None


class Drafts:
    """`put` makes the call and raises DeliveryError; `clock` in seconds, never going back; `pause` waits that long."""

    def __init__(
        self,
        put: Callable[[ConversationKey, Place, int, str], Awaitable[None]],
        pace: Pace,
        *,
        on: bool,
        clock: Callable[[], float],
        pause: Callable[[float], Awaitable[None]],
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        self.on = on
        self._put = put
        self._pace = pace
        self._clock = clock
        self._pause = pause
        self._log = log
        self._open: dict[int, _Open] = {}
        self._over: Bounded[int, None] = Bounded()  # drafts whose reply is whole
        self._edited: Bounded[int, None] = Bounded()  # drafts whose reply goes on by edits

    def serve(self, turn_id: int, place: Place) -> bool:
        """Whether that reply grows as a draft."""
        draft_id = draft_id_of(turn_id)
        if not self.on or place.grouped or place.business or draft_id in self._edited:
            return False
        return draft_id in self._open or len(self._open) < _MOST

    async def show(self, turn_id: int, conversation: ConversationKey, place: Place, text: str) -> bool | None:
        """Show the text so far; whether any of the reply is on the screen, None when it has to go on by edits. Raises
        DeliveryError."""
        draft_id = draft_id_of(turn_id)
        opened = self._open.get(draft_id)
        if opened is None:
            opened = self._open[draft_id] = _Open(draft_id, conversation, place)
        opened.text, opened.changed_at = text, self._clock()
        if not self._due(opened):
            return bool(opened.shown)
        try:
            await self._call(opened)
        except (Unknown, Unfit) as error:
            if opened.ended:
                return bool(opened.shown)
            self._refused(opened, error)
            return None
        self._keep_alive(opened)
        return bool(opened.shown)

    def stopped(self, conversation: ConversationKey, draft_id: int) -> ConversationKey | None:
        """Whose reply the stop button of a draft ends; None when that reply is whole already, and the press an old one
        that came again."""
        if draft_id in self._over:
            return None
        opened = self._open.get(draft_id)
        if opened is not None and opened.conversation.chat_id == conversation.chat_id:
            opened.ended = True
            return opened.conversation
        if any(other.conversation == conversation for other in self._open.values()):
            return None
        return conversation  # a draft of before a restart

    async def end(self, turn_id: int) -> None:
        """The final text follows; a draft on its way is waited for, or it would come after it."""
        draft_id = draft_id_of(turn_id)
        if not self.on and draft_id not in self._open:
            return
        self._over.put(draft_id, None)
        opened = self._open.pop(draft_id, None)
        if opened is not None:
            opened.ended = True
            async with opened.calling:
                _cancel(opened)

    def leave(self, conversation: ConversationKey) -> None:
        """The chat is gone, with all its topics."""
        for opened in [*self._open.values()]:
            if (opened.conversation.channel, opened.conversation.chat_id) == (
                conversation.channel,
                conversation.chat_id,
            ):
                self._forget(opened)

    async def close(self) -> None:
        keepers = [opened.keeper for opened in self._open.values() if opened.keeper is not None]
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)
        self._open.clear()

    def _due(self, opened: _Open) -> bool:
        """Whether its text is to be shown now; if so, it is counted."""
        if opened.ended or opened.text == opened.shown:
            return False
        return self._pace.draft(opened.place.chat_id, first=not opened.shown)

    def _refused(self, opened: _Open, error: DeliveryError) -> None:
        self._edited.put(opened.draft_id, None)
        self._forget(opened)
        if opened.shown:
            self._log.info("telegram_draft_refused", reason=error.reason)
        elif self.on:
            self._log.warning("telegram_drafts_off", reason=error.reason)
            self.on = False
            for other in [*self._open.values()]:
                self._forget(other)

    def _forget(self, opened: _Open) -> None:
        opened.ended = True
        self._open.pop(opened.draft_id, None)
        if not opened.calling.locked():
            _cancel(opened)

    async def _call(self, opened: _Open) -> None:
        async with opened.calling:
            if opened.ended:
                return
            text = opened.text
            await self._put(opened.conversation, opened.place, opened.draft_id, text)
            opened.shown, opened.shown_at = text, self._clock()

    def _keep_alive(self, opened: _Open) -> None:
        if not opened.ended and opened.shown and (opened.keeper is None or opened.keeper.done()):
            opened.keeper = asyncio.create_task(self._keep(opened), name="telegram draft")

    async def _keep(self, opened: _Open) -> None:
        """Show it again before it expires: the core asks for a preview only when there is a new word."""
        while not opened.ended and self._clock() < opened.changed_at + _LONGEST_SECONDS:
            wait = opened.shown_at + _REFRESH_SECONDS - self._clock()
            if wait > 0:
                await self._pause(wait)
            elif not self._pace.draft(opened.place.chat_id, first=False):
                await self._pause(_AGAIN_SECONDS)
            else:
                try:
                    await self._call(opened)
                except (Unknown, Unfit, ChatGone, Refused) as error:
                    self._log.info("telegram_draft_not_kept", reason=error.reason)
                    break
                except DeliveryError as error:  # a network that may be back in a moment
                    self._log.info("telegram_draft_late", reason=error.reason)
                    await self._pause(_AGAIN_SECONDS)
        if not opened.ended and self._clock() >= opened.changed_at + _LONGEST_SECONDS:
            self._open.pop(opened.draft_id, None)


def _cancel(opened: _Open) -> None:
    if opened.keeper is not None:
        opened.keeper.cancel()
