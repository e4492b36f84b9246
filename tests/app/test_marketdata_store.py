import math
import random
import struct
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from app.core.db import Database
from app.domain.candles import Candle, Timeframe, from_milliseconds
from app.errors import InvalidInput
from app.marketdata.aggregate import aggregate, to_array, to_candles
from app.marketdata.bulk import CANDLE_DTYPE, decode
from app.marketdata.models import CandleSource
from app.marketdata.queries import read_chart
from app.marketdata.store import CandleStore, Close
from tests.fault_matrix import row
from tests.recorded import candle_rows

START = datetime(2026, 1, 31, 23, 58, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def candle(minute: int, close: float = 100.0, volume: float = 1.5) -> Candle:
    return Candle(
        open_time=START + minute * MINUTE, open=99.0, high=max(close, 99.0) + 1, low=min(close, 99.0) - 1, close=close, volume=volume
    )


@pytest.fixture
def store(database: Database) -> CandleStore:
    return CandleStore(database)


async def put(store: CandleStore, *candles: Candle, symbol: str = "BTC/USDT") -> set[tuple[str, str, datetime]]:
    return await store.upsert("binance", [Close(symbol, Timeframe.M1, c) for c in candles], source=CandleSource.STREAM)


@pytest.mark.asyncio
async def test_candles_of_two_months_are_stored_and_come_back_in_order(store: CandleStore) -> None:
    await put(store, candle(3), candle(0), candle(1), candle(2))

    found = await store.latest("binance", "BTC/USDT", Timeframe.M1, limit=3)

    assert found == [candle(1), candle(2), candle(3)]
    assert found[0].open_time.month == 1
    assert found[-1].open_time.month == 2


@pytest.mark.asyncio
async def test_the_same_candle_again_changes_nothing(store: CandleStore) -> None:
    first = await put(store, candle(0))
    second = await put(store, candle(0))

    assert len(first) == 1
    assert second == set()


@row(13)
@pytest.mark.asyncio
async def test_a_later_version_of_a_candle_replaces_the_earlier_one_and_says_so(store: CandleStore) -> None:
    await put(store, candle(0, close=100.0))

    changed = await put(store, candle(0, close=101.0))

    assert changed == {("BTC/USDT", "1m", START)}
    assert await store.latest("binance", "BTC/USDT", Timeframe.M1, limit=5) == [candle(0, close=101.0)]


@pytest.mark.asyncio
async def test_one_batch_may_hold_the_same_candle_twice_and_the_last_one_counts(store: CandleStore) -> None:
    await put(store, candle(0, close=100.0), candle(0, close=102.0))

    assert await store.latest("binance", "BTC/USDT", Timeframe.M1, limit=5) == [candle(0, close=102.0)]


@pytest.mark.asyncio
async def test_the_newest_open_time_is_known_per_symbol(store: CandleStore) -> None:
    await put(store, candle(0), candle(1))
    await put(store, candle(0), symbol="ETH/USDT")

    newest = await store.last_open_times("binance", Timeframe.M1, ["BTC/USDT", "ETH/USDT", "XRP/USDT"])

    assert newest == {"BTC/USDT": START + MINUTE, "ETH/USDT": START}


@pytest.mark.asyncio
async def test_a_range_starts_inclusive_and_ends_exclusive(store: CandleStore) -> None:
    await put(store, *(candle(minute) for minute in range(5)))

    found = await store.between("binance", "BTC/USDT", Timeframe.M1, start=START + MINUTE, end=START + 3 * MINUTE, limit=10)

    assert [c.open_time for c in found] == [START + MINUTE, START + 2 * MINUTE]


@pytest.mark.asyncio
async def test_any_double_makes_the_round_trip_bit_by_bit(store: CandleStore) -> None:
    source = random.Random(7)
    patterns = [struct.unpack("<d", source.randbytes(8))[0] for _ in range(400)]
    finite = [abs(v) for v in patterns if math.isfinite(v)]
    values = [*finite[:300], 0.1, 1e-8, 5e-324, 1.7976931348623157e308, 0.0]
    candles = [Candle(open_time=START + i * MINUTE, open=v, high=v, low=v, close=v, volume=v) for i, v in enumerate(values)]
    await put(store, *candles)

    rows = await store.between("binance", "BTC/USDT", Timeframe.M1, start=START, limit=1000)
    array = await store.array("binance", "BTC/USDT", Timeframe.M1)

    assert [struct.pack("<d", c.close) for c in rows] == [struct.pack("<d", v) for v in values]
    assert array.tobytes() == to_array(candles).tobytes()


@pytest.mark.asyncio
async def test_history_loaded_by_copy_equals_the_file(store: CandleStore) -> None:
    rows = np.array(candle_rows("binance-BTCUSDT-1m-2021-04-02_2021-05-14.csv.gz"), CANDLE_DTYPE)

    loaded = await store.load("binance", "BTC/USDT", Timeframe.M1, rows, source=CandleSource.IMPORT)
    stored = await store.array("binance", "BTC/USDT", Timeframe.M1)

    assert loaded == len(rows) > 60_000
    assert stored.tobytes() == rows.tobytes()


@pytest.mark.asyncio
async def test_history_over_stored_candles_merges(store: CandleStore) -> None:
    await put(store, candle(1, close=500.0))
    rows = to_array([candle(minute) for minute in range(4)])

    await store.load("binance", "BTC/USDT", Timeframe.M1, rows, source=CandleSource.IMPORT)

    assert (await store.array("binance", "BTC/USDT", Timeframe.M1)).tobytes() == rows.tobytes()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("times", "close"),
    [([60_000, 60_000], 1.0), ([120_000, 60_000], 1.0), ([60_001, 120_000], 1.0), ([60_000, 120_000], float("nan"))],
)
async def test_history_that_is_not_a_candle_series_is_refused(store: CandleStore, times: list[int], close: float) -> None:
    rows = np.array([(moment, 1.0, 1.0, 1.0, close, 1.0) for moment in times], CANDLE_DTYPE)

    with pytest.raises(InvalidInput):
        await store.load("binance", "BTC/USDT", Timeframe.M1, rows, source=CandleSource.IMPORT)


