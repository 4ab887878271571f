"""Cells of a spreadsheet: what somebody else wrote is shown there, and never run."""

from __future__ import annotations

# How a cell begins that is taken for a formula, in full width, too: owasp.org/www-community/attacks/CSV_Injection
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def defused(text: str) -> str:
    """The text as a cell: with an apostrophe before what would else be a formula, which is then shown as it is."""
    return f"'{text}" if text.startswith(FORMULA) else text
