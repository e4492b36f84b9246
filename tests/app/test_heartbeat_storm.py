"""A replayed day in which the network does its worst at random moments: no minute is missing, none is told twice, every hole explained."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from app.core.db import Database
from app.domain.candles import LIVE_TIMEFRAMES, Timeframe
from app.marketdata.aggregate import aggregate, to_candles
from app.marketdata.events import CandleClosed
from app.marketdata.models import GapOutcome
from tests.app.test_marketdata_heartbeat import MINUTE, Feed, feed_at, running
from tests.conftest import Size
from tests.emulator_process import EmulatorProcess
from tests.recorded import candle_rows

pytestmark = pytest.mark.asyncio

DAY = 1440
#: How often each kind of trouble comes, in a hundred. A silent stream costs real seconds until it is noticed, so it is rare.
TROUBLES = {"ws_close": 55, "close_code": 15, "shutdown": 8, "late_close": 8, "duplicate_close": 8, "missing_close": 4, "ws_silent": 2}
PATIENCE_S = 60.0


def a_day(folder: Path) -> Path:
    """A made-up day with a hole of the exchange's own: 23 minutes before noon."""
    dice, first, price = random.Random(3), int(datetime(2026, 3, 1, tzinfo=UTC).timestamp() * 1000), 60_000.0
    rows = []
    for number in range(DAY + 240):
        opened, price = price, round(price * dice.uniform(0.999, 1.001), 2)
        row = (opened, max(opened, price), min(opened, price), price, round(dice.random() * 9, 5))
        if not 800 <= number < 823:
            rows.append(",".join(map(str, (first + number * 60_000, *row))))
    path = folder / "binance-BTCUSDT-1m-day.csv"
    path.write_text("\n".join(["open_time,open,high,low,close,volume", *rows]) + "\n")
    return path


def a_recorded_day(folder: Path) -> Path:
    """The 20th of April 2021, with Binance's own outage from 02:00 to 04:29."""
    first = int(datetime(2021, 4, 19, 22, tzinfo=UTC).timestamp() * 1000)
    rows = [row for row in candle_rows("binance-BTCUSDT-1m-2021-04-02_2021-05-14.csv.gz") if first <= row[0] < first + (DAY + 240) * 60_000]
    path = folder / "binance-BTCUSDT-1m-recorded.csv"
    path.write_text("\n".join(["open_time,open,high,low,close,volume", *(",".join(map(repr, row)) for row in rows)]) + "\n")
    return path


async def until(feed: Feed, minute: datetime) -> None:
    """Wait until the feed is fresh and has told everything up to that minute."""
    async with asyncio.timeout(PATIENCE_S):
        while not (feed.heartbeat.status.is_fresh and (feed.heartbeat.last_closed("BTC/USDT") or minute - MINUTE) >= minute):  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def make_trouble(emulator: EmulatorProcess, dice: random.Random) -> str:
    (kind,) = dice.choices(list(TROUBLES), list(TROUBLES.values()))
    match kind:
        case "late_close":
            emulator.fault(kind, stream="btcusdt@kline_1m", delay_ms=dice.choice((500, 61_000, 150_000)), times=1)
        case "duplicate_close" | "missing_close":
            emulator.fault(kind, stream="btcusdt@kline_1m", times=dice.randint(1, 3))
        case "ws_silent":
            emulator.fault(kind, for_ms=dice.choice((90_000, 400_000)))
        case "close_code":
            emulator.fault(kind, code=dice.choice((1001, 1006 + 2, 1011)), on="streams")
        case "shutdown":
            emulator.fault(kind, delay_ms=200, on="streams")
        case _:
            emulator.fault(kind, on="streams")
    return kind


def newest_minute(emulator: EmulatorProcess) -> datetime:
    """The open time of the newest closed minute that the venue has."""
    now_ms = int(emulator.get("/api/v3/time")["serverTime"])
    rows = [row for row in emulator.get("/api/v3/klines", symbol="BTCUSDT", interval="1m", limit=1000) if row[6] < now_ms]
    return datetime.fromtimestamp(rows[-1][0] / 1000, UTC)


async def live_through(feed: Feed, dice: random.Random, troubles: int) -> Counter[str]:
    """Let the day pass in unequal steps, with that much trouble at moments that nobody chose."""
    met: Counter[str] = Counter()
    for _ in range(troubles):
        met[await make_trouble(feed.emulator, dice)] += 1
        for _ in range(dice.randint(1, 3)):
            feed.emulator.control("POST", "/_advance", {"ms": int(DAY * 60_000 / troubles / 2 * dice.uniform(0.2, 1.8))})
            await asyncio.sleep(dice.choice((0.0, 0.001, 0.02, 0.2)))
        if dice.random() < 0.5:
            # The venue's time stands while we wait, and with it a silence that it still lasts.
            feed.emulator.control("DELETE", "/_fault")
            await until(feed, newest_minute(feed.emulator))
    feed.emulator.control("DELETE", "/_fault")
    feed.emulator.advance(3)
    await until(feed, newest_minute(feed.emulator))
    return met


async def assert_nothing_is_missing_or_doubled(feed: Feed) -> list[tuple[datetime, datetime, GapOutcome]]:
    minutes = await feed.assert_complete()
    gaps = await feed.heartbeat.gaps.of("BTC/USDT")
    assert {outcome for *_, outcome in gaps} <= {GapOutcome.FILLED, GapOutcome.EXCHANGE_HAS_NONE}
    holes = [(a.open_time + MINUTE, b.open_time) for a, b in pairwise(minutes) if b.open_time - a.open_time > MINUTE]
    assert holes == [(start, end) for start, end, outcome in gaps if outcome is GapOutcome.EXCHANGE_HAS_NONE]
    told = [(event.timeframe, event.candle.open_time) for event in feed.drain() if isinstance(event, CandleClosed)]
    assert len(told) == len(set(told))
    array = await feed.heartbeat.store.array("binance", "BTC/USDT", Timeframe.M1)
    for timeframe in LIVE_TIMEFRAMES[1:]:
        sums = {candle.open_time: candle for candle in to_candles(aggregate(array, timeframe)[0])}
        found = await feed.heartbeat.store.latest("binance", "BTC/USDT", timeframe, limit=10_000)
        assert found == [sums[candle.open_time] for candle in found], timeframe
        over = [moment for moment in sums if found and found[0].open_time <= moment <= minutes[-1].open_time + MINUTE - timeframe.duration]
        assert [candle.open_time for candle in found] == over, timeframe
    return gaps


@pytest.mark.parametrize("day", [a_day, a_recorded_day], ids=["made up", "recorded"])
async def test_a_day_of_trouble_loses_and_doubles_nothing(
    day: Callable[[Path], Path], tmp_path: Path, database: Database, size: Size
) -> None:
    dice, troubles = random.Random(day.__name__), size(20, full=200)
    with EmulatorProcess("--replay", str(day(tmp_path)), "--history", "120", "--clock", "virtual", "--no-shift") as emulator:
        async with feed_at(emulator, database, silence_s=1.0, attempts_per_5_min=100_000) as feed, running(feed):
            await feed.until_fresh()
            met = await live_through(feed, dice, troubles)
            gaps = await assert_nothing_is_missing_or_doubled(feed)
    told, reconnects = len(feed.closed()), feed.heartbeat.status.reconnects
    print(f"{troubles} troubles {dict(met)}, {reconnects} reconnects, {told} minutes told, {len(gaps)} gaps")
    assert met["ws_close"] > 0
    assert GapOutcome.EXCHANGE_HAS_NONE in {outcome for *_, outcome in gaps}
