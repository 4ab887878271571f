"""A key is shown once, kept as a digest only, and opens nothing once it is revoked."""

from __future__ import annotations

from pathlib import Path

from core.ledger import keys, office
from tests.contract.ledgers import Book


async def test_a_key_is_known_by_its_digest_only(book: Book, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.db"
    with office.opened(ledger) as connection:
        first, secret = keys.create(connection, "api", "the shop", ["support"], 30.0, 1.0)
        second, other = keys.create(connection, "api", "everybody", [], None, 2.0)
        assert keys.listed(connection, "api") == [first, second]
        assert (first.id, second.id, first.bots, first.requests_per_minute) == (1, 2, ("support",), 30.0)
        assert secret != other
        assert keys.fact_name(f" {secret}\n") == keys.fact_name(secret)
    for path in ledger.parent.glob("ledger.db*"):
        assert secret.encode() not in path.read_bytes()


async def test_a_revoked_key_stays_listed(book: Book, tmp_path: Path) -> None:
    with office.opened(tmp_path / "ledger.db") as connection:
        key, _ = keys.create(connection, "api", "the shop", [], None, 1.0)
        assert keys.revoke(connection, "api", key.id, 5.0) == key
        assert keys.revoke(connection, "api", key.id, 6.0) is None, "it is already"
        assert keys.revoke(connection, "api", 77, 6.0) is None
        assert [one.revoked_at for one in keys.listed(connection, "api")] == [5.0]
        again, _ = keys.create(connection, "api", "the shop", [], None, 7.0)
        assert again.id == 2, "numbers are not used twice"
