from decimal import Decimal
from typing import Any

import ccxt
import pytest

from tests.emulator_process import EmulatorProcess

SYMBOL = "BTC/USDT"
pytestmark = pytest.mark.asyncio


async def test_markets_carry_the_trading_rules(exchange: Any) -> None:
    markets = await exchange.load_markets()
    market = markets[SYMBOL]
    assert (Decimal(market["precision"]["price"]), Decimal(market["precision"]["amount"])) == (Decimal("0.01"), Decimal("0.00001"))
    assert market["limits"]["cost"]["min"] == "5.00000000"
    assert market["active"] is True


async def test_market_buy_pays_the_ask_and_its_fee_in_the_bought_asset(exchange: Any) -> None:
    order = await exchange.create_order(SYMBOL, "market", "buy", "0.5")
    assert (order["status"], order["filled"]) == ("closed", "0.50000000")
    assert (Decimal(order["fee"]["cost"]), order["fee"]["currency"]) == (Decimal("0.0005"), "BTC")
    balance = await exchange.fetch_balance()
    assert Decimal(balance["BTC"]["free"]) == Decimal("1.4995")
    assert Decimal(balance["USDT"]["free"]) == Decimal(1000000) - Decimal(order["cost"])


async def test_market_buy_for_an_amount_of_quote_never_spends_more(exchange: Any) -> None:
    order = await exchange.create_market_buy_order_with_cost(SYMBOL, "1000")
    assert order["status"] == "closed"
    assert Decimal("999") < Decimal(order["cost"]) <= Decimal(1000)


async def test_limit_order_rests_locks_and_fills_when_the_market_trades_through(exchange: Any, emulator: EmulatorProcess) -> None:
    order = await exchange.create_order(SYMBOL, "limit", "buy", "0.1", "59500", {"newClientOrderId": "q-limit"})
    assert order["status"] == "open"
    balance = await exchange.fetch_balance()
    assert Decimal(balance["USDT"]["used"]) == Decimal("5950")

    emulator.advance(20)
    filled = await exchange.fetch_order(order["id"], SYMBOL)
    assert (filled["status"], filled["filled"], filled["average"]) == ("closed", "0.10000000", "59500")
    trades = await exchange.fetch_my_trades(SYMBOL)
    assert [(trade["order"], trade["takerOrMaker"]) for trade in trades] == [(order["id"], "maker")] * len(trades)
    balance = await exchange.fetch_balance()
    assert (Decimal(balance["USDT"]["used"]), Decimal(balance["BTC"]["free"])) == (Decimal(0), Decimal("1.0999"))


async def test_canceled_limit_order_gives_its_lock_back(exchange: Any) -> None:
    order = await exchange.create_order(SYMBOL, "limit", "sell", "0.4", "70000", {"newClientOrderId": "q-cancel"})
    assert [each["id"] for each in await exchange.fetch_open_orders(SYMBOL)] == [order["id"]]
    await exchange.cancel_order(None, SYMBOL, {"clientOrderId": "q-cancel"})
    assert await exchange.fetch_open_orders(SYMBOL) == []
    found = await exchange.fetch_order("", SYMBOL, {"clientOrderId": "q-cancel"})
    assert (found["status"], found["filled"]) == ("canceled", "0.00000000")
    assert Decimal((await exchange.fetch_balance())["BTC"]["free"]) == 1


async def test_stop_loss_limit_waits_for_its_trigger_and_then_sells(exchange: Any, emulator: EmulatorProcess) -> None:
    order = await exchange.create_order(SYMBOL, "limit", "sell", "0.2", "59000", {"stopLossPrice": "59500"})
    assert (await exchange.fetch_order(order["id"], SYMBOL))["info"]["isWorking"] is False
    emulator.advance(20)
    sold = await exchange.fetch_order(order["id"], SYMBOL)
    assert (sold["status"], sold["filled"]) == ("closed", "0.20000000")
    assert Decimal(59000) <= Decimal(sold["average"]) <= Decimal(59500)


