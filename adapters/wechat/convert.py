"""WeChat's XML and JSON to our words and back: pure, and total - no body from outside makes it raise.

A push is flat: `<xml>` with one element a field (developers.weixin.qq.com, "接收普通消息", "被动回复用户消息"); an
account can be switched to JSON with the same field names. Entities, doctypes, twice-given fields and deep nesting are
not WeChat's, so they are refused while they are read, before they cost anything.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from xml.parsers import expat  # entities and doctypes are refused below

import orjson

from core.types import COMMANDS, ConversationKey, InboundMessage

TEXT_LIMIT = 2048  # bytes of UTF-8 in one text; measured by users, not documented; beyond it 45002
TAP_ID = "frontdesk"  # of the links we write; a tap on one comes back as a text with it
_DEPTH_LIMIT = 16  # WeChat nests four levels at most (news articles, location events)
_ID_LIMIT = 128  # an OpenID has 28 characters, an account id 15, a MsgId up to 20 digits

# What XML 1.0 cannot hold, not even escaped; lone surrogates also have no UTF-8.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_UNREADABLE = frozenset({"image", "voice", "video", "shortvideo", "location", "file"})
_FETCH_WORDS = frozenset({"1", "继续", "更多", "下一页", "接着说", "好了吗", "more", "continue", "next", "go on"})


class _NotAPush(Exception):
    """XML that is no push of WeChat's."""


class _Flat:
    """Collects the text of the elements right below the root."""

    def __init__(self) -> None:
        self.fields: dict[str, str] = {}
        self._depth = 0
        self._name = ""

    def start(self, name: str, _attributes: object) -> None:
        self._depth += 1
        if self._depth > _DEPTH_LIMIT or (self._depth == 1 and name != "xml"):
            raise _NotAPush
        if self._depth == 2:
            if name in self.fields:
                raise _NotAPush
            self._name = name
            self.fields[name] = ""

    def text(self, data: str) -> None:
        if self._depth == 2:
            self.fields[self._name] += data

    def end(self, _name: str) -> None:
        self._depth -= 1

    def refuse(self, *_declaration: object) -> None:
        raise _NotAPush


def is_json(body: bytes) -> bool:
    """Whether a push is in the JSON format (chosen in the console)."""
    return body.lstrip()[:1] == b"{"


def fields_of(body: bytes) -> dict[str, str] | None:
    """The top-level fields of a push, numbers as text, nested ones empty or left out; None when it is no push."""
    return _json_fields(body) if is_json(body) else _xml_fields(body)


def _xml_fields(body: bytes) -> dict[str, str] | None:
    flat = _Flat()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = flat.start
    parser.CharacterDataHandler = flat.text
    parser.EndElementHandler = flat.end
    parser.StartDoctypeDeclHandler = flat.refuse
    try:
        parser.Parse(body, True)
    except (expat.ExpatError, _NotAPush, ValueError, LookupError):  # the last two: an encoding nobody knows
        return None
    return flat.fields


def _json_fields(body: bytes) -> dict[str, str] | None:
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(data, dict):
        return None
    return {name: str(value) for name, value in data.items() if type(value) in (str, int)}


def inbound(fields: Mapping[str, str], *, channel: str, bot: str) -> InboundMessage | ConversationKey | str:
    """The message a push holds; the conversation whose user unsubscribed; or in a word why it is nothing for us."""
    sender, account = fields.get("FromUserName", ""), fields.get("ToUserName", "")
    if not 0 < len(sender) <= _ID_LIMIT or not 0 < len(account) <= _ID_LIMIT:
        return "incomplete"
    conversation = ConversationKey(channel=channel, bot=bot, chat_id=sender)
    kind, event = fields.get("MsgType", ""), fields.get("Event", "")
    if kind == "event" and event == "unsubscribe":
        return conversation
    text, command = _event(fields) if kind == "event" else (_words(kind, fields), "")
    unreadable = kind in _UNREADABLE and not text
    if not (text or command or unreadable):
        return f"event {event[:32]}" if kind == "event" else "empty" if kind == "text" else f"kind {kind[:32]}"
    # An event has no MsgId; without its time it would be one event for ever.
    if not 0 < len(fields.get("CreateTime" if kind == "event" else "MsgId", "")) <= _ID_LIMIT:
        return "incomplete"
    return InboundMessage(
        event_id=event_id(fields),
        conversation=conversation,
        user_id=sender,
        text=text,
        address={"to": sender, "from": account},
        language="zh",  # a push says nothing of the user's language
        sent_at=_seconds(fields.get("CreateTime", "")),
        source_id="" if kind == "event" else fields["MsgId"],
        command=command,
        unreadable=unreadable,
    )


def _event(fields: Mapping[str, str]) -> tuple[str, str]:
    """What an event says, and the command it is: following is "start", a menu button says its key."""
    if fields.get("Event") == "subscribe":
        return "", "start"
    key = clean(fields.get("EventKey", "")).strip() if fields.get("Event") == "CLICK" else ""
    return key, key.casefold() if key.casefold() in COMMANDS else ""


