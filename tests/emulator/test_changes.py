from decimal import Decimal
from pathlib import Path

import pytest

from app.emulator.bars import Trade
from app.emulator.changes import AccountChanged, Change, OrderChange
from app.emulator.config import EmulatorConfig, ReplayFile
from app.emulator.ledger import Account, OrderRecord
from app.emulator.order_params import read_order
from app.emulator.venue import Venue, build_venue
from tests.emulator.conftest import NOW_MINUTE

D = Decimal


@pytest.fixture
def venue(script: Path) -> Venue:
    return build_venue(EmulatorConfig(replay=(ReplayFile(path=script),), history_minutes=NOW_MINUTE, is_paused=True))


@pytest.fixture
def owner(venue: Venue) -> Account:
    return venue.exchange.open_account("key", "secret", {"USDT": D(1000000), "BTC": D(1)})


@pytest.fixture
def heard(venue: Venue, owner: Account) -> list[Change]:
    told: list[Change] = []
    venue.exchange.listeners.append(told.append)
    return told


def place(venue: Venue, owner: Account, **given: str) -> OrderRecord:
    return venue.exchange.place(owner, read_order({"symbol": "BTCUSDT", **given}), received_ns=0)


def shown(changes: list[Change]) -> list[tuple[str, str, str]]:
    return [
        (change.execution_type, change.order.status, str(change.order.executed)) for change in changes if isinstance(change, OrderChange)
    ]


def test_market_order_is_told_as_new_then_each_trade_then_the_balances(venue: Venue, owner: Account, heard: list[Change]) -> None:
    order = place(venue, owner, side="BUY", type="MARKET", quantity="2")
    *trades, last = heard[1:]
    assert shown(heard[:1]) == [("NEW", "NEW", "0")]
    assert [change.execution for change in trades if isinstance(change, OrderChange)] == order.executions
    assert [status for _, status, _ in shown(trades)] == ["PARTIALLY_FILLED"] * (len(trades) - 1) + ["FILLED"]
    assert isinstance(last, AccountChanged)
    assert dict(last.balances) == {"USDT": owner.balances["USDT"], "BTC": owner.balances["BTC"]}


def test_order_for_an_amount_of_quote_is_filled_with_its_last_trade(venue: Venue, owner: Account, heard: list[Change]) -> None:
    order = place(venue, owner, side="BUY", type="MARKET", quoteOrderQty="1000")
    assert shown(heard)[-1] == ("TRADE", "FILLED", str(order.quantity))


def test_resting_order_is_told_when_it_locks_fills_and_is_canceled(venue: Venue, owner: Account, heard: list[Change]) -> None:
    order = place(venue, owner, side="BUY", type="LIMIT", timeInForce="GTC", quantity="0.1", price="59500")
    locked = heard.pop()
    assert isinstance(locked, AccountChanged)
    assert {asset: (balance.free, balance.locked) for asset, balance in locked.balances.items()} == {"USDT": (D(994050), D(5950))}
    venue.exchange.cancel(order, request_id="please")
    canceled, freed = heard[-2:]
    assert isinstance(canceled, OrderChange)
    assert (canceled.execution_type, canceled.order.client_order_id, canceled.request_id) == ("CANCELED", order.client_order_id, "please")
    assert isinstance(freed, AccountChanged)
    assert freed.balances["USDT"].locked == 0


def test_stop_that_wakes_is_told_as_new_again_and_works_from_then_on(venue: Venue, owner: Account, heard: list[Change]) -> None:
    stop = {"side": "SELL", "type": "STOP_LOSS_LIMIT", "timeInForce": "GTC", "quantity": "0.2", "price": "59000", "stopPrice": "59500"}
    place(venue, owner, **stop)
    venue.clock.skip(20 * 60_000)
    for trade in venue.exchange.markets["BTCUSDT"].advance(venue.clock.now(), with_trades=True):
        if isinstance(trade, Trade):
            venue.exchange.match("BTCUSDT", trade, time=venue.clock.wall_now())
    changes = [change for change in heard if isinstance(change, OrderChange)]
    assert [(change.execution_type, change.order.is_working) for change in changes[:3]] == [("NEW", False), ("NEW", True), ("TRADE", True)]
    assert changes[-1].order.status == "FILLED"


def test_expired_remainder_is_told_after_its_trades(venue: Venue, owner: Account, heard: list[Change]) -> None:
    best = venue.exchange.markets["BTCUSDT"].depth().asks[0]
    place(venue, owner, side="BUY", type="LIMIT", timeInForce="IOC", quantity=str(best.quantity + 1), price=str(best.price))
    assert [kind for kind, _, _ in shown(heard)] == ["NEW", "TRADE", "EXPIRED"]


def test_refused_order_is_not_told(venue: Venue, owner: Account, heard: list[Change]) -> None:
    with pytest.raises(Exception, match="insufficient balance"):
        place(venue, owner, side="SELL", type="MARKET", quantity="2")
    assert heard == []
