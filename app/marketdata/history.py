"""Fetches history that is not stored yet, at any venue and of any length, and explains the holes in it. It can be stopped at any moment.

What is missing is worked out from what is stored and from the book of holes, and every page is committed before the next one is asked for:
running it again goes on where it stopped, and a server may run beside it.
"""

from bisect import bisect_right
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from app.core.clock import Clock
from app.core.db import Database
from app.domain.candles import EPOCH, Candle, Timeframe
from app.domain.symbols import resolve_symbol, why_unresolved
from app.errors import InvalidInput, SymbolNotFound
from app.exchanges.candle_pages import missing
from app.marketdata.aggregate import aggregate, to_array, to_candles
from app.marketdata.candle_reader import CandleReader, CandleVenue, OnWait, Page
from app.marketdata.coverage import Range, absent, grouped, overlaps, within, without
from app.marketdata.gaps import GapBook
from app.marketdata.models import CandleSource, GapOutcome
from app.marketdata.store import CandleStore, Close

#: The first bitcoin. Months before it have no partition.
EARLIEST: Final = datetime(2009, 1, 3, tzinfo=UTC)


@dataclass(slots=True, kw_only=True)
class Progress:
    """How far a run is, in candles: `done` of `expected` are stored or explained, `stored` were stored by it."""

    expected: int
    done: int = 0
    stored: int = 0


@dataclass(slots=True, kw_only=True)
class HistoryReport:
    """What a run did. Ranges are open times, end exclusive.

    `source` is the length that was asked for, shorter than the timeframe where the venue has none of that. `has_none` are holes of the
    venue itself, found in this run. Before `nothing_before` the venue gave nothing although it was asked. `unexplained` is what is still
    missing: before its first candle, after its last one, or where it gives nothing any more.
    """

    symbol: str
    timeframe: Timeframe
    source: Timeframe
    start: datetime
    end: datetime
    stored: int = 0
    requests: int = 0
    has_none: list[Range] = field(default_factory=list)
    nothing_before: datetime | None = None
    unexplained: list[Range] = field(default_factory=list)


OnProgress = Callable[[Progress], Awaitable[None]]


async def resolved(venue: CandleVenue, text: str) -> str:
    """Return the unified symbol that `text` means at the venue.

    Raises:
        SymbolNotFound: it lists none, or the text means more than one.
        RetryableError: it cannot be reached.
    """
    instruments = await venue.instruments()
    symbol = resolve_symbol(text, instruments)
    if symbol is None:
        raise SymbolNotFound(f"{why_unresolved(text, instruments)} at {venue.exchange}")
    return symbol


