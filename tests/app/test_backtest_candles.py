"""The candles of backtests: stored ones, sums of minutes, and what is fetched; what is missing is told, and memory is bounded."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

import numpy as np
import pytest

from app.backtests.bounds import BYTES_A_CANDLE, LEAST_BYTES, Bounds
from app.backtests.data import CandleData, Prepared, Wanted
from app.core.clock import SystemClock
from app.core.db import Database
from app.domain.candles import Timeframe, to_milliseconds
from app.errors import ExchangeRateLimited, NoCandles, TooManyCandles
from app.exchanges.registry import Registry
from app.marketdata.aggregate import aggregate, to_array
from app.marketdata.candle_sources import CandleSources, Found, Series
from app.marketdata.gaps import GapBook
from app.marketdata.instruments import InstrumentBook
from app.marketdata.models import CandleSource, GapOutcome
from app.marketdata.store import CandleStore
from app.sandbox.messages import Described, Informative
from tests.app.candle_venues import MINUTE, START, CandleVenue, NewestOnly, candle

pytestmark = pytest.mark.asyncio(loop_scope="session")

M1 = Series("A/B", Timeframe.M1)
M5 = Series("A/B", Timeframe.M5)
OTHER = Series("C/B", Timeframe.M15)


@dataclass
class Bench:
    """Sources on a database, and the one venue that they may ask."""

    database: Database
    venue: CandleVenue
    told: list[tuple[str, int, int, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = CandleStore(self.database)
        self.sources = CandleSources(self.database, cast(Registry, self), SystemClock())

    async def public(self, exchange: str) -> CandleVenue:
        """As `Registry.public`."""
        assert exchange == "binance", "no other exchange may be asked"
        return self.venue

    def tell(self, series: Series, done: int, total: int, waits_s: float) -> None:
        self.told.append((series.timeframe.value, done, total, waits_s))

    async def put(self, minutes: range | list[int], series: Series = M1) -> None:
        candles = to_array(candle(minute) for minute in minutes)
        if series.timeframe is not Timeframe.M1:
            candles = aggregate(candles, series.timeframe)[0]
        await self.store.load("binance", series.symbol, series.timeframe, candles, source=CandleSource.IMPORT)

    async def find(self, first: int, last: int, series: Series = M1) -> Found:
        return await self.sources.find("binance", series, at(first), at(last), told=self.tell)


def at(minute: int) -> datetime:
    return START + minute * MINUTE


def minutes_of(found: Found) -> list[int]:
    return [(moment - to_milliseconds(START)) // 60_000 for moment in found.candles["open_time"].tolist()]


async def test_stored_candles_are_taken_and_nobody_is_asked(database: Database) -> None:
    bench = Bench(database, CandleVenue([], now_minute=2_000))
    await bench.put(range(1_000))
    found = await bench.find(100, 900)
    assert minutes_of(found) == list(range(100, 900))
    assert (found.gaps, found.trouble, bench.venue.asked) == ((), None, [])


async def test_what_is_missing_is_fetched_with_progress_and_stored(database: Database) -> None:
    bench = Bench(database, CandleVenue(list(range(3_000)), now_minute=3_000, at_once=500))
    await bench.put(range(1_000, 1_200))
    found = await bench.find(0, 2_500)
    assert minutes_of(found) == list(range(2_500))
    assert [done for _, done, _, _ in bench.told] == sorted(done for _, done, _, _ in bench.told)
    assert bench.told[-1][1:3] == (2_300, 2_300)
    asked = len(bench.venue.asked)
    assert minutes_of(await bench.find(0, 2_500)) == list(range(2_500))
    assert len(bench.venue.asked) == asked, "it is stored now"


async def test_a_hole_of_the_exchange_itself_is_told_and_not_asked_for_again(database: Database) -> None:
    bench = Bench(database, CandleVenue([*range(400), *range(450, 1_000)], now_minute=1_000))
    found = await bench.find(0, 900)
    assert found.gaps == ((to_milliseconds(at(400)), to_milliseconds(at(450)), "exchange_has_none"),)
    asked = len(bench.venue.asked)
    assert (await bench.find(0, 900)).gaps == found.gaps
    assert len(bench.venue.asked) == asked


async def test_longer_candles_are_sums_of_stored_minutes(database: Database) -> None:
    bench = Bench(database, CandleVenue([], now_minute=2_000, timeframes=frozenset({Timeframe.M1})))
    await bench.put(range(1_000))
    found = await bench.find(0, 1_000, M5)
    assert bench.venue.asked == []
    assert np.array_equal(found.candles, aggregate(to_array(candle(minute) for minute in range(1_000)), Timeframe.M5)[0])


async def test_stored_longer_candles_go_before_sums_and_sums_fill_their_holes(database: Database) -> None:
    bench = Bench(database, CandleVenue([], now_minute=2_000))
    await bench.put(range(500), M5)
    await bench.put(range(400, 1_000))
    found = await bench.find(0, 1_000, M5)
    assert bench.venue.asked == []
    assert minutes_of(found) == list(range(0, 1_000, 5))


async def test_a_sum_of_some_of_its_minutes_is_none_unless_the_exchange_has_no_others(database: Database) -> None:
    bench = Bench(database, CandleVenue([], now_minute=2_000))
    await bench.put([minute for minute in range(100) if minute not in (42, 61, 62)])
    await GapBook(database, "binance", Timeframe.M1).exchange_has_none("A/B", at(61), at(63), at=at(200))
    assert [minute for minute in range(0, 100, 5) if minute not in minutes_of(await bench.find(0, 100, M5))] == [40]


async def test_an_exchange_that_does_not_answer_leaves_what_is_here_and_says_why(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.marketdata.candle_reader._PATIENCE_S", (0.01,))
    bench = Bench(database, CandleVenue(list(range(3_000)), now_minute=3_000))
    bench.venue.errors = [ExchangeRateLimited("slow down", retry_after_s=0.01)] * 5
    await bench.put(range(300))
    found = await bench.find(0, 600)
    assert minutes_of(found) == list(range(300))
    assert found.trouble == "slow down"
    assert found.gaps == ((to_milliseconds(at(300)), to_milliseconds(at(600)), None),)
    assert max(wait for *_, wait in bench.told) > 0, "whoever waits is told"


async def test_what_an_exchange_no_longer_gives_is_missing_and_no_hole_of_its_own(database: Database) -> None:
    bench = Bench(database, NewestOnly(list(range(3_000)), now_minute=3_000))
    found = await bench.find(0, 2_900)
    assert minutes_of(found) == list(range(2_280, 2_900))
    assert found.gaps == ((to_milliseconds(at(0)), to_milliseconds(at(2_280)), None),)


async def test_fetching_can_be_ended_and_goes_on_where_it_was(database: Database) -> None:
    bench = Bench(database, CandleVenue(list(range(5_000)), now_minute=5_000, at_once=100))
    finding = asyncio.get_running_loop().create_task(bench.find(0, 4_000))  # cancelled below
    while len(bench.venue.asked) < 8:  # noqa: ASYNC110  # the venue tells nobody
        await asyncio.sleep(0.001)
    finding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await finding
    stored = len(await bench.store.array("binance", "A/B", Timeframe.M1))
    assert 0 < stored < 4_000
    bench.venue.asked.clear()
    assert minutes_of(await bench.find(0, 4_000)) == list(range(4_000))
    assert len(bench.venue.asked) < 45 - stored // 100


async def test_two_backtests_of_one_market_fetch_it_once(database: Database) -> None:
    alone, both = (Bench(database, CandleVenue(list(range(3_000)), now_minute=3_000)) for _ in range(2))
    await asyncio.gather(both.find(0, 2_000), both.find(0, 2_000))
    asked = len(both.venue.asked)
    async with database.connection() as connection:
        await connection.execute("DELETE FROM candles")
    await alone.find(0, 2_000)
    assert asked <= len(alone.venue.asked) + 1


def wants(*others: Series, warm_up: int = 50) -> Described:
    return Described(
        class_name="Mine", docstring="", timeframe="5m", warm_up=warm_up, style="signals", can_short=False, parameters=[],
        informative=[Informative(symbol="" if one.symbol == "A/B" else one.symbol, timeframe=one.timeframe.value) for one in others],
    )  # fmt: skip


class Listed:
    """Knows the symbols of this test; as `InstrumentBook`."""

    async def require(self, exchange: str, text: str) -> Any:
        del exchange
        return Listed.Named(text)

    @dataclass
    class Named:
        symbol: str


async def prepared(bench: Bench, wanted: Wanted, described: Described, bounds: Bounds | None = None) -> Prepared:
    data = CandleData(bench.sources, cast(InstrumentBook, Listed()), bounds or Bounds())
    return await data.prepare(wanted, described, told=bench.tell)


def wanted(first: int, last: int, **given: Any) -> Wanted:
    return Wanted(exchange="binance", symbol="A/B", timeframe=Timeframe.M5, start=at(first), end=at(last), **given)


async def test_the_warm_up_lies_before_the_range_and_other_markets_begin_earlier(database: Database) -> None:
    bench = Bench(database, CandleVenue([], now_minute=20_000))
    await bench.put(range(10_000))
    await bench.put(range(10_000), Series("C/B", Timeframe.M1))
    found = await prepared(bench, wanted(8_000, 9_000), wants(OTHER))
    (traded, candles), (other, beside) = found.frames
    assert (traded.symbol, traded.timeframe, traded.rows) == ("A/B", "5m", 250)
    assert (found.start, int(candles.time[found.start])) == (50, to_milliseconds(at(8_000)))
    assert (other.symbol, other.timeframe) == ("C/B", "15m")
    assert int(beside.time[0]) <= to_milliseconds(at(8_000 - 250 - 300 * 15))
    assert int(beside.time[-1]) + Timeframe.M15.milliseconds <= to_milliseconds(at(9_000))
    assert found.detail is None
    assert bench.venue.asked == []


async def test_the_detail_is_minutes_of_the_same_stretch(database: Database) -> None:
    bench = Bench(database, CandleVenue([], now_minute=20_000))
    await bench.put(range(3_000))
    found = await prepared(bench, wanted(2_000, 2_500, is_detailed=True), wants())
    assert len(found.frames) == 1
    assert found.detail is not None
    assert int(found.detail.time[0]) == int(found.candles.time[0])
    assert len(found.detail) == 5 * len(found.candles)
    assert [one.timeframe for one in found.facts.frames] == ["5m", "1m"]


async def test_the_checksum_changes_with_any_candle_of_any_market(database: Database) -> None:
    bench = Bench(database, CandleVenue([], now_minute=20_000))
    await bench.put(range(10_000))
    await bench.put(range(10_000), Series("C/B", Timeframe.M1))
    one, again = [await prepared(bench, wanted(8_000, 9_000), wants(OTHER)) for _ in range(2)]
    assert one.sha256 == again.sha256
    async with database.connection() as connection:
        await connection.execute("UPDATE candles SET volume = volume + 1e-6 WHERE symbol = 'C/B' AND open_time = $1", at(7_995))
    assert (await prepared(bench, wanted(8_000, 9_000), wants(OTHER))).sha256 != one.sha256


async def test_a_market_that_is_younger_than_the_range_begins_when_its_warm_up_is_over(database: Database) -> None:
    bench = Bench(database, CandleVenue([], now_minute=20_000))
    await bench.put(range(1_000, 3_000))
    found = await prepared(bench, wanted(0, 2_500), wants())
    assert (found.start, int(found.candles.time[0])) == (50, to_milliseconds(at(1_000)))
    assert found.facts.gaps[0][1] == to_milliseconds(at(1_000))


async def test_a_range_without_candles_and_one_that_its_warm_up_fills_say_so(database: Database) -> None:
    bench = Bench(database, CandleVenue([], now_minute=20_000))
    with pytest.raises(NoCandles, match=r"no candles of A/B 5m between 2026-05-01"):
        await prepared(bench, wanted(0, 2_500), wants())
    await bench.put(range(200))
    with pytest.raises(NoCandles, match=r"there are 40 candles, .* after the 50 of the warm-up"):
        await prepared(bench, wanted(0, 2_500), wants())


async def test_what_other_markets_take_counts_as_well(database: Database) -> None:
    bench = Bench(database, CandleVenue([], now_minute=20_000))
    tight = Bounds(memory_bytes=LEAST_BYTES + 300 * BYTES_A_CANDLE)
    with pytest.raises(TooManyCandles, match="at most 0 days"):
        await prepared(bench, wanted(8_000, 9_000), wants(M1), tight)
    assert bench.venue.asked == [], "nothing was loaded for that"


async def test_holes_that_the_book_knows_stand_in_the_facts(database: Database) -> None:
    bench = Bench(database, CandleVenue([], now_minute=20_000))
    await bench.put([*range(1_000), *range(1_100, 2_000)], M5)
    await GapBook(database, "binance", Timeframe.M5).exchange_has_none("A/B", at(1_000), at(1_100), at=at(3_000))
    found = await prepared(bench, wanted(500, 1_900), wants())
    assert found.facts.gaps == [(to_milliseconds(at(1_000)), to_milliseconds(at(1_100)), GapOutcome.EXCHANGE_HAS_NONE.value)]
    assert (found.facts.gap_count, found.facts.missing) == (1, 20)
    assert timedelta(milliseconds=found.facts.gaps[0][1] - found.facts.gaps[0][0]) == 20 * Timeframe.M5.duration
