"""One turn: recall -> compose -> stream -> commit. Every turn that starts here ends in exactly one committed reply,
or is handed back unanswered by raising.

Before anything was shown, a failed generation is tried once more and then apologised for; after it, what was shown is
kept and marked as cut, because a user must not see a text change into another. Apologies never enter the model's
history. Where a platform waits only so long for an answer, the reply is bounded by the time left and the pace measured.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import structlog

from core.channel import Channel, Traits
from core.config import DialogueSettings
from core.engine import TASKS, Engine, EngineRequest, Priority
from core.errors import EngineError, EngineUnavailable, PromptTooLong
from core.growing import Growing, GrowingReplies
from core.killing import Passing, pass_by
from core.language import detect
from core.ledger import Ledger
from core.preview import Preview
from core.prompt import Composed, budget, compose, estimate, room
from core.speed import Speed
from core.split import split
from core.throttle import Rate
from core.types import Bot, ConversationKey, Delta, HistoryEntry, Reply, ReplyKind, Sampling, Turn, Usage

HISTORY_ENTRIES = 1000  # more than any context holds; bounds the read
MORE = " …"  # a reply that a limit or its user ended
LEAST_TOKENS = 40  # what does not even leave room for these is not bounded: it comes late, but whole
ENDED_BY_USER = frozenset({"stopped", "left"})
WIDER = 4  # times as many tokens for the second try of a reply that was cut while the model was still thinking
EMPTY = frozenset({"empty", "length"})
CUT = ENDED_BY_USER | {"length", "deadline"}


@dataclass(frozen=True, slots=True)
class Generation:
    """What one engine call left behind."""

    text: str
    finish: str
    usage: Usage
    model: str
    first_text_at: float | None
    sampling: Sampling
    error: EngineError | None = None


class Dialogue:
    """Answers turns with one engine and the loaded bots."""

    def __init__(
        self,
        engine: Engine,
        ledger: Ledger,
        bots: Mapping[str, Bot],
        settings: DialogueSettings,
        tokens: Rate | None,
        clock: Callable[[], float],
        passing: Passing = pass_by,
    ) -> None:
        self._passing = passing
        self._engine = engine
        self._ledger = ledger
        self._bots = bots
        self._settings = settings
        self._tokens = tokens
        self._clock = clock
        self._growing = GrowingReplies()
        self._speed = Speed()
        self._log = structlog.get_logger()

    def stop(self, conversation: ConversationKey, at: float) -> bool:
        """End the reply to what was said there before `at`, down to the engine; what stands is committed. False when
        none is being written."""
        return self._growing.stop(conversation, at)

    def move(self, conversation: ConversationKey, chat_id: str) -> None:
        """The chat has another id from now on."""
        self._growing.move(conversation, chat_id)

    def leave(self, conversation: ConversationKey, at: float) -> None:
        """The same for all threads of a chat that is gone; nothing of it is sent."""
        self._growing.leave(conversation, at)

    def growing(self, conversation_id: int) -> tuple[int, str] | None:
        """The turn being written in a conversation, and its text so far."""
        return self._growing.text(conversation_id)

    def knows(self, bot: str) -> bool:
        """Whether that bot is loaded; it may have been removed since a message came for it."""
        return bot in self._bots

    async def answer(self, turn: Turn, channel: Channel) -> tuple[Reply, bool]:
        """Answer and commit; the second value says whether the conversation has more to answer.

        Raises EngineUnavailable when nothing was shown and the engine is worth waiting for, TurnLost when the turn is
        not ours any more, LedgerError when it cannot be committed.
        """
        preview = Preview(channel, self._ledger, turn, self._clock, self._passing)
        growing = self._growing.begin(turn, _current_task())
        try:
            reply = await self._reply(turn, channel.traits, preview, growing)
        except asyncio.CancelledError:
            if not growing.stopped:
                raise
            growing.task.uncancel()  # before the engine was asked
            reply = _ended(growing)
        finally:
            self._growing.end(turn)
            reference = await preview.finish()
        turn = dataclasses.replace(turn, reference=reference)
        return reply, await self._commit(turn, channel, reply)

    async def apologise(self, turn: Turn, channel: Channel, phrase: str, reason: str) -> tuple[Reply, bool]:
        """Commit an apology without asking the engine."""
        reply = self._apology(self._bots[turn.conversation.bot], turn, phrase, reason)
        return reply, await self._commit(turn, channel, reply)

    async def set_aside(self, turn: Turn, channel: Channel) -> tuple[Reply, bool]:
        """Apologise for a turn that failed too often, and keep its messages for the operator."""
        reply = self._apology(self._bots[turn.conversation.bot], turn, "apology_engine", turn.trouble or "attempts")
        return reply, await self._commit(turn, channel, reply, set_aside=True)

    async def _commit(self, turn: Turn, channel: Channel, reply: Reply, *, set_aside: bool = False) -> bool:
        traits = channel.traits
        parts = traits.split(reply.text) if traits.split else split(reply.text, traits.text_limit, traits.measure)
        if not reply.text or reply.reason == "left":
            parts = []
        self._passing("written")
        more = await self._ledger.commit(turn, reply, parts, self._tokens, self._clock(), set_aside=set_aside)
        self._passing("committed")
        return more

    async def converse(
        self, bot: str, messages: Sequence[Mapping[str, str]], sampling: Sampling, request_id: str
    ) -> AsyncGenerator[Delta, None]:
        """Stream a reply outside any conversation: the bot's instructions before the caller's messages."""
        system: list[Mapping[str, str]] = []
        if bot:
            persona = self._bots[bot]
            said = " ".join(message["content"] for message in messages if message["role"] == "user")
            language = persona.language_for(detect(said))
            system.append({"role": "system", "content": persona.prompts[language].system})
        request = EngineRequest((*system, *messages), sampling, request_id, session_id=request_id, bot=bot)
        async with aclosing(self._engine.stream(request)) as deltas:
            async for delta in deltas:
                yield delta

    async def _reply(self, turn: Turn, traits: Traits, preview: Preview, growing: Growing) -> Reply:
        if growing.stopped:
            return _ended(growing)
        bot = self._bots[turn.conversation.bot]
        language = bot.language_for(turn.language or self._spoken(turn))
        # A conversation without an answer has no history, and most conversations are that short.
        history = await self._ledger.recall(turn, HISTORY_ENTRIES) if turn.prompt_tokens else ()
        halve, reason, wanted = False, "", bot.sampling
        for attempt in (1, 2):
            # Whoever thinks too long for a bounded reply would do so again: better late than not at all.
            bound = self._bound(bot, turn, traits) if wanted is bot.sampling else None
            brief = bot.phrase("brief", language, words=str(bound // 2)) if bound else ""
            composed = self._compose(bot, language, turn, history, brief, halve=halve)
            sampling = room(wanted, self._engine.context_tokens, composed.tokens, bound)
            generation = await self._generate(turn, composed, sampling, attempt, preview, growing)
            if bound and generation.finish == "length":
                generation = dataclasses.replace(generation, finish="deadline")
            if generation.finish in ENDED_BY_USER:
                return self._answer(bot, turn, language, composed, generation)
            if isinstance(generation.error, PromptTooLong):
                history, halve, reason = self._after(history, composed), True, "prompt_too_long"
            elif generation.text and (generation.error is None or preview.shown):
                return self._answer(bot, turn, language, composed, generation)
            elif isinstance(generation.error, EngineUnavailable):
                raise generation.error
            elif generation.error is None and generation.finish in CUT:
                reason = "length"  # its thoughts left no room for an answer
                wanted = dataclasses.replace(bot.sampling, max_tokens=WIDER * bot.sampling.max_tokens)
            else:
                reason = type(generation.error).__name__ if generation.error else "empty"
            self._log.warning("generation_failed", turn=turn.id, reason=reason, attempt=attempt)
            if reason == "length" and room(wanted, self._engine.context_tokens, composed.tokens) == sampling:
                break  # the context holds no more
        return self._apology(bot, turn, "apology_empty" if reason in EMPTY else "apology_engine", reason)

    @staticmethod
    def _after(history: Sequence[HistoryEntry], composed: Composed) -> tuple[HistoryEntry, ...]:
        return tuple(entry for entry in history if entry.id >= composed.history_from)

    def _bound(self, bot: Bot, turn: Turn, traits: Traits) -> int | None:
        """The tokens that can still be written before the platform stops waiting; None where time does not matter."""
        if traits.answer_seconds is None:
            return None
        tokens = self._speed.tokens_in(turn.messages[-1].accepted_at + traits.answer_seconds - self._clock())
        return tokens if tokens is not None and LEAST_TOKENS <= tokens < bot.sampling.max_tokens else None

    def _compose(
        self, bot: Bot, language: str, turn: Turn, history: Sequence[HistoryEntry], brief: str, *, halve: bool
    ) -> Composed:
        most = budget(self._engine.context_tokens, bot.sampling, self._settings.history_tokens)
        return compose(bot, language, turn, history, self._clock(), most, halve=halve, brief=brief)

    async def _generate(
        self, turn: Turn, composed: Composed, sampling: Sampling, attempt: int, preview: Preview, growing: Growing
    ) -> Generation:
        request = EngineRequest(
            composed.messages,
            sampling,
            request_id=f"turn-{turn.id}-{turn.attempt}-{attempt}",
            session_id=hashlib.blake2b(str(turn.conversation).encode(), digest_size=16).hexdigest(),
            bot=turn.conversation.bot,
            priority=Priority.TASK if turn.conversation.channel == TASKS else Priority.PERSON,
        )
        text, finish, model, usage = "", "", "", Usage()
        first_text_at: float | None = None
        error: EngineError | None = None
        began, first_at = self._clock(), 0.0
        try:
            async with aclosing(self._engine.stream(request)) as deltas:
                async for delta in deltas:
                    first_at = first_at or self._clock()  # reasoning counts: it takes its time, too
                    if delta.text:
                        text += delta.text
                        if first_text_at is None and text.strip():
                            first_text_at = self._clock()
                        if first_text_at is not None:
                            growing.text = text.strip()
                            preview.show(growing.text)
                    finish, model, usage = delta.finish or finish, delta.model or model, delta.usage or usage
        except EngineError as raised:
            error = raised
        except asyncio.CancelledError:
            if not growing.stopped:
                raise
            growing.task.uncancel()
            finish = growing.ending
        if first_at:
            spoken = usage.completion_tokens or estimate(text)
            self._speed.observe(first_at - began, self._clock() - began, spoken)
        return Generation(text.strip(), finish, usage, model, first_text_at, sampling, error)

    def _answer(self, bot: Bot, turn: Turn, language: str, composed: Composed, generation: Generation) -> Reply:
        text, reason = generation.text, ""
        if generation.error is not None:
            reason = type(generation.error).__name__
            mark = bot.phrase("cut_mark", self._spoken(turn))
            text = f"{text}\n\n{mark}"
        elif generation.finish in CUT:
            reason = generation.finish
            text += MORE if text else ""
        spoken = generation.usage.completion_tokens or estimate(generation.text)
        usage = generation.usage if generation.usage.total else Usage(composed.tokens, spoken)
        return Reply(
            text=text,
            # Stopped before it said anything: nothing for the history.
            kind=ReplyKind.ANSWER if generation.text else ReplyKind.NOTICE,
            cut=bool(reason),
            reason=reason,
            user_text=composed.user_text,
            model_text=generation.text,
            language=language,
            model=generation.model,
            usage=usage,
            first_text_seconds=generation.first_text_at - turn.messages[0].accepted_at
            if generation.first_text_at
            else None,
            history_from=composed.history_from,
            version=bot.version,
            sampling=generation.sampling,
        )

    def _apology(self, bot: Bot, turn: Turn, phrase: str, reason: str) -> Reply:
        text = bot.phrase(phrase, self._spoken(turn))
        return Reply(text=text, kind=ReplyKind.APOLOGY, reason=reason, version=bot.version)

    @staticmethod
    def _spoken(turn: Turn) -> str:
        return detect(turn.text, turn.messages[-1].language)


def _ended(growing: Growing) -> Reply:
    """Stopped before the engine was asked."""
    return Reply(text="", kind=ReplyKind.NOTICE, cut=True, reason=growing.ending)


def _current_task() -> asyncio.Task[object]:
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("a turn is answered inside a task")
    return task
