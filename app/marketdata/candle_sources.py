"""Candles of one market and timeframe for a range: stored ones, sums of stored minutes, and what the exchange still has to be asked for."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import structlog

from app.core.clock import Clock
from app.core.db import Database
from app.domain.candles import Timeframe, from_milliseconds, to_milliseconds
from app.errors import ExchangeError
from app.exchanges.registry import Registry
from app.marketdata import history
from app.marketdata.aggregate import aggregate
from app.marketdata.bulk import Candles
from app.marketdata.coverage import Range, grouped, without
from app.marketdata.gaps import GapBook
from app.marketdata.history import History
from app.marketdata.models import GapOutcome
from app.marketdata.store import CandleStore

log = structlog.get_logger(__name__)

#: Candles that are read at a time.
_AT_ONCE: Final = 50_000
#: Holes that lie within so many candles are asked for together.
_TOGETHER: Final = 500

#: Told of fetching: candles done, of how many, and for how many seconds the exchange wants to be left alone.
OnFetch = Callable[["Series", int, int, float], None]


@dataclass(frozen=True, slots=True)
class Series:
    """A market and timeframe."""

    symbol: str
    timeframe: Timeframe


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What there is of a range. `gaps` are the holes that are left, with what the book of holes knows of each; None: nothing.

    `trouble` is why the exchange could not be asked for them; None where it was, or need not be.
    """

    candles: Candles
    gaps: tuple[tuple[int, int, str | None], ...]
    trouble: str | None = None


