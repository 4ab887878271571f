"""Lays a turn out as chat messages so that the engine's prefix cache holds all of it but what is new.

The system prompt is byte-stable and first; history only grows at its end; what changes each turn (the time) stands
with the newest message and stays there as history, exactly as the model saw it. When the budget is full, history is
cut to half in one step, so that the prefix changes rarely and not with every turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from core.types import Bot, HistoryEntry, Sampling, Turn

MARGIN_TOKENS = 48  # role marks and the template's own words
CHINESE_WEEKDAYS = "一二三四五六日"
UNKNOWN_CONTEXT = 4096  # assumed when the engine does not say how much it can hold


@dataclass(frozen=True, slots=True)
class Composed:
    """A prompt ready to be sent."""

    messages: tuple[Mapping[str, str], ...]
    user_text: str  # the newest message exactly as the model sees it
    history_from: int  # the first history entry in it (0 = no history yet)
    tokens: int  # estimate, rather too high


def estimate(text: str) -> int:
    """Tokens of a text, rather too many: a token per 3 ASCII characters, one and a half per other character."""
    others = sum(1 for character in text if ord(character) > 127)
    return (len(text) - others) // 3 + others * 3 // 2 + 1


def budget(context: int, sampling: Sampling, most: int) -> int:
    """The tokens for prompt and history in a `context` of so many (0: unknown); `most` where that is given."""
    context = context or UNKNOWN_CONTEXT
    return most or context - min(sampling.max_tokens, context // 2) - MARGIN_TOKENS


def room(sampling: Sampling, context: int, used: int, bound: int | None = None) -> Sampling:
    """The same with max_tokens bounded by what the context leaves, and by `bound`."""
    most = sampling.max_tokens if bound is None else bound
    return replace(sampling, max_tokens=min(most, max(16, context - used)) if context else most)


def note(bot: Bot, language: str, now: float) -> str:
    """The lines that stand with the newest message."""
    template = bot.prompts[language].note
    if "{current_time}" not in template:
        return template
    moment = (
        datetime.fromtimestamp(now, ZoneInfo(bot.timezone))
        if bot.timezone
        else datetime.fromtimestamp(now).astimezone()
    )
    weekday = f"星期{CHINESE_WEEKDAYS[moment.weekday()]}" if language == "zh" else moment.strftime("%A")
    return template.replace("{current_time}", f"{moment:%Y-%m-%d %H:%M} {weekday}")


def compose(
    bot: Bot,
    language: str,
    turn: Turn,
    history: Sequence[HistoryEntry],
    now: float,
    budget: int,
    *,
    halve: bool = False,
    brief: str = "",
) -> Composed:
    """The prompt within `budget` tokens where history allows it; `halve` cuts history even if the estimate says it
    fits; `brief` asks for a short answer, beside the newest message."""
    system = bot.prompts[language].system
    head = "\n".join(filter(None, (note(bot, language, now), brief)))
    user_text = f"{head}\n{turn.text}" if head else turn.text
    new = estimate(user_text) + MARGIN_TOKENS
    fixed = estimate(system) + MARGIN_TOKENS
    sizes = [estimate(entry.text) + 4 for entry in history]
    guess = fixed + sum(sizes)
    # The engine counted the last prompt and its reply exactly; the estimate only has to cover what is new.
    known = turn.prompt_tokens if history and turn.prompt_tokens else guess
    kept = list(history)
    if history and (halve or known + new > budget):
        kept = _newest(history, sizes, max(0, budget - fixed - new) / 2, known / guess)
        known = fixed + sum(sizes[len(history) - len(kept) :])
    messages = [{"role": "system", "content": system}] if system else []
    messages += [{"role": entry.role, "content": entry.text} for entry in kept]
    messages.append({"role": "user", "content": user_text})
    start = kept[0].id if kept else history[-1].id + 1 if history else turn.history_from
    return Composed(tuple(messages), user_text, start, known + new)


def _newest(history: Sequence[HistoryEntry], sizes: Sequence[int], room: float, scale: float) -> list[HistoryEntry]:
    """The newest entries that fill `room` tokens, beginning with a user's."""
    start = len(history)
    while start > 0 and sizes[start - 1] * scale <= room:
        start -= 1
        room -= sizes[start] * scale
    if start == 0:  # asked to cut although all of it would fit: drop the older half
        start = len(history) // 2
    while start < len(history) and history[start].role != "user":
        start += 1
    return list(history[start:])
