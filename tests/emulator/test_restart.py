import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from tests.emulator.conftest import BALANCES, NOW_MINUTE, SECRET, StartEmulator
from tests.emulator_process import EmulatorProcess, SignedClient, steps, write_candles

KEY = "key-of-a-test"
LIMIT: dict[str, str | int] = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.1"}


def wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def client_of(emulator: EmulatorProcess) -> SignedClient:
    return SignedClient(emulator=emulator, api_key=KEY, api_secret=SECRET)


@pytest.mark.parametrize("is_killed", [False, True])
def test_accounts_orders_and_market_survive_a_restart(
    start_emulator: StartEmulator, script: Path, tmp_path: Path, *, is_killed: bool
) -> None:
    state = tmp_path / "state.json"
    arguments = ("--replay", str(script), "--history", str(NOW_MINUTE), "--paused", "--state", str(state))
    first = start_emulator(*arguments)
    first.open_account(KEY, SECRET, BALANCES)
    client = client_of(first)
    done = client.order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.25", newClientOrderId="done").document
    client.order(**LIMIT, price="59500", newClientOrderId="resting")
    before = client.call("GET", "/api/v3/account").document
    orders, market_time = first.orders(), first.state()["market_time"]
    if is_killed:
        wait_until(lambda: state.exists() and "resting" in state.read_text())
        first.kill()
    else:
        first.stop()
    assert stat.S_IMODE(state.stat().st_mode) == 0o600

    second = start_emulator(*arguments)
    client = client_of(second)
    assert client.call("GET", "/api/v3/account").document == before
    assert (second.orders(), second.state()["market_time"]) == (orders, market_time)
    second.advance(20)
    filled = client.call("GET", "/api/v3/order", {"symbol": "BTCUSDT", "origClientOrderId": "resting"}).document
    assert (filled["status"], filled["executedQty"]) == ("FILLED", "0.10000000")
    again = client.order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.1").document
    assert again["orderId"] == done["orderId"] + 2
    assert again["fills"][0]["tradeId"] > done["fills"][-1]["tradeId"]


def test_resting_order_meets_what_happened_while_it_was_down(start_emulator: StartEmulator, tmp_path: Path) -> None:
    path = write_candles(tmp_path / "binance-BTCUSDT-1m-x.csv", steps([*([60000.0] * 70), *range(59900, 58900, -100), *([59000.0] * 3000)]))
    arguments = ("--replay", str(path), "--history", "60", "--speed", "600", "--state", str(tmp_path / "state.json"))
    first = start_emulator(*arguments, "--paused")
    first.open_account(KEY, SECRET, BALANCES)
    client_of(first).order(**LIMIT, price="59500", newClientOrderId="resting")
    stop = {**LIMIT, "side": "SELL", "type": "STOP_LOSS_LIMIT", "price": "59000", "stopPrice": "59700"}
    client_of(first).order(**stop, newClientOrderId="stop")
    first.control("POST", "/_resume")
    resumed = time.monotonic()
    first.stop()
    assert '"executed":"0"' in (tmp_path / "state.json").read_text()

    # The fall begins ten market minutes, one second, after the market went on, and takes another.
    wait_until(lambda: time.monotonic() > resumed + 2.5)
    restarted_ms = time.time_ns() // 1_000_000
    second = start_emulator(*arguments)
    for name in ("resting", "stop"):
        found = client_of(second).call("GET", "/api/v3/order", {"symbol": "BTCUSDT", "origClientOrderId": name}).document
        assert found["status"] == "FILLED"
        assert found["time"] <= found["updateTime"] < restarted_ms


def test_generated_market_goes_on_after_a_restart(start_emulator: StartEmulator, tmp_path: Path) -> None:
    arguments = ("--state", str(tmp_path / "state.json"), "--history", "300")
    first = start_emulator(*arguments, "--seed", "5")
    candles = first.get("/api/v3/klines", symbol="BTCUSDT", interval="1m", limit=50)[:-1]
    first.stop()
    second = start_emulator(*arguments)
    again = second.get("/api/v3/klines", symbol="BTCUSDT", interval="1m", startTime=candles[0][0], limit=len(candles))
    assert again == candles


def test_account_can_be_kept_or_replaced(start_emulator: StartEmulator, script: Path) -> None:
    emulator = start_emulator("--replay", str(script), "--history", str(NOW_MINUTE), "--paused")
    emulator.open_account(KEY, SECRET, BALANCES)
    client_of(emulator).order(**LIMIT, price="59500")
    kept = {"api_key": KEY, "api_secret": SECRET, "balances": {"USDT": "1"}, "if_absent": True}
    assert emulator.control("POST", "/_accounts", kept)["created"] is False
    assert len(client_of(emulator).call("GET", "/api/v3/openOrders").document) == 1
    emulator.open_account(KEY, SECRET, {"USDT": "7"})
    assert client_of(emulator).call("GET", "/api/v3/openOrders").document == []
    assert Decimal(client_of(emulator).call("GET", "/api/v3/account").document["balances"][0]["free"]) == 7


@pytest.mark.parametrize("content", ["{", "[]", '{"version": 99}'])
def test_file_that_is_no_state_is_not_overwritten(tmp_path: Path, content: str) -> None:
    state = tmp_path / "state.json"
    state.write_text(content)
    with pytest.raises(RuntimeError, match="state"):
        EmulatorProcess("--state", str(state)).start()
    assert state.read_text() == content


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_stop_it_cleanly(number: signal.Signals) -> None:
    process = subprocess.Popen([sys.executable, "-m", "app.emulator"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(number)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out, "Traceback" in err) == (0, "", False)


def test_it_ends_when_its_parent_dies() -> None:
    code = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-m', 'app.emulator', '--parent-pid', str(os.getpid())], stdout=subprocess.PIPE)\n"
        "print(child.stdout.readline().decode(), child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert parent.stdout is not None
    parent.stdout.readline()
    child = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    wait_until(lambda: not is_running(child))


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")
