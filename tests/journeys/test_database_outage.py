"""The server's own database dies under it, and stays away for a while, with orders at the exchange."""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from app.core.database_url import DatabaseUrls
from app.core.file_lock import FileLock
from tests.emulator_process import EmulatorProcess, steps, write_candles
from tests.fault_matrix import row
from tests.journeys.conftest import end, settings_for
from tests.journeys.eventually import eventually
from tests.journeys.trader import Trader
from tests.postgres import data_folder
from tests.server_process import ServerProcess

#: A loaded machine takes its time; each wait ends as soon as what it waits for is there.
PATIENCE_S = 60.0
RESTING = {"symbol": "BTC/USDT", "side": "buy", "type": "limit", "quantity": "0.02", "price": "59500"}


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    """An exchange whose market stands at 60000 until a test moves it."""
    path = write_candles(tmp_path_factory.mktemp("standing") / "binance-BTCUSDT-1m-standing.csv", steps([60000.0] * 600))
    with EmulatorProcess("--replay", str(path), "--history", "60", "--paused") as process:
        yield process


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """The server's data folder, its database in it."""
    folder = data_folder()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def server(venue: EmulatorProcess, home: Path) -> Iterator[ServerProcess]:
    """A server with a database of its own, as a first start makes it."""
    settings = settings_for(venue, DatabaseUrls(owner="", app=""), registration="open", heartbeat_history_minutes=0)
    own = {name: value for name, value in settings.items() if not name.startswith("database_")}
    with ServerProcess(home, start_timeout_s=120, **own) as process:
        yield process
    end(process)


@pytest.fixture
def trader(server: ServerProcess, venue: EmulatorProcess) -> Iterator[Trader]:
    """A trader with an account and a webhook; the market is back where it was."""
    move(venue, "60000")
    trader = Trader(server, venue)
    yield trader.sign_up().set_up()
    trader.close()


def move(venue: EmulatorProcess, price: str) -> None:
    venue.control("POST", "/_price", {"symbol": "BTCUSDT", "price": price, "quantity": "100"})


def kill_database(home: Path) -> None:
    """`kill -9` of the postmaster, and wait until it is dead."""
    process = psutil.Process(int((home / "postgres" / "postmaster.pid").read_text().split()[0]))
    os.kill(process.pid, signal.SIGKILL)
    with suppress(psutil.Error):
        eventually(lambda: process.status() == psutil.STATUS_ZOMBIE, "the postmaster is dead", within_s=PATIENCE_S)


@contextmanager
def no_database(home: Path) -> Iterator[None]:
    """No database until the end of the block: who wants to start it needs the lock that is held here."""
    start = FileLock(home / "postgres-locks" / "start")
    eventually(start.try_acquire, "nobody is starting the database", within_s=PATIENCE_S)
    try:
        kill_database(home)
        yield
    finally:
        start.release()


def knock_until_taken(trader: Trader, **members: Any) -> None:
    """Send an alert as a sender does that repeats it until it is answered with 2xx."""
    body = json.dumps({"ticker": "BTCUSDT", "action": "buy", **members})
    eventually(lambda: trader.knock(body).status_code in (200, 202), "the alert is taken", within_s=PATIENCE_S)


def states(trader: Trader) -> dict[str, str]:
    """The states of all orders here by client order id, but for those that the exchange refused."""
    return {order["client_order_id"]: order["state"] for order in trader.orders() if order["state"] != "rejected"}


def states_there(trader: Trader) -> dict[str, str]:
    """The same, as the exchange has them."""
    words = {"NEW": "open", "PARTIALLY_FILLED": "partial", "FILLED": "filled", "CANCELED": "canceled", "EXPIRED": "expired"}
    return {order["clientOrderId"]: words[order["status"]] for order in trader.placed()}


def agrees(trader: Trader) -> bool:
    """Whether orders and holdings here are those of the exchange; while the database is starting, not yet."""
    with suppress(httpx.HTTPStatusError):
        held = sum((Decimal(position["quantity"]) for position in trader.positions()), Decimal(0))
        btc = trader.venue_balances().get("BTC", (Decimal(0), Decimal(0)))
        return states(trader) == states_there(trader) and abs(sum(btc) - held) < Decimal("0.00001")
    return False


@row(33)
def test_what_was_acknowledged_outlives_a_killed_database_and_the_engine_goes_on(trader: Trader, home: Path) -> None:
    bought = trader.decided(trader.alert(quantity="0.01"), within_s=PATIENCE_S)
    resting = trader.call("POST", "/api/orders", json=RESTING)
    pid = trader.server.pid
    kill_database(home)
    knock_until_taken(trader, quantity="0.03", client_intent_id="after-the-kill")
    eventually(lambda: agrees(trader) and len(trader.placed()) == 3, "the alert is traded and all agrees", within_s=PATIENCE_S)
    kept = {order["id"]: order["state"] for order in trader.orders()}
    assert (kept[bought["order_ids"][0]], kept[resting["id"]]) == ("filled", "open")
    assert psutil.pid_exists(pid), "the same process went on"
    move(trader.emulator, "59400")
    eventually(lambda: agrees(trader) and "open" not in states(trader).values(), "the engine sees the next fill", within_s=PATIENCE_S)


@row(34)
def test_orders_that_fill_while_there_is_no_database_are_caught_up_and_nothing_new_is_sent(
    trader: Trader, venue: EmulatorProcess, home: Path
) -> None:
    trader.call("POST", "/api/orders", json={"symbol": "BTC/USDT", "side": "buy", "quantity": "0.01", "stop_loss": "59000"})
    # Each with its stop: whichever fill is caught up first, what is held is guarded.
    trader.call("POST", "/api/orders", json={**RESTING, "stop_loss": "59000"})
    eventually(lambda: list(states_there(trader).values()).count("open") == 2, "a limit and a stop rest", within_s=PATIENCE_S)
    wish = {"symbol": "BTC/USDT", "side": "buy", "quantity": "0.04", "stop_loss": "59000"}
    venue.fault("delay", method="POST", path="/api/v3/order", delay_ms=2000)
    with ThreadPoolExecutor() as pool:
        in_flight = pool.submit(trader.call, "POST", "/api/orders", json=wish, headers={"Idempotency-Key": "in-flight"})
        eventually(lambda: len(trader.placed()) == 4, "one more order is on its way", within_s=PATIENCE_S)
        with no_database(home):
            with pytest.raises(httpx.HTTPError):
                in_flight.result(PATIENCE_S)
            before = states_there(trader)
            refused = [trader.knock(json.dumps({"ticker": "BTCUSDT", "action": "buy", "quantity": "0.05"})).status_code for _ in range(2)]
            assert refused == [503, 503], "a sender that is told so repeats later"
            move(venue, "59400")
            move(venue, "58900")
            assert states_there(trader) == dict.fromkeys(before, "filled"), "the exchange guards, and nothing new was sent"
    eventually(lambda: agrees(trader) and not trader.positions(), "all is caught up, and the stop closed what filled", within_s=PATIENCE_S)
    again = trader.call("POST", "/api/orders", json=wish, headers={"Idempotency-Key": "in-flight"})
    assert again["state"] == "filled"
    assert [order["side"] for order in trader.placed()].count("BUY") == 3, "nothing was bought twice"
    fills = trader.call("GET", "/api/fills?limit=100")["items"]
    assert sum(Decimal(fill["quantity"]) for fill in fills) == sum(Decimal(order["executedQty"]) for order in trader.placed())
