"""A conversation that only an operator sees: laid out exactly as a customer's, and kept by whoever asks, not by us."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass

from core.config import DialogueSettings
from core.engine import Engine, EngineRequest
from core.language import detect
from core.prompt import budget, compose, room
from core.types import Bot, ConversationKey, Delta, HistoryEntry, Sampling, StoredMessage, Turn


@dataclass(frozen=True, slots=True)
class Scene:
    """What is asked next, and what was said before: both sides in turn, exactly as the model saw it. `language` "": the
    text's."""

    said: Sequence[str]
    text: str
    language: str = ""


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """A reply about to be written: `user_text` is the question as the model sees it, to be given back as said."""

    user_text: str
    language: str
    sampling: Sampling  # as it goes to the engine: max_tokens is bounded by what the context leaves
    deltas: AsyncGenerator[Delta, None]


class Rehearsal:
    """Asks the engine beside the customers, in no line."""

    def __init__(self, engine: Engine, settings: DialogueSettings, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._settings = settings
        self._clock = clock

    def begin(self, bot: Bot, scene: Scene, model: str, request_id: str) -> Rehearsed:
        """Nothing is asked before the deltas are taken, which raise EngineError. `model` "": the engine's own."""
        spoken = scene.language or detect(scene.text)
        language = bot.language_for(spoken)
        now, context = self._clock(), self._engine.context_tokens
        history = [
            HistoryEntry(number, "assistant" if number % 2 == 0 else "user", text)
            for number, text in enumerate(scene.said, 1)
        ]
        message = StoredMessage(1, "operator", scene.text, {}, spoken, now)
        turn = Turn(0, 0, ConversationKey("console", bot.name, request_id), (message,), spoken, 1, "", 0, 0)
        most = budget(context, bot.sampling, self._settings.history_tokens)
        composed = compose(bot, language, turn, history, now, most)
        sampling = room(bot.sampling, context, composed.tokens)
        request = EngineRequest(
            composed.messages,
            sampling,
            request_id,
            # Its first question is the same in all its turns, and the only thing that is.
            session_id=_digest(bot.name, (*scene.said, composed.user_text)[0]),
            model=model,
            bot=bot.name,
        )
        return Rehearsed(composed.user_text, language, sampling, self._engine.stream(request))


def _digest(*texts: str) -> str:
    return hashlib.blake2b("\0".join(texts).encode(errors="replace"), digest_size=16).hexdigest()
