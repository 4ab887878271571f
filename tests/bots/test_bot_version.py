"""A bot's version tells which words and settings a reply was made with: each change of a file is another version."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

import bots.bot
from bots.bot import load
from core.errors import ConfigError

ROOT = Path(bots.bot.__file__).parent


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "support", tmp_path / "support")
    (tmp_path / "support" / "knowledge").mkdir(exist_ok=True)
    (tmp_path / "support" / "knowledge" / "returns.md").write_text("14 days", encoding="utf-8")
    return tmp_path / "support"


def test_the_same_files_are_the_same_version_wherever_they_stand(folder: Path, tmp_path: Path) -> None:
    version = load(folder).version
    assert re.fullmatch(r"[0-9a-f]{12}", version)
    assert load(shutil.copytree(folder, tmp_path / "elsewhere" / "support")).version == version
    assert load(folder.rename(tmp_path / "renamed")).version == version


@pytest.mark.parametrize("name", ["bot.toml", "phrases.toml", "prompt.md", "prompt.zh.md", "knowledge/returns.md"])
def test_another_word_in_any_file_is_another_version(folder: Path, name: str) -> None:
    before = load(folder).version
    path = folder / name
    path.write_text(path.read_text(encoding="utf-8") + "\n# ", encoding="utf-8")
    assert load(folder).version != before


def test_a_file_more_or_less_or_renamed_is_another_version(folder: Path) -> None:
    versions = [load(folder).version]
    (folder / "knowledge" / "more.md").write_text("", encoding="utf-8")
    versions.append(load(folder).version)
    (folder / "knowledge" / "more.md").rename(folder / "knowledge" / "less.md")
    versions.append(load(folder).version)
    (folder / "knowledge" / "returns.md").unlink()
    versions.append(load(folder).version)
    assert len(set(versions)) == 4


def test_what_an_editor_leaves_behind_is_none(folder: Path) -> None:
    before = load(folder).version
    (folder / ".prompt.md.swp").write_bytes(b"x")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "x.pyc").write_bytes(b"x")
    assert load(folder).version == before


def test_a_file_that_cannot_be_read_is_named(folder: Path) -> None:
    (folder / "knowledge" / "lost.md").symlink_to(folder / "knowledge" / "nowhere.md")
    before = load(folder).version
    (folder / "knowledge" / "lost.md").unlink()
    assert load(folder).version == before, "a link to nothing is no file"
    (folder / "knowledge" / "lost.md").symlink_to("/proc/self/mem")  # a file that not even root can read
    with pytest.raises(ConfigError, match=r"knowledge/lost\.md: cannot be read"):
        load(folder)
