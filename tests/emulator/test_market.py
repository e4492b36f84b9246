from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.candles import Timeframe
from app.emulator.bars import MINUTE_MS, minute_bar, walk
from app.emulator.config import EmulatorConfig
from app.emulator.filters import rules_for, split_symbol
from app.emulator.market import MinuteEnd, SymbolMarket
from app.emulator.sources import GENERATOR_EPOCH_MS, GeneratedSource, replayed
from app.errors import ConfigError
from tests.emulator_process import steps, write_candles

TICK, STEP = Decimal("0.01"), Decimal("0.00001")


@st.composite
def bar_texts(draw: st.DrawFn) -> list[str]:
    low = draw(st.integers(1, 10_000_000))
    high = low + draw(st.integers(0, 100_000))
    first, last = draw(st.integers(low, high)), draw(st.integers(low, high))
    volume = draw(st.decimals("0", "100000", places=draw(st.sampled_from([0, 3, 5, 8]))))
    return [*(str(number * TICK) for number in (first, high, low, last)), str(volume)]


@given(bar_texts())
def test_walk_opens_touches_both_extremes_closes_and_adds_up(texts: list[str]) -> None:
    bar = minute_bar(0, texts)
    trades = walk(bar, symbol="BTCUSDT", tick_size=TICK, step_size=STEP)
    assert sum((trade.quantity for trade in trades), Decimal(0)) == bar.volume
    assert all(bar.low <= trade.price <= bar.high and trade.price % TICK == 0 for trade in trades)
    assert all(0 <= trade.time < MINUTE_MS for trade in trades)
    assert [trade.time for trade in trades] == sorted(trade.time for trade in trades)
    if len(trades) >= 4:
        prices = [trade.price for trade in trades]
        assert (prices[0], max(prices), min(prices), prices[-1]) == (bar.open, bar.high, bar.low, bar.close)


def generated(seed: int = 1) -> GeneratedSource:
    return GeneratedSource("BTCUSDT", price=Decimal(60000), seed=seed, tick_size=TICK, step_size=STEP)


def test_generated_candles_are_sound_and_continuous() -> None:
    bars = list(generated().bars(GENERATOR_EPOCH_MS, GENERATOR_EPOCH_MS + 3000 * MINUTE_MS))
    assert len(bars) == 3001
    for before, bar in pairwise(bars):
        assert bar.open == before.close
        assert 0 < bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high
        assert bar.volume > 0


def test_generated_market_stays_around_its_price_and_clusters_its_volatility() -> None:
    source = generated()
    weekly = [
        next(source.bars(moment, moment)).close for moment in range(GENERATOR_EPOCH_MS, GENERATOR_EPOCH_MS + 200 * 10**9, 604_800_000)
    ]
    assert Decimal(40_000) < min(weekly) < max(weekly) < Decimal(90_000)
    assert max(weekly) / min(weekly) > Decimal("1.05")
    bars = list(source.bars(GENERATOR_EPOCH_MS, GENERATOR_EPOCH_MS + 5000 * MINUTE_MS))
    moves = [abs(float(bar.close / bar.open) - 1) for bar in bars]
    mean = sum(moves) / len(moves)
    spread = sum((move - mean) ** 2 for move in moves)
    assert sum((a - mean) * (b - mean) for a, b in pairwise(moves)) / spread > 0.1


def test_any_moment_is_reached_without_the_ones_before() -> None:
    moment = GENERATOR_EPOCH_MS + 1_000_000 * MINUTE_MS
    assert next(generated().bars(moment, moment)) == list(generated().bars(moment - 500 * MINUTE_MS, moment))[-1]


def market_of(path: Path, *, minute: int) -> SymbolMarket:
    source = replayed(path)
    rules = rules_for(source.symbol, price_decimals=2, quantity_decimals=5, price=Decimal(100))
    return SymbolMarket(rules, source, shift_ms=0, start_ms=source.first_ms + minute * MINUTE_MS)


def test_skipping_the_trades_ends_in_the_same_place(tmp_path: Path) -> None:
    path = write_candles(tmp_path / "x-BTCUSDT-1m-x.csv", steps(range(100, 140)))
    ends = []
    for with_trades in (True, False):
        market = market_of(path, minute=2)
        events = list(market.advance(market.minute + 10 * MINUTE_MS + 30_000, with_trades=with_trades))
        ends.append((market.last_price, market.open_bar, market.minute, [event for event in events if isinstance(event, MinuteEnd)]))
    assert ends[0] == ends[1]


def test_nothing_of_the_future_is_shown(tmp_path: Path) -> None:
    market = market_of(write_candles(tmp_path / "x-BTCUSDT-1m-x.csv", steps(range(100, 140))), minute=10)
    list(market.advance(market.minute + 20_000, with_trades=True))
    shown = market.candles(Timeframe.M1, start_ms=None, end_ms=None, limit=1000)
    assert shown[-1].open_time == market.minute
    assert shown[-1].close == market.last_price < Decimal(111)
    assert market.candles(Timeframe.M1, start_ms=market.minute + 1, end_ms=None, limit=5) == []
    assert all(trade.time <= market.minute + 20_000 for trade in market.trades(0, 2**62))


def test_price_stands_still_in_a_hole(tmp_path: Path) -> None:
    rows = steps(range(100, 140))
    market = market_of(write_candles(tmp_path / "x-BTCUSDT-1m-x.csv", rows[:10] + rows[15:]), minute=9)
    events = list(market.advance(market.minute + 3 * MINUTE_MS, with_trades=True))
    assert [event.bar is None for event in events if isinstance(event, MinuteEnd)] == [False, True, True]
    assert market.last_price == Decimal(110)
    assert market.depth().bids[0].price < market.depth().asks[0].price


HEADER = "open_time,open,high,low,close,volume\n"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "time,o,h,l,c,v\n",
        HEADER,
        f"{HEADER}x,1,1,1,1,1\n",
        f"{HEADER}60001,1,1,1,1,1\n",
        f"{HEADER}60000,1,1,1,1,1\n60000,1,1,1,1,1\n",
    ],
)
def test_file_that_is_no_recording_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "binance-BTCUSDT-1m-x.csv"
    path.write_text(content)
    with pytest.raises(ConfigError):
        replayed(path)


def test_symbol_comes_from_the_files_name_or_is_given(tmp_path: Path) -> None:
    named = write_candles(tmp_path / "binance-um-AVAXUSDT-1m-2026.csv", steps([1, 2, 3]))
    unnamed = write_candles(tmp_path / "candles.csv", steps([1, 2, 3]))
    assert replayed(named).symbol == "AVAXUSDT"
    assert replayed(unnamed, symbol="ETHBTC").symbol == "ETHBTC"
    with pytest.raises(ConfigError, match="--symbol"):
        replayed(unnamed)


def test_symbols_split_into_base_and_quote() -> None:
    assert [split_symbol(symbol) for symbol in ("BTCUSDT", "XRPETH", "ETHBTC")] == [("BTC", "USDT"), ("XRP", "ETH"), ("ETH", "BTC")]
    with pytest.raises(ConfigError):
        split_symbol("NOQUOTE1")


def test_only_loopback_is_a_host() -> None:
    for host in ("127.0.0.1", "::1", "localhost", "127.1.2.3"):
        EmulatorConfig(host=host)
    for host in ("0.0.0.0", "::", "192.168.1.1", "example.com", ""):
        with pytest.raises(ConfigError, match="loopback"):
            EmulatorConfig(host=host)