@pytest.mark.asyncio
async def test_a_chart_of_longer_candles_ends_with_the_open_one(store: CandleStore) -> None:
    await put(store, *(candle(minute, close=100.0 + minute, volume=0.1) for minute in range(2, 9)))
    growing = candle(9, close=90.0, volume=0.2)

    chart = await read_chart(store, "binance", "BTC/USDT", Timeframe.M5, limit=2, open_candle=growing)

    assert chart.is_last_open
    assert [c.open_time for c in chart.candles] == [START + 2 * MINUTE, START + 7 * MINUTE]
    assert chart.candles[0].close == 106.0
    assert chart.candles[0].volume == 0.5
    assert (chart.candles[1].low, chart.candles[1].close) == (89.0, 90.0)


@pytest.mark.asyncio
async def test_a_chart_of_closed_candles_says_that_its_last_is_closed(store: CandleStore) -> None:
    await put(store, *(candle(minute) for minute in range(2, 7)))

    chart = await read_chart(store, "binance", "BTC/USDT", Timeframe.M5, limit=5)
    begun = await read_chart(store, "binance", "BTC/USDT", Timeframe.M15, limit=5)

    assert not chart.is_last_open
    assert begun.is_last_open


@pytest.mark.asyncio
async def test_a_chart_from_a_start_never_jumps_to_the_open_candle(store: CandleStore) -> None:
    await put(store, *(candle(minute) for minute in range(10)))

    chart = await read_chart(store, "binance", "BTC/USDT", Timeframe.M1, start=START, limit=3, open_candle=candle(10))

    assert [c.open_time for c in chart.candles] == [START, START + MINUTE, START + 2 * MINUTE]
    assert not chart.is_last_open


@pytest.mark.parametrize(
    ("fine", "coarse", "timeframe"),
    [
        ("binance-BTCUSDT-1m-2025-06-01_2025-07-01.csv.gz", "binance-BTCUSDT-5m-2024-03-01_2025-07-02.csv.gz", Timeframe.M5),
        ("binance-ETHUSDT-1m-2025-06-01_2025-07-01.csv.gz", "binance-ETHUSDT-5m-2025-06-02_2025-07-02.csv.gz", Timeframe.M5),
        ("binance-LTCUSDT-1m-2023-04-01_2023-05-01.csv.gz", "binance-LTCUSDT-15m-2023-04-01_2024-04-09.csv.gz", Timeframe.M15),
    ],
)
def test_minutes_summed_up_equal_the_exchanges_own_longer_candles(fine: str, coarse: str, timeframe: Timeframe) -> None:
    official = {row[0]: row[1:] for row in candle_rows(coarse)}
    summed, parts = aggregate(np.array(candle_rows(fine), CANDLE_DTYPE), timeframe)

    complete = summed[parts == timeframe.duration // MINUTE].tolist()
    compared = [(row[1:], official[row[0]]) for row in complete if row[0] in official]

    assert len(compared) > 2_800
    assert all(ours == theirs for ours, theirs in compared)


def test_a_bucket_with_a_hole_is_made_of_what_there_is() -> None:
    longer, parts = aggregate(to_array([candle(2), candle(4, close=105.0)]), Timeframe.M5)

    assert parts.tolist() == [2]
    assert to_candles(longer)[0].close == 105.0


def test_nothing_sums_up_to_nothing() -> None:
    longer, parts = aggregate(np.zeros(0, CANDLE_DTYPE), Timeframe.H1)

    assert (len(longer), len(parts)) == (0, 0)


def test_a_torn_copy_is_refused() -> None:
    with pytest.raises(ValueError, match="rows of"):
        decode(b"x" * 40)


def test_milliseconds_survive_the_array() -> None:
    moment = from_milliseconds(1_617_566_590_378)

    assert to_candles(to_array([Candle(open_time=moment, open=1, high=1, low=1, close=1, volume=1)]))[0].open_time == moment
