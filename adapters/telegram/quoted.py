"""What a message refers to, put before its words as the model can read it: lines that begin with "> ", and a name.

    > Customer: Is the red one in stock?

    And in blue?

The form has no words of any language. What is quoted is one line of at most 500 characters, name included, so that
nothing in it can pass for the message itself. Fields: core.telegram.org/bots/api#textquote, #externalreplyinfo and
#messageorigin (what they hold of the message's text is only the part that was quoted).
"""

from __future__ import annotations

from adapters.telegram.addressed import Identity, opens_topic
from adapters.telegram.fields import Json, line_of, name_of, number_of, object_of, text_of
from core.split import clip

_LIMIT = 500
_MARK = "> "


def reference(message: Json, me: Identity, newest: int) -> str:
    """The quotation and a blank line, "" when there is nothing to quote. `newest` is our newest message in the chat:
    a reply to it needs no quotation, since the model said it last."""
    replied, external = object_of(message.get("reply_to_message")), object_of(message.get("external_reply"))
    quote = object_of(message.get("quote"))
    chosen = quote.get("text") if isinstance(quote.get("text"), str) else ""
    by_hand = quote.get("is_manual") is True
    if opens_topic(message):
        return ""
    ours = number_of(object_of(replied.get("from")).get("id")) == me.id
    if ours and not by_hand and newest and number_of(replied.get("message_id")) == newest:
        return ""
    said = line_of((chosen if isinstance(chosen, str) else "") or text_of(replied))
    if not said:
        return ""
    who = _author(replied) or _origin(object_of(external.get("origin")))
    return clip(f"{_MARK}{_named(who)}{said}", _LIMIT) + "\n\n"


def forwarded(message: Json, text: str) -> str:
    """The whole text of a forwarded message, as a quotation of whoever wrote it."""
    who = _named(_origin(object_of(message.get("forward_origin"))))
    return "\n".join(_MARK + line for line in f"{who}{text}".strip().splitlines()) if text else ""


def _named(who: str) -> str:
    return f"{who}: " if who else ""


def _author(message: Json) -> str:
    return name_of(object_of(message.get("sender_chat"))) or name_of(object_of(message.get("from")))


def _origin(origin: Json) -> str:
    hidden = origin.get("sender_user_name")
    if isinstance(hidden, str):
        return name_of({"first_name": hidden})
    for key in ("sender_user", "sender_chat", "chat"):
        if found := name_of(object_of(origin.get(key))):
            return found
    return ""
