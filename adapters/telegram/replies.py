"""The way out: a reply grows in one message, or as a draft, and ends whole in one message; what is refused is told.

Every call to a chat is counted in its flood budget; a chat that is gone is left; a chat that moved is followed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import structlog

from adapters.telegram.bot_api import BotApi, Entity
from adapters.telegram.convert import TEXT_LIMIT, utf16_length
from adapters.telegram.drafts import Drafts
from adapters.telegram.late import PATIENCE, LateFirsts
from adapters.telegram.lost import LostMessages
from adapters.telegram.pace import Pace
from adapters.telegram.places import Place, Shown, place_of, shown_of
from adapters.telegram.recent import Bounded, Recent
from adapters.telegram.refusals import ChatGone, MessageGone, Refused
from adapters.telegram.rich import Rich
from adapters.telegram.typing_sign import TypingSign
from core.errors import DeliveryError
from core.split import clip
from core.types import ConversationKey, Delivery, Draft, Turn

_SHOWN_TURNS = 10_000
_SHORT_WAIT_SECONDS = 1.5  # of a final text, waited for on the spot

Render = Callable[[str], tuple[str, Sequence[Entity]]]


class Replies:
    """One bot account's. `render` writes the model's Markdown as text and entities; `begin` is called before a final
    text goes into a message of its own, `gone` for a chat that nobody reads any more, `moved` with the new id of one
    that got another; `rich` and `drafts` switch those on."""

    def __init__(
        self,
        api: BotApi,
        *,
        render: Render,
        rich: bool,
        drafts: bool,
        recent: Recent,
        begin: Callable[[Delivery], Awaitable[None]],
        gone: Callable[[ConversationKey], Awaitable[None]],
        moved: Callable[[ConversationKey, str], Awaitable[None]],
        clock: Callable[[], float],
        pause: Callable[[float], Awaitable[None]],
        per_second: float,
        seconds: float,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        self._api = api
        self._render = render
        self._recent = recent
        self._begin = begin
        self._gone = gone
        self._moved = moved
        self._pause = pause
        self._log = log
        self._pace = Pace(clock, per_second=per_second)
        self._rich = Rich(log, on=rich)
        self._drafts = Drafts(self._put_draft, self._pace, on=drafts, clock=clock, pause=pause, log=log)
        self._late = LateFirsts(self._take_back, seconds=seconds)
        self._lost = LostMessages(self._ours, self._pace.look, clock=clock, pause=pause, log=log)
        self.noticed = self._lost.noticed
        self._shown: Bounded[int, tuple[str, str]] = Bounded(_SHOWN_TURNS)  # turn -> reference and text as shown now
        self.typing = TypingSign(self._sign, self._pace.spare, clock=clock, pause=pause, log=log)

    @property
    def drafting(self) -> bool:
        """Whether replies grow as drafts where they can; where they grow by edits, the budget sets the pace."""
        return self._drafts.on

    async def close(self) -> None:
        await asyncio.gather(self.typing.close(), self._drafts.close(), self._late.close())

    def leave(self, conversation: ConversationKey) -> None:
        """Show nothing more in that chat, in any topic."""
        self.typing.leave(conversation)
        self._drafts.leave(conversation)

    def stopped(self, conversation: ConversationKey, draft_id: int) -> ConversationKey | None:
        """Whose reply the stop button of a draft ends, None when it is whole already."""
        found = self._drafts.stopped(conversation, draft_id)
        self.typing.end(found or conversation)
        return found

    async def preview(self, draft: Draft) -> str | None:
        """The reference of the message that shows the text so far, "" for a draft, None when nothing is shown."""
        place = place_of(draft.address)
        # Telegram strips too, and refuses an edit that changes nothing.
        text = clip(draft.text.strip(), TEXT_LIMIT, utf16_length)
        if text and not draft.reference and self._drafts.serve(draft.turn_id, place):
            self.typing.end(draft.conversation)
            shown = await self._drafts.show(draft.turn_id, draft.conversation, place, text)
            if shown is not None:
                return "" if shown else None
        return await self._grow(draft, place, text)

    async def _grow(self, draft: Draft, place: Place, text: str) -> str | None:
        if not text or self._shown.get(draft.turn_id) == (draft.reference, text):
            return draft.reference or None
        if not self._pace.growing(place.chat_id, grouped=place.grouped, first=not draft.reference):
            return draft.reference or None
        self.typing.end(draft.conversation)
        self._shown.pop(draft.turn_id)  # unknown while it is under way
        put = self._put(draft.conversation, draft.turn_id, draft.reference, place, text, patient=True)
        shown = await (put if draft.reference else self._late.send(draft.turn_id, put))
        if shown is not None:
            self._shown.put(draft.turn_id, (shown, text))
        return shown

    async def find(self, turn: Turn, place: Place, known: frozenset[str]) -> str | None:
        """The reference of the message in which a reply grew whose process died; `known` are those of other replies.
        Raises DeliveryError."""
        if self._drafts.serve(turn.id, place):
            return None  # a draft is no message
        if reference := await self._late.reference(turn.id):
            return reference
        shown = await self._lost.find(turn, place, known)
        return None if shown is None else shown.reference

    async def deliver(self, delivery: Delivery) -> str:
        """The reference of the message that the part is in. Raises DeliveryError."""
        place, rich = place_of(delivery.address), ""
        if delivery.part > 1:
            place = replace(place, reply_to=0)
        if not place.business:  # its owner may not be allowed to send any
            rich = self._rich.html(delivery.text)
        as_shown = (delivery.reference, delivery.text.strip())
        if delivery.reference and not rich and self._shown.get(delivery.turn_id) == as_shown:
            self._shown.pop(delivery.turn_id)
            return delivery.reference
        await self._turn_to_send(place)
        self.typing.end(delivery.conversation)
        await self._drafts.end(delivery.turn_id)
        self._shown.pop(delivery.turn_id)
        reference = delivery.reference or (await self._late.reference(delivery.turn_id) if delivery.part == 1 else "")
        put = partial(self._put, delivery.conversation, delivery.turn_id)
        if reference:
            try:
                return await put(reference, place, delivery.text, rich=rich)
            except MessageGone:
                self._log.info("telegram_preview_gone", delivery=delivery.id, turn=delivery.turn_id)
        await self._begin(delivery)
        return await put("", place, delivery.text, rich=rich)

    async def _turn_to_send(self, place: Place) -> None:
        """Wait briefly for the budget. Raises DeliveryError when it takes longer: the outbox holds what waits."""
        while wait := self._pace.final(place.chat_id, grouped=place.grouped):
            if wait > _SHORT_WAIT_SECONDS:
                raise DeliveryError("waits for the flood limit", retryable=True, retry_after=wait)
            await self._pause(wait)

    def _written(self, text: str) -> tuple[str, Sequence[Entity]]:
        said, entities = self._render(text)
        # Marks alone say nothing when rendered, and a table grows.
        return (said, entities) if said.strip() and utf16_length(said) <= TEXT_LIMIT else (text, ())

    async def _sign(self, place: Place) -> None:
        """The typing sign, once. Raises DeliveryError."""
        with self._refusals_counted(place):
            await self._api.typing(place)

    async def _put_draft(self, conversation: ConversationKey, place: Place, draft_id: int, text: str) -> None:
        try:
            with self._refusals_counted(place):
                await self._api.draft(place, draft_id, *self._written(text))
        except ChatGone as error:
            await self._left(conversation, error)
            raise

    async def _put(
        self,
        conversation: ConversationKey,
        turn_id: int,
        reference: str,
        place: Place,
        text: str,
        *,
        rich: str = "",
        patient: bool = False,
    ) -> str:
        """The text (or `rich`) in the message that `reference` names, or in a new one; `patient`: see late.py."""
        shown = shown_of(reference)
        try:
            with self._refusals_counted(place):
                placed = await self._put_rich(shown, turn_id, place, rich) if rich else None
                placed = placed or await self._put_text(shown, turn_id, place, text, PATIENCE if patient else 1.0)
        except ChatGone as error:
            await self._left(conversation, error)
            raise
        if shown is None:
            self._recent.said(conversation, placed.message_id)
        if placed.chat_id != place.chat_id and conversation.chat_id == str(place.chat_id):
            await self._moved(conversation, str(placed.chat_id))
        return placed.reference

    async def _put_text(self, shown: Shown | None, turn_id: int, place: Place, text: str, patience: float) -> Shown:
        if shown is None:
            send = partial(self._api.send, place, *self._written(text), patience=patience)
            return await self._lost.send(turn_id, place, send)
        return await self._api.edit(shown, *self._written(text), business=place.business)

    async def _put_rich(self, shown: Shown | None, turn_id: int, place: Place, html: str) -> Shown | None:
        """None when it has to go as text. Raises DeliveryError."""
        try:
            if shown is None:
                return await self._lost.send(turn_id, place, partial(self._api.send_rich, place, html))
            return await self._api.edit_rich(shown, html)
        except DeliveryError as error:
            if self._rich.refused(error):
                return None
            raise

    async def _left(self, conversation: ConversationKey, error: ChatGone) -> None:
        self._log.info("telegram_chat_gone", conversation=str(conversation), reason=error.reason)
        await self._gone(conversation)

    async def _ours(self, shown: Shown) -> bool:
        """Whether that message is ours. Raises DeliveryError."""
        with self._refusals_counted(Place(shown.chat_id)):
            return await self._api.ours(shown)

    @contextmanager
    def _refusals_counted(self, place: Place) -> Iterator[None]:
        try:
            yield
        except Refused as error:
            self._pace.refused(place.chat_id, error.retry_after or 0.0)
            raise

    async def _take_back(self, reference: str) -> None:
        shown = shown_of(reference)
        try:
            if shown is not None:
                await self._api.delete(shown)
        except DeliveryError as error:
            self._log.info("telegram_late_text_stays", reason=error.reason)
