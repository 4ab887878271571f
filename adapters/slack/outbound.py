"""Our texts as arguments of Slack's Web API: pure, and nothing the model writes can mention anybody."""

from __future__ import annotations

import re

from core.split import clip
from core.types import JsonObject

TEXT_LIMIT = (
    4_000  # characters; chat.update answers msg_too_long above it (docs.slack.dev/reference/methods/chat.update)
)

_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})(.*)", re.DOTALL)
_CODE = re.compile(r"(?<!`)(`+)(?!`)(?:.*?[^`])\1(?!`)")
_SIGN = re.compile(r"(?<=<)(?=[!@#])")
_SCHEME = re.compile(r"(<[a-zA-Z]+):")


def escape(text: str) -> str:
    """Text that Slack shows as written: with & < > escaped, neither `<!channel>` nor `<@U...>` can ping
    (docs.slack.dev/messaging/formatting-message-text#escaping)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def markdown(text: str, *, whole: bool = False) -> str:
    """Standard Markdown for `markdown_text`, in which no token of Slack's is left.

    Outside code & < > become entities, which Slack shows as the characters; code shows entities as they are written, so
    there a zero-width space keeps `<!channel>` and `<https://...|label>` from being tokens. Unless `whole`, what a text
    becomes begins with what its beginning becomes, so that a stream can be sent in pieces.
    """
    shown, fence = [], ""
    lines = text.split("\n")
    for number, line in enumerate(lines):
        found = _FENCE.match(line)
        if fence:
            shown.append(_code(line))
            if found and found[1].startswith(fence) and not found[2].strip():
                fence = ""
            continue
        shown.append(_line(line) if whole else escape(line))
        if found and number < len(lines) - 1 and not (found[1][0] == "`" and "`" in found[2]):
            fence = found[1]
    return "\n".join(shown)


def _line(line: str) -> str:
    end, shown = 0, []
    for found in _CODE.finditer(line):
        shown += [escape(line[end : found.start()]), _code(found[0])]
        end = found.end()
    return "".join((*shown, escape(line[end:])))


def _code(text: str) -> str:
    return _SCHEME.sub("\\1\u200b:", _SIGN.sub("\u200b", text))


def length(text: str) -> int:
    """Characters of the text as it travels, that is escaped."""
    return len(text) + 4 * text.count("&") + 3 * (text.count("<") + text.count(">"))


def post(address: JsonObject, text: str) -> dict[str, object]:
    """Arguments of chat.postMessage."""
    arguments = {"channel": _string(address, "channel"), **_shown(text), "unfurl_links": False, "unfurl_media": False}
    thread = _string(address, "thread_ts")
    return arguments | {"thread_ts": thread} if thread else arguments


def update(reference: str, text: str) -> dict[str, object]:
    """Arguments of chat.update."""
    channel, _, ts = reference.partition(":")
    return {"channel": channel, "ts": ts, **_shown(text)}


def update_markdown(reference: str, text: str) -> dict[str, object]:
    """Arguments of chat.update for what was a stream, and is Markdown therefore (12,000 characters)."""
    channel, _, ts = reference.partition(":")
    return {"channel": channel, "ts": ts, "markdown_text": markdown(text, whole=True)}


def otherwise(address: JsonObject) -> JsonObject | None:
    """Where a slash command's answer goes when the bot is not in the channel: to the person, whose id stands for their
    direct messages in chat.postMessage."""
    person = _string(address, "otherwise")
    return {"channel": person} if person else None


def stream_start(address: JsonObject, text: str) -> dict[str, object] | None:
    """Arguments of chat.startStream, None where Slack cannot stream: outside threads, and in channels without the
    reader's name (docs.slack.dev/reference/methods/chat.startStream)."""
    channel, thread, user = (_string(address, key) for key in ("channel", "thread_ts", "user"))
    team = _string(address, "user_team") or _string(address, "team")
    if not thread or not (channel.startswith("D") or (user and team)):
        return None
    reader = {"recipient_user_id": user, "recipient_team_id": team} if user and team else {}
    return {"channel": channel, "thread_ts": thread, "markdown_text": markdown(text), **reader}


def stream_more(reference: str, sent: str, text: str) -> dict[str, object]:
    """Arguments of chat.appendStream: what `text` has beyond `sent`."""
    channel, _, ts = reference.partition(":")
    return {"channel": channel, "ts": ts, "markdown_text": markdown(text)[len(markdown(sent)) :]}


def stream_end(reference: str, sent: str = "", text: str = "") -> dict[str, object]:
    """Arguments of chat.stopStream. Feedback buttons belong in here, as `blocks`: streams take blocks at their end only
    (docs.slack.dev/reference/methods/chat.stopStream); the clicks come to bolt.py as block_actions."""
    arguments = stream_more(reference, sent, text)
    return arguments if arguments["markdown_text"] else {key: arguments[key] for key in ("channel", "ts")}


def streams_as_written(text: str) -> bool:
    """Whether a stream of this text looks as it should; code in a line shows entities as they are written, and a
    stream cannot know that the line's code will end."""
    return markdown(text) == markdown(text, whole=True)


def stream_text(text: str) -> str:
    """What a stream shows of the growing reply: the longest beginning that the final text can still extend."""
    return clip(text, TEXT_LIMIT, length, mark="")


def thread_of(address: JsonObject) -> tuple[str, str] | None:
    """Channel and thread, None outside threads."""
    channel, thread = _string(address, "channel"), _string(address, "thread_ts")
    return (channel, thread) if channel and thread else None


def status(thread: tuple[str, str], text: str) -> dict[str, object]:
    """Arguments of assistant.threads.setStatus; "" takes the line away. A loading message has 50 characters at most."""
    line = escape(clip(text, 50, length))
    arguments: dict[str, object] = {"channel_id": thread[0], "thread_ts": thread[1], "status": line}
    return arguments | {"loading_messages": [line]} if line else arguments


def reference_of(answer: JsonObject) -> str:
    """The reference "<channel>:<ts>" of a message that Slack just made or changed; "" when it does not say."""
    channel, ts = _string(answer, "channel"), _string(answer, "ts")
    return f"{channel}:{ts}" if channel and ts else ""


def draft_text(text: str) -> str:
    """What a preview shows of the growing reply; "" when there is nothing to see (Slack answers no_text)."""
    text = clip(text, TEXT_LIMIT, length)
    return text if text.strip() else ""


def _shown(text: str) -> dict[str, object]:
    # Said on every call: chat.update falls back to parse=client where chat.postMessage means none. chat.update lists
    # no `mrkdwn`: should it ignore that, asterisks may turn bold there, but escaping alone already rules out a ping.
    return {"text": escape(text), "parse": "none", "link_names": False, "mrkdwn": False}


def _string(values: JsonObject, key: str) -> str:
    value = values.get(key)
    return value if isinstance(value, str) else ""