class CandleSources:
    """Finds candles at one exchange after the other. Only the exchange that is named is ever asked.

    Args:
        database: The platform's: candles are everybody's.
        registry: Makes the clients that ask.
        clock: Tells when holes were found.
    """

    def __init__(self, database: Database, registry: Registry, clock: Clock) -> None:
        self._database = database
        self._store = CandleStore(database, clock)
        self._registry = registry
        self._clock = clock
        #: Two who need one market fetch its history once.
        self._turns: defaultdict[tuple[str, Series], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def find(self, exchange: str, one: Series, start: datetime, end: datetime, *, told: OnFetch) -> Found:
        """Return all candles of [start, end), which lie on the timeframe's grid. It can be cancelled at any moment.

        What the exchange gives is stored page by page. Where it does not answer, what is there is returned.
        """
        candles = await self._here(exchange, one, start, end)
        nobodys, trouble = await self._nobodys(exchange, one), None
        if missing := _absent(candles, one.timeframe, start, end, nobodys):
            async with self._turns[exchange, one]:
                trouble = await self._fetched(exchange, one, missing, told)
            candles = await self._here(exchange, one, start, end)
        book = GapBook(self._database, exchange, one.timeframe)
        known = [(hole[0], hole[1], hole[2].value) for hole in await book.of(one.symbol)]
        gaps = tuple(
            (to_milliseconds(first), to_milliseconds(last), next((word for a, b, word in known if a < last and b > first), None))
            for first, last in _absent(candles, one.timeframe, start, end, [])
        )
        return Found(candles=candles, gaps=gaps, trouble=trouble)

    async def _here(self, exchange: str, one: Series, start: datetime, end: datetime) -> Candles:
        """Return stored candles, and sums of stored minutes where those are not stored."""
        stored = await self._read(exchange, one, start, end)
        if one.timeframe is Timeframe.M1:
            return stored
        parts = [stored]
        for first, last in _absent(stored, one.timeframe, start, end, []):
            parts += await self._made(exchange, one, first, last)
        if len(parts) == 1:
            return stored
        joined = np.concatenate(parts)
        return joined[np.argsort(joined["open_time"], kind="stable")]

    async def _made(self, exchange: str, one: Series, start: datetime, end: datetime) -> list[Candles]:
        """Return sums of the minutes that are stored: only of candles all of whose minutes are there, or known to be nobody's."""
        minute = Series(one.symbol, Timeframe.M1)
        nobodys = _minutes_of(await self._nobodys(exchange, minute), start, end)
        parts = []
        for first, last in _pieces(start, end, one.timeframe, _AT_ONCE * Timeframe.M1.duration):
            minutes = await self._store.array(exchange, one.symbol, Timeframe.M1, start=first, end=last)
            if len(minutes):
                parts.append(await asyncio.to_thread(_whole_sums, minutes, one.timeframe, nobodys))
        return parts

    async def _read(self, exchange: str, one: Series, start: datetime, end: datetime) -> Candles:
        """Return stored candles. In pieces: a million at once would keep the loop from its work for a tenth of a second."""
        pieces = _pieces(start, end, one.timeframe, _AT_ONCE * one.timeframe.duration)
        parts = [await self._store.array(exchange, one.symbol, one.timeframe, start=first, end=last) for first, last in pieces]
        return parts[0] if len(parts) == 1 else await asyncio.to_thread(np.concatenate, parts)

    async def _nobodys(self, exchange: str, one: Series) -> list[Range]:
        book = GapBook(self._database, exchange, one.timeframe)
        return [(hole[0], hole[1]) for hole in await book.of(one.symbol) if hole[2] is GapOutcome.EXCHANGE_HAS_NONE]

    async def _fetched(self, exchange: str, one: Series, missing: list[Range], told: OnFetch) -> str | None:
        """Ask the exchange for what is missing; return why it could not be asked, or None."""
        total, before = sum((last - first) // one.timeframe.duration for first, last in missing), 0
        done = 0

        def waits(why: str, seconds: float) -> None:
            del why
            told(one, before + done, total, seconds)

        async def goes_on(progress: history.Progress) -> None:
            nonlocal done
            done = progress.done
            told(one, min(before + done, total), total, 0.0)

        try:
            venue = await self._registry.public(exchange)
            work = History(venue, one.symbol, one.timeframe, database=self._database, store=self._store, clock=self._clock)
            for group in grouped(missing, _TOGETHER * one.timeframe.duration):
                done = 0
                await work.run(start=group[0][0], end=group[-1][1], on_progress=goes_on, on_wait=waits)
                before += sum((last - first) // one.timeframe.duration for first, last in group)
        except ExchangeError as error:
            log.warning("candles_not_fetched", exchange=exchange, symbol=one.symbol, timeframe=one.timeframe.value, code=error.code)
            return error.message
        return None


def _absent(candles: Candles, timeframe: Timeframe, start: datetime, end: datetime, nobodys: list[Range]) -> list[Range]:
    """Return the ranges of [start, end), ascending, of which there is no candle and that are not known to be nobody's."""
    step, times = timeframe.milliseconds, candles["open_time"]
    edges = np.concatenate(([to_milliseconds(start) - step], times, [to_milliseconds(end)]))
    rows = np.flatnonzero(np.diff(edges) > step)
    ranges = [(from_milliseconds(int(edges[row]) + step), from_milliseconds(int(edges[row + 1]))) for row in rows.tolist()]
    inside = [hole for hole in nobodys if hole[0] < end and hole[1] > start]
    return without(ranges, inside) if ranges else []


def _pieces(start: datetime, end: datetime, timeframe: Timeframe, length: timedelta) -> Iterator[Range]:
    """Yield [start, end) in pieces of about that length, each of whole candles."""
    step = max(length // timeframe.duration, 1) * timeframe.duration
    while start < end:
        yield start, min(start + step, end)
        start += step


def _minutes_of(ranges: list[Range], start: datetime, end: datetime) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    parts = [
        np.arange(to_milliseconds(max(first, start)), to_milliseconds(min(last, end)), Timeframe.M1.milliseconds, dtype=np.int64)
        for first, last in ranges
        if first < end and last > start
    ]
    return np.unique(np.concatenate(parts)) if parts else np.empty(0, np.int64)


def _whole_sums(minutes: Candles, timeframe: Timeframe, nobodys: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Candles:
    longer, counts = aggregate(minutes, timeframe)
    known = np.searchsorted(nobodys, longer["open_time"] + timeframe.milliseconds) - np.searchsorted(nobodys, longer["open_time"])
    return longer[counts + known >= timeframe.milliseconds // Timeframe.M1.milliseconds]
