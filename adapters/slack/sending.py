"""Shows replies in Slack: each in one message, whole at the end, whatever became of its preview.

A preview grows by a stream of Slack's (streams.py) or by edits. Whatever goes wrong with a stream, chat.update with the
whole text on the same message mends it; never is there a second one. What may have been sent is looked for before it
is sent again (doubts.py).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from adapters.slack import markup, outbound
from adapters.slack.api import Allowance, CallRefused, SlackApi
from adapters.slack.doubts import Doubts
from adapters.slack.forms import Forms, for_good, refused_form, refused_numbers
from adapters.slack.outbound import Buttons, Form
from adapters.slack.streams import STOPPED, Stream, Streams
from core.errors import DeliveryError
from core.types import Delivery, Draft, JsonObject

EDIT_SECONDS = 1.3  # chat.update is tier 3, 50 a minute (docs.slack.dev/apis/web-api/rate-limits)
PREVIEWS_KEPT = 512  # replies whose newest preview is remembered, so that no text is sent twice

# The preview can no longer become the final text: the text goes into a message of its own.
_PREVIEW_GONE = frozenset({"message_not_found", "cant_update_message", "edit_window_closed"})
Begin = Callable[[Delivery], Awaitable[None]]
_NOT_A_MEMBER = frozenset({"not_in_channel", "channel_not_found"})


class Log(Protocol):
    """What is used of structlog's logger."""

    def info(self, event: str, **values: object) -> object: ...


@dataclass(slots=True)
class _Shown:
    """The newest preview of a reply."""

    reference: str
    text: str  # as Slack confirmed it
    at: float
    stream: Stream | None = None


