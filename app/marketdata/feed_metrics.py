"""What monitoring hears of the live feed."""

import heapq
from collections.abc import Callable, Iterable
from typing import Final

from app.core.clock import Clock
from app.core.db import Database
from app.core.events import EventBus
from app.core.metrics import Metrics, Values
from app.domain.candles import LIVE_TIMEFRAMES
from app.marketdata.events import CandleClosed, CandleRevised, FeedAlert
from app.marketdata.feed_health import FeedReader, LiveFeed, age_s
from app.marketdata.models import CandleSource, GapOutcome

#: Of so many symbols the age is told one by one, the oldest first. The oldest of all is told in any case.
MOST_SYMBOLS: Final = 100
_GAPS_SQL: Final = "SELECT outcome, count(*) FROM candle_gaps WHERE exchange = $1 GROUP BY outcome"


#: Returns a number, None while there is none.
Reading = Callable[[], float | None]


def publish_feed(metrics: Metrics, reader: FeedReader, live: LiveFeed, *, bus: EventBus, database: Database, clock: Clock) -> None:
    """Publish how the feed of one exchange is doing. What only the process that runs it knows is left out in the others."""
    _count_candles(metrics, bus, clock, live)
    _read_feed(metrics, reader, live, clock)
    _read_candles(metrics, reader, live)
    _read_gaps(metrics, reader.exchange, database)
    alerts = metrics.counter("feed_alert_episodes_total", "Episodes in which the feed or a symbol was silent for too long.", "kind")
    bus.count(FeedAlert, lambda event: None if event.is_over else alerts.labels("feed" if event.symbol is None else "symbol").inc())


def _count_candles(metrics: Metrics, bus: EventBus, clock: Clock, live: LiveFeed) -> None:
    closed = metrics.counter("candles_closed_total", "Closed candles, stored and published.", "timeframe", "source")
    late = metrics.counter("candles_late_total", "Closed candles that were published long after their close.", "timeframe")
    revised = metrics.counter("candles_revised_total", "Stored candles that got other numbers.", "timeframe")
    told = metrics.histogram("candle_publish_seconds", "From a candle's close, by the exchange's clock, to its publication.", "timeframe")
    by_road = {(frame, source): closed.labels(frame.value, source.value) for frame in LIVE_TIMEFRAMES for source in CandleSource}
    # A thousand candles close in one moment, so whatever can be known before is.
    by_frame = {frame: (told.labels(frame.value), frame.duration.total_seconds()) for frame in LIVE_TIMEFRAMES}
    late_by_frame = {frame: late.labels(frame.value) for frame in LIVE_TIMEFRAMES}

    def count(event: CandleClosed) -> None:
        frame = event.timeframe
        by_road[frame, event.source].inc()
        if event.is_late:
            late_by_frame[frame].inc()
            return
        ahead_ms = live.status.clock_offset_ms
        if ahead_ms is not None:
            histogram, length_s = by_frame[frame]
            histogram.observe(max(0.0, (clock.now() - event.candle.open_time).total_seconds() - length_s + ahead_ms / 1000))

    bus.count(CandleClosed, count)
    bus.count(CandleRevised, lambda event: revised.labels(event.timeframe.value).inc())


def _read_feed(metrics: Metrics, reader: FeedReader, live: LiveFeed, clock: Clock) -> None:
    exchange = (reader.exchange,)

    def gauge(name: str, words: str, value: Reading) -> None:
        def values() -> Values:
            number = value() if reader.is_here else None
            return [] if number is None else [(exchange, number)]

        metrics.read(name, words, "exchange", values=values, kind="counter" if name.endswith("_total") else "gauge")

    def message_age_s() -> float | None:
        heard = live.status.last_message_at
        return None if heard is None else (clock.now() - heard).total_seconds()

    metrics.read("feed_here", "Whether this process runs the feed.", "exchange", values=lambda: [(exchange, reader.is_here)])
    metrics.read("feed_alerts", "Alerts that are not over.", "exchange", values=lambda: [(exchange, len(reader.alerts))])
    gauge("feed_connected", "Whether the feed is connected.", lambda: live.status.is_connected)
    gauge("feed_fresh", "Whether the feed may be acted on.", lambda: live.status.is_fresh)
    gauge("feed_message_age_seconds", "Since the last message.", message_age_s)
    gauge("feed_lag_seconds", "How long messages take from the exchange's clock to us, median.", lambda: _seconds(live.status.lag_ms))
    gauge("feed_clock_offset_seconds", "How far the exchange's clock is ahead of ours.", lambda: _seconds(live.status.clock_offset_ms))
    gauge("feed_connections", "Connections that are open.", lambda: len(live.status.connections))
    gauge("feed_reconnects_total", "Connections made again since the feed began.", lambda: live.status.reconnects)
    gauge("feed_symbols", "Symbols that are watched.", lambda: len(live.status.symbols))


def _read_candles(metrics: Metrics, reader: FeedReader, live: LiveFeed) -> None:
    def ages() -> Iterable[tuple[float, str]]:
        now = live.venue_now()
        for symbol in live.status.symbols if reader.is_here else ():
            age = age_s(live.last_closed(symbol), now)
            if age is not None:
                yield age, symbol

    metrics.read(
        "candle_age_seconds",
        f"Since a symbol's newest one-minute candle closed; of the {MOST_SYMBOLS} oldest.",
        "symbol",
        values=lambda: [((symbol,), age) for age, symbol in heapq.nlargest(MOST_SYMBOLS, ages())],
    )
    metrics.read(
        "candle_oldest_age_seconds",
        "Since the newest one-minute candle closed of the symbol where that is longest ago.",
        values=lambda: [((), age) for age, _ in [max(ages(), default=(None, ""))] if age is not None],
    )


def _read_gaps(metrics: Metrics, exchange: str, database: Database) -> None:
    counts = dict.fromkeys((outcome.value for outcome in GapOutcome), 0)
    is_read = False

    async def refresh() -> None:
        nonlocal is_read
        async with database.connection() as connection:
            found = dict(await connection.fetch(_GAPS_SQL, exchange))
        counts.update({outcome: found.get(outcome, 0) for outcome in counts})
        is_read = True

    metrics.before_answers(refresh)
    metrics.read(
        "candle_gaps",
        "Holes in the stored candles by what became of them.",
        "outcome",
        values=lambda: [((outcome,), count) for outcome, count in counts.items()] if is_read else [],
    )


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
