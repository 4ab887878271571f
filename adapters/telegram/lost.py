"""Messages of ours whose id nobody was told are found again by the few ids they can have, or left where they are.

A bot cannot read a chat. But Telegram numbers an account's messages as they come: those of all private chats and basic
groups in one sequence, those of each supergroup in one of its own (TDLib asks for the former by their number alone:
core.telegram.org/method/messages.getMessages and channels.getMessages, `get_messages_from_server` in
MessagesManager.cpp). So what was sent has one of the next ids after those that were there before, and `BotApi.ours`
tells of an id whether it is a message of ours. It does not tell which: so one is taken only where no other can be
meant. That there is none is never certain: in between may lie messages of all other chats, and a call may still be on
its way. A chat with topics holds several conversations, and in a business chat the owner's own words look like ours:
neither is looked through. Nor is it known what others send with the same token.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Set
from dataclasses import dataclass
from functools import partial
from itertools import chain, count, islice

import structlog

from adapters.telegram.places import Place, Shown, message_id_of, shown_of
from adapters.telegram.recent import Bounded
from core.errors import DeliveryError
from core.types import Turn

_IDS = 8  # asked for: where a few messages a second come and go, a first text is that near to its question
_MOST = 2_000  # chats and turns: Telegram takes 30 messages a second, and a turn is handed back within a minute
_SEVERAL = -1
_AGAIN_SECONDS = 0.2  # when there was no room for it
_LONGEST_SECONDS = 3.0  # without room
_SUPERGROUPS = -1_000_000_000_000  # their chat ids lie below: Client::get_supergroup_chat_id


@dataclass(slots=True)
class _Chat:
    """What this process sent there."""

    under_way: int = 0
    doubtful: int = 0  # the turn whose message may be there, 0 for none, _SEVERAL for those of several turns


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
        self._firsts: Bounded[int, Shown] = Bounded(_MOST)  # turn -> its first message, as far as this process knows
        self._doubts: Bounded[int, int] = Bounded(_MOST)  # turn -> the newest id before its first message was sent
        self._newest: Bounded[int, int] = Bounded(_MOST)  # sequence -> the newest id in it
        self._sent: Bounded[int, None] = Bounded(_MOST)  # sequences with a message that this process sent
        self._seen: Bounded[tuple[int, int], None] = Bounded(_MOST)  # sequence and id of what this process knows

    def noticed(self, place: Place, message_id: int) -> None:
        """Somebody's message: what is sent from now on has a later id."""
        if not place.business:  # numbered by its owner's account
            self._notice(place.chat_id, message_id)

    async def send(self, turn_id: int, place: Place, call: Callable[[], Awaitable[Shown]]) -> Shown:
        """The new message that `call` sends there; where its answer is lost, the one that it left. Raises
        DeliveryError, `unclear` where that cannot be told."""
        if place.business:
            return await call()
        chat, sequence = self._chat(place.chat_id), _sequence(place.chat_id)
        # As long as none is its own, there may be later ones of a process that died.
        after, last = self._newest.get(sequence) or 0, sequence in self._sent
        chat.under_way += 1
        try:
            shown = await call()
        except DeliveryError as error:
            if not error.unclear:
                raise
            chat.doubtful = turn_id if chat.doubtful in (0, turn_id) else _SEVERAL
            self._doubts.put(turn_id, after)
            lost = error
        else:
            self._told(turn_id, shown)
            return shown
        finally:
            chat.under_way -= 1
        found = await self._left_behind(turn_id, place.chat_id, after) if last else None
        if found is None:
            raise lost
        self._told(turn_id, found)
        return found

    async def find(self, turn: Turn, place: Place, known: frozenset[str]) -> Shown | None:
        """What an attempt at that turn left, whose process died before the id was on disk; None if that cannot be told.
        Raises DeliveryError."""
        if place.business or place.topics or turn.conversation.chat_id != str(place.chat_id):  # it has moved since
            return None
        if turn.unclear:  # it might be taken for a part of an earlier reply, and overwritten
            return None
        if (shown := self._firsts.get(turn.id)) is not None:
            return shown  # it could not be written down
        near = self._near(turn, place.chat_id, known)
        found = await self._first_of_ours(turn.id, place.chat_id, near)
        if found is not None:
            self._settled(turn.id, found)
        return found

    def _near(self, turn: Turn, chat_id: int, known: frozenset[str]) -> Iterator[int]:
        """The ids that what a turn left can have, the likeliest first."""
        sequence = _sequence(chat_id)
        shown = [one for one in map(shown_of, known) if one is not None and _sequence(one.chat_id) == sequence]
        taken = {one.message_id for one in shown}
        said = {message_id_of(message.address) for message in turn.messages} - {0}
        free = partial(self._free, sequence, taken | said)
        if after := self._doubts.get(turn.id):
            return free({max(after, *said, 0)})
        old = [one for one in shown if (sequence, one.message_id) not in self._seen]
        # No reply overtakes an earlier one: what stands above a known message of ours belongs to another.
        above = max((one.message_id for one in old if one.chat_id == chat_id and one.message_id not in said), default=0)
        # More may have been said before the reply was begun, and since; and the process died about its newest message.
        last = max((one.message_id for one in old), default=0)
        return free({max(message_id, above) for message_id in said}, last=last)

    def _free(self, sequence: int, taken: Set[int], starts: Set[int], *, last: int = 0) -> Iterator[int]:
        """The first ids that are not taken after each start, the last start first, and as many after `last`."""

        def after(start: int) -> Iterator[int]:
            return (one for one in count(start + 1) if one not in taken and (sequence, one) not in self._seen)

        near, most = _in_turn(*map(after, sorted(starts, reverse=True))), _IDS
        if last > max(starts, default=last):
            near, most = _in_turn(after(last), near), 2 * _IDS
        return islice(dict.fromkeys(islice(near, 2 * most * max(1, len(starts)))), most)

    async def _left_behind(self, turn_id: int, chat_id: int, after: int) -> Shown | None:
        try:
            found = await self._first_of_ours(turn_id, chat_id, self._free(_sequence(chat_id), frozenset(), {after}))
        except DeliveryError as error:
            self._log.info("telegram_lost_not_looked_for", turn=turn_id, reason=error.reason)
            return None
        self._log.info("telegram_lost_looked_for", turn=turn_id, found=found is not None)
        return found

    async def _first_of_ours(self, turn_id: int, chat_id: int, message_ids: Iterable[int]) -> Shown | None:
        until = self._clock() + _LONGEST_SECONDS
        for message_id in message_ids:
            while not self._spare(chat_id):
                if self._clock() >= until:
                    return None
                await self._pause(_AGAIN_SECONDS)
            shown = Shown(chat_id, message_id)
            if await self._ours(shown):
                return shown if self._can_only_be(turn_id, shown) else None
        return None

    def _can_only_be(self, turn_id: int, shown: Shown) -> bool:
        """Whether a message of ours is what that turn left; more may have been sent since it was asked for."""
        chat, seen = self._chat(shown.chat_id), (_sequence(shown.chat_id), shown.message_id) in self._seen
        return not chat.under_way and chat.doubtful in (0, turn_id) and not seen

    def _told(self, turn_id: int, shown: Shown) -> None:
        self._sent.put(_sequence(shown.chat_id), None)
        self._settled(turn_id, shown)

    def _settled(self, turn_id: int, shown: Shown) -> None:
        self._chat(shown.chat_id).doubtful = 0  # what is looked for from now on comes after this
        self._notice(shown.chat_id, shown.message_id)
        if self._firsts.get(turn_id) is None:
            self._firsts.put(turn_id, shown)

    def _notice(self, chat_id: int, message_id: int) -> None:
        sequence = _sequence(chat_id)
        self._newest.put(sequence, max(message_id, self._newest.get(sequence) or 0))
        self._seen.put((sequence, message_id), None)

    def _chat(self, chat_id: int) -> _Chat:
        chat = self._chats.get(chat_id) or _Chat()
        self._chats.put(chat_id, chat)
        return chat


def _sequence(chat_id: int) -> int:
    return chat_id if chat_id < _SUPERGROUPS else 0


def _in_turn(*rows: Iterator[int]) -> Iterator[int]:
    return chain.from_iterable(zip(*rows, strict=True))
