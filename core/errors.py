"""Every error the house raises on purpose, as one tree; the message of each says what to do.

FrontdeskError
├── ConfigError             a setting, secret or bot file is wrong: the start stops
├── LedgerError             the store refused or lost its footing
│   ├── LedgerDamaged       its file is not as it was written: nothing more is taken
│   └── TurnLost            the turn was committed or taken over elsewhere: drop this copy of it
├── EngineError             the model did not deliver
│   ├── EngineUnavailable   not there or gone (refused, reset, still loading): worth waiting for
│   ├── EngineTimeout       silent for too long
│   └── EngineRefused       it understood and said no; the same call again is pointless
│       └── PromptTooLong   more tokens than the model can hold: cut the history and call again
├── DeliveryError           a platform did not take a delivery (or a preview)
└── RequestError            an HTTP request we refuse, with its status
"""

from __future__ import annotations


class FrontdeskError(Exception):
    """The parent of all errors raised on purpose."""


class ConfigError(FrontdeskError):
    """One or more settings are wrong; `problems` lists each with its name and its remedy."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class LedgerError(FrontdeskError):
    """The store could not do what was asked."""


class LedgerDamaged(LedgerError):
    """Something in the store's file is not what was written there; only a backup helps."""


class TurnLost(LedgerError):
    """The turn is no longer ours: its lease ran out and it was taken over, or it was committed already."""


class EngineError(FrontdeskError):
    """The model did not deliver; the text says why, without any of the conversation."""


class EngineUnavailable(EngineError):
    """No connection, a broken one, or a server that is still loading."""


class EngineTimeout(EngineError):
    """Connected, but the first token or the next one did not come in time."""


class EngineRefused(EngineError):
    """The server refused the call (HTTP 4xx); repeating it unchanged cannot help."""


class PromptTooLong(EngineRefused):
    """The prompt and the room for the reply exceed the model's context."""


class DeliveryError(FrontdeskError):
    """A platform did not take what we sent.

    `retryable`: the same call may succeed later; `retry_after`: not before that many seconds, as the platform said.
    `unclear`: the outcome is unknown (a time-out after sending), so a repeat might show the text twice; with
    `retryable` the channel looks for it before it sends it again, so that it does not.
    """

    def __init__(
        self, reason: str, *, retryable: bool = False, retry_after: float | None = None, unclear: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retryable = retryable
        self.retry_after = retry_after
        self.unclear = unclear


class RequestError(FrontdeskError):
    """An HTTP request that is refused: the status, and a sentence the caller can act on."""

    def __init__(self, status: int, message: str, *, code: str = "invalid_request", retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.retry_after = retry_after
