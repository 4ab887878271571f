"""A bot's instructions: its prompts in each language, and how its replies are drawn.

The stable part of a prompt never changes between turns, or the engine's prefix cache would be lost; what changes stands
below the marker line. Only `{lower_case_word}` is a placeholder: other braces, as in JSON, stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from bots.source import Source, Table, fill, read
from core.types import Prompt, Sampling

EACH_TURN = "--- each turn ---"
_PROMPT = re.compile(r"prompt\.([a-z]{2,3})\.md")

Variables = Mapping[str, Mapping[str, str]]  # name -> language -> text


def sampling_of(table: Table, values: object) -> Sampling:
    """The part [sampling] of a table; what is not given is as usual."""
    if not isinstance(values, dict):
        table.problem(("sampling",), "sampling must be a part of its own: a line [sampling], and settings below it")
        return Sampling()
    usual = Sampling()
    names = ("temperature", "top_p", "max_tokens", "stop", "frequency_penalty")
    given = {name: getattr(usual, name) for name in names}
    table.known(tuple(given), values, ("sampling",), "setting")
    given |= values
    temperature, top_p, max_tokens, stop, penalty = (given[name] for name in names)
    if not is_number(temperature) or not 0 <= temperature <= 2:
        table.problem(("sampling", "temperature"), "temperature must be a number from 0 to 2")
    if not is_number(top_p) or not 0 < top_p <= 1:
        table.problem(("sampling", "top_p"), "top_p must be a number over 0, up to 1")
    if not isinstance(max_tokens, int) or isinstance(max_tokens, bool) or not 1 <= max_tokens <= 100_000:
        table.problem(("sampling", "max_tokens"), "max_tokens must be a whole number from 1 to 100000")
    # At most four: platform.openai.com/docs/api-reference/chat/create
    if not isinstance(stop, list | tuple) or len(stop) > 4 or not all(isinstance(each, str) and each for each in stop):
        table.problem(("sampling", "stop"), 'stop must be a list of at most four texts, such as ["END"]')
        stop = ()
    if not is_number(penalty) or not -2 <= penalty <= 2:
        table.problem(("sampling", "frequency_penalty"), "frequency_penalty must be a number from -2 to 2")
    return Sampling(temperature, top_p, max_tokens, tuple(stop), penalty)


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def read_prompts(folder: Path, default: str, problems: list[str]) -> dict[str, Source]:
    """The files prompt.md and prompt.<language>.md, by language."""
    files = {default: "prompt.md"}
    for path in sorted(folder.glob("prompt*.md")):
        match, label = _PROMPT.fullmatch(path.name), f"{folder.parent.name}/{folder.name}/{path.name}"
        if match and match[1] == default:
            problems.append(
                f"{label}: {default} is the default language, and its prompt is prompt.md; keep only that one"
            )
        elif match:
            files[match[1]] = path.name
        elif path.name != "prompt.md":
            problems.append(f"{label}: would not be read; name it prompt.<language>.md, such as prompt.zh.md")
    sources = {language: read(folder, name, problems) for language, name in files.items()}
    return {language: source for language, source in sources.items() if source}


def prompts_of(sources: Mapping[str, Source], values: Variables, default: str) -> dict[str, Prompt]:
    """The prompts as the model gets them: the variables are filled in, the two parts are apart."""
    return {language: _prompt(source, spoken_in(values, language, default)) for language, source in sources.items()}


def spoken_in(values: Variables, language: str, default: str) -> dict[str, str]:
    """The variables in one language."""
    return {name: words.get(language, words.get(default, "")) for name, words in values.items()}


def _prompt(source: Source, values: Mapping[str, str]) -> Prompt:
    lines = source.text.split("\n")
    marks = [number for number, line in enumerate(lines) if line.strip() == EACH_TURN]
    for number, line in enumerate(lines):
        if number not in marks and re.fullmatch(r"[-—–= ]*each ?turn[-—–=: ]*", line.strip(), re.IGNORECASE):
            source.problem(number + 1, f"write this line exactly as {EACH_TURN}")
    for number in marks[1:]:
        source.problem(number + 1, f"the line {EACH_TURN} may stand only once; remove this one")
    border = marks[0] if marks else len(lines)
    system = fill(source, "\n".join(lines[:border]), 1, values).strip()
    note = fill(source, "\n".join(lines[border + 1 :]), border + 2, values, {"current_time"}).strip()
    if not system:
        source.problem(1, f"says nothing above the line {EACH_TURN}; write who the bot is and how it answers")
    return Prompt(system, note)
