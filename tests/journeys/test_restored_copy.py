"""The server's database is brought back from a copy of earlier: what was traded since then is at the exchange only."""

import shutil
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import psutil
import pytest

from app.core.database_url import DatabaseUrls
from tests.emulator_process import EmulatorProcess
from tests.fault_matrix import row
from tests.journeys.conftest import MakeTrader, end, settings_for
from tests.journeys.eventually import eventually
from tests.postgres import data_folder
from tests.server_process import ServerProcess

PATIENCE_S = 60.0
LIMIT = {"symbol": "BTC/USDT", "side": "buy", "type": "limit"}


@pytest.fixture
def home() -> Iterator[Path]:
    """The server's data folder, its database in it."""
    folder = data_folder()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def server(paused_market: EmulatorProcess, home: Path) -> Iterator[ServerProcess]:
    """A server with a database of its own, as a first start makes it."""
    settings = settings_for(paused_market, DatabaseUrls(owner="", app=""), registration="open", heartbeat_history_minutes=0)
    own = {name: value for name, value in settings.items() if not name.startswith("database_")}
    with ServerProcess(home, start_timeout_s=120, **own) as process:
        yield process
    end(process)


def copy(source: Path, to: Path) -> None:
    """Copy a folder with its owners, as a backup does."""
    subprocess.run(["cp", "-a", str(source), str(to)], check=True)  # a fixed command


def stop(server: ServerProcess, home: Path) -> None:
    """Stop the server, and wait until its database has stopped too: only then its files are a copy of one moment."""
    pid = int((home / "postgres" / "postmaster.pid").read_text().split()[0])
    server.stop()
    eventually(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, "it stops", within_s=PATIENCE_S)


@row(35)
def test_what_was_traded_since_the_copy_is_found_taken_over_and_said(
    server: ServerProcess, home: Path, paused_market: EmulatorProcess, make_trader: MakeTrader, tmp_path: Path
) -> None:
    trader = make_trader(server, paused_market).sign_up().set_up()
    before = trader.call("POST", "/api/orders", json={**LIMIT, "quantity": "0.01", "price": "50000"})
    canceled = trader.call("POST", "/api/orders", json={**LIMIT, "quantity": "0.01", "price": "51000"})
    stop(server, home)
    copy(home / "postgres", tmp_path / "copy")

    server.start()
    trader.call("DELETE", f"/api/orders/{canceled['id']}")
    later = trader.call("POST", "/api/orders", json={**LIMIT, "quantity": "0.02", "price": "52000"})
    bought = trader.call("POST", "/api/orders", json={"symbol": "BTC/USDT", "side": "buy", "quantity": "0.03", "stop_loss": "59000"})
    eventually(lambda: [order["type"] for order in trader.placed()].count("STOP_LOSS") == 1, "its stop is there", within_s=PATIENCE_S)
    there = {order["clientOrderId"] for order in trader.placed()}
    stop(server, home)
    shutil.rmtree(home / "postgres")
    copy(tmp_path / "copy", home / "postgres")

    server.start()

    def known() -> dict[str, str]:
        return {order["client_order_id"]: order["state"] for order in trader.orders()}

    eventually(
        lambda: set(known()) == there and set(known().values()) <= {"open", "filled", "canceled"}, "all is known", within_s=PATIENCE_S
    )
    states = known()
    assert states[before["client_order_id"]] == states[later["client_order_id"]] == "open"
    assert states[canceled["client_order_id"]] == "canceled"
    assert states[bought["client_order_id"]] == "filled"
    (position,) = trader.positions()
    assert Decimal(position["quantity"]) == Decimal("0.02997")
    restraints = trader.call("GET", "/api/risk/states")
    assert "ORPHAN_FOUND" in str(restraints), "entries are off until a person has looked"
    assert {order["clientOrderId"] for order in trader.placed()} == there, "nothing was sent anew"
    paused_market.control("POST", "/_price", {"symbol": "BTCUSDT", "price": "58900", "quantity": "100"})
    eventually(lambda: not trader.positions(), "the stop of before closes the position that was found", within_s=PATIENCE_S)
