"""Importing this makes sure that the program runs in `.venv`, whichever Python it was started with.

So that `python main.py chat` works as it is written, and says what to do where nothing was set up yet.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

OWN = Path(__file__).resolve().parent.parent / ".venv" / "bin" / "python"

if importlib.util.find_spec("aiohttp") is None:
    if not OWN.exists() or Path(sys.prefix) == OWN.parent.parent:
        sys.exit("Frontdesk is not set up yet: run `make setup` (or `make run`) in its folder.")
    os.execv(OWN, [str(OWN), *sys.argv])  # noqa: S606 - no shell is wanted
