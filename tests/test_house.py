"""The house keeps its plan: who imports whom, how large a room may be, and that config.toml names every setting."""

from __future__ import annotations

import ast
import importlib
import subprocess
import tomllib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest
from pydantic import BaseModel

from core.config import Section, Settings

HOME = Path(__file__).resolve().parent.parent
ROOMS = ("core", "adapters", "bots", "console", "commands", "setup")
LINES_OF_A_FILE = 300
LINES_OF_A_FUNCTION = 50
PLATFORMS = ("telegram", "slack", "wechat")
PLATFORM_SDKS = {"telegram", "slack_bolt", "slack_sdk", "wechatpy"}
# The loops that must outlive a bug in one piece of their work, and the last line of defence of HTTP.
CATCH_ALL = {"core/outbox.py", "core/runtime.py", "core/http.py", "core/ledger/writer.py"}


def product() -> list[Path]:
    return [HOME / "main.py", *(path for room in ROOMS for path in sorted((HOME / room).rglob("*.py")))]


def name(path: Path) -> str:
    return path.relative_to(HOME).as_posix()


@lru_cache(maxsize=1)
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@lru_cache(maxsize=1)
def nodes(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(tree(path)))


def imports(path: Path) -> Iterator[str]:
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return (node.end_lineno or 0) - body[0].lineno + 1 if body else 0


# All tests of one file one after another, so that it is read once.
files = pytest.mark.parametrize("path", product(), ids=name, scope="module")


@files
def test_a_file_begins_with_what_it_keeps_true(path: Path) -> None:
    module = tree(path)
    assert ast.get_docstring(module), "the first line says what the file is for"
    if len(module.body) > 1:
        second = module.body[1]
        assert isinstance(second, ast.ImportFrom) and second.module == "__future__", "annotations come first"


@files
def test_no_file_or_function_is_too_large(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LINES_OF_A_FILE
    functions = [node for node in nodes(path) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = {node.name: code_lines(node) for node in functions if code_lines(node) > LINES_OF_A_FUNCTION}
    assert not long


@files
def test_no_function_imports_and_nothing_is_global(path: Path) -> None:
    for node in nodes(path):
        assert not isinstance(node, ast.Global), "state belongs to an object"
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inner = [child for child in ast.walk(node) if isinstance(child, ast.Import | ast.ImportFrom)]
            assert not inner, f"{node.name} imports inside"


@files
def test_only_the_worker_loops_catch_everything(path: Path) -> None:
    for node in nodes(path):
        if isinstance(node, ast.ExceptHandler) and name(path) not in CATCH_ALL:
            caught = ast.unparse(node.type) if node.type else "everything"
            assert caught not in {"everything", "Exception", "BaseException"}, f"line {node.lineno}"


@files
def test_rooms_import_only_what_they_may(path: Path) -> None:
    room, *rest = name(path).split("/")
    for module in imports(path):
        top = module.split(".")[0]
        if room == "core":
            others = {"adapters", "bots", "console", "commands", "main", "tests", "setup"}
            assert top not in others | PLATFORM_SDKS, module
        elif room == "console":
            assert top not in {"adapters", "bots", "commands", "main", "tests", "setup"} | PLATFORM_SDKS, module
        elif room == "bots" and top in ROOMS:
            assert module.startswith(("core.types", "core.errors", "core.recipe", "bots")), module
        elif room == "adapters" and len(rest) > 1:
            assert top not in {"bots", "console", "commands", "main", "tests", "setup"}, module
            # The model's Markdown is read by all channels in the same way.
            own = (f"adapters.{rest[0]}", "adapters.markdown")
            allowed = module in {"adapters", *own} or module.startswith(tuple(f"{name}." for name in own))
            assert top != "adapters" or allowed, module
        elif room == "setup":
            assert top not in {"core", "adapters", "bots", "commands", "main"}, "it runs before there is an environment"


def test_core_never_names_a_platform() -> None:
    for path in (HOME / "core").rglob("*.py"):
        for node in nodes(path):
            words = []
            if isinstance(node, ast.Name):
                words = [node.id]
            elif isinstance(node, ast.Attribute):
                words = [node.attr]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n" not in node.value:
                words = [node.value] if " " not in node.value else []
            for word in words:
                assert not any(platform in word.lower() for platform in PLATFORMS), f"{name(path)}: {word}"


def test_there_is_no_import_cycle() -> None:
    modules = {name(path).removesuffix(".py").removesuffix("/__init__").replace("/", "."): path for path in product()}
    graph = {module: {target for target in imports(path) if target in modules} for module, path in modules.items()}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail[trail.index(module) :], module))
        if module not in done:
            for target in graph[module] - {module}:
                visit(target, (*trail, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def fields(model: type[BaseModel], prefix: str) -> set[str]:
    """Dotted names of the settings; a secret counts by the `_env` setting that names its variable."""
    named = set()
    for field, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section):
            named |= fields(info.annotation, f"{prefix}{field}.")
        elif field not in {"channels", "api"} and f"{field}_env" not in model.model_fields:
            named.add(f"{prefix}{field}")
    return named


def written(table: dict[str, object], prefix: str = "") -> set[str]:
    named = set()
    for key, value in table.items():
        named |= written(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}"}
    return named


def test_config_toml_names_every_setting_and_only_those() -> None:
    kinds = sorted(path.parent.name for path in (HOME / "adapters").glob("*/settings.py"))
    assert set(kinds) == {path.name for path in (HOME / "adapters").iterdir() if (path / "channel.py").exists()}
    expected = fields(Settings, "")
    for kind in kinds:
        model = importlib.import_module(f"adapters.{kind}.settings").Settings
        expected |= fields(model, "api." if kind == "api" else f"channels.{kind}.")
    table = tomllib.loads((HOME / "config.toml").read_text(encoding="utf-8"))
    assert written(table) == expected


def test_config_toml_holds_the_defaults() -> None:
    table = tomllib.loads((HOME / "config.toml").read_text(encoding="utf-8"))
    sections = {key: table.pop(key) for key in ("channels", "api")}
    assert Settings.model_construct().model_dump(exclude={"channels", "api"}) == Settings.model_validate(
        table
    ).model_dump(exclude={"channels", "api"})
    for kind, section in (*sections["channels"].items(), ("api", sections["api"])):
        model = importlib.import_module(f"adapters.{kind}.settings").Settings
        assert model.model_validate(section) == model(), kind


def test_every_setting_is_explained() -> None:
    lines = (HOME / "config.toml").read_text(encoding="utf-8").splitlines()
    keys = [line for line in lines if "=" in line and not line.lstrip().startswith("#")]
    plain = ("port = ", "kind = ", "enabled = ", "bot = ", "api_base_url = ", "level = ", "app_id = ", "streams_per")
    assert not [line for line in keys if "#" not in line and not line.startswith(plain)]


def test_nothing_made_by_a_run_is_committed() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=HOME, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    assert not [
        line for line in listed.stdout.splitlines() if line.startswith((".venv", "var/")) or line.endswith(".env")
    ]
