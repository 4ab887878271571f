"""Passive replies: the answer travels in WeChat's own request, whole, in order, and none is lost or shown twice.

WeChat waits 5 s, closes, and sends the message again, three deliveries in all (developers.weixin.qq.com,
"被动回复用户消息"). The rules here, for accounts that have no other way to answer:
- Parts are handed over under the reference of the message they answer, so a redelivery after a lost response finds the
  same parts and repeats them. Nothing is handed over into a closed connection: those parts wait for the next delivery.
- A message waits for its own answer even when older parts wait: they go first, joined with it where both fit, so the
  user catches up. Answering at once with the old parts would leave every later answer one message behind. Only when
  the older parts nearly fill a message are they handed out at once.
- What ends short says so with a link: tapped, it comes back as a text that merely asks for the rest. That, or such a
  text typed ("继续", "1", "more", "?"), gets waiting parts at once, or waits for the answer that is in work. It is no
  question, so it goes to no model: the parts are its answer. With nothing to come a tap is told so, and a typed text
  is an ordinary message.
- A reply that ended before it was whole (the time of the three tries, its length) ends with such a link, too. When
  nothing waits and nothing is in work, asking for the rest of it is a question: the model is told to go on.
- The third delivery ends in time with such a link, behind the older parts where some waited.

Verified accounts are written to, but what WeChat refuses for now (45015, 45047, 48001) waits for the user as well:
their next message takes it (`held`). Such a part is known by its tries: parts of a conversation leave in order, so when
the oldest that waits has been tried, it is the one that was refused, and nothing of the conversation is on its way.
That holds after a restart, too.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from adapters.wechat.convert import TEXT_LIMIT, cut, is_fetch, is_go_on, tap_link, utf8_length
from adapters.wechat.wording import shown, shown_length
from core.channel import Gateway
from core.language import detect
from core.types import Delivery, InboundMessage, MessageState, Receipt, ReplyKind

_JOIN = "\n\n"
_WORTH_WAITING = TEXT_LIMIT // 4  # room that a new answer is likely to fit into
_TRIALS = 10_000  # messages whose deliveries are counted at the same time
_LOCKS = 64
_TRANSCRIPT = 50
_LINKS = {"still_writing": "fetch_answer", "more_follows": "fetch_more"}  # an ending -> the words on its link
_OPEN = (MessageState.WAITING, MessageState.RUNNING)


@dataclass(frozen=True, slots=True)
class Pace:
    """WeChat's patience as we use it, in seconds from a request's arrival."""

    answer_seconds: float  # the third delivery must be answered by then: WeChat closes at 5 s
    hold_seconds: float  # the others are held until WeChat closes; a success would end the deliveries
    tries: int = 3


@dataclass(slots=True)
class _Trial:
    """The deliveries of one message so far."""

    tries: int = 0
    decided: bool = False  # what a text that asks for the rest is
    fetch: str | None = None  # the event it is after, "" for parts that wait already; None: it is a message
    go_on: InboundMessage | None = None  # that message, in the words that ask the model to go on
    phrase: str | None = None  # what ended the reply that was handed out; None when none was


class PassiveReplies:
    """Decides what each delivery of a message is answered with."""

    def __init__(
        self, gateway: Gateway, *, pace: Pace, timer: Callable[[], float], idle: Callable[[str], bool]
    ) -> None:
        self._gateway = gateway
        self._pace = pace
        self._timer = timer
        self._idle = idle  # whether nothing is being sent to a user
        self._trials: OrderedDict[str, _Trial] = OrderedDict()
        # Striped, not one a user: two deliveries of a user must not choose parts at the same time.
        self._locks = tuple(asyncio.Lock() for _ in range(_LOCKS))

    async def answer(
        self, message: InboundMessage, *, tap: bool, arrived: float, alive: Callable[[], bool]
    ) -> str | None:
        """The text to answer this delivery with; "" when there is nothing to say; None to let it run out unanswered.

        `tap`: it is a tap on a link of ours. `arrived` is the request's arrival by `timer`; `alive` tells whether its
        connection is still open. Raises LedgerError.
        """
        trial = self._count(message.event_id)
        last = trial.tries >= self._pace.tries
        settled = await self._admit(message, trial, tap=tap)
        awaited = message.event_id if trial.fetch is None else trial.fetch
        if settled or await self._enough(message, trial):
            settled = settled or await self._has_answer(message, awaited)
            text = await self._take(message, trial, settled=settled, alive=alive)
            if tap and trial.fetch is not None and settled and text == "":
                return self._phrase("all_fetched", message)
            if settled or text != "":
                return text
        until = arrived + (self._pace.answer_seconds if last else self._pace.hold_seconds)
        settled = await self._gateway.answered(message.conversation, awaited, max(0.0, until - self._timer()))
        if not settled and not last:
            return None
        text = await self._take(message, trial, settled=settled, alive=alive)
        return self._ending("still_writing", message) if text == "" and not settled else text

    async def held(self, message: InboundMessage, *, tap: bool, alive: Callable[[], bool]) -> str | Receipt | None:
        """For an account that is written to: the text of parts that could not be sent, taken by this message; else the
        message's receipt; "" or None as `answer` says. Raises LedgerError."""
        trial = self._count(message.event_id)
        asks = tap or is_fetch(message.text)
        # Behind what such a request has taken, the rest has not been tried.
        tried = not (asks and self._idle(message.user_id))
        waits = bool(await self._waiting(message, tried=tried))
        if not asks:
            receipt: Receipt | None = await self._gateway.receive(message)
        else:
            async with self._lock(message):
                receipt = await self._ask(message, trial, waits=waits, tap=tap)
        if waits:
            text = await self._take(message, trial, settled=True, alive=alive, tried=tried)
            if text != "":
                return text
        if receipt is None:
            # What is in work will be sent by itself.
            in_work, _ = await self._purpose(message, tap=False)
            return "" if in_work is not None else self._phrase("all_fetched", message)
        return receipt

    async def _ask(self, message: InboundMessage, trial: _Trial, *, waits: bool, tap: bool) -> Receipt | None:
        """The receipt of a request for the rest that is a message after all, None of one that is not."""
        if waits:
            trial.fetch = ""
        elif not trial.decided:
            _, trial.go_on = await self._purpose(message, tap=tap)
            trial.fetch = "" if tap and trial.go_on is None else None
            trial.decided = True
        return await self._gateway.receive(trial.go_on or message) if trial.fetch is None else None

    async def drop_notice(self, message: InboundMessage) -> None:
        """Count the house's newest notice as said: the reply that this message gets says it better."""
        parts = await self._waiting(message)
        if parts and parts[-1].kind is ReplyKind.NOTICE:
            await self._gateway.hand_over([parts[-1].id], _reference(message))

    def _count(self, event_id: str) -> _Trial:
        trial = self._trials.setdefault(event_id, _Trial())
        self._trials.move_to_end(event_id)
        if len(self._trials) > _TRIALS:
            self._trials.popitem(last=False)
        trial.tries += 1
        return trial

    async def _admit(self, message: InboundMessage, trial: _Trial, *, tap: bool) -> bool:
        """Put the message on disk, unless it only asks for the rest; True when there is no answer to wait for."""
        if not (tap or is_fetch(message.text)):
            return (await self._gateway.receive(message)).state not in _OPEN
        # One at a time: of two taps on the end of a reply, one asks the model to go on, and the other waits for that.
        async with self._lock(message):
            if not trial.decided:
                trial.fetch, trial.go_on = await self._purpose(message, tap=tap)
                trial.decided = True
            if trial.fetch is not None:
                return trial.fetch == ""
            return (await self._gateway.receive(trial.go_on or message)).state not in _OPEN

    async def _purpose(self, message: InboundMessage, *, tap: bool) -> tuple[str | None, InboundMessage | None]:
        """What a request for the rest is after: parts that wait (""), the oldest answer in work, or nothing (None); and
        the message that it is then, if the newest reply is not whole."""
        if await self._waiting(message):
            return "", None
        entries = await self._gateway.transcript(message.conversation, _TRANSCRIPT)
        in_work = next((entry.event_id for entry in entries if entry.pending and entry.event_id), None)
        if in_work is not None:
            return in_work, None
        # An apology says nothing of the matter, and a reply that was stopped before its first word has no rest.
        said = (entry for entry in reversed(entries) if entry.role == "bot" and entry.kind != ReplyKind.APOLOGY)
        newest = next(said, None)
        open_end = newest is not None and newest.cut and newest.kind == ReplyKind.ANSWER
        if newest is None or not open_end or not (tap or is_go_on(message.text)):
            return "" if tap else None, None  # a tap is no question, whatever it finds
        language = detect(newest.text, message.language)
        words = self._gateway.phrase(message.conversation.bot, "go_on", language)
        return None, replace(message, text=words)

    async def _enough(self, message: InboundMessage, trial: _Trial) -> bool:
        """Whether the reply is known already: given before and lost, or filled by parts that wait."""
        if trial.phrase is not None:
            return True
        waiting = await self._waiting(message)
        return sum(shown_length(part.text) for part in waiting) > TEXT_LIMIT - _WORTH_WAITING

    async def _has_answer(self, message: InboundMessage, event_id: str) -> bool:
        outcome = await self._gateway.outcome(message.conversation.channel, event_id)
        return outcome is not None and outcome.state not in _OPEN

    async def _waiting(self, message: InboundMessage, *, tried: bool = False) -> tuple[Delivery, ...]:
        parts = await self._gateway.waiting_parts(message.conversation, _reference(message))
        return parts if parts and (parts[0].attempts or not tried) else ()

    async def _take(
        self,
        message: InboundMessage,
        trial: _Trial,
        *,
        settled: bool,
        alive: Callable[[], bool],
        tried: bool = False,
    ) -> str | None:
        """The text of the parts now handed over under this message's reference; "" when none waits, None when the
        connection has gone."""
        async with self._lock(message):
            if not alive():
                return None
            chosen, rest = await self._hand_over(message, tried=tried)
        if not chosen:
            return ""
        if trial.phrase is None:
            cut_short = "more_follows" if chosen[-1].cut else ""
            trial.phrase = "more_follows" if rest else cut_short if settled else "still_writing"
        text = _JOIN.join(shown(part.text) for part in chosen)
        if trial.phrase:
            longer = _JOIN.join((text, self._ending(trial.phrase, message)))
            text = longer if utf8_length(longer) <= TEXT_LIMIT else text
        return cut(text, TEXT_LIMIT)

    async def _hand_over(self, message: InboundMessage, *, tried: bool) -> tuple[list[Delivery], bool]:
        """The parts that are this message's now, oldest first, and whether more wait behind them."""
        parts = await self._waiting(message, tried=tried)
        while parts:
            chosen = list(parts[: _fitting(parts, utf8_length(self._ending("more_follows", message)))])
            rest = len(chosen) < len(parts) or chosen[-1].part < chosen[-1].parts
            taken = await self._gateway.hand_over([part.id for part in chosen], _reference(message))
            if taken:
                return [part for part in chosen if part.id in taken], rest
            # None was waiting still: they are ours from an earlier delivery, or another gateway's now.
            again = await self._waiting(message, tried=tried)
            if again == parts:
                return chosen, rest
            parts = again
        return [], False

    def _ending(self, name: str, message: InboundMessage) -> str:
        """The words that end a reply which is not whole, and the link that fetches what is missing."""
        language = detect(message.text, message.language)
        return f"{self._phrase(name, message)}\n{tap_link(self._phrase(_LINKS[name], message), language)}"

    def _lock(self, message: InboundMessage) -> asyncio.Lock:
        return self._locks[hash(message.conversation) % _LOCKS]

    def _phrase(self, name: str, message: InboundMessage) -> str:
        return self._gateway.phrase(message.conversation.bot, name, detect(message.text, message.language))


def _reference(message: InboundMessage) -> str:
    return f"passive:{message.event_id}"


def _fitting(parts: Sequence[Delivery], phrase: int) -> int:
    """How many of the oldest parts fit into one text, with a phrase of that size unless it is the end; at least 1."""
    count, size = 1, 0
    for number, part in enumerate(parts, start=1):
        size += shown_length(part.text) + (len(_JOIN) if number > 1 else 0)
        if size > TEXT_LIMIT:
            break
        if size + (len(_JOIN) + phrase if number < len(parts) or part.cut else 0) <= TEXT_LIMIT:
            count = number
    return count
