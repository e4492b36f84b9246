"""A market that falls silent is told once, and once more when it speaks again; a quiet or halted one is not told at all."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from app.core.clock import ManualClock
from app.core.db import Database
from app.core.events import EventBus, Subscription
from app.core.ids import new_id
from app.marketdata.events import FeedAlert
from app.marketdata.feed_alerts import AlertWatch
from app.marketdata.feed_health import Coherence, FeedReader
from app.marketdata.status import FeedStatus, StatusKeeper

pytestmark = pytest.mark.asyncio

NOW = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
BTC, ETH = "BTC/USDT", "ETH/USDT"
_INSTRUMENT = """
INSERT INTO instruments (id, exchange, symbol, type, base, quote, is_active, tick_size, step_size, raw_info, last_updated)
VALUES ($1, 'binance', $2, 'spot', 'X', 'USDT', $3, 0.01, 0.01, '{}', $4)
"""


@dataclass
class Feed:
    """A live feed whose state a test sets, and whoever watches it."""

    database: Database
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW))
    status: FeedStatus = field(default_factory=lambda: FeedStatus(exchange="binance", symbols=[BTC, ETH], started_at=NOW, is_running=True))
    closed: dict[str, datetime] = field(default_factory=lambda: {BTC: NOW.replace(second=0) - MINUTE, ETH: NOW.replace(second=0) - MINUTE})
    bus: EventBus = field(default_factory=EventBus)

    def __post_init__(self) -> None:
        self.reader = FeedReader("binance", live=self, database=self.database, clock=self.clock)
        self.watch = AlertWatch(
            self.reader,
            database=self.database,
            bus=self.bus,
            patience=timedelta(seconds=3),
            monotonic=lambda: (self.clock.now() - NOW).total_seconds(),
        )

    def last_closed(self, symbol: str) -> datetime | None:
        return self.closed.get(symbol)

    def venue_now(self) -> datetime:
        return self.clock.now()

    async def after(self, seconds: float, *closing: str) -> None:
        """Let time pass, in which these symbols close their candles in time; look every second, as often as the loop or oftener."""
        for _ in range(int(seconds)):
            self.clock.advance(timedelta(seconds=1))
            for symbol in closing:
                self.closed[symbol] = self.clock.now().replace(second=0) - MINUTE
            await self.watch.look()


def told(subscription: Subscription[object]) -> list[tuple[str | None, bool]]:
    found = []
    while (event := subscription.get_nowait()) is not None:
        assert isinstance(event, FeedAlert)
        found.append((event.symbol, event.is_over))
    return found


@pytest_asyncio.fixture
async def feed(database: Database) -> AsyncIterator[Feed]:
    yield Feed(database)


async def test_a_feed_that_is_not_fresh_for_two_intervals_is_told_once_and_once_when_it_is_over(feed: Feed) -> None:
    with feed.bus.subscribe(FeedAlert) as subscription:
        feed.status.is_fresh = True
        await feed.after(10, BTC, ETH)
        feed.status.is_fresh, feed.status.last_message_at = False, feed.clock.now()
        await feed.after(123, BTC)
        assert told(subscription) == []
        await feed.after(60)
        assert told(subscription) == [(None, False)]
        assert feed.reader.alerts == (FeedAlert(exchange="binance", symbol=None, is_over=False, since=feed.status.last_message_at),)
        assert (await feed.reader.status()).alerts == feed.reader.alerts
        feed.status.is_fresh = True
        await feed.after(5, BTC, ETH)
        assert told(subscription) == [(None, True)]
        assert not feed.reader.alerts


async def test_a_feed_that_is_soon_fresh_again_is_not_told_however_often(feed: Feed) -> None:
    with feed.bus.subscribe(FeedAlert) as subscription:
        for _ in range(5):
            feed.status.is_fresh = False
            await feed.after(100, BTC, ETH)
            feed.status.is_fresh = True
            await feed.after(10, BTC, ETH)
        assert told(subscription) == []


async def test_a_symbol_without_a_closed_candle_for_two_intervals_is_told_once_each_episode(feed: Feed) -> None:
    feed.status.is_fresh = True
    with feed.bus.subscribe(FeedAlert) as subscription:
        # Its newest candle closed half a minute before.
        await feed.after(93, BTC)
        assert told(subscription) == []
        await feed.after(60, BTC)
        assert told(subscription) == [(ETH, False)]
        assert feed.reader.alerts[0].since == NOW.replace(second=0)
        await feed.after(30, BTC, ETH)
        assert told(subscription) == [(ETH, True)]
        await feed.after(200, BTC)
        assert told(subscription) == [(ETH, False)]
        # While nothing comes at all, nothing is known of it; the feed has its own alert then.
        feed.status.is_fresh = False
        await feed.after(140)
        assert told(subscription) == [(None, False)]
        assert [alert.symbol for alert in feed.reader.alerts] == [None, ETH]


async def test_a_halted_or_delisted_symbol_is_passed_over_and_its_alert_ends(feed: Feed) -> None:
    async with feed.database.connection() as connection:
        for symbol, is_active in ((BTC, True), (ETH, False)):
            await connection.execute(_INSTRUMENT, new_id(), symbol, is_active, NOW)
    feed.status.is_fresh = True
    with feed.bus.subscribe(FeedAlert) as subscription:
        await feed.after(200)
        assert told(subscription) == [(BTC, False)]
        async with feed.database.connection() as connection:
            await connection.execute("UPDATE instruments SET is_active = false WHERE symbol = $1", BTC)
        await feed.after(2)
        assert told(subscription) == [(BTC, True)]
        await feed.after(100)
        assert told(subscription) == []


async def test_a_symbol_that_is_watched_no_more_leaves_no_alert_behind(feed: Feed) -> None:
    feed.status.is_fresh = True
    with feed.bus.subscribe(FeedAlert) as subscription:
        await feed.after(150, BTC)
        feed.status.symbols = [BTC]
        await feed.after(2, BTC)
        assert told(subscription) == [(ETH, False), (ETH, True)]


async def test_a_process_without_the_feed_answers_and_warns_by_what_the_other_one_wrote_down(feed: Feed) -> None:
    other = StatusKeeper("binance", database=feed.database, bus=EventBus(), clock=feed.clock, offset_ms=lambda: 250.0)
    other.feed.symbols = [BTC]
    other.connections_of = lambda: [{"url": "wss://example", "streams": 2, "opened_at": NOW.isoformat(), "age_ms": 0}]
    await other.open()
    other.change(is_connected=True, is_fresh=True)
    for delay_ms in (300, 320, 400):
        other.told(feed.clock.now() - timedelta(milliseconds=delay_ms))
    await other.write()
    feed.status = FeedStatus(exchange="binance")

    heard = (await feed.reader.report()).feed
    assert (heard.is_running, heard.is_fresh, heard.symbols) == (True, True, [BTC])
    assert (heard.lag_ms, heard.clock_offset_ms, heard.reconnects) == (570.0, 250.0, 0)
    assert heard.connections == [{"url": "wss://example", "streams": 2, "opened_at": NOW.isoformat(), "age_ms": 0}]
    with feed.bus.subscribe(FeedAlert) as subscription:
        await feed.after(14)
        assert (await feed.reader.status()).is_fresh
        await feed.after(124 + 2)
        silent = await feed.reader.status()
        assert (silent.is_running, silent.is_connected, silent.is_fresh, silent.connections) == (False, False, False, [])
        assert silent.last_error == "nothing has been heard of the process that watches the market since 2026-03-01 12:00:30 UTC"
        assert told(subscription) == [(None, False)]
        other.change(is_connected=False, is_fresh=False)
        other.change(is_connected=True, is_fresh=True)
        other.feed.reconnects = 1
        await other.write()
        await feed.after(1)
        assert told(subscription) == [(None, True)]
        assert (await feed.reader.status()).reconnects == 1


async def test_where_no_feed_was_ever_started_nothing_is_missed(feed: Feed) -> None:
    feed.status = FeedStatus(exchange="binance")
    with feed.bus.subscribe(FeedAlert) as subscription:
        await feed.after(300)
        assert told(subscription) == []
    assert (await feed.reader.report()).sessions == ()


async def test_the_report_tells_holes_and_differences_and_their_one_word(feed: Feed) -> None:
    async def put(sql: str, *values: object) -> None:
        async with feed.database.connection() as connection:
            await connection.execute(sql, *values)

    difference = """
    INSERT INTO candle_differences (id, exchange, symbol, timeframe, open_time, cause, was, became, found_at)
    VALUES ($1, 'binance', $2, '1m', $3, 'revised', '{1,1,1,1,1}', '{2,2,2,2,2}', $3)
    """
    assert (await feed.reader.report()).coherence is Coherence.OK
    await put(difference, new_id(), ETH, NOW - timedelta(hours=25))
    assert (await feed.reader.report()).coherence is Coherence.OK
    await put(difference, new_id(), ETH, NOW - timedelta(hours=23))
    assert (await feed.reader.report()).coherence is Coherence.DIFFERENCES
    gap = """
    INSERT INTO candle_gaps (id, exchange, symbol, timeframe, start_at, end_at, found_at, outcome)
    VALUES ($1, 'binance', $2, '1m', $3, $4, $4, $5)
    """
    await put(gap, new_id(), BTC, NOW - 2 * MINUTE, NOW - MINUTE, "filled")
    await put(gap, new_id(), BTC, NOW - 5 * MINUTE, NOW - 4 * MINUTE, "open")
    report = await feed.reader.report()
    assert (report.coherence, report.open_gaps, report.differences_24h) == (Coherence.GAPS, 1, 1)
    assert [(one.symbol, one.open_gaps, one.differences_24h, one.age_s) for one in report.symbols] == [(BTC, 1, 0, 30.0), (ETH, 0, 1, 30.0)]
