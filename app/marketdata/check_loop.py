"""When which candles are compared with the exchange's: each symbol and timeframe once a day, and the longer ones soon after their close.

Nothing of this is in a hurry. Requests go in the lane of least right, wait while others need the limit, and are spread so thin that
together they stay below their share of it.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

import structlog

from app.core.clock import Clock
from app.core.db import Database
from app.core.events import EventBus
from app.core.outage import is_database_gone
from app.core.supervisor import Beat
from app.domain.candles import Timeframe
from app.errors import ExchangeError
from app.exchanges.budgets import weight_of
from app.exchanges.circuit import CircuitState
from app.exchanges.registry import Registry
from app.marketdata.cross_check import CHECKED, Checked, CrossCheck
from app.marketdata.feed_health import LiveFeed

log = structlog.get_logger(__name__)

_M1: Final = Timeframe.M1
_IDLE_S: Final = 1.0
_AFTER_AN_ERROR_S: Final = 30.0
_PLAN_EVERY: Final = timedelta(seconds=30)
#: An exchange may still put its candles right in their first moments.
_SETTLED_AFTER: Final = timedelta(seconds=45)
#: Longer candles that are looked at soon after their close, the longest first; the shorter ones are many, and wait for their day.
_SOON: Final = tuple(reversed([timeframe for timeframe in CHECKED if timeframe.duration >= timedelta(minutes=15)]))
_SOON_CANDLES: Final = 3
#: While so much of the limit is used, it is left to others.
_BUSY: Final = 0.3
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckConfig:
    """What to compare: `share` of the exchange's limit may be used, whole days up to `days` back, nothing that opened before `not_before`.

    What an emulator shows of the time before it was started is no truth about what was stored then: `not_before` says so.
    """

    exchange: str
    share: float = 0.05
    days: int = 3
    not_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One range to compare; `day` is None for candles that have just closed."""

    symbol: str
    timeframe: Timeframe
    start: datetime
    end: datetime
    day: date | None


class CheckLoop:
    """Compares for as long as the feed runs. `run` is a supervised loop under the feed's lease."""

    def __init__(self, config: CheckConfig, *, feed: LiveFeed, registry: Registry, database: Database, bus: EventBus, clock: Clock) -> None:
        self._config = config
        self._feed = feed
        self._registry = registry
        self._database = database
        self._bus = bus
        self._clock = clock
        self._days_done: set[tuple[str, Timeframe, date]] = set()
        self._soon_done: dict[tuple[str, Timeframe], datetime] = {}
        self._plan: Iterator[Job] = iter(())
        self._planned_at: datetime | None = None
        #: Candles compared since the start.
        self.compared = 0

    async def run(self, beat: Beat) -> None:
        """Compare what is due, one range after the other, until cancelled."""
        client = await self._registry.public(self._config.exchange)
        check = CrossCheck(self._config.exchange, client=client, database=self._database, bus=self._bus, clock=self._clock)
        while True:
            beat()
            job = self.next_job() if self._may_ask() else None
            if job is None:
                await asyncio.sleep(_IDLE_S)
                continue
            asked = check.asked
            try:
                self.done(job, await check.check(job.symbol, job.timeframe, start=job.start, end=job.end))
            except Exception as error:
                if not isinstance(error, ExchangeError) and not is_database_gone(error):
                    raise
                log.warning("cross_check_postponed", symbol=job.symbol, timeframe=job.timeframe.value, error=type(error).__name__)
                await _rest(_AFTER_AN_ERROR_S, beat)
            await _rest(self.pause_s(check.asked - asked), beat)

    def next_job(self) -> Job | None:
        """Return what is to be compared next; None while nothing is."""
        now = self._clock.now()
        if self._planned_at is None or now - self._planned_at >= _PLAN_EVERY:
            self._plan, self._planned_at = self._due(), now
        return next(self._plan, None)

    def done(self, job: Job, checked: Checked) -> None:
        """Note that a range was compared."""
        self.compared += checked.compared
        if job.day is None:
            self._soon_done[job.symbol, job.timeframe] = job.end
        else:
            self._days_done.add((job.symbol, job.timeframe, job.day))
        if checked.corrected or checked.filled:
            log.warning(
                "cross_check_found",
                symbol=job.symbol,
                timeframe=job.timeframe.value,
                start=job.start,
                corrected=checked.corrected,
                filled=checked.filled,
            )

    def pause_s(self, asked: int) -> float:
        """Return how long to wait after `asked` requests, so that all of them together stay below our share of the limit."""
        gauge = self._registry.limit_of(self._config.exchange)
        if gauge is None or gauge.budget is None:
            return 0.0
        weight = asked * weight_of(self._config.exchange, "GET", "klines", {})
        return weight * 60 / (gauge.budget * self._config.share)

    def _may_ask(self) -> bool:
        if not self._feed.status.is_fresh or self._config.share <= 0:
            return False
        gauge = self._registry.limit_of(self._config.exchange)
        if gauge is None:
            return True
        return gauge.circuit is CircuitState.CLOSED and (gauge.budget is None or gauge.used <= _BUSY * gauge.budget)

    def _due(self) -> Iterator[Job]:
        """What has just closed, the longest first; then whole days, the newest first."""
        settled = self._feed.venue_now() - _SETTLED_AFTER
        symbols = list(self._feed.status.symbols)
        closed = {symbol: last + _M1.duration for symbol in symbols if (last := self._feed.last_closed(symbol)) is not None}
        for timeframe in _SOON:
            end = timeframe.floor(settled)
            start = self._not_before(end - _SOON_CANDLES * timeframe.duration, timeframe)
            for symbol, until in closed.items():
                # The feed itself comes first: what it has not closed yet is not missing.
                if start < end <= until and self._soon_done.get((symbol, timeframe)) != end:
                    yield Job(symbol, timeframe, start, end, None)
        today = settled.date()
        self._days_done = {done for done in self._days_done if (today - done[2]).days <= self._config.days}
        for back in range(1, self._config.days + 1):
            day = today - back * _DAY
            midnight = datetime.combine(day, time(), UTC)
            for symbol, until in closed.items():
                for timeframe in CHECKED:
                    start = self._not_before(midnight, timeframe)
                    if start < midnight + _DAY <= until and (symbol, timeframe, day) not in self._days_done:
                        yield Job(symbol, timeframe, start, midnight + _DAY, day)

    def _not_before(self, start: datetime, timeframe: Timeframe) -> datetime:
        bound = self._config.not_before
        return start if bound is None or bound <= start else timeframe.floor(bound + timeframe.duration)


async def _rest(seconds: float, beat: Beat) -> None:
    while seconds > 0:
        await asyncio.sleep(min(seconds, _IDLE_S))
        seconds -= _IDLE_S
        beat()
