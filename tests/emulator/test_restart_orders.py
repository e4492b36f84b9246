from pathlib import Path

import orjson
import pytest

from tests.emulator.conftest import BALANCES, NOW_MINUTE, SECRET, StartEmulator
from tests.emulator.test_order_lists import OCO, OTOCO, place
from tests.emulator.test_restart import KEY, client_of, wait_until
from tests.emulator.trading import SELL, balance, statuses
from tests.emulator_process import EmulatorProcess, SignedClient


@pytest.fixture
def arguments(script: Path, tmp_path: Path) -> tuple[str, ...]:
    return ("--replay", str(script), "--history", str(NOW_MINUTE), "--paused", "--state", str(tmp_path / "state.json"))


def started(start_emulator: StartEmulator, arguments: tuple[str, ...]) -> EmulatorProcess:
    emulator = start_emulator(*arguments)
    emulator.open_account(KEY, SECRET, BALANCES)
    return emulator


def killed_once_saved(emulator: EmulatorProcess, arguments: tuple[str, ...], text: str) -> None:
    state = Path(arguments[-1])
    wait_until(lambda: state.exists() and text in state.read_text())
    emulator.kill()


def asked(client: SignedClient) -> tuple[object, ...]:
    return tuple(client.call("GET", f"/api/v3/{path}").document for path in ("allOrderList", "account", "openOrders"))


def status(emulator: EmulatorProcess, name: str) -> str:
    found = client_of(emulator).call("GET", "/api/v3/order", {"symbol": "BTCUSDT", "origClientOrderId": name}).document
    return str(found["status"])


def test_trailing_stop_goes_on_from_its_watermark_after_a_kill(start_emulator: StartEmulator, arguments: tuple[str, ...]) -> None:
    first = started(start_emulator, arguments)
    client = client_of(first)
    client.order(**SELL, type="STOP_LOSS", trailingDelta=1000, newClientOrderId="active")
    client.order(**SELL, type="TAKE_PROFIT", trailingDelta=1000, stopPrice="64000", newClientOrderId="waiting")
    first.price("63000")
    before = first.orders()
    killed_once_saved(first, arguments, '"63000"')

    second = start_emulator(*arguments)
    assert second.orders() == before
    second.price("56700.01")
    assert (status(second, "active"), status(second, "waiting")) == ("NEW", "NEW")
    second.price("56700")
    assert (status(second, "active"), status(second, "waiting")) == ("FILLED", "NEW")
    second.price("64000")
    second.price("57600")
    assert status(second, "waiting") == "FILLED"


@pytest.mark.parametrize("sells_at", ["58000", "61001"])
def test_bracket_goes_on_after_a_kill_wherever_it_stood(start_emulator: StartEmulator, arguments: tuple[str, ...], sells_at: str) -> None:
    first = started(start_emulator, arguments)
    client = client_of(first)
    waiting = place(client, "otoco", {**OTOCO, "workingPrice": "57500", "pendingBelowStopPrice": "55000", "pendingBelowPrice": "54000"})
    running = place(client, "otoco", OTOCO, listClientOrderId="running")
    first.price("59499", quantity="1")
    before = asked(client)
    killed_once_saved(first, arguments, '"FILLED"')

    second = start_emulator(*arguments)
    client = client_of(second)
    assert asked(client) == before
    second.price(sells_at, quantity="1")
    assert statuses(client, running) == ["FILLED", *(["FILLED", "EXPIRED"] if sells_at == "58000" else ["EXPIRED", "FILLED"])]
    assert statuses(client, waiting) == ["NEW", "PENDING_NEW", "PENDING_NEW"]
    assert balance(client, "BTC")[1] == 0
    second.price("57499", quantity="1")
    assert statuses(client, waiting) == ["FILLED", "NEW", "NEW"]
    assert place(client, "oco", OCO, abovePrice="62000", belowStopPrice="56000")["orderListId"] == running["orderListId"] + 1


def test_amendments_are_known_after_a_restart(start_emulator: StartEmulator, arguments: tuple[str, ...]) -> None:
    first = started(start_emulator, arguments)
    client = client_of(first)
    order = client.order(**SELL, type="LIMIT", timeInForce="GTC", price="60500", newClientOrderId="before").document
    wanted = {"symbol": "BTCUSDT", "orderId": order["orderId"]}
    client.call("PUT", "/api/v3/order/amend/keepPriority", {**wanted, "newQty": "0.04", "newClientOrderId": "after"})
    known = client.call("GET", "/api/v3/order/amendments", wanted).document
    first.stop()

    client = client_of(start_emulator(*arguments))
    assert client.call("GET", "/api/v3/order/amendments", wanted).document == known
    client.emulator.price("60501", quantity="1")
    assert status(client.emulator, "after") == "FILLED"
    client.order(**SELL, type="LIMIT", timeInForce="GTC", price="60600", newClientOrderId="next")
    again = {"symbol": "BTCUSDT", "origClientOrderId": "next", "newQty": "0.04"}
    assert client.call("PUT", "/api/v3/order/amend/keepPriority", again).document["executionId"] == known[-1]["executionId"] + 1


def test_file_of_an_earlier_release_is_read(start_emulator: StartEmulator, arguments: tuple[str, ...]) -> None:
    first = started(start_emulator, arguments)
    client_of(first).order(**SELL, type="LIMIT", timeInForce="GTC", price="60500", newClientOrderId="old")
    first.stop()
    state = Path(arguments[-1])
    document = orjson.loads(state.read_bytes())
    for name in ("watermarks", "last_list_id", "last_amendment_id"):
        del document[name]
    del document["accounts"][0]["lists"]
    for order in document["accounts"][0]["orders"]:
        for name in ("trailing_delta", "trailing_time", "list_id", "oco", "expiry_reason", "unit_reserve", "amendments"):
            del order[name]
    state.write_bytes(orjson.dumps(document))

    second = start_emulator(*arguments)
    second.price("60501", quantity="1")
    assert status(second, "old") == "FILLED"
