"""The append-only record of every input and output and of what an operator did: who, what, when, and what produced it.

Each row names the one before it by a hash, so that a row that is changed or gone is found. A row has two parts. Its
`detail` is in the chain and stays for ever. Its `personal` part says who it was, and holds a digest of the text, never
the text; it goes when the person is erased, and the chain still holds, because only a digest of that part is in it. A
salt, which stands in the personal part and goes with it, keeps anybody from guessing what an erased part was.

The hash of a row is SHA-256(hash of the row before it || row), where row is five lines in UTF-8 without an end of line
after the last: id, at, action, subject, detail. `at` is written as the shortest decimal number that reads back as the
same double (Python's repr), `detail` as it is stored. Before the first row stand 32 zero bytes. In a file of its own:

    import hashlib, sqlite3, sys
    ledger = sqlite3.connect(sys.argv[1])
    before, previous = ledger.execute("SELECT id, hash FROM audit_anchor").fetchone()
    rows = "SELECT id, at, action, subject, detail, personal, hash FROM audit WHERE id > ? ORDER BY id"
    for id, at, action, subject, detail, personal, stored in ledger.execute(rows, (before,)):
        row = "\\n".join([str(id), repr(at), action, subject, detail]).encode()
        previous = hashlib.sha256(previous + row).digest()
        whole = personal is None or hashlib.sha256(personal.encode()).hexdigest() in detail
        if previous != stored or not whole:
            sys.exit(f"row {id} was changed")
    print("head", previous.hex())
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import orjson

from core.types import Bot, InboundMessage, JsonObject, MessageState, Reply, Sampling, Turn, Usage

GENESIS = bytes(32)  # stands for the hash of the row before the first
SEAL = "personal"  # the name, in a detail, of its personal part's digest
MARK_CHARACTERS = 16
# Never masked: what stands in them is of the settings or of this house, the operator who must be known by name, and an
# event's id and a key's fingerprint, which are made up of digits that may look like a card's.
MADE_UP = frozenset(
    {"channel", "bot", "version", "state", "messages", "kind", "model", "sampling", "event", "who", "key"}
)

Masked = Callable[[str], str]


class AuditEntry(NamedTuple):
    """One row, before it has its place."""

    action: str
    subject: str  # what it is about, e.g. "message/17"
    detail: JsonObject  # what stays for ever: no text, nobody's name
    users: Sequence[str] = ()  # whom it is about, by their channel's ids: personal, as is what follows
    personal: JsonObject = MappingProxyType({})
    text: str | None = None  # what was said; its digest is recorded


class Written(NamedTuple):
    """A row as it is stored: both parts as JSON; no personal part where it is about nobody."""

    action: str
    subject: str
    detail: str
    personal: str | None


def plain(text: str) -> str:
    """The `Masked` that masks nothing."""
    return text


def write(entry: AuditEntry, salt: str, masked: Masked) -> Written:
    """The entry as it is stored. `salt` is new for each row; `masked` is applied to every text but those MADE_UP."""
    subject = entry.subject.replace("\n", " ")
    if masked is not plain and not _needs(entry, masked):
        masked = plain
    detail = _masked_object(entry.detail, masked)
    if not entry.users and not entry.personal and entry.text is None:
        return Written(entry.action, subject, orjson.dumps(detail).decode(), None)
    known = {"salt": salt, **_masked_object(entry.personal, masked)}
    if len(entry.users) == 1:
        known["user"] = shown(entry.users[0], salt, masked)
    elif entry.users:
        known["user"] = [shown(user, salt, masked) for user in entry.users]
    if entry.text is not None:
        known["text_sha256"] = digest(salt + entry.text)
    personal = orjson.dumps(known)
    detail[SEAL] = hashlib.sha256(personal).hexdigest()
    return Written(entry.action, subject, orjson.dumps(detail).decode(), personal.decode())


def link(previous: bytes, row: int, at: float, written: Written) -> bytes:
    """The hash of a row that follows the one with the hash `previous`."""
    lines = f"{row}\n{at!r}\n{written.action}\n{written.subject}\n{written.detail}"
    return hashlib.sha256(previous + lines.encode("utf-8", "surrogateescape")).digest()


def shown(user: str, salt: str, masked: Masked) -> str:
    """A user's id as a personal part shows it. A masked one carries a mark by which `erase`, which knows the id, finds
    its rows and nobody else's."""
    mask = user if masked is plain else masked(user)
    return mask if mask == user else f"{mask}#{digest(salt + user)[:MARK_CHARACTERS]}"


