"""The settings and the cards of this machine, read as the gateway reads them, decide what is set up."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from setup.tell import SetupError


@dataclass(frozen=True)
class Wishes:
    """The two settings that decide what is needed."""

    mode: str = "vllm"
    model: str = "auto"


def read_wishes(root: Path, environ: Mapping[str, str]) -> Wishes:
    """What config.toml says, overridden by .env and the environment as the gateway itself does it."""
    path = root / environ.get("FRONTDESK_CONFIG", "config.toml")
    try:
        engine = tomllib.loads(path.read_text()).get("engine", {}) if path.is_file() else {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SetupError(
            f"{path.name} cannot be read: {error}.\nCorrect that line and run the same command again."
        ) from error
    dotenv = path.parent / ".env"
    pairs = [line.partition("=") for line in dotenv.read_text().splitlines()] if dotenv.is_file() else []
    settings = {key.strip(): value.strip().strip("\"'") for key, _, value in pairs} | dict(environ)
    settings = {key: value for key, value in settings.items() if value}  # the gateway, too, takes empty for not set
    return Wishes(
        mode=settings.get("FRONTDESK__ENGINE__MODE", str(engine.get("mode", Wishes.mode))),
        model=settings.get("FRONTDESK__ENGINE__MODEL", str(engine.get("model", Wishes.model))),
    )


def parse_cards(listing: str) -> list[int]:
    """Memory in MiB of each card, from nvidia-smi's table; a card that does not say counts as none."""
    return [int(line) for line in listing.split() if line.isdigit()]


def find_cards() -> list[int]:
    """The NVIDIA cards of this machine."""
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):  # a driver that does not answer is no GPU to vLLM either
        return []
    return parse_cards(answer.stdout) if answer.returncode == 0 else []
