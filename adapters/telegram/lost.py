"""Messages of ours whose id nobody was told are found again by the few ids they can have, or left where they are.

A bot cannot read a chat. But Telegram numbers an account's messages as they come: those of all private chats and basic
groups in one sequence, those of each supergroup in one of its own (TDLib asks for the former by their number alone:
core.telegram.org/method/messages.getMessages and channels.getMessages, `get_messages_from_server` in
MessagesManager.cpp). So what was sent has one of the ids after what was there before, and `BotApi.ours` tells of an id
whether it is a message of ours. It does not tell which: so one is taken only where no other can be meant, and then it
is certain. That there is none is never certain: in between lie the messages of all other chats, and a call may still
be on its way. A chat with topics holds several conversations, and in a business chat the owner's own words look like
ours: neither is looked through.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Set
from dataclasses import dataclass
from itertools import chain, count, islice

import structlog

from adapters.telegram.places import Place, Shown, message_id_of, shown_of
from adapters.telegram.recent import Bounded
from core.errors import DeliveryError
from core.types import Turn

_IDS = 8  # asked for: where a few messages a second come and go, a first text is that near to its question
_MOST = 2_000  # chats and turns: Telegram takes 30 messages a second, and a turn is handed back within a minute
_TOLD = 16  # newest ids of ours that are remembered of a chat
_SEVERAL = -1
_AGAIN_SECONDS = 0.2  # when there was no room for it
_LONGEST_SECONDS = 3.0  # without room
_SUPERGROUPS = -1_000_000_000_000  # their chat ids lie below: Client::get_supergroup_chat_id


@dataclass(slots=True)
class _Chat:
    """What this process sent there."""

    under_way: int = 0
    doubtful: int = 0  # the turn whose message may be there, 0 for none, _SEVERAL for those of several turns
    told: tuple[int, ...] = ()  # a deque would take ten times the room

    def tell(self, message_id: int) -> None:
        """That id is of a message whose turn is known."""
        self.told = (*self.told, message_id)[-_TOLD:]

    def can_only_be(self, turn_id: int, message_id: int) -> bool:
        """Whether a message of ours there is what that turn left."""
        return not self.under_way and self.doubtful in (0, turn_id) and message_id not in self.told


class LostMessages:
    """`ours` asks Telegram whether that is a message of ours, `spare` whether there is room to ask in that chat, which
    is then counted; `clock` in seconds, never going back; `pause` waits that long. Bounded: the chats that were quiet
    longest are forgotten first."""

    def __init__(
        self,
        ours: Callable[[Shown], Awaitable[bool]],
        spare: Callable[[int], bool],
        *,
        clock: Callable[[], float],
        pause: Callable[[float], Awaitable[None]],
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        self._ours = ours
        self._spare = spare
        self._clock = clock
        self._pause = pause
        self._log = log
        self._chats: Bounded[int, _Chat] = Bounded(_MOST)
        self._firsts: Bounded[int, Shown] = Bounded(_MOST)  # turn -> the first message that this process sent for it
        self._newest: Bounded[int, int] = Bounded(_MOST)  # sequence -> the newest id in it
        self._sent: Bounded[int, int] = Bounded(_MOST)  # sequence -> the oldest id that this process gave rise to

    def noticed(self, place: Place, message_id: int) -> None:
        """That id is taken: what is sent from now on has a later one."""
        if not place.business:  # numbered by its owner's account
            self._notice(place.chat_id, message_id)

    async def send(self, turn_id: int, place: Place, call: Callable[[], Awaitable[Shown]]) -> Shown:
        """The new message that `call` sends there; where its answer is lost, the one that it left. Raises
        DeliveryError, `unclear` where that cannot be told."""
        if place.business:
            return await call()
        chat, after = self._chat(place.chat_id), self._newest_before(place.chat_id)
        chat.under_way += 1
        try:
            shown = await call()
        except DeliveryError as error:
            if not error.unclear:
                raise
            chat.doubtful = turn_id if chat.doubtful in (0, turn_id) else _SEVERAL
            lost = error
        else:
            self._told(turn_id, shown)
            return shown
        finally:
            chat.under_way -= 1
        found = await self._left_behind(turn_id, place.chat_id, after)
        if found is None:
            raise lost
        self._told(turn_id, found)
        return found

    async def find(self, turn: Turn, place: Place, known: frozenset[str]) -> Shown | None:
        """What an attempt at that turn left, whose process died before the id was on disk; None if that cannot be told.
        Raises DeliveryError."""
        if place.business or place.topics or turn.conversation.chat_id != str(place.chat_id):  # it has moved since
            return None
        if (shown := self._firsts.get(turn.id)) is not None:
            return shown  # this process lives, and could not write it down
        sequence = _sequence(place.chat_id)
        taken = [shown for shown in map(shown_of, known) if shown and _sequence(shown.chat_id) == sequence]
        said = [message_id for message in turn.messages if (message_id := message_id_of(message.address))]
        before = self._sent.get(sequence)  # dead processes sent nothing later
        # No reply overtakes an earlier one: what stands above a known message of ours belongs to another.
        above = [shown.message_id for shown in taken if shown.chat_id == place.chat_id]
        above = [message_id for message_id in above if before is None or message_id < before]
        starts = {max(message_id, *above, 0) for message_id in said}
        near = _free(starts, {shown.message_id for shown in taken}, before)
        found = await self._first_of_ours(turn.id, place.chat_id, near)
        if found is not None:
            self._chat(found.chat_id).tell(found.message_id)
        return found

    async def _left_behind(self, turn_id: int, chat_id: int, after: int) -> Shown | None:
        if not after:
            return None
        try:
            found = await self._first_of_ours(turn_id, chat_id, range(after + 1, after + 1 + _IDS))
        except DeliveryError as error:
            self._log.info("telegram_lost_not_looked_for", turn=turn_id, reason=error.reason)
            return None
        self._log.info("telegram_lost_looked_for", turn=turn_id, found=found is not None)
        return found

    async def _first_of_ours(self, turn_id: int, chat_id: int, message_ids: Iterable[int]) -> Shown | None:
        chat, until = self._chat(chat_id), self._clock() + _LONGEST_SECONDS
        for message_id in message_ids:
            if not chat.can_only_be(turn_id, message_id):
                continue
            while not self._spare(chat_id):
                if self._clock() >= until:
                    return None
                await self._pause(_AGAIN_SECONDS)
            shown = Shown(chat_id, message_id)
            # Asked again afterwards: something may have been sent meanwhile.
            if await self._ours(shown) and chat.can_only_be(turn_id, message_id):
                return shown
        return None

    def _told(self, turn_id: int, shown: Shown) -> None:
        chat = self._chat(shown.chat_id)
        chat.tell(shown.message_id)
        chat.doubtful = 0  # what is looked for from now on comes after this
        self._notice(shown.chat_id, shown.message_id)
        sequence = _sequence(shown.chat_id)
        self._sent.put(sequence, min(shown.message_id, self._sent.get(sequence) or shown.message_id))
        if self._firsts.get(turn_id) is None:
            self._firsts.put(turn_id, shown)

    def _newest_before(self, chat_id: int) -> int:
        """0 as long as a process before this one may have sent something later."""
        sequence = _sequence(chat_id)
        return (self._newest.get(sequence) or 0) if sequence in self._sent else 0

    def _notice(self, chat_id: int, message_id: int) -> None:
        sequence = _sequence(chat_id)
        self._newest.put(sequence, max(message_id, self._newest.get(sequence) or 0))

    def _chat(self, chat_id: int) -> _Chat:
        chat = self._chats.get(chat_id) or _Chat()
        self._chats.put(chat_id, chat)
        return chat


def _sequence(chat_id: int) -> int:
    return chat_id if chat_id < _SUPERGROUPS else 0


def _free(starts: Set[int], taken: Set[int], before: int | None) -> Iterator[int]:
    """The first ids that may be lost ones, those after the last start first."""
    rows = [
        (one for one in count(start + 1) if one not in taken and one not in starts) for start in sorted(starts)[::-1]
    ]
    near = islice(chain.from_iterable(zip(*rows, strict=True)), _IDS * len(rows))
    return islice(dict.fromkeys(one for one in near if before is None or one < before), _IDS)
