"""What every contract test may ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.ledgers import STORES, Book, Store


@pytest.fixture(params=sorted(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return STORES[request.param](tmp_path)


@pytest.fixture
async def book(store: Store) -> AsyncIterator[Book]:
    book = Book(store)
    await book.open()
    yield book
    await book.ledger.close()
