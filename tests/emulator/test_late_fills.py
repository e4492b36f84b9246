import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.emulator.conftest import NOW_MINUTE, SECRET, StartEmulator, account_on
from tests.emulator.trading import D, balance, found
from tests.emulator_process import EmulatorProcess, SignedClient

LIMIT_BUY: dict[str, str | int] = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "quantity": "0.3",
    "price": "59000",
}


@pytest.fixture
def emulator(standing_emulator: EmulatorProcess) -> EmulatorProcess:
    return standing_emulator


def canceled(client: SignedClient) -> dict[str, Any]:
    """A canceled order of which nothing was filled."""
    placed: dict[str, Any] = client.order(**LIMIT_BUY).document
    client.call("DELETE", "/api/v3/order", {"symbol": "BTCUSDT", "orderId": placed["orderId"]})
    return placed


def fill(client: SignedClient, order: dict[str, Any], quantity: str, **more: str) -> int:
    body = json.dumps({"order_id": order["orderId"], "quantity": quantity, **more}).encode()
    return client.emulator.request("POST", "/_fill", body=body).status


def test_fill_after_the_cancellation_grows_the_order_and_leaves_it_canceled(client: SignedClient) -> None:
    order = canceled(client)
    before = balance(client, "USDT"), balance(client, "BTC")
    assert fill(client, order, "0.1") == 200
    shown = found(client, order)
    assert (shown["status"], D(shown["executedQty"]), D(shown["cummulativeQuoteQty"])) == ("CANCELED", D("0.1"), D(5900))
    (trade,) = client.call("GET", "/api/v3/myTrades", {"symbol": "BTCUSDT", "orderId": order["orderId"]}).document
    assert (D(trade["qty"]), D(trade["price"])) == (D("0.1"), D(59000))
    assert balance(client, "USDT") == (before[0][0] - 5900, before[0][1])
    assert balance(client, "BTC")[0] == before[1][0] + D("0.1") - D(trade["commission"])


def test_late_fill_of_the_whole_rest_makes_it_filled(client: SignedClient) -> None:
    order = canceled(client)
    assert [fill(client, order, "0.1"), fill(client, order, "0.2")] == [200, 200]
    assert found(client, order)["status"] == "FILLED"


def test_filled_order_can_be_filled_beyond_its_quantity(client: SignedClient) -> None:
    order = client.order(symbol="BTCUSDT", side="SELL", type="MARKET", quantity="0.1").document
    assert fill(client, order, "0.05", price="60100") == 200
    shown = found(client, order)
    assert (shown["status"], shown["origQty"], D(shown["executedQty"])) == ("FILLED", "0.10000000", D("0.15"))


def test_open_order_unknown_order_and_fill_beyond_the_purse_are_refused(client: SignedClient) -> None:
    placed = client.order(**LIMIT_BUY).document
    assert fill(client, placed, "0.1") == 409
    assert fill(client, {"orderId": 10**9}, "0.1") == 404
    assert fill(client, canceled(client), "1000") == 409
    assert fill(client, canceled(client), "0") == 422


def test_late_fill_survives_a_restart(start_emulator: StartEmulator, script: Path, tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    arguments = ("--replay", str(script), "--history", str(NOW_MINUTE), "--paused", "--state", str(state))
    first = start_emulator(*arguments)
    client = account_on(first)
    order = canceled(client)
    deadline = time.monotonic() + 10
    while not state.exists() or b"CANCELED" not in state.read_bytes():
        assert time.monotonic() < deadline
    fill(client, order, "0.1")
    first.stop()
    shown = found(SignedClient(emulator=start_emulator(*arguments), api_key=client.api_key, api_secret=SECRET), order)
    assert (shown["status"], D(shown["executedQty"])) == ("CANCELED", D("0.1"))
