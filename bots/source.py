"""A file of a bot's folder, and each mistake in it as `bots/support/prompt.md:12: what is wrong and what to do`."""

from __future__ import annotations

import codecs
import hashlib
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")
# What a placeholder looks like when it was typed wrongly: { company_name }, {Company Name}.
_ALMOST = re.compile(r"\{\s*([A-Za-z][A-Za-z0-9_ -]*?)\s*\}")
_HEADER = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(#.*)?$")
_KEY = re.compile(r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=(.*)""")
_KEY_PART = re.compile(r"""[^\s."']+|"[^"]*"|'[^']*'""")
_TOML_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)")


@dataclass(frozen=True, slots=True)
class Source:
    """A file's text and where its mistakes are collected."""

    label: str
    text: str
    problems: list[str]

    def problem(self, line: int, words: str) -> None:
        self.problems.append(f"{self.label}:{line}: {words}")


def read(folder: Path, name: str, problems: list[str]) -> Source | None:
    """Read a file, with line ends as \\n and no byte order mark; None if that failed, and `problems` says so."""
    label = f"{folder.parent.name}/{folder.name}/{name}"
    try:
        raw = (folder / name).read_bytes()
    except FileNotFoundError:
        problems.append(f"{label}: is missing; copy it from another bot's folder and change the words")
        return None
    except OSError as error:
        problems.append(f"{label}: cannot be read ({error.strerror}); check its permissions")
        return None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        problems.append(f"{label}:{line}: holds a character that is not UTF-8; save the file with the encoding UTF-8")
        return None
    return Source(label, text.replace("\r\n", "\n").replace("\r", "\n"), problems)


def version(folder: Path, problems: list[str]) -> str:
    """12 hex digits of the digest of all files below the folder, but hidden ones: what a reply was made with. How an
    editor ends lines and files changes nothing."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder)
        if not any(part.startswith((".", "__")) for part in name.parts):
            try:
                content = path.read_bytes()
            except OSError as error:
                label = f"{folder.parent.name}/{folder.name}/{name.as_posix()}"
                problems.append(f"{label}: cannot be read ({error.strerror}); check its permissions")
                continue
            content = content.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n").replace(b"\r", b"\n").rstrip(b"\n")
            digest.update(f"{name.as_posix()}\n{len(content)}\n".encode("utf-8", "surrogateescape") + content)
    return digest.hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Table:
    """A TOML file: its values, and the line on which each key stands."""

    source: Source
    values: Mapping[str, object]
    lines: Mapping[tuple[str, ...], int]

    def problem(self, path: tuple[str, ...], words: str) -> None:
        """Report a mistake at a key, or at the nearest part of its path that has a line."""
        known = next((path[:n] for n in range(len(path), 0, -1) if path[:n] in self.lines), None)
        self.source.problem(self.lines[known] if known else 1, words)

    def known(self, names: Collection[str], values: Mapping[str, object], path: tuple[str, ...], kind: str) -> None:
        """Report every key that is not one of `names`."""
        for name in sorted(values.keys() - set(names)):
            near = get_close_matches(name, list(names), n=1)
            advice = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
            self.problem((*path, name), f"there is no {kind} {name}; {advice}")


def parse(source: Source) -> Table | None:
    """The file as TOML; None if it is not, and the problems say where."""
    try:
        return Table(source, tomllib.loads(source.text), _lines(source.text))
    except tomllib.TOMLDecodeError as error:
        place = _TOML_PLACE.search(str(error))
        words = _TOML_PLACE.sub("", str(error))
        line = int(place[1]) if place and place[1] else source.text.rstrip("\n").count("\n") + 1
        source.problem(line, f'not valid TOML: {words}; a text stands in quotes, as in name = "text"')
        return None


def fill(source: Source, text: str, line: int, values: Mapping[str, str], later: Collection[str] = ()) -> str:
    """Replace the placeholders that `values` names; those in `later` stay. Any other is a mistake of the file.

    `line` is where `text` begins. One pass: what stands in a value is never read as a placeholder.
    """
    known = {*values, *later}
    for match in _ALMOST.finditer(text):
        name, at = match[1], line + text.count("\n", 0, match.start())
        meant = re.sub(r"[ -]", "_", name.lower())
        if PLACEHOLDER.fullmatch(match[0]):
            if name not in known:
                source.problem(at, _unknown(name, known))
        elif meant in known:
            source.problem(at, f"{match[0]} is not replaced like this; write {{{meant}}}")
    return PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), text)


def _unknown(name: str, known: Collection[str]) -> str:
    if name == "current_time":
        return (
            "{current_time} may only stand in a prompt below the line `--- each turn ---`, "
            "because what is above it must never change; move it there"
        )
    near = get_close_matches(name, list(known), n=1)
    advice = f"did you mean {{{near[0]}}}?" if near else "add it to [variables] in bot.toml."
    return f"nothing is known as {{{name}}}; {advice} Braces that are meant as they are need spaces: {{ {name} }}"


def _lines(text: str) -> dict[tuple[str, ...], int]:
    """The line of every key and header of a valid TOML text; what stands inside long texts is no key."""
    lines: dict[tuple[str, ...], int] = {}
    section: tuple[str, ...] = ()
    closing = ""
    for number, line in enumerate(text.split("\n"), 1):
        if closing:
            closing = "" if closing in line else closing
        elif header := _HEADER.match(line):
            section = _path(header[1])
            lines.setdefault(section, number)
        elif key := _KEY.match(line):
            lines.setdefault((*section, *_path(key[1])), number)
            closing = next((quotes for quotes in ('"""', "'''") if key[2].count(quotes) == 1), "")
    return lines


def _path(key: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in _KEY_PART.findall(key))
