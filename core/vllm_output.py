"""What the engine printed is kept for whoever looks for a cause later: in two files, bounded, never in the way.

vLLM prints no prompt and no reply unless the operator's `args` ask for it (`--enable-log-requests`).
"""

from __future__ import annotations

import os
from pathlib import Path

import structlog

MOST_BYTES = 5_000_000  # of each file


class KeptOutput:
    """Appends lines to *path*; when it is full it becomes `<name>.1`, in place of the one before."""

    def __init__(self, path: Path, most: int = MOST_BYTES) -> None:
        self._path, self._most = path, most
        self._broken = False
        self._log = structlog.get_logger()

    def __call__(self, line: str) -> None:
        """Keep *line*. A disk that takes none ends the keeping, with a warning, and not the engine."""
        if self._broken:
            return
        try:
            self._append(line.encode(errors="replace") + b"\n")
        except OSError as error:
            self._broken = True
            self._log.warning("engine_output_not_kept", path=str(self._path), error=str(error))

    def _append(self, data: bytes) -> None:
        # Opened each time: a hundred lines while it loads, hardly one a minute then, and whoever moves it away may.
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            if os.fstat(descriptor).st_size + len(data) > self._most:
                self._path.replace(self._path.with_name(self._path.name + ".1"))
                os.close(descriptor)
                descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            os.write(descriptor, data)
        finally:
            os.close(descriptor)
