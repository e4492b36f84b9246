"""Releases closed candles: stored first, then told; per symbol in order of time, each once, and none before what is missing before it.

What the stream tells without a hole goes straight into one statement for all symbols. A symbol with a hole is filled by REST on a task of
its own meanwhile; its newer candles wait for it, nobody else's do.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import asyncpg
import structlog

from app.core.backoff import backoff
from app.core.events import EventBus
from app.domain.candles import Candle, Timeframe
from app.errors import ExchangeError, NotFound, RetryableError
from app.marketdata.aggregate import aggregate, to_array, to_candles
from app.marketdata.backfill import Backfill, Keep
from app.marketdata.events import CandleClosed, CandleRevised, CandlesLoaded, GapsChanged
from app.marketdata.gaps import GapBook
from app.marketdata.lines import MINUTE, Line
from app.marketdata.models import CandleSource
from app.marketdata.rollup import LONGER, Rollup, warm_from
from app.marketdata.store import CandleStore, Close
from app.marketdata.venue_clock import VenueClock

log = structlog.get_logger(__name__)

_M1: Final = Timeframe.M1
_FILLS_AT_ONCE: Final = 4
_NEW_AT_ONCE: Final = 4
#: A symbol that the exchange refuses is asked for again after so long: it may be listed by then.
_REFUSED_PAUSE_S: Final = 600.0
_TIME_IS_GOOD_S: Final = 0.5
#: What a database that went away, or an exchange that does not answer, raises. Both pass.
PASSING: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, ExchangeError)


class _LetGo(Exception):
    """Nobody wants the symbol any more, or somebody wants it anew: what is on its way is no longer this round's to store."""