def _words(kind: str, fields: Mapping[str, str]) -> str:
    """The words in a message: a text, a voice as WeChat understood it, a link with what it leads to."""
    names = {"text": ("Content",), "voice": ("Recognition",), "link": ("Title", "Description", "Url")}.get(kind, ())
    return "\n".join(filter(None, (clean(fields.get(name, "")).strip() for name in names)))


def is_tap(fields: Mapping[str, str]) -> bool:
    """Whether a text is a tap on a link of ours: it comes back with the link's id."""
    return fields.get("MsgType") == "text" and fields.get("bizmsgmenuid") == TAP_ID


def event_id(fields: Mapping[str, str]) -> str:
    """What a redelivery has in common with the first delivery: MsgId; for events, which have none, sender and time.

    A menu button's key belongs to it, too, so that two buttons tapped in one second are two events.
    """
    if fields.get("MsgId"):
        return fields["MsgId"]
    names = ["FromUserName", "CreateTime", "Event"] + (["EventKey"] if fields.get("Event") == "CLICK" else [])
    return ":".join(fields.get(name, "")[:_ID_LIMIT] for name in names)


def _seconds(value: str) -> float:
    return float(value) if value.isascii() and value.isdigit() and len(value) <= 12 else 0.0


def is_fetch(text: str) -> bool:
    """Whether a text only asks for what is still to come: a few words, or no letter and no digit at all ("?", "👍")."""
    if not text:
        return False  # something without words
    bare = "".join(char for char in unicodedata.normalize("NFKC", text).casefold() if char.isalnum() or char.isspace())
    return bare.strip() in _FETCH_WORDS or not bare.strip()


def is_go_on(text: str) -> bool:
    """Whether a text, of those that only ask for what is to come, says so in a word or with a "?"; a "👍" does not."""
    return is_fetch(text) and any(char.isalnum() or char == "?" for char in unicodedata.normalize("NFKC", text))


def tap_link(label: str, language: str) -> str:
    """A link that writes a word in the user's name when tapped, with our id beside it (`is_tap`).

    The word is one of those that fetch when typed, for a client that loses the id. Links of this kind are what
    WeChat's own msgmenu is made of; official accounts write them in passive texts, too.
    """
    word = "继续" if language == "zh" else "more"
    shown = re.sub("[<>]", "", clean(label))
    return f'<a href="weixin://bizmsgmenu?msgmenucontent={word}&msgmenuid={TAP_ID}">{shown}</a>'


def utf8_length(text: str) -> int:
    """Bytes of UTF-8, the unit WeChat counts in; a lone surrogate counts as the three bytes it would take."""
    return len(text.encode("utf-8", "surrogatepass"))


def clean(text: str) -> str:
    """The text without what neither XML nor WeChat's JSON can carry (control characters, lone surrogates)."""
    return _NOT_XML.sub("", text)


def cut(text: str, limit: int) -> str:
    """The longest beginning of at most `limit` bytes of UTF-8."""
    return clean(text).encode("utf-8")[:limit].decode("utf-8", "ignore")


def passive_text(*, to: str, sender: str, text: str, created: int, as_json: bool = False) -> str:
    """A passive text reply: `to` is the user's OpenID, `sender` the account's id."""
    head: dict[str, str | int] = {"ToUserName": to, "FromUserName": sender, "CreateTime": created}
    return render(head | {"MsgType": "text", "Content": clean(text)}, as_json=as_json)


def passive_transfer(*, to: str, sender: str, created: int, as_json: bool = False) -> str:
    """A passive reply that gives the message to the people at the account's console (customer-service/transfer)."""
    head: dict[str, str | int] = {"ToUserName": to, "FromUserName": sender, "CreateTime": created}
    return render(head | {"MsgType": "transfer_customer_service"}, as_json=as_json)


def render(fields: Mapping[str, str | int], *, as_json: bool = False) -> str:
    """Flat fields in the format the account uses; any text stays text."""
    if as_json:
        return json.dumps(fields, ensure_ascii=False)
    return f"<xml>{''.join(f'<{name}>{_value(value)}</{name}>' for name, value in fields.items())}</xml>"


def _value(value: str | int) -> str:
    if isinstance(value, int):
        return str(value)
    # "]]>" would end the section early and let a text add elements of its own.
    return f"<![CDATA[{value.replace(']]>', ']]]]><![CDATA[>')}]]>"


def custom_text(to: str, text: str) -> bytes:
    """The body of custom/send; real UTF-8 characters, since WeChat refuses \\u escapes (40033)."""
    body = {"touser": to, "msgtype": "text", "text": {"content": clean(text)}}
    return json.dumps(body, ensure_ascii=False).encode("utf-8")
