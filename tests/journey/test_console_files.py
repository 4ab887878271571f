"""The console's files keep to the house: small, each saying what it is for, and nothing that a policy must stop."""

from __future__ import annotations

from pathlib import Path

STATIC = Path(__file__).resolve().parent.parent.parent / "console" / "static"
OURS = [path for kind in ("*.js", "*.css", "*.html") for path in STATIC.glob(kind)]


def test_each_file_is_small_and_says_what_it_is_for() -> None:
    assert len(OURS) > 20
    for path in OURS:
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len(lines) <= 300 and max(map(len, lines)) <= 125, path.name
        assert lines[0].startswith(("// ", "/* ", "<!doctype")), path.name


def test_nothing_from_outside_can_become_markup_or_code() -> None:
    for path in OURS:
        code = path.read_text(encoding="utf-8")
        for way in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "style=",
        ):
            assert way not in code, f"{path.name}: {way}"
        assert "//" not in code.replace("// ", "").replace("http://www.w3.org", "").replace("<//>", ""), path.name


def test_each_library_stands_beside_its_licence() -> None:
    told = (STATIC / "vendor" / "README.md").read_text(encoding="utf-8")
    for path in (STATIC / "vendor").glob("*.*"):
        assert f"`{path.name}`" in told or path.name == "README.md", path.name
    for licence in (STATIC / "vendor").glob("*.LICENSE"):
        assert "Copyright" in licence.read_text(encoding="utf-8")
