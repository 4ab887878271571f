"""The ledger's file before it is open: whose it is, and that nobody else has it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

from core.errors import ConfigError
from core.ledger.schema import migrations


def is_foreign(database: Database) -> bool:
    """Whether there are tables and none of our migrations; asking changes nothing."""
    tables = set(database.table_names()) - {Migrations.migrations_table}
    return bool(tables) and not migrations().applied(database)


def lock(path: Path) -> int:
    """Lock it for this process; the descriptor that holds the lock. Raises ConfigError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(
            [f"ledger.url: {path} cannot be created ({error.strerror}); name a folder you may write to"]
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise ConfigError(
            [f"ledger.url: another Frontdesk is running on {path}; stop it or name another file"]
        ) from error
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())  # whom `retry` tells to look again
    except OSError as error:
        os.close(descriptor)
        raise ConfigError([f"ledger.url: {path.parent} cannot be written to ({error.strerror}); make room"]) from error
    return descriptor
