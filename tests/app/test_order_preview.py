"""What an order would be before it is sent: previews, sizes by risk, orders on several accounts, parts of positions."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio

from app.core.ids import new_id
from app.domain.book import Depth, Level
from tests.app.conftest import API_SECRET, open_account
from tests.app.whole_site import Site, running_site, state_of
from tests.emulator_process import EmulatorProcess
from tests.postgres import PostgresForTests

pytestmark = pytest.mark.asyncio(loop_scope="module")

BUY = {"symbol": "BTCUSDT", "side": "buy"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    postgres: PostgresForTests, standing_emulator: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    async with running_site(postgres, standing_emulator, tmp_path_factory.mktemp("site")) as running:
        yield running


async def preview(site: Site, status: int = 200, **body: Any) -> Any:
    answer = await site.ada.call("POST", "/api/orders/preview", json={**BUY, **body})
    assert answer.status_code == status, answer.text
    return answer.json()


async def order(site: Site, **body: Any) -> Any:
    return (await site.ada.call("POST", "/api/orders", json={**BUY, **body})).json()


async def count(site: Site) -> int:
    async with site.app.state.platform_database.connection() as connection:
        return int(await connection.fetchval("SELECT count(*) FROM orders"))


class OneBook:
    """A book that is always there."""

    def __init__(self, depth: Depth) -> None:
        self.known = depth

    async def depth(self, exchange: str, symbol: str) -> Depth | None:
        del exchange, symbol
        return self.known


async def add_account(site: Site, emulator: EmulatorProcess, name: str, **balances: str) -> str:
    if balances:
        key = f"key-of-{name}-{new_id().hex}"
        emulator.open_account(key, API_SECRET, balances)
    else:
        key = open_account(emulator)
    made = await site.ada.call("POST", "/api/brokers", json={"exchange": "binance", "name": name, "api_key": key, "api_secret": API_SECRET})
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


async def test_a_preview_says_what_the_order_would_be_and_stores_and_sends_nothing(site: Site, standing_emulator: EmulatorProcess) -> None:
    before, sent = await count(site), len(standing_emulator.orders())
    found = await preview(site, quantity="0.0123456")
    assert (found["allowed"], found["denial"], found["quantity"], found["execution"]) == (True, None, "0.01234", "native")
    assert Decimal(found["notional"]) == Decimal(found["expected_price"]) * Decimal("0.01234")
    assert (found["minimum_notional"], found["free_asset"], found["fee"]["asset"]) == ("5", "USDT", "BTC")
    assert found["fee"]["liquidity"] == "taker"
    assert Decimal(found["free_after"]) < Decimal(found["free_before"])
    assert await count(site) == before
    assert len(standing_emulator.orders()) == sent


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"quantity": "0.00001"}, "NOTIONAL_BELOW_MINIMUM", "quantity"),
        ({"type": "limit", "quantity": "150", "price": "50000"}, "INSUFFICIENT_BALANCE", "quantity"),
        ({"type": "limit", "quantity": "0.01"}, "PRICE_MISSING", "price"),
        ({"type": "stop_market", "quantity": "0.01", "trigger_price": "50000"}, "TRIGGER_INVALID", "trigger_price"),
        ({"quantity": "0.01", "stop_loss": "70000"}, "PLAN_INVALID", "stop_loss"),
        ({"risk": "10"}, "STOP_MISSING", "stop_loss"),
        ({}, "QUANTITY_MISSING", "quantity"),
    ],
)
async def test_a_preview_is_denied_as_the_order_is(site: Site, body: dict[str, Any], code: str, field: str) -> None:
    found = await preview(site, **body)
    assert (found["allowed"], found["denial"]["code"], found["denial"]["field"]) == (False, code, field)
    sent = await site.ada.call("POST", "/api/orders", json={**BUY, **body})
    assert (sent.status_code, sent.json()["code"], sent.json()["detail"]) == (422, code, found["denial"]["detail"])


async def test_a_limit_shows_in_the_preview_of_an_account_that_never_had_an_order(site: Site, standing_emulator: EmulatorProcess) -> None:
    fresh = await add_account(site, standing_emulator, "Fresh")
    assert (await preview(site, quantity="0.01", broker_id=fresh))["allowed"] is True, "its balance is asked for"
    limits = {"max_order_notional": "100", "broker_id": fresh}
    answer = await site.ada.call("PUT", "/api/risk/limits", json=limits)
    assert answer.status_code < 300, answer.text
    found = await preview(site, quantity="0.01", broker_id=fresh)
    assert found["denial"]["code"] == "MAX_NOTIONAL"
    denied = await site.ada.call("POST", "/api/orders", json={**BUY, "quantity": "0.01", "broker_id": fresh})
    assert denied.json()["detail"] == found["denial"]["detail"]


async def test_the_book_tells_the_average_the_worst_price_and_how_much_it_holds(site: Site) -> None:
    asks = tuple(Level(price=Decimal(60000 + 10 * step), quantity=Decimal("0.01")) for step in range(4))
    with state_of(site, lookout=_with_books(site, OneBook(Depth(asks=asks)))):
        found = await preview(site, quantity="0.03")
        assert found["slippage"] == {"average_price": "60010", "worst_price": "60020", "percent": "0.0167", "held": "100"}
        assert (await preview(site, quantity="0.08"))["slippage"]["held"] == "50"


def _with_books(site: Site, books: OneBook) -> Any:
    class Lookout:
        def __getattr__(self, name: str) -> Any:
            return books if name == "books" else getattr(lookout, name)

    lookout = site.app.state.lookout
    return Lookout()


async def test_a_bracket_says_what_is_placed_after_the_fill_and_who_watches(site: Site) -> None:
    targets = [{"price": "65000", "percent": "50"}, {"price": "70000", "percent": "50"}]
    found = await preview(site, quantity="0.02", stop_loss="55000", take_profits=targets)
    steps = found["protection"]["steps"]
    assert [(step["kind"], step["target"], step["execution"]) for step in steps] == [
        ("pair", "65000", "native"),
        ("pair", "70000", "native"),
    ]
    assert found["protection"]["reason"] is None
    assert Decimal(found["risk"]) > Decimal("0.02") * 5000
    assert Decimal(found["reward_to_risk"]) > 1
    trailing = await preview(site, quantity="0.02", trailing_percent="0.05")
    assert trailing["protection"]["steps"][0]["execution"] == "supervised"
    assert trailing["protection"]["reason"] == "Binance takes no trailing distance like this one"


async def test_an_order_is_sized_by_what_may_be_lost_at_its_stop(site: Site) -> None:
    body: dict[str, Any] = {"type": "limit", "price": "50000", "stop_loss": "49000", "risk": "110"}
    found = await preview(site, **body)
    made = await order(site, **body)
    assert made["quantity"] == found["quantity"]
    assert Decimal(found["risk"]) <= 110
    assert Decimal("0.09") < Decimal(found["quantity"]) < Decimal("0.11")
    await site.ada.call("DELETE", f"/api/orders/{made['id']}")


async def test_a_repeated_order_by_risk_is_the_one_it_was(site: Site) -> None:
    body: dict[str, Any] = {"type": "limit", "price": "50000", "stop_loss": "49000", "risk": "110", "client_intent_id": "risky"}
    first = await order(site, **body)
    again = await site.ada.call("POST", "/api/orders", json={**BUY, **body, "stop_loss": "58000"})
    assert (again.status_code, again.json()["id"]) == (200, first["id"])
    await site.ada.call("DELETE", f"/api/orders/{first['id']}")


async def test_two_sizes_are_refused_also_when_one_is_a_risk(site: Site) -> None:
    answer = await site.ada.call("POST", "/api/orders", json={**BUY, "quantity": "0.01", "risk": "5", "stop_loss": "50000"})
    assert (answer.status_code, answer.json()["code"]) == (422, "QUANTITY_INVALID")


async def test_one_order_goes_to_several_accounts_each_sized_by_its_own_balance_and_one_failing_stops_none(
    site: Site, standing_emulator: EmulatorProcess
) -> None:
    rich = await add_account(site, standing_emulator, "Rich", USDT="10000")
    poor = await add_account(site, standing_emulator, "Poor", USDT="1000")
    broke = await add_account(site, standing_emulator, "Broke", USDT="5")
    body = {"broker_ids": [rich, broke, poor], "order": {**BUY, "percent": "50", "client_intent_id": "everywhere"}}
    answer = await site.ada.call("POST", "/api/orders/batch", json=body)
    assert answer.status_code == 200, answer.text
    first, second, third = answer.json()["items"]
    assert [item["broker_id"] for item in (first, second, third)] == [rich, broke, poor]
    assert (first["order"]["state"], first["order"]["notional"]) == ("filled", "5000")
    assert (third["order"]["state"], third["order"]["notional"]) == ("filled", "500")
    assert (second["order"], second["problem"]["code"]) == (None, "NOTIONAL_BELOW_MINIMUM")
    before = await count(site)
    again = (await site.ada.call("POST", "/api/orders/batch", json=body)).json()["items"]
    assert [item["order"] and item["order"]["id"] for item in again] == [first["order"]["id"], None, third["order"]["id"]]
    assert await count(site) == before


async def test_nobody_orders_on_a_strangers_account_among_others(site: Site) -> None:
    theirs = site.ada.ids["broker_id"]
    body = {"broker_ids": [theirs], "order": {**BUY, "quantity": "0.01"}}
    answer = await site.eve.call("POST", "/api/orders/batch", json=body)
    assert answer.json()["items"][0]["problem"]["code"] == "BROKER_NOT_FOUND"
    missing = await site.eve.call("POST", "/api/orders/batch", json={**body, "broker_ids": [str(new_id())]})
    assert missing.json()["items"][0]["problem"] == answer.json()["items"][0]["problem"]
    assert (await site.eve.call("POST", "/api/orders/preview", json={**BUY, "quantity": "0.01", "broker_id": theirs})).status_code == 404


async def test_a_part_of_a_position_is_closed_and_its_stop_guards_the_rest(site: Site, standing_emulator: EmulatorProcess) -> None:
    account = await add_account(site, standing_emulator, "Parts", USDT="10000")
    bought = await order(site, quantity="0.02", stop_loss="40000", broker_id=account)
    assert bought["state"] == "filled", bought
    (position,) = (await site.ada.call("GET", f"/api/positions?broker_id={account}")).json()["items"]
    sold = await site.ada.call("POST", f"/api/positions/{position['id']}/close", json={"percent": "50"})
    assert (sold.status_code, sold.json()["quantity"], sold.json()["role"]) == (201, "0.00999", "exit")
    (left,) = (await site.ada.call("GET", f"/api/positions?broker_id={account}")).json()["items"]
    assert Decimal(left["quantity"]) == Decimal(position["quantity"]) - Decimal("0.00999")
    deadline = asyncio.get_running_loop().time() + 15
    while True:
        stops = [
            found
            for found in (await site.ada.call("GET", "/api/orders?state=open&limit=500")).json()["items"]
            if found["broker_id"] == account and found["role"] == "stop"
        ]
        if [Decimal(found["quantity"]) for found in stops] == [Decimal("0.00999")]:
            break
        assert asyncio.get_running_loop().time() < deadline, stops
        await asyncio.sleep(0.05)
    refused = await site.ada.call("POST", f"/api/positions/{position['id']}/close", json={"percent": "0"})
    assert refused.status_code == 422
