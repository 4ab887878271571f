"""What every contract test may ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bench.drivers import DRIVERS, Driver
from bench.stand import Gateway, gateway
from core.engine_simulator import EngineSimulator
from tests.contract.ledgers import STORES, Book, Store

HOME = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(params=sorted(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return STORES[request.param](tmp_path)


@pytest.fixture
async def book(store: Store) -> AsyncIterator[Book]:
    book = Book(store)
    await book.open()
    yield book
    await book.ledger.close()


@pytest.fixture(params=sorted(DRIVERS))
async def driver(request: pytest.FixtureRequest) -> AsyncIterator[Driver]:
    async with DRIVERS[request.param]() as built:
        yield built


@pytest.fixture
async def house(driver: Driver, engine: EngineSimulator, tmp_path: Path) -> AsyncIterator[Gateway]:
    settings = driver.settings() | {"FRONTDESK__ENGINE__BASE_URL": engine.base_url}
    async with gateway(HOME, tmp_path, settings) as running:
        driver.meet(running.address)
        yield running
