"""Limits, states and the kill switch over HTTP."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from app.core.ids import new_id
from tests.app.whole_site import Site, running_site
from tests.emulator_process import EmulatorProcess
from tests.postgres import PostgresForTests

pytestmark = pytest.mark.asyncio(loop_scope="module")

ORDER = {"symbol": "BTCUSDT", "side": "buy", "type": "limit", "quantity": "0.01", "price": "50000"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    postgres: PostgresForTests, standing_emulator: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    async with running_site(postgres, standing_emulator, tmp_path_factory.mktemp("site")) as running:
        yield running


async def test_limits_are_set_read_and_met_by_the_next_order(site: Site) -> None:
    broker_id = site.ada.ids["broker_id"]
    before = (await site.ada.call("GET", "/api/risk/limits")).json()
    assert [item["broker_id"] for item in before["items"]] == [None, broker_id]
    assert before["defaults"]["price_collar_percent"] == "10"

    given = {"broker_id": broker_id, "max_order_notional": "400", "price_collar_percent": 2.5, "max_open_orders": 9}
    answer = await site.ada.call("PUT", "/api/risk/limits", json=given)
    assert answer.status_code == 200
    own, effective = answer.json()["own"], answer.json()["effective"]
    assert (own["max_order_notional"], own["price_collar_percent"], own["max_open_orders"]) == ("400", "2.5", 9)
    assert own["orders_per_minute"] is None
    assert effective["orders_per_minute"] == before["defaults"]["orders_per_minute"]

    refused = await site.ada.call("POST", "/api/orders", json=ORDER)
    assert (refused.status_code, refused.json()["code"]) == (422, "MAX_NOTIONAL")
    assert refused.json()["detail"] == "the order is worth 500 USDT, the limit for an order is 400 USDT"

    again = await site.ada.call("PUT", "/api/risk/limits", json={"broker_id": broker_id})
    assert again.json()["own"] == before["items"][1]["own"]
    assert (await site.ada.call("POST", "/api/orders", json=ORDER)).status_code == 201


@pytest.mark.parametrize(
    "wrong", [{"max_daily_loss": "-1"}, {"max_open_orders": 0}, {"price_collar_percent": "0"}, {"orders_per_minute": 1.5}, {"unknown": 1}]
)
async def test_a_limit_that_is_none_is_refused_with_its_field(site: Site, wrong: dict[str, object]) -> None:
    answer = await site.ada.call("PUT", "/api/risk/limits", json=wrong)
    assert answer.status_code == 422
    assert next(iter(wrong)) in answer.json()["errors"][0]["field"]


async def test_nobody_sets_the_limits_of_an_account_of_somebody_else(site: Site) -> None:
    for broker_id in (site.ada.ids["broker_id"], str(new_id())):
        answer = await site.eve.call("PUT", "/api/risk/limits", json={"broker_id": broker_id, "max_open_orders": 1})
        assert (answer.status_code, answer.json()["code"]) == (404, "BROKER_NOT_FOUND")
    assert [item["broker_id"] for item in (await site.eve.call("GET", "/api/risk/limits")).json()["items"]] == [None]
