"""Which messages of the simulated workspace are being streamed, and what Slack answers about them.

docs.slack.dev/reference/methods/chat.startStream, chat.appendStream, chat.stopStream. A stream ends by itself after
some minutes, undocumented (github.com/slackapi/python-slack-sdk/issues/1859: about five, here counted from its start).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from adapters.slack.simulator_blocks import blocks_error

STREAM_METHODS = frozenset({"chat.startStream", "chat.appendStream", "chat.stopStream"})
STREAMS_KEPT = 2_000
PIECE_LIMIT = 12_000  # characters of one markdown_text


@dataclass(slots=True)
class _Stream:
    thread_ts: str
    ends: float
    raw: str = ""
    stopped: bool = False  # by a person


class LiveStreams:
    """The streams that are open, by channel and ts; the oldest are forgotten."""

    def __init__(self, clock: Callable[[], float], seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._open: OrderedDict[tuple[str, str], _Stream] = OrderedDict()

    def live(self, channel: str, ts: str) -> bool:
        """Whether Slack refuses chat.update for that message."""
        stream = self._open.get((channel, ts))
        return stream is not None and not stream.stopped and self._clock() < stream.ends

    def refusal(self, method: str, arguments: Mapping[str, Any]) -> str:
        """The error code of a call, "" if it can be carried out."""
        channel, piece = str(arguments.get("channel", "")), str(arguments.get("markdown_text") or "")
        if len(piece) > PIECE_LIMIT:
            return "msg_too_long"
        if arguments.get("blocks") and method != "chat.stopStream":
            return "invalid_arguments"
        if method == "chat.startStream":
            if not arguments.get("thread_ts"):
                return "invalid_arguments"
            if channel.startswith("D"):
                return ""
            missing = [key for key in ("recipient_team_id", "recipient_user_id") if not arguments.get(key)]
            return f"missing_{missing[0]}" if missing else ""
        stream = self._open.get((channel, str(arguments.get("ts", ""))))
        if stream is not None and stream.stopped:
            return "stopped_by_user"
        if stream is None or self._clock() >= stream.ends:
            return "message_not_in_streaming_state"
        if method == "chat.appendStream" and not piece:
            return "no_text"
        return blocks_error(arguments.get("blocks"))

    def begin(self, channel: str, ts: str, thread_ts: str) -> None:
        """A stream opens."""
        self._open[channel, ts] = _Stream(thread_ts, self._clock() + self._seconds)
        if len(self._open) > STREAMS_KEPT:
            self._open.popitem(last=False)

    def add(self, channel: str, ts: str, piece: str) -> str:
        """Append; returns all of its raw text."""
        stream = self._open[channel, ts]
        stream.raw += piece
        return stream.raw

    def end(self, channel: str, ts: str) -> None:
        """chat.stopStream."""
        self._open.pop((channel, ts), None)

    def stop(self, channel: str, thread_ts: str) -> list[str]:
        """A person presses stop in a thread; returns the ts of the streams that ended."""
        found = []
        for (place, ts), stream in self._open.items():
            if place == channel and stream.thread_ts == thread_ts and self.live(place, ts):
                stream.stopped = True
                found.append(ts)
        return found
