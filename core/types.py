"""The words of the house as values: what came in, what is said, what goes out. Nothing here does anything.

Times are seconds since the epoch (float) unless a name says otherwise; languages are lower-case BCP 47 primary tags
("en", "zh") or "" when unknown; an address is a small JSON object that only its channel understands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

JsonObject = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class ConversationKey:
    """One dialogue: the same key is the same conversation, across restarts."""

    channel: str  # the section's name in config.toml, e.g. "telegram" or "telegram_de"
    bot: str
    chat_id: str
    thread_id: str = ""

    def __str__(self) -> str:
        return "/".join(filter(None, (self.channel, self.bot, self.chat_id, self.thread_id)))


@dataclass(frozen=True, slots=True)
class InboundMessage:
    """What a user said, as a channel understood it."""

    event_id: str  # unique within the channel; a redelivery carries the same one
    conversation: ConversationKey
    user_id: str  # whom the throttle and the fairness count
    text: str
    address: JsonObject = field(default_factory=dict)  # what the channel needs to answer later, after a restart too
    language: str = ""  # as the platform or the browser says
    sent_at: float = 0.0  # by the platform's clock; 0 when it does not say
    merge: bool = True  # may wait briefly for the rest of a burst
    source_id: str = ""  # the platform's id of what was written; an edit carries its original's
    edited: bool = False  # a new version of what `source_id` said
    speaker: str = ""  # who speaks, where several people write
    command: str = ""  # one of COMMANDS: asked of the house, not of the model
    unreadable: bool = False  # it came with something that the bot cannot read, and without words


COMMANDS = frozenset({"start", "help", "new", "stop", "human"})


class MessageState(StrEnum):
    """What became of an accepted message."""

    WAITING = "waiting"  # in the inbox
    RUNNING = "running"  # part of a turn that is being answered
    ANSWERED = "answered"  # its turn is committed
    THROTTLED = "throttled"  # over the user's limit; recorded, not answered
    REPLACED = "replaced"  # an edit: it went into the message it changes, or changed nothing
    SET_ASIDE = "set_aside"  # its turn failed as often as it may; apologised for, and kept for the operator
    BLOCKED = "blocked"  # of a user whom an operator blocked; recorded, not answered
    WITHDRAWN = "withdrawn"  # its user left, or took it back with a stop, before it was answered


class ReplyKind(StrEnum):
    """What a reply is; only answers enter the model's history."""

    ANSWER = "answer"
    APOLOGY = "apology"
    NOTICE = "notice"
    HANDOFF = "handoff"


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """An accepted message as a turn sees it."""

    id: int
    user_id: str
    text: str
    address: JsonObject
    language: str
    accepted_at: float
    speaker: str = ""
    sent_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Turn:
    """One or more messages of a conversation, claimed to be answered by one reply."""

    id: int
    conversation_id: int
    conversation: ConversationKey
    messages: tuple[StoredMessage, ...]  # at least one, oldest first
    language: str  # the conversation's, "" before its first turn
    attempt: int  # 1 on the first try; grows each time a lease ran out or the turn was handed back
    reference: str  # the platform's reference of a preview already shown, or ""
    history_from: int  # the history entry the prompt starts at (0 = all), kept for the prefix cache
    prompt_tokens: int  # exact prompt + reply tokens of the conversation's last turn, 0 when unknown
    trouble: str = ""  # why the attempt before this one failed
    died: bool = False  # the attempt before this one was cut off: what it had shown may not be recorded
    behind: bool = False  # parts of an earlier reply were still on their way when it was claimed
    unclear: bool = False  # parts of an earlier reply may have been sent, and nobody knows where they stand

    @property
    def text(self) -> str:
        """What was said; with names where several people write."""
        return "\n".join(f"{said.speaker}: {said.text}" if said.speaker else said.text for said in self.messages)

    @property
    def user_id(self) -> str:
        return self.messages[0].user_id

    @property
    def address(self) -> JsonObject:
        return self.messages[-1].address


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one engine call, as the engine counted them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0  # of the prompt, found in the prefix cache

    @property
    def total(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of a growing reply. Reasoning is kept apart and never shown."""

    text: str = ""
    reasoning: str = ""
    finish: str = ""  # "stop", "length", ... on the last piece
    usage: Usage | None = None  # on the last piece, when the engine reports it
    model: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """The whole answer to a turn."""

    text: str
    kind: ReplyKind = ReplyKind.ANSWER
    cut: bool = False  # the engine failed, its user or a limit of length or time ended it after text had been shown
    reason: str = ""  # why it is an apology or cut; for the operator, never for the user
    user_text: str = ""  # both sides exactly as the model saw them: an answer's history
    model_text: str = ""
    language: str = ""
    model: str = ""
    usage: Usage = Usage()
    first_text_seconds: float | None = None  # from the acceptance of what it answers to the first visible text
    history_from: int = 0
    version: str = ""  # of the bot whose words or whose prompt it is
    sampling: Sampling | None = None  # as the engine was asked; None: it was not


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One side of an earlier turn, exactly as the model saw it."""

    id: int
    role: str  # "user" or "assistant"
    text: str


@dataclass(frozen=True, slots=True)
class Draft:
    """A growing reply as it stands now, to be shown as a preview."""

    turn_id: int
    conversation: ConversationKey
    address: JsonObject
    text: str  # all of it so far, never empty
    reference: str = ""  # what an earlier preview of this turn returned


@dataclass(frozen=True, slots=True)
class Delivery:
    """One part of a reply on its way out."""

    id: int
    turn_id: int
    conversation: ConversationKey
    address: JsonObject
    text: str
    kind: ReplyKind
    part: int = 1  # 1-based
    parts: int = 1
    reference: str = ""  # part 1 only: the preview that the text must land in
    attempts: int = 0  # sends tried before this one
    doubts: int = 0  # earlier sends of it that the platform may have taken
    cut: bool = False  # its reply ended before it was whole, and not because its user wanted it to


class DeliveryState(StrEnum):
    """What became of a delivery."""

    PENDING = "pending"
    SENDING = "sending"
    SENT = "sent"
    UNCLEAR = "unclear"  # the platform's answer is unknown and a repeat might show the text twice
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What `receive` tells a channel: the message is on disk, and this is its row."""

    message_id: int
    state: MessageState
    duplicate: bool = False  # a redelivery: the row was there before


@dataclass(frozen=True, slots=True)
class Entry:
    """One bubble of a conversation as its user sees it."""

    id: str  # stable: "m<message id>" or "t<turn id>"
    role: str  # "user" or "bot"
    text: str
    at: float
    kind: str = ""  # a reply's kind
    event_id: str = ""  # a message's, so that its sender recognises it
    pending: bool = False  # a message whose reply is still to come
    cut: bool = False  # a reply that ended before it was whole


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one message, for those who ask by its event id."""

    message_id: int
    conversation: ConversationKey
    user_id: str
    state: MessageState
    text: str = ""
    kind: str = ""
    cut: bool = False
    model: str = ""
    usage: Usage = Usage()
    address: JsonObject = field(default_factory=dict)  # the message's


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a bot's replies are drawn; values as in the OpenAI API."""

    temperature: float = 0.3
    top_p: float = 0.9
    max_tokens: int = 512
    stop: tuple[str, ...] = ()
    frequency_penalty: float = 0.0  # keeps small models from saying the same again and again


@dataclass(frozen=True, slots=True)
class Prompt:
    """A bot's instructions in one language.

    `system` is byte-stable and comes first, so that the engine's prefix cache holds it; `note` is filled anew each turn
    ({current_time}) and stands next to the newest message.
    """

    system: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Bot:
    """A persona as its folder in `bots/` describes it. `prompts` and `phrases` hold at least `default_language`."""

    name: str
    default_language: str
    prompts: Mapping[str, Prompt]
    phrases: Mapping[str, Mapping[str, str]]
    sampling: Sampling = Sampling()
    title: str = ""
    timezone: str = ""
    commands: Mapping[str, str] = field(default_factory=dict)  # each wording, in small letters -> one of COMMANDS
    version: str = ""  # 12 hex digits of its files' digest: the same files, the same version

    def language_for(self, language: str) -> str:
        """The language of ours that serves this one best."""
        return language if language in self.prompts else self.default_language

    def command(self, text: str) -> str:
        """The command that a message is, "" if it is none: "/help", "/start something", or a wording of this bot's."""
        said = text.strip().casefold()
        return self.commands.get(said.split(maxsplit=1)[0] if said.startswith("/") else said, "")

    def phrase(self, name: str, language: str, **values: str) -> str:
        """What the bot itself says, in the user's language; `{name}` placeholders are filled from `values`."""
        text = self.phrases.get(language, {}).get(name) or self.phrases[self.default_language][name]
        for key, value in values.items():
            text = text.replace("{" + key + "}", value)
        return text
