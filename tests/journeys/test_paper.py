"""The newcomer's way: a paper account without keys, an order, its fill, a position, a portfolio; and the same after a kill."""

from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests.emulator_process import EmulatorProcess
from tests.journeys.conftest import MakeTrader, StartServer
from tests.journeys.eventually import eventually
from tests.journeys.trader import SYMBOL, Trader
from tests.server_process import ServerProcess


@pytest.fixture
def newcomer(shared_server: ServerProcess, market: EmulatorProcess, make_trader: MakeTrader) -> Trader:
    return make_trader(shared_server, market).sign_up()


def open_paper(trader: Trader, **fields: Any) -> str:
    made = trader.call("POST", "/api/brokers", json={"exchange": "paper", "name": "Practice", **fields})
    assert made["is_paper"] is True
    trader.broker_id = str(made["id"])
    return trader.broker_id


def place(trader: Trader, **fields: Any) -> Any:
    return trader.call("POST", "/api/orders", json={"symbol": SYMBOL, "side": "buy", "type": "market", **fields})


def became(trader: Trader, order: Any, *states: str) -> Any:
    def ask() -> Any:
        found = trader.call("GET", f"/api/orders/{order['id']}")
        return found if found["state"] in states else None

    return eventually(ask, f"the order is {states}")


def shown(trader: Trader, asset: str) -> Decimal:
    free, locked = trader.shown_balances().get(asset, (Decimal(0), Decimal(0)))
    return free + locked


def test_paper_is_the_first_exchange_and_needs_no_keys(newcomer: Trader) -> None:
    first = newcomer.call("GET", "/api/exchanges")["items"][0]

    assert (first["id"], first["needs_keys"], first["has_testnet"]) == ("paper", False, False)
    tested = newcomer.call("POST", f"/api/brokers/{open_paper(newcomer)}/test_connection")
    assert tested["success"] is True
    assert tested["balances"] == [{"asset": "USDT", "free": "10000", "locked": "0"}]


def test_a_newcomer_buys_holds_and_sells_without_any_keys(newcomer: Trader) -> None:
    open_paper(newcomer)

    bought = became(newcomer, place(newcomer, quantity="0.05"), "filled")
    assert Decimal(bought["filled_quantity"]) == Decimal("0.05")
    (position,) = newcomer.positions()
    # The fee of 0.1 % is taken out of what a buy brings in.
    assert Decimal(position["quantity"]) == Decimal("0.04995")
    assert position["mark_price"] is not None
    eventually(lambda: shown(newcomer, "BTC") == Decimal("0.04995"), "the portfolio shows the coins")
    worth = Decimal(newcomer.portfolio()["total_usdt"])
    assert Decimal(9900) < worth < Decimal(10100)

    became(newcomer, place(newcomer, side="sell", quantity="0.04995"), "filled")
    eventually(lambda: newcomer.positions() == [], "the position is closed")


def test_the_market_of_a_paper_account_is_the_one_its_prices_are_from(newcomer: Trader) -> None:
    ticker = newcomer.call("GET", f"/api/ticker?symbol={SYMBOL}&exchange=paper")
    candles = newcomer.call("GET", f"/api/ohlcv?symbol={SYMBOL}&exchange=paper&limit=5")

    assert ticker["exchange"] == candles["exchange"] == "binance"
    assert len(candles["items"]) == 5


def test_an_alert_trades_on_a_paper_account(newcomer: Trader) -> None:
    open_paper(newcomer)
    newcomer.add_webhook()

    decided = newcomer.decided(newcomer.alert(quantity="0.01"))

    assert decided["decision"] == "executed"
    (order,) = newcomer.orders()
    became(newcomer, order, "filled")


def test_a_paper_account_begins_anew(newcomer: Trader) -> None:
    broker_id = open_paper(newcomer, paper_balance_usdt="5000")
    became(newcomer, place(newcomer, quantity="0.01"), "filled")
    resting = became(newcomer, place(newcomer, type="limit", quantity="0.01", price="30000"), "open")

    newcomer.call("POST", f"/api/brokers/{broker_id}/reset_paper")

    became(newcomer, resting, "canceled")
    assert newcomer.positions() == []
    tested = newcomer.call("POST", f"/api/brokers/{broker_id}/test_connection")
    assert tested["balances"] == [{"asset": "USDT", "free": "5000", "locked": "0"}]
    assert len(newcomer.orders()) == 2


def test_only_the_owner_begins_a_paper_account_anew_and_no_real_one_does(
    newcomer: Trader, shared_server: ServerProcess, market: EmulatorProcess, make_trader: MakeTrader
) -> None:
    broker_id = open_paper(newcomer)
    stranger = make_trader(shared_server, market).sign_up().set_up(hooks=0)

    for path, status in ((broker_id, 404), (stranger.broker_id, 422)):
        with pytest.raises(httpx.HTTPStatusError) as refusal:
            stranger.call("POST", f"/api/brokers/{path}/reset_paper")
        assert refusal.value.response.status_code == status


def test_resting_paper_orders_outlive_a_killed_server(
    start_server: StartServer, make_trader: MakeTrader, paused_market: EmulatorProcess
) -> None:
    server = start_server(paused_market)
    trader = make_trader(server, paused_market).log_in()
    open_paper(trader)
    resting = became(trader, place(trader, type="limit", quantity="0.01", price="59500"), "open")
    server.kill()

    trader.server = start_server(paused_market)
    trader.log_in()
    paused_market.price("59400", quantity="1")

    filled = became(trader, resting, "filled")
    assert Decimal(filled["average_price"]) == 59500
    assert [Decimal(fill["price"]) for fill in trader.call("GET", "/api/fills")["items"]] == [59500]