class Sending:
    """Previews and finals of one workspace. `streams` is None where replies grow by edits only."""

    def __init__(
        self,
        api: SlackApi,
        streams: Streams | None,
        forms: Forms,
        doubts: Doubts,
        clock: Callable[[], float],
        log: Log,
    ) -> None:
        self._api = api
        self._streams = streams
        self._forms = forms
        self._doubts = doubts
        self._clock = clock
        self._log = log
        self._updates = Allowance(clock)
        self._shown: OrderedDict[int, _Shown] = OrderedDict()  # by turn

    @property
    def streaming(self) -> bool:
        """Whether Slack streams some replies here, as far as is known."""
        return self._streams is not None and self._streams.known

    async def preview(self, draft: Draft) -> str | None:
        """Show the newest text, or leave it for the next time. Raises DeliveryError."""
        shown = self._shown.get(draft.turn_id)
        if shown is not None and shown.reference != draft.reference:
            shown = None
        if not draft.reference:
            return await self._begin(draft)
        if shown is not None and shown.stream is not None and shown.stream.open and self._streams is not None:
            text = markup.stream_text(draft.text)
            if await self._streams.append(shown.stream, text):
                return shown.reference
        text = markup.draft_text(draft.text)
        if not text or (shown is not None and (shown.text == text or self._too_soon(shown))):
            return draft.reference
        if not self._updates.spare():
            return draft.reference
        self._shown.pop(draft.turn_id, None)  # unknown until Slack confirms
        reference = await self._update(draft.reference, text, None)
        stream = shown.stream if shown is not None else None
        self._remember(draft.turn_id, _Shown(reference, text, self._clock(), stream))
        return reference

    async def deliver(self, delivery: Delivery, buttons: Buttons, begin: Begin) -> str:
        """Send one part for good, with these buttons under it where Slack shows them; `begin` is called before it goes
        into a message of its own. Raises DeliveryError; a repeat after one that is retryable shows nothing twice."""
        buttons = buttons if self._forms.blocks else None
        if not delivery.reference:
            return await self._anew(delivery, buttons, begin)
        shown = self._shown.get(delivery.turn_id) if delivery.part == 1 else None
        if shown is not None and shown.reference != delivery.reference:
            shown = None
        stream = shown.stream if shown is not None else None
        if stream is None and shown is not None and shown.text == delivery.text and not buttons:
            self._shown.pop(delivery.turn_id, None)
            return delivery.reference  # Slack confirmed this very text already
        streams = self._streams
        if stream is not None and streams is not None and await streams.finish(stream, delivery.text, buttons):
            self._shown.pop(delivery.turn_id, None)
            return delivery.reference
        self._updates.take()
        try:
            reference = await self._update(delivery.reference, delivery.text, buttons)
        except CallRefused as refusal:
            if refusal.code not in _PREVIEW_GONE:
                raise
            self._log.info("preview_gone", delivery=delivery.id, reason=refusal.code)
            reference = await self._anew(delivery, buttons, begin)
        self._shown.pop(delivery.turn_id, None)
        return reference

    async def _begin(self, draft: Draft) -> str | None:
        text = markup.draft_text(draft.text)
        if not text:
            return None
        stream = None
        if self._streams is not None:
            beginning = markup.stream_text(draft.text)
            stream = await self._streams.start(draft.address, beginning)
        reference = await self._first(draft, text) if stream is None else stream.reference
        self._remember(draft.turn_id, _Shown(reference, text, self._clock(), stream))
        return reference

    async def _first(self, draft: Draft, text: str) -> str:
        try:
            return await self._post(draft.address, text, None, outbound.numbers(draft.turn_id))
        except DeliveryError as error:
            reference = await self._doubts.lost_preview(draft) if error.unclear else None
            if reference is None:
                raise
            return reference

    async def _anew(self, delivery: Delivery, buttons: Buttons, begin: Begin) -> str:
        """Into a message of its own, or into one that stands there already without our knowing."""
        mark = await self._doubts.find(delivery)
        if mark is not None and mark.delivery:
            return mark.reference
        await begin(delivery)
        numbers = outbound.numbers(delivery.turn_id, delivery.id)
        numbered = self._forms.numbers
        try:
            if mark is not None:
                return await self._take_over(mark.reference, delivery, buttons, numbers)
            return await self._post(delivery.address, delivery.text, buttons, numbers)
        except DeliveryError as error:
            if error.unclear:
                return await self._doubts.lost(delivery, error)
            if numbered and not self._forms.numbers:
                return await self._anew(delivery, buttons, begin)  # what was not found may have had no number
            raise

    async def _take_over(self, preview: str, delivery: Delivery, buttons: Buttons, numbers: JsonObject) -> str:
        """Into a preview that nobody recorded. Unclear when the answer is lost: the message has another number then,
        and it must not be missed by the next look."""
        self._updates.take()
        try:
            return await self._update(preview, delivery.text, buttons, {"metadata": numbers})
        except CallRefused as refusal:
            if refusal.code not in _PREVIEW_GONE:
                raise
            return await self._post(delivery.address, delivery.text, buttons, numbers)
        except DeliveryError as error:
            raise DeliveryError(error.reason, unclear=True) from error

    def _too_soon(self, shown: _Shown) -> bool:
        """Edits are slower than a stream, and the channel has one pace for both."""
        return self.streaming and self._clock() - shown.at < EDIT_SECONDS

    async def _post(self, address: JsonObject, text: str, buttons: Buttons, numbers: JsonObject) -> str:
        """Raises DeliveryError: unclear when it may have been posted."""
        carried = {"metadata": numbers} if self._forms.numbers else {}
        try:
            answer = await self._say("chat.postMessage", outbound.post(address) | carried, text, buttons)
        except CallRefused as refusal:
            if refused_numbers(refusal.code):
                self._forms.numbers = False
            elsewhere = outbound.otherwise(address)
            if elsewhere is None or refusal.code not in _NOT_A_MEMBER:
                raise
            # A slash command works where the bot is no member: its answer goes to the person alone.
            answer = await self._say("chat.postMessage", outbound.post(elsewhere) | carried, text, buttons)
        reference = outbound.reference_of(answer)
        if not reference:
            raise DeliveryError("chat.postMessage: Slack named no message", unclear=True)
        return reference

    async def _update(self, reference: str, text: str, buttons: Buttons, more: JsonObject | None = None) -> str:
        place = outbound.message(reference) | dict(more or {})
        try:
            try:
                answer = await self._say("chat.update", place, text, buttons)
            except CallRefused as refusal:
                if refusal.code != "streaming_state_conflict":
                    raise
                # A stream is still open, ours or that of a process that died.
                await self._stop(reference)
                answer = await self._say("chat.update", place, text, buttons)
        except DeliveryError as error:
            if error.retry_after is not None:
                self._updates.pause(error.retry_after)
            raise
        return outbound.reference_of(answer) or reference

    async def _say(self, method: str, place: dict[str, object], text: str, buttons: Buttons) -> JsonObject:
        """Give the text in the best form that Slack takes here. A refusal changed nothing, so the next may be tried."""
        refused: list[Form] = []
        for form in self._forms.of(buttons):
            arguments = place | outbound.body(form, text, buttons)
            if form is Form.MRKDWN and method == "chat.update":
                # Text alone leaves the blocks that stood there: docs.slack.dev/reference/methods/chat.update
                arguments["blocks"] = []
            try:
                answer, _ = await self._api.call(method, arguments, repeatable=method == "chat.update")
            except CallRefused as refusal:
                if form is Form.MRKDWN or not refused_form(refusal.code):
                    raise
                self._log.info("form_refused", form=form.name, reason=refusal.code)
                if for_good(refusal.code):
                    refused.append(form)
                continue
            for never in refused:
                self._forms.never(never)
            return answer
        raise DeliveryError(f"{method}: no form of a message is left")  # MRKDWN is always tried

    async def _stop(self, reference: str) -> None:
        try:
            await self._api.call("chat.stopStream", outbound.stream_end(reference), repeatable=True)
        except CallRefused as refusal:
            if refusal.retryable:
                raise
            self._log.info("stream_stop_refused", reason=refusal.code)

    def _remember(self, turn_id: int, shown: _Shown) -> None:
        self._shown[turn_id] = shown
        if len(self._shown) > PREVIEWS_KEPT:
            self._shown.popitem(last=False)


def stopped_by_user(error: DeliveryError) -> bool:
    """Whether Slack refused a preview because its reader pressed stop."""
    return isinstance(error, CallRefused) and error.code == STOPPED
