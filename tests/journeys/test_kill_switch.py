"""The kill switch in a process that is killed while it is at work: whoever starts next finishes it, once."""

import random
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests.emulator_process import WITHOUT_LIMITS, EmulatorProcess
from tests.journeys.conftest import MakeTrader, StartServer
from tests.journeys.eventually import eventually
from tests.journeys.trader import Trader

ORDER_REQUEST = {"method": "POST", "path": "/api/v3/order"}


@pytest.fixture
def venue() -> Iterator[EmulatorProcess]:
    """An exchange of the test's own, for its faults are everybody's."""
    with EmulatorProcess("--generate", "BTCUSDT:60000", "--history", "60", *WITHOUT_LIMITS) as process:
        yield process


def sells(trader: Trader) -> list[Any]:
    return [order for order in trader.placed() if order["side"] == "SELL"]


def resting(trader: Trader) -> list[Any]:
    return [order for order in trader.placed() if order["status"] in ("NEW", "PARTIALLY_FILLED")]


def finished(trader: Trader, command_id: str) -> Any:
    def ask() -> Any:
        found = trader.call("GET", f"/api/kill-switch/{command_id}")
        return found if found["state"] == "done" else None

    return eventually(ask, "the kill switch has done its work", within_s=40)


def invested(trader: Trader, *, quantity: str = "0.05") -> Decimal:
    """Buy, and leave some orders at the exchange; what can be sold of the position then."""
    trader.call("POST", "/api/orders", json={"symbol": "BTCUSDT", "side": "buy", "quantity": quantity})
    for price in ("20000", "21000", "22000"):
        trader.call("POST", "/api/orders", json={"symbol": "BTCUSDT", "side": "buy", "type": "limit", "quantity": "0.001", "price": price})
    (position,) = trader.positions()
    return Decimal(position["quantity"])


def test_a_kill_while_a_position_is_being_sold_sells_it_once(
    venue: EmulatorProcess, start_server: StartServer, make_trader: MakeTrader
) -> None:
    server = start_server(venue)
    trader = make_trader(server, venue).log_in().set_up(hooks=0)
    held = invested(trader)
    venue.fault("delay", **ORDER_REQUEST, delay_ms=8000)
    command = trader.call("POST", "/api/kill-switch", json={"action": "flatten", "confirm": True})
    eventually(lambda: sells(trader), "the exchange has the exit")
    assert trader.call("GET", f"/api/kill-switch/{command['id']}")["state"] == "running"

    server.kill()
    server.start()
    started = time.monotonic()
    found = finished(trader, command["id"])
    print(f"finished {time.monotonic() - started:.1f} s after the restart")

    (sold,) = sells(trader)
    assert 0 <= held - Decimal(sold["executedQty"]) < Decimal("0.00001")
    assert (resting(trader), trader.positions(), found["progress"]["obstacles"]) == ([], [], [])
    assert trader.call("GET", "/api/kill-switch")["state"] == "halted", "a restart does not resume"


def test_a_kill_right_after_the_switch_was_pulled_leaves_nothing_undone(
    venue: EmulatorProcess, start_server: StartServer, make_trader: MakeTrader
) -> None:
    server = start_server(venue)
    trader = make_trader(server, venue).log_in().set_up(hooks=0)
    held = invested(trader)
    venue.fault("delay", method="DELETE", path="/api/v3/order", delay_ms=50, times=10)
    command = trader.call("POST", "/api/kill-switch", json={"action": "flatten", "confirm": True})
    moment_s = random.uniform(0.0, 0.15)
    print(f"killed {moment_s * 1000:.0f} ms after the switch was pulled")
    time.sleep(moment_s)
    server.kill()
    server.start()

    finished(trader, command["id"])
    assert 0 <= held - sum(Decimal(order["executedQty"]) for order in sells(trader)) < Decimal("0.00001")
    assert (resting(trader), trader.positions()) == ([], [])
    with pytest.raises(httpx.HTTPStatusError) as caught:
        trader.call("POST", "/api/orders", json={"symbol": "BTCUSDT", "side": "buy", "quantity": "0.001"})
    refused = caught.value.response
    assert refused.json()["code"] == "TRADING_HALTED"
