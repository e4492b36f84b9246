import asyncio
import csv
import gzip
import random
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from app.core.database_url import DatabaseUrls
from tests.emulator_process import MINUTE_MS, EmulatorProcess, write_candles
from tests.journeys.conftest import MakeTrader, StartServer
from tests.journeys.eventually import eventually
from tests.journeys.trader import BALANCES, SYMBOL, Trader
from tests.postgres import connected
from tests.shared_data import shared_data

RECORDED = "binance-BTCUSDT-1m-2021-04-02_2021-05-14.csv.gz"
HISTORY_MINUTES = 500
BACKFILLED = 300
LIVE = 10

Row = tuple[int, float, float, float, float, float]


def made_up_file(folder: Path) -> Path:
    """A recording of a market that never was: a walk with the decimals of a real one, 3,000 minutes long."""
    dice = random.Random(2021)
    rows: list[tuple[object, ...]] = []
    price = 5_900_000
    for minute in range(3000):
        close = max(1_000_000, price + dice.randint(-4000, 4000))
        high, low = max(price, close) + dice.randint(0, 1500), min(price, close) - dice.randint(0, 1500)
        cents = (f"{value / 100:.2f}" for value in (price, high, low, close))
        rows.append((1_617_321_600_000 + minute * MINUTE_MS, *cents, f"{dice.randint(1, 90_000_000) / 1_000_000:.6f}"))
        price = close
    return write_candles(folder / "binance-BTCUSDT-1m-made-up.csv", rows)


@pytest.fixture(params=["recorded", "made up"])
def recording(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A file of candles: real ones of 2021 where they are at hand, and made-up ones everywhere."""
    return shared_data() / "candles" / RECORDED if request.param == "recorded" else made_up_file(tmp_path)


@pytest.fixture
def replayed(recording: Path) -> Iterator[EmulatorProcess]:
    """An exchange that replays the recording, ten minutes each second."""
    with EmulatorProcess("--replay", str(recording), "--history", str(HISTORY_MINUTES), "--speed", "600") as process:
        yield process


def rows_of(recording: Path, *, shift_ms: int) -> dict[int, Row]:
    """The file's candles by the open time that the emulator gives them."""
    with gzip.open(recording, "rt") if recording.suffix == ".gz" else recording.open() as lines:
        listed = [(int(row[0]) + shift_ms, *map(float, row[1:6])) for row in list(csv.reader(lines))[1:]]
    return {row[0]: row for row in listed}  # type: ignore[misc]  # six fields, as the header says


def test_an_alert_becomes_an_order_a_fill_a_position_and_a_portfolio_that_adds_up(
    replayed: EmulatorProcess, recording: Path, start_server: StartServer, make_trader: MakeTrader, database_urls: DatabaseUrls
) -> None:
    trader = make_trader(start_server(replayed, heartbeat_history_minutes=HISTORY_MINUTES - 100), replayed).log_in()
    assert trader.call("GET", "/api/auth/current")["username"] == "admin"

    trader.open_account()
    trader.add_broker()
    found = trader.call("POST", f"/api/brokers/{trader.broker_id}/test_connection")
    assert found["success"] is True
    assert found["balances"] == [{"asset": "USDT", "free": BALANCES["USDT"], "locked": "0"}]

    stored_candles_equal_the_file(trader, recording, database_urls)

    trader.add_webhook()
    delivery = trader.decided(trader.alert(quantity="0.01"))
    assert delivery["decision"] == "executed"
    (order,) = trader.orders()
    assert delivery["order_ids"] == [order["id"]]
    assert (order["symbol"], order["side"], order["source"], order["quantity"]) == (SYMBOL, "buy", "webhook", "0.01")
    assert 0 < delivery["latencies_ms"]["sent"] <= delivery["latencies_ms"]["acknowledged"] <= delivery["latencies_ms"]["decided"] < 10_000

    filled = eventually(lambda: next((o for o in trader.orders() if o["state"] == "filled"), None), "the order is filled")
    (placed,) = trader.placed()
    assert (filled["client_order_id"], filled["venue_order_id"]) == (placed["clientOrderId"], str(placed["orderId"]))
    assert Decimal(filled["filled_quantity"]) == Decimal(placed["executedQty"]) == Decimal("0.01")
    the_portfolio_adds_up(trader, placed)


def stored_candles_equal_the_file(trader: Trader, recording: Path, urls: DatabaseUrls) -> None:
    def counted() -> dict[str, int]:
        return asyncio.run(candles_by_source(urls))

    eventually(lambda: counted().get("stream", 0) >= LIVE + 5, "live candles are stored", within_s=20)
    by_source = counted()
    assert by_source["rest"] >= BACKFILLED

    answer = trader.call("GET", f"/api/ohlcv?exchange=binance&symbol={SYMBOL}&timeframe=1m&limit=1500")
    shown: list[Any] = answer["items"][:-1] if answer["is_last_open"] else answer["items"]
    assert len(shown) >= BACKFILLED + LIVE
    first = shown[0][0]
    assert [row[0] for row in shown] == [first + index * MINUTE_MS for index in range(len(shown))]
    source = rows_of(recording, shift_ms=trader.emulator.state()["shift_ms"])
    assert [tuple(row) for row in shown] == [source[row[0]] for row in shown]


async def candles_by_source(urls: DatabaseUrls) -> dict[str, int]:
    async with connected(urls.owner) as connection:
        rows = await connection.fetch("SELECT source, count(*) AS count FROM candles WHERE timeframe = '1m' GROUP BY source")
    return {row["source"]: row["count"] for row in rows}


def the_portfolio_adds_up(trader: Trader, placed: Any) -> None:
    fills = trader.call("GET", "/api/fills")["items"]
    cost = sum(Decimal(fill["price"]) * Decimal(fill["quantity"]) for fill in fills)
    fees = sum(Decimal(fill["fee"]) for fill in fills)
    assert sum(Decimal(fill["quantity"]) for fill in fills) == Decimal("0.01")
    assert cost == Decimal(placed["cummulativeQuoteQty"])
    assert {fill["fee_asset"] for fill in fills} == {"BTC"}

    # The market stands still from here on, so that everything is valued at one price.
    trader.emulator.control("POST", "/_pause")
    expected = {"USDT": (Decimal(BALANCES["USDT"]) - cost, Decimal(0)), "BTC": (Decimal("0.01") - fees, Decimal(0))}
    assert trader.venue_balances() == expected
    eventually(lambda: trader.shown_balances() == expected, "the balances shown are those at the exchange")

    (position,) = trader.positions()
    assert (position["symbol"], position["source"], position["broker_id"]) == (SYMBOL, "webhook", trader.broker_id)
    assert Decimal(position["quantity"]) == expected["BTC"][0]
    average, mark = Decimal(position["average_price"]), Decimal(position["mark_price"])
    assert Decimal(position["unrealized_pnl"]) == pytest.approx((mark - average) * expected["BTC"][0], abs=Decimal("0.01"))

    portfolio = trader.portfolio()
    assert Decimal(portfolio["total_usdt"]) == sum(Decimal(line["value_usdt"]) for line in portfolio["balances"])
    last_price = Decimal(trader.emulator.state()["symbols"]["BTCUSDT"]["last_price"])
    assert Decimal(portfolio["total_usdt"]) == pytest.approx(expected["USDT"][0] + expected["BTC"][0] * last_price, rel=Decimal("0.01"))
    assert [held["id"] for held in portfolio["positions"]] == [position["id"]]
    # A bought position costs its fee at once: what was paid for is a little more than what is held.
    assert average == pytest.approx(cost / Decimal("0.01"), rel=Decimal("0.002"))
