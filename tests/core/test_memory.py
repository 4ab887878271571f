"""What was freed in the middle of the heap goes back to the machine."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

from core.memory import give_back

PIECES, BYTES = 20_000, 20_000


def resident() -> int:
    """Bytes of this process that lie in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps what is free")
def test_holes_go_back() -> None:
    pieces = [bytes(BYTES) + bytes([number % 7]) for number in range(PIECES)]
    del pieces[::2], pieces[::2], pieces[::2], pieces[::2]  # what is left lies between the holes
    before = resident()
    assert give_back()
    assert before - resident() > PIECES * BYTES / 2
