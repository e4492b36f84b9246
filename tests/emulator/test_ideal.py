from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.emulator.conftest import SECRET, StartEmulator
from tests.emulator_process import MINUTE_MS, EmulatorProcess, SignedClient, write_candles

FIRST_MS = 1_700_000_040_000
QUARTER_MS = MINUTE_MS // 4
#: Two minutes that have passed; the third opens beyond the close before it, falls to 98, rises to 104 and ends where it began.
BARS = [(100, 100, 100, 100), (100, 101, 99, 100), (101, 104, 98, 101), (95, 96, 94, 95), (95, 95, 95, 95)]


@pytest.fixture
def market(start_emulator: StartEmulator, tmp_path: Path) -> EmulatorProcess:
    """A market as backtests assume it, at the end of its second minute."""
    rows = [(FIRST_MS + index * MINUTE_MS, *prices, 480) for index, prices in enumerate(BARS)]
    path = write_candles(tmp_path / "binance-XYZUSDT-1m-bars.csv", rows)
    emulator = start_emulator("--replay", str(path), "--history", "2", "--no-shift", "--clock", "virtual", "--ideal", "0.01")
    emulator.change_symbol("XYZUSDT", tick="0.01", step="0.001")
    return emulator


def client_of(emulator: EmulatorProcess, **account: Any) -> SignedClient:
    balances = {"USDT": "100000", "XYZ": "100"}
    emulator.control("POST", "/_accounts", {"api_key": "k", "api_secret": SECRET, "balances": balances, **account})
    return SignedClient(emulator=emulator, api_key="k", api_secret=SECRET)


def sent(client: SignedClient, **params: str) -> Any:
    moment = int(client.emulator.get("/api/v3/time")["serverTime"])
    given = {"symbol": "XYZUSDT", "newOrderRespType": "FULL", **params}
    reply = client.call("POST", "/api/v3/order", given, timestamp=moment)
    assert reply.status == 200, reply
    return reply.document


def filled_at(client: SignedClient, order: Any) -> Decimal:
    found = next(each for each in client.placed() if each["orderId"] == order["orderId"])
    return Decimal(found["cummulativeQuoteQty"]) / Decimal(found["executedQty"]) if Decimal(found["executedQty"]) else Decimal(0)


def test_market_orders_get_the_last_price_moved_by_the_slippage_however_large_they_are(market: EmulatorProcess) -> None:
    client = client_of(market)
    assert filled_at(client, sent(client, side="BUY", type="MARKET", quantity="900")) == Decimal("102.01")
    assert filled_at(client, sent(client, side="SELL", type="MARKET", quantity="900")) == Decimal("99.99")


def test_the_worse_end_of_a_minute_comes_first_a_quarter_of_it_later(market: EmulatorProcess) -> None:
    seen = []
    for _ in range(4):
        seen.append(market.state()["symbols"]["XYZUSDT"]["last_price"])
        market.advance_ms(QUARTER_MS)
    assert list(map(Decimal, seen)) == [101, 98, 104, 101]


def test_a_stop_on_the_way_wakes_at_its_own_price(market: EmulatorProcess) -> None:
    client = client_of(market)
    stop = sent(client, side="SELL", type="STOP_LOSS", quantity="1", stopPrice="99.37")
    market.advance_ms(QUARTER_MS)
    assert filled_at(client, stop) == Decimal("98.37")  # 99.37 less one percent, on the tick below


def test_a_stop_beyond_which_a_minute_opens_wakes_at_the_open(market: EmulatorProcess) -> None:
    client = client_of(market)
    stop = sent(client, side="SELL", type="STOP_LOSS", quantity="1", stopPrice="97")
    market.advance_ms(MINUTE_MS)
    assert filled_at(client, stop) == Decimal("94.05")  # not on the way from 101, for there was none


def test_a_limit_fills_whole_when_the_market_goes_through_it_and_not_when_it_touches(market: EmulatorProcess) -> None:
    client = client_of(market)
    through, touched = (
        sent(client, side="SELL", type="LIMIT", timeInForce="GTC", quantity="50", price=price) for price in ("103.99", "104")
    )
    market.advance_ms(3 * QUARTER_MS)
    assert (filled_at(client, through), filled_at(client, touched)) == (Decimal("103.99"), Decimal(0))


def test_an_account_may_pay_its_fees_in_the_quote_asset(market: EmulatorProcess) -> None:
    client = client_of(market, quote_fee=True)
    bought = sent(client, side="BUY", type="MARKET", quantity="10")
    (fill,) = bought["fills"]
    assert (fill["commissionAsset"], Decimal(fill["commission"])) == ("USDT", Decimal("1.0201"))