def is_about(personal: JsonObject, user: str, masked: Masked) -> bool:
    """Whether a personal part shows this user, masked or not."""
    there, salt = personal.get("user"), str(personal.get("salt"))
    shown_as = there if isinstance(there, list) else [there]
    return user in shown_as or shown(user, salt, masked) in shown_as


def digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def message_entry(message_id: int, message: InboundMessage, state: MessageState) -> AuditEntry:
    """An input, as it was accepted."""
    key = message.conversation
    return AuditEntry(
        "message",
        f"message/{message_id}",
        {"channel": key.channel, "bot": key.bot, "state": state},
        users=(message.user_id,),
        personal={"conversation": str(key), "event": message.event_id},
        text=message.text,
    )


def reply_entry(turn: Turn, reply: Reply) -> AuditEntry:
    """An output, with what produced it."""
    key = turn.conversation
    detail = {
        "channel": key.channel,
        "bot": key.bot,
        "version": reply.version,
        "messages": [message.id for message in turn.messages],
        "kind": reply.kind,
        "cut": reply.cut,
        "reason": reply.reason,
        "model": reply.model,
        "sampling": _sampling(reply.sampling),
        "prompt_tokens": reply.usage.prompt_tokens,
        "completion_tokens": reply.usage.completion_tokens,
    }
    users = tuple(dict.fromkeys(message.user_id for message in turn.messages))
    return AuditEntry(
        "reply", f"turn/{turn.id}", detail, users=users, personal={"conversation": str(key)}, text=reply.text
    )


def notice_entry(turn_id: int, message_id: int, message: InboundMessage, text: str, version: str) -> AuditEntry:
    """What the house itself said, in place of a reply; `version` is that of the bot whose phrase it is."""
    key = message.conversation
    detail = {
        "channel": key.channel,
        "bot": key.bot,
        "version": version,
        "messages": [message_id],
        "kind": "notice",
    }
    return AuditEntry(
        "reply", f"turn/{turn_id}", detail, users=(message.user_id,), personal={"conversation": str(key)}, text=text
    )


def feedback_entry(turn_id: int, channel: str, user_id: str, vote: str) -> AuditEntry:
    """What a user thinks of a reply."""
    return AuditEntry("feedback", f"turn/{turn_id}", {"channel": channel, "vote": vote}, users=(user_id,))


def completion_entry(
    request_id: str, key: str, bot: str, version: str, model: str, sampling: Sampling, usage: Usage, ending: str
) -> AuditEntry:
    """A reply that was streamed outside any conversation; `key` is the fingerprint of the key that asked for it."""
    detail = {
        "key": key,
        "bot": bot,
        "version": version,
        "model": model,
        "sampling": _sampling(sampling),
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "ending": ending,
    }
    return AuditEntry("completion", f"request/{request_id}", detail)


def rehearsal_entry(
    request_id: str, who: str, bot: Bot, model: str, sampling: Sampling, usage: Usage, ending: str
) -> AuditEntry:
    """A reply that an operator tried a bot for."""
    entry = completion_entry(request_id, "", bot.name, bot.version, model, sampling, usage, ending)
    detail = {name: value for name, value in entry.detail.items() if name != "key"}
    return entry._replace(action="rehearsal", detail={"who": who, **detail})


def _sampling(sampling: Sampling | None) -> JsonObject | None:
    """Four decimals: JSON writers differ in how they write smaller numbers."""
    if sampling is None:
        return None
    return {
        "temperature": round(sampling.temperature, 4),
        "top_p": round(sampling.top_p, 4),
        "max_tokens": sampling.max_tokens,
        "frequency_penalty": round(sampling.frequency_penalty, 4),
    }


def _masked(value: object, masked: Masked) -> object:
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, Mapping):
        return _masked_object(value, masked)
    if isinstance(value, list | tuple):
        return [_masked(inner, masked) for inner in value]
    return value


def _needs(entry: AuditEntry, masked: Masked) -> bool:
    """One look at all of it, because most rows hold nothing to mask: no number or address goes beyond a line's end."""
    outside = [*entry.users]
    for values in (entry.detail, entry.personal):
        if not values.keys() <= MADE_UP:
            outside += [str(value) for name, value in values.items() if name not in MADE_UP]
    told = "\n".join(outside)
    return masked(told) != told


def _masked_object(values: JsonObject, masked: Masked) -> dict[str, object]:
    if masked is plain:
        return dict(values)
    return {name: value if name in MADE_UP else _masked(value, masked) for name, value in values.items()}
