"""Random trading days on the exchange itself: money is neither made nor lost, and no order list breaks its word."""

from collections import defaultdict
from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.emulator.config import EmulatorConfig, ReplayFile
from app.emulator.errors import VenueError
from app.emulator.exchange import Exchange
from app.emulator.ledger import Account, NewList, NewOrder
from app.emulator.order_params import read_leg, read_order
from app.emulator.rest_lists import ABOVE, BELOW, PENDING_ABOVE, PENDING_BELOW, WORKING, read_pair
from app.emulator.venue import Venue, build_venue
from tests.emulator.conftest import NOW_MINUTE, PRICES
from tests.emulator_process import steps, write_candles

D = Decimal
START = {"USDT": D(30000), "BTC": D("0.5"), "BNB": D("0.02")}

prices = st.integers(590, 610).map(lambda hundreds: str(hundreds * 100))
quantities = st.sampled_from(("0.01", "0.05", "0.1", "0.3"))
deltas = st.sampled_from(("50", "100"))
sides = st.sampled_from(("BUY", "SELL"))


@st.composite
def single_orders(draw: st.DrawFn) -> NewOrder:
    kind = draw(st.sampled_from(("MARKET", "LIMIT", "LIMIT_MAKER", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT")))
    given = {"symbol": "BTCUSDT", "side": draw(sides), "type": kind, "quantity": draw(quantities)}
    if kind in ("LIMIT", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"):
        given["timeInForce"] = draw(st.sampled_from(("GTC", "IOC", "FOK")))
    if kind not in ("MARKET", "STOP_LOSS", "TAKE_PROFIT"):
        given["price"] = draw(prices)
    if kind.startswith(("STOP", "TAKE")):
        is_trailing = draw(st.booleans())
        if is_trailing:
            given["trailingDelta"] = draw(deltas)
        if not is_trailing or draw(st.booleans()):
            given["stopPrice"] = draw(prices)
    return read_order(given)


@st.composite
def order_lists(draw: st.DrawFn) -> NewList:
    has_working, side, quantity = draw(st.booleans()), draw(sides), draw(quantities)
    above, below = (PENDING_ABOVE, PENDING_BELOW) if has_working else (ABOVE, BELOW)
    stop, target = (below, above) if side == "SELL" else (above, below)
    given = {"symbol": "BTCUSDT", above.side: side, above.quantity: quantity, stop.type: "STOP_LOSS", target.type: "LIMIT_MAKER"}
    given |= {target.price: draw(prices), draw(st.sampled_from((stop.stop_price, stop.trailing_delta))): ""}
    given = {name: value or (draw(prices) if name == stop.stop_price else draw(deltas)) for name, value in given.items()}
    working = None
    if has_working:
        entry = {WORKING.side: "BUY" if side == "SELL" else "SELL", WORKING.quantity: quantity, WORKING.price: draw(prices)}
        entry |= {"symbol": "BTCUSDT", WORKING.time_in_force: draw(st.sampled_from(("GTC", "IOC")))}
        working = read_leg(entry, WORKING, kind="LIMIT")
    return NewList(client_id=None, working=working, legs=read_pair(given, above, below))


trades = st.tuples(prices.map(D), st.sampled_from((D("0.02"), D("0.2"), D(2))))
picks = st.tuples(st.sampled_from(("cancel", "amend")), st.integers(0, 30))
days = st.lists(st.one_of(single_orders(), order_lists(), trades, trades, picks), max_size=25)


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Venue:
    folder = tmp_path_factory.mktemp("properties")
    listed: list[ReplayFile] = []
    for symbol, level in (("BTCUSDT", 60000.0), ("BNBUSDT", 600.0)):
        path = write_candles(folder / f"binance-{symbol}-1m-x.csv", steps([level] * len(PRICES)))
        listed.append(ReplayFile(path=path))
    return build_venue(EmulatorConfig(replay=tuple(listed), history_minutes=NOW_MINUTE, is_paused=True))


def live_through(venue: Venue, day: list[object], *, pays_in_bnb: bool) -> Account:
    exchange = venue.exchange
    account = exchange.open_account("key", "secret", START, pays_in_bnb=pays_in_bnb)
    venue.feed.print("BTCUSDT", D(60000), D(1))
    for event in day:
        with suppress(VenueError):
            act(venue, exchange, account, event)
        check_books(account)
    return account


def act(venue: Venue, exchange: Exchange, account: Account, event: object) -> None:
    match event:
        case NewOrder():
            exchange.place(account, event, received_ns=0)
        case NewList():
            exchange.place_list(account, event, received_ns=0)
        case (Decimal() as price, Decimal() as quantity):
            venue.feed.print("BTCUSDT", price, quantity)
        case (str() as wish, int() as index) if account.orders:
            order = list(account.orders.values())[index % len(account.orders)]
            if wish == "cancel":
                exchange.cancel(order)
            else:
                exchange.amend(order, order.quantity - D("0.005"), None)


def check_books(account: Account) -> None:
    held: dict[str, Decimal] = defaultdict(Decimal)
    for order in account.open_orders.values():
        held["USDT" if order.side.name == "BUY" else "BTC"] += order.held
    for asset, balance in account.balances.items():
        assert balance.free >= 0
        assert balance.locked == held[asset]
    expected = dict(START)
    for execution in account.executions.get("BTCUSDT", []):
        sign = 1 if execution.is_buyer else -1
        expected["BTC"] += sign * execution.quantity
        expected["USDT"] -= sign * execution.quote_quantity
        expected[execution.commission_asset] -= execution.commission
    assert {asset: balance.free + balance.locked for asset, balance in account.balances.items()} == expected


def check_orders(exchange: Exchange, account: Account) -> None:
    for order in account.orders.values():
        assert order.executed == sum((execution.quantity for execution in order.executions), D(0)) <= order.quantity
        assert (order.status == "FILLED") == (order.executed == order.quantity)
        in_book = str(order.order_id) in exchange.engines["BTCUSDT"]
        assert in_book == (order.is_open and order.status != "PENDING_NEW")
        assert (order.order_id in account.open_orders) == order.is_open
        if in_book:
            assert exchange.engines["BTCUSDT"].remaining(str(order.order_id)) == order.remaining
    for order_list in account.lists.values():
        orders = exchange.list_orders(order_list)
        legs = [order for order in orders if order.order_id != order_list.working_id]
        assert sum(1 for leg in legs if leg.executed) <= 1
        assert order_list.is_done == (not any(order.is_open for order in orders)) == (order_list.list_id not in account.open_lists)
        if order_list.working_id and orders[0].status != "FILLED":
            assert all(leg.executed == 0 and leg.working_time == -1 for leg in legs)
            assert orders[0].is_open == all(leg.status == "PENDING_NEW" for leg in legs)


@settings(max_examples=200, deadline=None)
@given(day=days, pays_in_bnb=st.booleans())
def test_money_is_neither_made_nor_lost(venue: Venue, day: list[object], *, pays_in_bnb: bool) -> None:
    account = live_through(venue, day, pays_in_bnb=pays_in_bnb)
    check_orders(venue.exchange, account)
    venue.exchange.cancel_all(account)
    check_books(account)
    assert all(balance.locked == 0 for balance in account.balances.values())
    assert (len(venue.exchange.engines["BTCUSDT"]), venue.exchange.pairs) == (0, {})
