"""Which form of a message Slack takes here: the best one that it did not refuse, learnt once and for all."""

from __future__ import annotations

from collections.abc import Iterator

from adapters.slack.outbound import Buttons, Form

# Slack did not understand the arguments. A Slack that does not know markdown_text sees no text at all.
_NOT_UNDERSTOOD = frozenset(
    {"invalid_blocks", "invalid_blocks_format", "invalid_arguments", "invalid_arg_name", "no_text"}
)
_THIS_TEXT = "msg_blocks_too_long"  # and no other
_NO_NUMBERS = frozenset(
    {"metadata_must_be_sent_from_app", "invalid_metadata_format", "invalid_metadata_schema", "metadata_too_large"}
)


class Forms:
    """What one workspace takes."""

    def __init__(self) -> None:
        self._refused: set[Form] = set()
        self.numbers = True  # False: Slack takes no metadata here

    @property
    def blocks(self) -> bool:
        """Whether buttons can be shown, as far as is known."""
        return Form.BLOCKS not in self._refused

    def of(self, buttons: Buttons) -> Iterator[Form]:
        """The forms to try, best first. Blocks only for buttons: a message with blocks cannot be streamed to, and the
        text beside them is one more rendering."""
        tried = (Form.BLOCKS, Form.MARKDOWN, Form.MRKDWN) if buttons else (Form.MARKDOWN, Form.MRKDWN)
        return (form for form in tried if form not in self._refused)

    def never(self, form: Form) -> None:
        """Slack refused it and took another one."""
        self._refused.add(form)


def refused_form(code: str) -> bool:
    """Whether another form may be taken where this one was not."""
    return code in _NOT_UNDERSTOOD or code == _THIS_TEXT


def for_good(code: str) -> bool:
    """Whether every text in this form will be refused like that."""
    return code in _NOT_UNDERSTOOD


def refused_numbers(code: str) -> bool:
    """Whether Slack would have taken the message without its metadata."""
    return code in _NO_NUMBERS
