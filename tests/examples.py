"""How many random examples a test tries that spends seconds on them: `make test` all, `make unit` a part."""

from __future__ import annotations

import os

PART = float(os.environ.get("EXAMPLES", "1"))


def part_of(number: int) -> int:
    return max(1, round(number * PART))
