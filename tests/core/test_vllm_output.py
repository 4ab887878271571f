"""What the engine printed is there to be read, within bounds, and a full disk does not end the engine."""

from __future__ import annotations

from pathlib import Path

import structlog.testing

from core.vllm_output import KeptOutput


def test_two_files_hold_the_newest_lines(tmp_path: Path) -> None:
    keep = KeptOutput(tmp_path / "engine.log", most=100)
    for number in range(50):
        keep(f"line {number}")
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["engine.log", "engine.log.1"]
    assert all(0 < file.stat().st_size <= 100 for file in files)
    older, newer = files[1].read_text().splitlines(), files[0].read_text().splitlines()
    assert newer[-1] == "line 49"
    assert [f"line {number}" for number in range(50)][-len(older + newer) :] == older + newer


def test_it_goes_on_where_it_ended_and_is_ours_alone(tmp_path: Path) -> None:
    KeptOutput(tmp_path / "engine.log")("one 世")
    KeptOutput(tmp_path / "engine.log")("two")
    assert (tmp_path / "engine.log").read_text() == "one 世\ntwo\n"
    assert (tmp_path / "engine.log").stat().st_mode & 0o777 == 0o600


def test_a_disk_that_takes_nothing_is_told_once(tmp_path: Path) -> None:
    keep = KeptOutput(tmp_path / "absent" / "engine.log")
    with structlog.testing.capture_logs() as told:
        keep("one")
        keep("two")
    assert [line["event"] for line in told] == ["engine_output_not_kept"]
