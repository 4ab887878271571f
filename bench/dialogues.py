"""How much of a long dialogue's prompt the engine finds in its prefix cache, with our layout and with the usual one.

Many users share a bot and talk for twenty turns. What could be found again is all that the engine has read or written
in the turn before; what was found, it says in each reply's usage. The usual layout (the time in the system prompt, a
sliding window of the newest messages) is asked of the same engine directly.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp

from bench.account import read_only
from bench.measures import Row
from bench.real_engine import vllm
from bench.stand import gateway, percentile
from bots.bot import load
from core.types import Bot

TURNS = 20
USERS = 6  # at the same time
ALONE = 3  # one after the other
WINDOW = 12  # messages that the usual layout keeps
WAIT = "60"
KEY = "benchmark"  # of bench/stand.py
QUESTIONS = (
    "Hello, I have a question about my order.",
    "It is number {n}. Where is it now?",
    "When will it arrive?",
    "Can I still change the address?",
    "What if nobody is at home?",
)
SPENT = """
SELECT c.chat_id, t.prompt_tokens, t.completion_tokens, t.cached_tokens, t.first_text_seconds
FROM turns t JOIN conversations c ON c.id = t.conversation_id ORDER BY t.id
"""


@dataclass(frozen=True, slots=True)
class Spent:
    """One turn, in tokens."""

    prompt: int
    completion: int
    cached: int
    first_text: float | None = None  # seconds from the accept of the question


async def dialogues(home: Path) -> list[Row]:
    with vllm(home) as base_url:
        ours = await _ours(home, base_url)
        together, alone = ours[:USERS], ours[USERS:]
        usual = await _usual(home, base_url)
    found, usually = found_share(ours), found_share(usual)
    name = f"{USERS} users, {TURNS} turns each"
    return [
        Row(
            f"prompt tokens found in the prefix cache, of those that the turn before had, {name}",
            f"{found:.1%}",
            ">= 95 %",
            found >= 0.95,
            found,
            0.95,
        ),
        Row("  the same with the time in the system prompt and a sliding window", f"{usually:.1%}", "", None, usually),
        _slower(f"first text at turn {TURNS} over turn 1, {USERS} users at once", together),
        _slower("  the same, one user at a time", alone),
    ]


def _slower(what: str, dialogues: Sequence[Sequence[Spent]]) -> Row:
    begun, ended = (percentile([turns[at].first_text or 0.0 for turns in dialogues], 0.5) for at in (0, -1))
    prompt = percentile([float(turns[-1].prompt) for turns in dialogues], 0.5)
    measured = f"{ended / begun:.2f} ({ended * 1000:.0f} over {begun * 1000:.0f} ms; {prompt:.0f} tokens of prompt)"
    return Row(what, measured, "<= 1.3", ended / begun <= 1.3, ended / begun, 1.3)


def found_share(dialogues: Sequence[Sequence[Spent]]) -> float:
    """Of all tokens that the engine had seen in the turn before, the share that it found again."""
    pairs = [pair for turns in dialogues for pair in pairwise(turns)]
    return sum(now.cached for _, now in pairs) / sum(before.prompt + before.completion for before, _ in pairs)


def _question(user: int, turn: int) -> str:
    return QUESTIONS[turn % len(QUESTIONS)].format(n=1000 + user)


async def _ours(home: Path, base_url: str) -> list[list[Spent]]:
    """Through the gateway, as the ledger has it."""
    settings = {"FRONTDESK__ENGINE__BASE_URL": base_url, "FRONTDESK__THROTTLE__REQUESTS_PER_MINUTE_PER_IP": "1000000"}
    headers = {"Authorization": f"Bearer {KEY}"}
    with tempfile.TemporaryDirectory() as folder:
        async with gateway(home, Path(folder), settings) as house, aiohttp.ClientSession(headers=headers) as http:

            async def talk(user: int) -> None:
                for turn in range(TURNS):
                    body = {"text": _question(user, turn), "conversation": f"c{user}", "user": f"u{user}"}
                    async with http.post(f"{house.address}/ask", json=body) as answer:
                        task = (await answer.json())["task_id"]
                    async with http.get(f"{house.address}/result/{task}", params={"wait": WAIT}) as answer:
                        if (await answer.json()).get("kind") != "answer":
                            raise RuntimeError(f"turn {turn} of user {user} was not answered")

            await talk(0)  # the system prompt is known from here on, as it is all day
            await asyncio.gather(*(talk(user) for user in range(1, USERS + 1)))
            for user in range(USERS + 1, USERS + ALONE + 1):
                await talk(user)
        with closing(read_only(Path(folder) / "bench.db")) as ledger:
            rows = ledger.execute(SPENT).fetchall()
    talks: dict[str, list[Spent]] = {}
    for chat, *spent in rows:
        talks.setdefault(chat, []).append(Spent(*spent))
    return list(talks.values())[1:]


async def _usual(home: Path, base_url: str) -> list[list[Spent]]:
    """The layout that most bots have, straight to the engine."""
    bot = load(home / "bots" / "support")
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{base_url}/models") as answer:
            model = (await answer.json())["data"][0]["id"]

        async def talk(user: int) -> list[Spent]:
            said: list[dict[str, str]] = []
            spent = []
            for turn in range(TURNS):
                said.append({"role": "user", "content": _question(user, turn)})
                answer = await _asked(http, base_url, model, bot, said[-WINDOW:])
                usage = answer["usage"]
                details = usage.get("prompt_tokens_details") or {}
                spent.append(
                    Spent(usage["prompt_tokens"], usage["completion_tokens"], details.get("cached_tokens") or 0)
                )
                said.append({"role": "assistant", "content": answer["choices"][0]["message"]["content"] or "..."})
            return spent

        return list(await asyncio.gather(*(talk(user) for user in range(1, USERS + 1))))


async def _asked(
    http: aiohttp.ClientSession, base_url: str, model: str, bot: Bot, said: Sequence[Mapping[str, str]]
) -> Any:
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    system = {"role": "system", "content": f"It is now {now}.\n\n{bot.prompts['en'].system}"}
    sampling = bot.sampling
    body = {
        "model": model,
        "messages": [system, *said],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "frequency_penalty": sampling.frequency_penalty,
    }
    async with http.post(f"{base_url}/chat/completions", json=body) as answer:
        answer.raise_for_status()
        return await answer.json()
