"""Keys of the ledger open what they are for, as often as they may, until they are revoked: without a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.ledger import keys
from core.ledger.keys import Key
from tests.adapters.api_house import Http, api
from tests.fakes import FakeClock, FakeEngine
from tests.rooms import Rooms

CHAT = {"messages": [{"role": "user", "content": "Hello"}]}


async def create(
    house: Rooms, bots: tuple[str, ...] = (), per_minute: float | None = None
) -> tuple[Key, dict[str, str]]:
    key, secret = await house.ledger.write(lambda c: keys.create(c, "api", "the shop", bots, per_minute, house.clock()))
    return key, {"Authorization": f"Bearer {secret}"}


async def status(http: Http, headers: dict[str, str], model: str = "support") -> int:
    answer = await http.post("/v1/chat/completions", json={"model": model, **CHAT}, headers=headers)
    return answer.status


async def test_a_key_opens_until_it_is_revoked(tmp_path: Path) -> None:
    async with api(tmp_path, FakeEngine()) as (house, http):
        key, headers = await create(house)
        asked = await http.post("/ask", json={"text": "Hello"}, headers=headers)
        assert asked.status == 202
        task = (await asked.json())["task_id"]
        assert (await http.get(f"/result/{task}?wait=20", headers=headers)).status == 200
        _, other = await create(house)
        assert (await http.get(f"/result/{task}", headers=other)).status == 404, "it is another key's"
        await house.ledger.write(lambda c: keys.revoke(c, "api", key.id, house.clock()))
        for method, path in (("GET", f"/result/{task}"), ("POST", "/ask"), ("GET", "/v1/models")):
            assert (await http.request(method, path, json={}, headers=headers)).status == 401, path
        assert await status(http, other) == 200


async def test_a_key_asks_only_the_bots_it_is_for(tmp_path: Path) -> None:
    async with api(tmp_path, FakeEngine()) as (house, http):
        _, all_of_them = await create(house)
        _, scoped = await create(house, ("support",))
        _, elsewhere = await create(house, ("another",))
        raw = house.engine.model
        assert [await status(http, all_of_them, model) for model in ("support", raw)] == [200, 200]
        assert [await status(http, scoped, model) for model in ("support", raw)] == [200, 403]
        assert await status(http, elsewhere) == 403
        refused = await http.post("/ask", json={"text": "Hello"}, headers=elsewhere)
        assert (refused.status, (await refused.json())["error"]["code"]) == (403, "not_for_this_key")
        listed = await (await http.get("/v1/models", headers=scoped)).json()
        assert [model["id"] for model in listed["data"]] == ["support"]


async def test_a_key_has_a_rate_of_its_own(tmp_path: Path) -> None:
    async with api(tmp_path, FakeEngine()) as (house, http):
        _, slow = await create(house, per_minute=2)
        _, fast = await create(house, per_minute=600)
        statuses = []
        for _ in range(3):
            answer = await http.post("/v1/chat/completions", json={"model": "support", **CHAT}, headers=slow)
            statuses.append((answer.status, answer.headers["x-ratelimit-remaining-requests"]))
        assert statuses == [(200, "1"), (200, "0"), (429, "0")]
        assert 1 <= int(answer.headers["Retry-After"]) <= 30
        assert [await status(http, fast) for _ in range(15)] == [200] * 15


@pytest.mark.parametrize("given", ["", "fd_", "Bearer", "fd_" + "x" * 43, "\udcff"])
async def test_what_is_no_key_opens_nothing(tmp_path: Path, given: str) -> None:
    async with api(tmp_path, FakeEngine(), clock=FakeClock()) as (house, http):
        await create(house)
        answer = await http.get("/v1/models", headers={"Authorization": f"Bearer {given}"})
        assert answer.status == 401