class Closer:
    """The closed candles of one exchange's symbols, on their way into the table and to whoever listens.

    Args:
        history: Fetched for a symbol that has nothing stored.
        venue_clock: The venue's time; the closer tells it what it hears.
        on_trouble: Told what went wrong; it is tried again.
        on_settled: Told when something that was missing or failed has been made good.
        on_close: Told of each closed candle once it is stored, before everybody else.
    """

    def __init__(
        self,
        exchange: str,
        *,
        store: CandleStore,
        gaps: GapBook,
        bus: EventBus,
        history: timedelta,
        venue_clock: VenueClock,
        on_trouble: Callable[[BaseException], None],
        on_settled: Callable[[], None],
        on_close: Callable[[CandleClosed], None],
    ) -> None:
        self.lines: dict[str, Line] = {}
        self.busy_since: float | None = None
        self._exchange = exchange
        self._store = store
        self._gaps = gaps
        self._bus = bus
        self._history = history
        self._venue_clock = venue_clock
        self._on_trouble = on_trouble
        self._on_settled = on_settled
        self._on_close = on_close
        self._woken = asyncio.Event()
        self._touched: dict[str, None] = {}
        # Years of a new symbol's history hold up nobody who only missed a minute.
        self._few, self._few_new = asyncio.Semaphore(_FILLS_AT_ONCE), asyncio.Semaphore(_NEW_AT_ONCE)
        self._backfill: Backfill | None = None
        self._told_time: tuple[float, datetime] | None = None

    @property
    def is_current(self) -> bool:
        """Whether nothing is missing of any symbol, but of those that the exchange refuses."""
        return all(line.is_current or line.refusal is not None for line in self.lines.values())

    def watch(self, symbol: str) -> None:
        """Begin with a symbol; what is missing of it is fetched first."""
        self.lines[symbol] = Line(symbol=symbol)
        self._touch(symbol)

    def unwatch(self, symbol: str) -> None:
        """Let go of a symbol. A fill under way ends by itself."""
        self.lines.pop(symbol, None)

    def closed(self, symbol: str, candle: Candle) -> None:
        """The stream told of a closed minute."""
        line = self.lines.get(symbol)
        if line is not None:
            line.take(candle)
            self._touch(symbol)

    def want(self, symbols: Iterable[str]) -> None:
        """Something may be missing of these: they are no longer current, and nothing newer is released before it is fetched."""
        for symbol in symbols:
            line = self.lines.get(symbol)
            if line is not None:
                line.is_wanted, line.is_current = True, False
                self._touch(symbol)

    def ask(self, symbol: str) -> None:
        """A minute's close is overdue: look for it at the exchange, if that was not done a moment ago."""
        if self.lines[symbol].ask():
            self._touch(symbol)

    async def run(self, backfill: Backfill) -> None:
        """Store and tell until cancelled."""
        self._backfill = backfill
        for line in self.lines.values():
            line.is_filling, line.rollup = False, None
        self.want(list(self.lines))
        delays = backoff()
        async with asyncio.TaskGroup() as group:
            while True:
                await self._woken.wait()
                self._woken.clear()
                touched, self._touched = self._touched, {}
                lines = [self.lines[symbol] for symbol in touched if symbol in self.lines]
                self.busy_since = time.monotonic()
                try:
                    await self._release(lines)
                except PASSING as error:
                    # Nothing is lost: what waits is tried again.
                    self._touched = {line.symbol: None for line in lines} | self._touched
                    self._woken.set()
                    self._on_trouble(error)
                    await asyncio.sleep(next(delays))
                else:
                    delays = backoff()
                    self._on_settled()
                finally:
                    self.busy_since = None
                for line in lines:
                    if line.is_wanted and not line.is_filling:
                        line.is_filling = True
                        group.create_task(self._fill(line), name=f"heartbeat-fill-{line.symbol}")

    def _touch(self, symbol: str) -> None:
        self._touched[symbol] = None
        self._woken.set()

    # The straight way: what follows without a hole.

    def _ready(self, lines: list[Line]) -> list[tuple[Line, list[Candle]]]:
        """Return the minutes that may be released now, and want what is missing before others."""
        found = []
        for line in lines:
            if line.is_filling:
                continue
            if line.last is None:
                line.is_wanted = line.is_wanted or bool(line.waiting)  # its first minute ever: look what else there is
                continue
            ready = line.ready()
            if ready:
                found.append((line, ready))
            if any(moment > line.last + len(ready) * MINUTE for moment in line.waiting):
                line.is_wanted = True  # there is a hole before it
        return found

    async def _release(self, lines: list[Line]) -> None:
        released = self._ready(lines)
        for line, _ in released:
            if line.rollup is None and line.last is not None:
                line.rollup = await self._warm(line.symbol, line.last)
        # Nothing is awaited between rolling and keeping: what fails before has moved no roll-up on.
        closes = [close for line, ready in released if line.rollup is not None for close in _rolled(line.symbol, line.rollup, ready)]
        await self._keep(closes, source=CandleSource.STREAM, rollups=[line for line, _ in released])
        for line, _ in released:
            if line.rollup is None:
                self._touch(line.symbol)  # a minute of its past changed while others were warmed: it comes next
            await self._settle_holes(line)
        for line in lines:
            if line.again and not line.is_filling:
                await self._revise(line)

    async def _keep(self, closes: list[Close], *, source: CandleSource, rollups: list[Line], is_told: bool = True) -> None:
        """Store in one statement, then tell. After a failure the rollups must be made anew: they are ahead of what is stored."""
        try:
            written = await self._store.write(self._exchange, closes, source=source)
        except BaseException:
            for line in rollups:
                line.rollup = None
            raise
        for change in written.changed:
            log.warning("candle_revised", symbol=change.close.symbol, timeframe=change.close.timeframe.value, was=str(change.was))
        for close in closes:
            if close.timeframe is _M1 and close.symbol in self.lines:
                self.lines[close.symbol].release(close.candle.open_time)
            age = self._venue_clock.now() - close.candle.open_time - close.timeframe.duration
            is_late = age >= close.timeframe.duration
            if is_told or not is_late:
                self._tell(close, source, is_late=is_late)

    def _tell(self, close: Close, source: CandleSource, *, is_late: bool) -> None:
        event = CandleClosed(
            exchange=self._exchange,
            symbol=close.symbol,
            timeframe=close.timeframe,
            candle=close.candle,
            source=source,
            is_late=is_late,
        )
        self._on_close(event)
        self._bus.publish(event)

    async def _warm(self, symbol: str, last: datetime) -> Rollup:
        """Return the open longer candles of a symbol whose newest stored minute is `last`."""
        start = warm_from(last)
        minutes = to_candles(await self._store.array(self._exchange, symbol, _M1, start=start, end=last + MINUTE))
        before = await self._store.latest(self._exchange, symbol, _M1, limit=1, before=start + MINUTE)
        since = start if before else (minutes[0].open_time if minutes else last + MINUTE)
        known = {minute.open_time for minute in minutes}
        for hole, end in await self._gaps.unexplained(symbol, since=start):
            # Only minutes that are really absent count, up to the newest: what lies after it is about to be fetched.
            moment = min(end, last + MINUTE) - MINUTE
            while moment >= max(hole, since) and moment in known:
                moment -= MINUTE
            if moment >= max(hole, since):
                since = moment + MINUTE
        rollup = Rollup(since)
        rollup.warm(minutes)
        return rollup

    # The way round: what is missing is fetched first.

    async def _fill(self, line: Line) -> None:
        delays = backoff()
        while self.lines.get(line.symbol) is line:
            line.is_wanted = False  # what is wanted from now on is another round's
            try:
                async with self._few if line.is_live else self._few_new:
                    await self._catch_up(line)
            except _LetGo:
                return
            except (*PASSING, NotFound) as error:
                line.is_wanted, line.is_current, line.rollup = True, False, None
                is_refused = isinstance(error, ExchangeError | NotFound) and not isinstance(error, RetryableError)
                line.refusal = str(error)[:200] if is_refused else None
                if is_refused:
                    log.warning("symbol_refused", symbol=line.symbol, error=type(error).__name__, detail=line.refusal)
                    self._touch(line.symbol)
                else:
                    self._on_trouble(error)
                await asyncio.sleep(_REFUSED_PAUSE_S if is_refused else next(delays))
                continue
            if not line.is_wanted:
                break
        line.is_filling = False
        line.is_live = line.is_current = True
        line.refusal = None
        self._touch(line.symbol)

    async def _catch_up(self, line: Line) -> None:
        backfill = self._backfill
        assert backfill is not None  # noqa: S101  # made before the loop starts
        now = await self._venue_time(backfill)
        last, begin = await self._where_to_start(line, backfill, now=now)
        if line.rollup is None:
            line.rollup = Rollup(begin) if last is None else await self._warm(line.symbol, last)
        keep = partial(self._keep_page, line, is_told=line.is_live, is_new=last is None)
        start = begin if last is None else last + MINUTE
        if last is None:
            done = await backfill.history(line.symbol, start=begin, now=now, keep=keep)
        else:
            line.last = last
            done = await backfill.catch_up(line.symbol, last=last, now=now, keep=keep)
            line.holes_since = min(line.holes_since or start, start)
            if done.count:
                self._bus.publish(GapsChanged(exchange=self._exchange))
        if line.last is None and line.waiting:
            line.last = min(line.waiting) - MINUTE  # the exchange has nothing older
        await self._fill_up(line, backfill, keep)
        if done.count and done.last is not None and not line.is_live:
            told = CandlesLoaded(exchange=self._exchange, symbol=line.symbol, timeframe=_M1, start=start, end=done.last, count=done.count)
            self._bus.publish(told)

    async def _settle_holes(self, line: Line) -> None:
        """Mark the holes that a catch-up has noted and the stream has closed since."""
        if line.holes_since is None or line.last is None:
            return
        await self._gaps.covered(line.symbol, line.holes_since, line.last + MINUTE, at=self._venue_clock.now())
        if not await self._gaps.unexplained(line.symbol, since=line.holes_since):
            line.holes_since = None

    async def _venue_time(self, backfill: Backfill) -> datetime:
        """Return the venue's time of a moment ago: after a reconnection hundreds of symbols want it at once."""
        if self._told_time is None or time.monotonic() - self._told_time[0] > _TIME_IS_GOOD_S:
            moment = await backfill.venue_time()
            self._venue_clock.heard(moment)
            self._told_time = time.monotonic(), moment
        return self._told_time[1]

    async def _fill_up(self, line: Line, backfill: Backfill, keep: Keep) -> None:
        """Fill the holes between what is stored and what the stream has closed already."""
        while line.last is not None and (newer := min((m for m in line.waiting if m > line.last), default=line.last)) > line.last + MINUTE:
            done = await backfill.up_to(line.symbol, last=line.last, newer=newer, keep=keep)
            line.last = done.last
            self._bus.publish(GapsChanged(exchange=self._exchange))

    async def _where_to_start(self, line: Line, backfill: Backfill, *, now: datetime) -> tuple[datetime | None, datetime]:
        """Return the newest minute that is stored, and where to begin without one."""
        begin = _M1.floor(now) - self._history
        last = line.last
        if last is None:
            last = (await self._store.last_open_times(self._exchange, _M1, [line.symbol])).get(line.symbol)
        if last is None or last < _M1.floor(now):
            return last, begin
        newest = await backfill.newest(line.symbol)
        if newest is None or newest >= last:
            return last, begin
        # The venue's time went back: an emulator that was started again. What it shows now is the market.
        log.warning("stored_candles_are_ahead", symbol=line.symbol, stored=last, venue=newest)
        line.last, line.rollup = None, None
        line.waiting.clear()
        return None, newest - self._history

    async def _keep_page(self, line: Line, page: list[Candle], *, is_told: bool, is_new: bool) -> None:
        if self.lines.get(line.symbol) is not line:
            raise _LetGo
        if line.rollup is None:
            line.rollup = await self._warm(line.symbol, page[0].open_time - MINUTE)
        # What the stream has closed meanwhile is the venue's last word; REST may lag behind it.
        page = [line.waiting.get(candle.open_time, candle) for candle in page]
        closes = _rolled(line.symbol, line.rollup, page)
        if is_new:
            # History of a symbol that nobody has watched: it is loaded, nothing has just happened.
            await self._store.write(self._exchange, closes, source=CandleSource.REST)
            line.release(page[-1].open_time)
        else:
            await self._keep(closes, source=CandleSource.REST, rollups=[line], is_told=is_told)

    # Closed candles that are told again.

    async def _revise(self, line: Line) -> None:
        versions = [candle for candle in line.again if line.last is not None and candle.open_time <= line.last]
        for candle in versions:
            # In one statement: a minute that was put right without the longer candles would never be looked at again.
            closes = [Close(line.symbol, _M1, candle), *await self.recomputed(line.symbol, candle)]
            written = await self._store.write(self._exchange, closes, source=CandleSource.STREAM)
            for change in written.changed:
                if change.close.timeframe is _M1:
                    log.warning("candle_revised", symbol=line.symbol, open_time=candle.open_time)
                self._bus.publish(
                    CandleRevised(exchange=self._exchange, symbol=line.symbol, timeframe=change.close.timeframe, candle=change.close.candle)
                )
            if written.changed:
                line.rollup = None
        line.again = [candle for candle in line.again if candle not in versions]

    async def recomputed(self, symbol: str, minute: Candle) -> list[Close]:
        """Return the stored longer candles that hold this minute, as they follow from it and the other minutes that are stored."""
        found = []
        for timeframe in LONGER:
            start = timeframe.floor(minute.open_time)
            end = start + timeframe.duration
            if not await self._store.between(self._exchange, symbol, timeframe, start=start, end=end, limit=1):
                continue
            minutes = to_candles(await self._store.array(self._exchange, symbol, _M1, start=start, end=end))
            as_they_are = [minute if other.open_time == minute.open_time else other for other in minutes]
            found += [Close(symbol, timeframe, candle) for candle in to_candles(aggregate(to_array(as_they_are), timeframe)[0])]
        return found


def _rolled(symbol: str, rollup: Rollup, minutes: list[Candle]) -> list[Close]:
    """Return the minutes and the longer candles that close with them, in the order in which they are told."""
    closes = []
    for minute in minutes:
        longer = rollup.add(minute)
        # What a hole has closed was over before this minute.
        is_over = [candle.open_time + timeframe.duration <= minute.open_time for timeframe, candle in longer]
        made = [Close(symbol, timeframe, candle) for timeframe, candle in longer]
        closes += [close for close, over in zip(made, is_over, strict=True) if over]
        closes.append(Close(symbol, _M1, minute))
        closes += [close for close, over in zip(made, is_over, strict=True) if not over]
    return closes
