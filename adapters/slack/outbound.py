"""Our texts as arguments of Slack's Web API: pure, and nothing the model writes can mention anybody."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto

from adapters.markdown.slack import escape
from adapters.slack import markup
from core.split import clip
from core.types import JsonObject

VOTE_ACTION = "answer_vote"  # the action_id of the buttons under an answer
NUMBERS_EVENT = "frontdesk_reply"  # the event_type of the numbers that our messages carry
PAGE = 200  # messages read at once, as docs.slack.dev/reference/methods/conversations.replies recommends
_LABEL_LIMIT = 75  # characters of a button (docs.slack.dev/reference/block-kit/block-elements/feedback-buttons-element)

Buttons = Mapping[str, object] | None  # the block under an answer


class Form(Enum):
    """How a message is given to chat.postMessage and chat.update; see `markup` for the texts."""

    BLOCKS = auto()  # a markdown block with the buttons under it, and `text` for notifications
    MARKDOWN = auto()  # markdown_text alone: Slack refuses it beside text or blocks, and makes the notification of it
    MRKDWN = auto()  # text alone


def body(form: Form, text: str, buttons: Buttons) -> dict[str, object]:
    """The part of the arguments that is the text."""
    if form is Form.MARKDOWN:
        return {"markdown_text": markup.shown(text)}
    # Said on every call: chat.update falls back to parse=client where chat.postMessage means none.
    plain = {"text": markup.notification(text), "parse": "none", "link_names": False}
    if form is Form.MRKDWN:
        return plain
    return plain | {"blocks": [{"type": "markdown", "text": markup.shown(text)}, *([buttons] if buttons else ())]}


def post(address: JsonObject) -> dict[str, object]:
    """Where to, as arguments of chat.postMessage."""
    arguments = {"channel": string(address, "channel"), "unfurl_links": False, "unfurl_media": False}
    thread = string(address, "thread_ts")
    return arguments | {"thread_ts": thread} if thread else arguments


def message(reference: str) -> dict[str, object]:
    """Which one, as arguments of the methods that change a message."""
    channel, _, ts = reference.partition(":")
    return {"channel": channel, "ts": ts}


def numbers(turn_id: int, delivery_id: int = 0) -> dict[str, object]:
    """The metadata that tells a message of ours from others, 0 for a preview's delivery. Numbers alone: any app and any
    member of the workspace may read it (docs.slack.dev/reference/methods/chat.postMessage)."""
    return {"event_type": NUMBERS_EVENT, "event_payload": {"turn": turn_id, "delivery": delivery_id}}


def reading(address: JsonObject, oldest: float, cursor: str) -> tuple[str, dict[str, object]]:
    """The method that reads what is newer than `oldest` there, and its arguments. A history leaves out what stands in
    threads (docs.slack.dev/reference/methods/conversations.history, conversations.replies). All texts, for a form:
    conversations.replies takes no JSON."""
    arguments: dict[str, object] = {"channel": string(address, "channel"), "oldest": f"{oldest:.6f}"}
    arguments |= {"limit": str(PAGE), "include_all_metadata": "true"}
    arguments |= {"cursor": cursor} if cursor else {}
    thread = string(address, "thread_ts")
    return ("conversations.replies", arguments | {"ts": thread}) if thread else ("conversations.history", arguments)


def otherwise(address: JsonObject) -> JsonObject | None:
    """Where a slash command's answer goes when the bot is not in the channel: to the person, whose id stands for their
    direct messages in chat.postMessage."""
    person = string(address, "otherwise")
    return {"channel": person} if person else None


def vote_buttons(turn_id: int, chat_id: str, thread_id: str, good: str, bad: str) -> Mapping[str, object]:
    """The block that asks what a person thinks of an answer; `events.vote` reads its values
    (docs.slack.dev/reference/block-kit/blocks/context-actions-block)."""

    def button(vote: str, label: str) -> dict[str, object]:
        text = {"type": "plain_text", "text": clip(label, _LABEL_LIMIT)}
        return {"text": text, "value": f"{vote} {turn_id} {chat_id} {thread_id or '-'}"}

    buttons = {
        "type": "feedback_buttons",
        "action_id": VOTE_ACTION,
        "positive_button": button("good", good),
        "negative_button": button("bad", bad),
    }
    return {"type": "context_actions", "elements": [buttons]}


def stream_start(address: JsonObject, text: str) -> dict[str, object] | None:
    """Arguments of chat.startStream, None where Slack cannot stream: outside threads, and in channels without the
    reader's name (docs.slack.dev/reference/methods/chat.startStream)."""
    channel, thread, user = (string(address, key) for key in ("channel", "thread_ts", "user"))
    team = string(address, "user_team") or string(address, "team")
    if not thread or not (channel.startswith("D") or (user and team)):
        return None
    reader = {"recipient_user_id": user, "recipient_team_id": team} if user and team else {}
    return {"channel": channel, "thread_ts": thread, "markdown_text": markup.streamed(text), **reader}


def stream_more(reference: str, sent: str, text: str) -> dict[str, object]:
    """Arguments of chat.appendStream: what `text` has beyond `sent`."""
    more = markup.streamed(text)[len(markup.streamed(sent)) :]
    return message(reference) | {"markdown_text": more}


def stream_end(reference: str, sent: str = "", text: str = "", buttons: Buttons = None) -> dict[str, object]:
    """Arguments of chat.stopStream; a stream takes blocks at its end only, and shows them under its text
    (docs.slack.dev/reference/methods/chat.stopStream)."""
    arguments = stream_more(reference, sent, text)
    arguments = arguments if arguments["markdown_text"] else message(reference)
    return arguments | {"blocks": [buttons]} if buttons else arguments


def thread_of(address: JsonObject) -> tuple[str, str] | None:
    """Channel and thread, None outside threads."""
    channel, thread = string(address, "channel"), string(address, "thread_ts")
    return (channel, thread) if channel and thread else None


def line(thread: tuple[str, str], text: str) -> dict[str, object]:
    """Arguments of assistant.threads.setStatus; "" takes the line away. A loading message has 50 characters at most."""
    shown = escape(clip(text, 50, markup.length_escaped))
    arguments: dict[str, object] = {"channel_id": thread[0], "thread_ts": thread[1], "status": shown}
    return arguments | {"loading_messages": [shown]} if shown else arguments


def session(thread: tuple[str, str], status: str) -> dict[str, object]:
    """Arguments of agents.sessions.setStatus: "processing" (with a stop button) or "active"."""
    return {"channel_id": thread[0], "thread_ts": thread[1], "status": status}


def prompts(channel: str, thread_ts: str, title: str, suggested: list[str]) -> dict[str, object]:
    """Arguments of assistant.threads.setSuggestedPrompts. An agent app must not name a thread: Slack then does nothing
    and says that all is well (docs.slack.dev/reference/methods/assistant.threads.setSuggestedPrompts)."""
    thread = {"thread_ts": thread_ts} if thread_ts else {}
    listed = [{"title": text, "message": text} for text in suggested[:4]]
    return {"channel_id": channel, **thread, "title": title, "prompts": listed}


def reference_of(answer: JsonObject) -> str:
    """The reference "<channel>:<ts>" of a message that Slack just made or changed; "" when it does not say."""
    channel, ts = string(answer, "channel"), string(answer, "ts")
    return f"{channel}:{ts}" if channel and ts else ""


def string(values: JsonObject, key: str) -> str:
    """The text under a key, "" if there is none."""
    value = values.get(key)
    return value if isinstance(value, str) else ""