class History:
    """History of one symbol and timeframe of one venue."""

    def __init__(
        self, venue: CandleVenue, symbol: str, timeframe: Timeframe, *, database: Database, store: CandleStore, clock: Clock
    ) -> None:
        """Raises TimeframeMissing where the venue has no candles of which this timeframe can be made."""
        source = venue.candle_offer.source_of(timeframe)
        if source is None:
            raise missing(venue.exchange, timeframe, venue.candle_offer.timeframes)
        self._venue = venue
        self._symbol = symbol
        self._timeframe = timeframe
        self._source = source
        self._database = database
        self._store = store
        self._gaps = GapBook(database, venue.exchange, timeframe)
        self._clock = clock

    async def run(self, *, start: datetime, end: datetime | None, on_progress: OnProgress, on_wait: OnWait) -> HistoryReport:
        """Fetch what is missing of [start, end), or up to now, oldest first.

        Raises:
            InvalidInput: there is no time between start and end.
            RetryableError: the venue does not answer; what came so far is stored.
        """
        now = await self._venue.server_time()
        start, end = self._bounds(start, end, now)
        ranges = await self._missing(start, end)
        report = HistoryReport(symbol=self._symbol, timeframe=self._timeframe, source=self._source, start=start, end=end)
        progress = Progress(expected=sum(self._count(each) for each in ranges))
        await on_progress(progress)
        reader = CandleReader(self._venue, self._symbol, self._source, now=now, on_wait=on_wait)
        # Holes of which one answer tells are asked for together: an illiquid market has thousands.
        for group in grouped(ranges, self._venue.candle_offer.at_once // 2 * self._source.duration):
            await self._note(group)
            await self._fetch(reader, group, report, progress, on_progress)
        report.requests = reader.requests
        report.stored, report.nothing_before = progress.stored, reader.nothing_before
        report.unexplained = await self._settle(start, end)
        return report

    def _bounds(self, start: datetime, end: datetime | None, now: datetime) -> Range:
        if start < EARLIEST:
            raise InvalidInput(f"there are no candles before {EARLIEST:%Y-%m-%d}, was {start:%Y-%m-%d}", field="start")
        step, timeframe = self._timeframe.duration, self._timeframe
        last = min(end or now, timeframe.floor(now))
        first, last = EPOCH - (EPOCH - start) // step * step, timeframe.floor(last)
        if first >= last:
            raise InvalidInput(f"no candle of {timeframe.value} has both opened after {start:%Y-%m-%d %H:%M} and closed", field="start")
        return first, last

    def _count(self, each: Range) -> int:
        return (each[1] - each[0]) // self._timeframe.duration

    async def _missing(self, start: datetime, end: datetime) -> list[Range]:
        ranges = await absent(self._database, self._venue.exchange, self._symbol, self._timeframe, start=start, end=end)
        nobodys = [(hole[0], hole[1]) for hole in await self._gaps.of(self._symbol) if hole[2] is GapOutcome.EXCHANGE_HAS_NONE]
        return without(ranges, nobodys)

    async def _note(self, group: list[Range]) -> None:
        """Write down what lies between stored candles; what comes before the first one or after the last is no hole."""
        candles, exchange, symbol = self._store, self._venue.exchange, self._symbol
        after = await candles.between(exchange, symbol, self._timeframe, start=group[-1][1], limit=1)
        before = await candles.latest(exchange, symbol, self._timeframe, before=group[0][0], limit=1)
        if after and before:
            await self._gaps.found_all(symbol, group, at=self._clock.now())

    async def _fetch(
        self, reader: CandleReader, group: list[Range], report: HistoryReport, progress: Progress, on_progress: OnProgress
    ) -> None:
        before, parts = progress.done, _Buckets(self._timeframe, self._source)
        start, end = group[0][0], group[-1][1]
        async for page in reader.pages(start, end):
            candles, holes = parts.add(page)
            holes = within(holes, group)
            # What is stored already stays as it is: only what is missing was asked for.
            closes = [Close(self._symbol, self._timeframe, each) for each in candles if _is_in(each.open_time, group)]
            await self._store.upsert(self._venue.exchange, closes, source=CandleSource.REST)
            await self._gaps.exchange_has_none_of(self._symbol, holes, at=self._clock.now())
            report.has_none += holes
            progress.stored += len(closes)
            progress.done = before + sum(self._count(each) for each in within([(start, page.until)], group))
            await on_progress(progress)
        progress.done = before + sum(self._count(each) for each in group)
        await on_progress(progress)

    async def _settle(self, start: datetime, end: datetime) -> list[Range]:
        """Close what the book has open and is explained now; return what is still missing."""
        unexplained = await self._missing(start, end)
        holes = await self._gaps.of(self._symbol)
        nobodys = [(hole[0], hole[1]) for hole in holes if hole[2] is GapOutcome.EXCHANGE_HAS_NONE]
        for first, last, outcome in holes:
            is_settled = outcome is GapOutcome.OPEN and start <= first and last <= end and not overlaps((first, last), unexplained)
            if is_settled:
                became = GapOutcome.FILLED if without([(first, last)], nobodys) else GapOutcome.EXCHANGE_HAS_NONE
                await self._gaps.resolve(self._symbol, first, last, became, at=self._clock.now())
        return unexplained


def _is_in(moment: datetime, ranges: list[Range]) -> bool:
    place = bisect_right(ranges, moment, key=lambda each: each[0]) - 1
    return place >= 0 and moment < ranges[place][1]


class _Buckets:
    """Sums pages up to longer candles. One is made when all of its time is known, of the candles that the venue has there."""

    def __init__(self, timeframe: Timeframe, source: Timeframe) -> None:
        self._timeframe = timeframe
        self._is_native = timeframe is source
        self._parts: list[Candle] = []
        self._holes: list[Range] = []
        self._known_from: datetime | None = None

    def add(self, page: Page) -> tuple[list[Candle], list[Range]]:
        """Return the candles and the holes of `timeframe` that are known with this page."""
        if self._is_native:
            return page.candles, page.holes
        if self._known_from is None and (page.candles or page.holes):
            # What the venue no longer gives may have been part of the first one, so that one is not made.
            first = min([hole[0] for hole in page.holes] + [candle.open_time for candle in page.candles[:1]])
            self._known_from = self._ceil(first)
        self._parts += page.candles
        self._holes += page.holes
        until = self._timeframe.floor(page.until)
        whole = [each for each in self._parts if (self._known_from or each.open_time) <= each.open_time < until]
        self._parts = [each for each in self._parts if each.open_time >= until]
        return to_candles(aggregate(to_array(whole), self._timeframe)[0]), self._whole_holes(until)

    def _whole_holes(self, until: datetime) -> list[Range]:
        joined: list[Range] = []
        for start, end in self._holes:
            if joined and joined[-1][1] == start:
                joined[-1] = (joined[-1][0], end)
            else:
                joined.append((start, end))
        # One that reaches the end of what is known may go on in the next page.
        self._holes = [hole for hole in joined if hole[1] > until]
        inner = [(self._ceil(start), self._timeframe.floor(end)) for start, end in joined if end <= until]
        return [hole for hole in inner if hole[0] < hole[1]]

    def _ceil(self, moment: datetime) -> datetime:
        floor = self._timeframe.floor(moment)
        return floor if floor == moment else floor + self._timeframe.duration
