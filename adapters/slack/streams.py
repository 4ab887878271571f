"""Slack's own streams: what is appended is exactly what the message does not have yet, or nothing.

chat.startStream, appendStream and stopStream (docs.slack.dev/reference/methods). The pace is the core's, so that no
text waits for a buffer to fill. A stream ends on Slack's side after about five minutes, undocumented
(github.com/slackapi/python-slack-sdk/issues/1859); the caller then goes on with chat.update.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from adapters.slack import markup, outbound
from adapters.slack.api import Allowance, CallRefused, SlackApi
from adapters.slack.forms import Forms, for_good, refused_form
from adapters.slack.outbound import Buttons, Form
from core.errors import DeliveryError
from core.types import JsonObject

STREAM_SECONDS = 0.65  # chat.appendStream is tier 4, 100 a minute (docs.slack.dev/apis/web-api/rate-limits)
STOPPED = "stopped_by_user"

# This Slack, or this app, does not stream at all: not asked again by this process.
_NEVER = frozenset({"unknown_method", "method_deprecated", "feature_not_enabled"})


@dataclass(slots=True)
class Stream:
    """A message that Slack is streaming."""

    reference: str
    sent: str  # what Slack confirmed, unescaped
    open: bool = True  # takes more text, and `sent` is all that it has


class Streams:
    """The streams of one workspace; all conversations share the rates: 20 starts and 100 appends a minute."""

    def __init__(self, name: str, api: SlackApi, forms: Forms, clock: Callable[[], float]) -> None:
        self._api = api
        self._forms = forms
        self._log = structlog.get_logger().bind(channel=name)
        self._starts = Allowance(clock, calls=20, reserve=2)
        self._appends = Allowance(clock, calls=100, reserve=10)
        self.known = True  # False: Slack said that it does not stream here

    async def start(self, address: JsonObject, text: str) -> Stream | None:
        """A new stream that begins with `text`; None when this reply is to grow by edits. Raises DeliveryError when the
        outcome is unknown."""
        arguments = outbound.stream_start(address, text)
        if not self.known or arguments is None or not self._starts.spare():
            return None
        try:
            answer, _ = await self._api.call("chat.startStream", arguments, repeatable=False)
        except CallRefused as refusal:
            if refusal.code in _NEVER:
                self.known = False
                self._log.warning("streaming_off", reason=refusal.code)
            else:
                self._log.info("stream_refused", reason=refusal.code)
                self._starts.pause(refusal.retry_after or 0.0)
            return None
        reference = outbound.reference_of(answer)
        if not reference:
            raise DeliveryError("chat.startStream: Slack named no message", unclear=True)
        return Stream(reference, text)

    async def append(self, stream: Stream, text: str) -> bool:
        """Show `text`; False when the stream cannot, and has to be edited from now on. Raises DeliveryError."""
        if text == stream.sent:
            return True
        if not text.startswith(stream.sent):  # the engine began anew
            stream.open = False
            return False
        if not self._appends.spare():
            return True
        stream.open = False  # until Slack confirms
        arguments = outbound.stream_more(stream.reference, stream.sent, text)
        try:
            await self._api.call("chat.appendStream", arguments, repeatable=False)
        except CallRefused as refusal:
            self._log.info("stream_ended", reason=refusal.code)
            if refusal.retryable:
                stream.open = True  # it changed nothing
                self._appends.pause(refusal.retry_after or 0.0)
            if refusal.retryable or refusal.code == STOPPED:
                raise
            return False
        stream.open, stream.sent = True, text
        return True

    async def finish(self, stream: Stream, text: str, buttons: Buttons) -> bool:
        """End the stream with the whole text; False when an edit has to do that. Raises DeliveryError."""
        if not stream.open or not text.startswith(stream.sent):
            return False
        stream.open = False  # a repeat of this call could show the rest twice; an edit cannot
        right = markup.streams_right(text)
        try:
            await self._end(stream, text, buttons if right else None)
        except CallRefused as refusal:
            if refusal.retryable:
                stream.open = True
                raise
            self._log.info("stream_ended", reason=refusal.code)
            return False
        return right

    async def _end(self, stream: Stream, text: str, buttons: Buttons) -> None:
        try:
            arguments = outbound.stream_end(stream.reference, stream.sent, text, buttons)
            await self._api.call("chat.stopStream", arguments, repeatable=True)
        except CallRefused as refusal:
            if not buttons or not refused_form(refusal.code):
                raise
            arguments = outbound.stream_end(stream.reference, stream.sent, text)
            await self._api.call("chat.stopStream", arguments, repeatable=True)
            if for_good(refusal.code):
                self._forms.never(Form.BLOCKS)