async def test_take_profit_limit_waits_for_the_rise(exchange: Any, emulator: EmulatorProcess) -> None:
    order = await exchange.create_order(SYMBOL, "limit", "sell", "0.2", "60400", {"takeProfitPrice": "60500"})
    emulator.advance(20)
    assert (await exchange.fetch_order(order["id"], SYMBOL))["status"] == "open"
    emulator.advance(25)
    assert (await exchange.fetch_order(order["id"], SYMBOL))["status"] == "closed"


async def test_crossing_limit_takes_the_book_and_rests_with_what_is_left(exchange: Any) -> None:
    book = await exchange.fetch_order_book(SYMBOL, 20)
    best, offered = book["asks"][0]
    order = await exchange.create_order(SYMBOL, "limit", "buy", str(Decimal(str(offered)) + Decimal("0.3")), str(best))
    assert (order["status"], Decimal(order["filled"]), Decimal(order["remaining"])) == ("open", Decimal(str(offered)), Decimal("0.3"))


async def test_ioc_keeps_nothing_and_fok_takes_all_or_nothing(exchange: Any) -> None:
    ioc = await exchange.create_order(SYMBOL, "limit", "buy", "0.1", "59000", {"timeInForce": "IOC"})
    fok = await exchange.create_order(SYMBOL, "limit", "buy", "6", "60000.01", {"timeInForce": "FOK"})
    assert [(order["status"], order["filled"]) for order in (ioc, fok)] == [("expired", "0.00000000")] * 2
    assert Decimal((await exchange.fetch_balance())["USDT"]["free"]) == 1000000


async def test_post_only_order_that_would_take_is_refused(exchange: Any) -> None:
    with pytest.raises(ccxt.OrderImmediatelyFillable):
        await exchange.create_order(SYMBOL, "limit", "buy", "0.1", "60100", {"postOnly": True})


async def test_too_little_money_is_insufficient_funds(exchange: Any) -> None:
    with pytest.raises(ccxt.InsufficientFunds):
        await exchange.create_order(SYMBOL, "market", "buy", "20")
    assert await exchange.fetch_orders(SYMBOL) == []


async def test_canceling_an_unknown_order_is_order_not_found(exchange: Any) -> None:
    with pytest.raises(ccxt.OrderNotFound):
        await exchange.cancel_order("4711", SYMBOL)
    with pytest.raises(ccxt.OrderNotFound):
        await exchange.fetch_order("4711", SYMBOL)


async def test_client_order_id_is_unique_among_open_orders_only(exchange: Any) -> None:
    resting = {"newClientOrderId": "q-same"}
    await exchange.create_order(SYMBOL, "limit", "buy", "0.1", "59500", resting)
    with pytest.raises(ccxt.InvalidOrder):
        await exchange.create_order(SYMBOL, "limit", "buy", "0.1", "59500", resting)
    first = await exchange.create_order(SYMBOL, "market", "buy", "0.1", None, {"newClientOrderId": "q-again"})
    second = await exchange.create_order(SYMBOL, "market", "buy", "0.1", None, {"newClientOrderId": "q-again"})
    assert first["id"] != second["id"]


async def test_public_market_data_reads_back(exchange: Any) -> None:
    ticker = await exchange.fetch_ticker(SYMBOL)
    assert Decimal(ticker["last"]) == 60000
    assert Decimal(ticker["bid"]) < Decimal(ticker["ask"])
    assert list(await exchange.fetch_tickers([SYMBOL])) == [SYMBOL]
    assert Decimal((await exchange.fetch_last_prices([SYMBOL]))[SYMBOL]["price"]) == 60000
    assert Decimal((await exchange.fetch_trading_fee(SYMBOL))["taker"]) == Decimal("0.001")
    assert len(await exchange.fetch_trades(SYMBOL, None, 10)) == 10


async def test_cancel_all_clears_the_symbol(exchange: Any) -> None:
    for price in ("59000", "59100"):
        await exchange.create_order(SYMBOL, "limit", "buy", "0.1", price)
    await exchange.cancel_all_orders(SYMBOL)
    assert await exchange.fetch_open_orders(SYMBOL) == []
    assert Decimal((await exchange.fetch_balance())["USDT"]["free"]) == 1000000
