"""What tests of core may ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.ledgers import Book, SqliteStore


@pytest.fixture
async def book(tmp_path: Path) -> AsyncIterator[Book]:
    """An open ledger in a file of its own, `ledger.db` in the test's folder."""
    book = Book(SqliteStore(tmp_path))
    await book.open()
    yield book
    await book.ledger.close()
