"""What quote currencies were worth in USDT when trips ended: by the candles that are stored here. No exchange is asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

import numpy as np

from app.core.db import Database
from app.domain.arrays import Floats, Times
from app.domain.candles import Timeframe, from_milliseconds
from app.domain.limits import DOLLARS
from app.marketdata.bulk import copy_out
from app.statistics.columns import Flags, Trips

UNIT: Final = "USDT"
#: A rate that is older than this was none at the time.
_FRESH_MS: Final = 26 * 3_600_000
_TIMEFRAMES: Final = (Timeframe.H1, Timeframe.D1)


@dataclass(frozen=True, slots=True)
class RateLine:
    """What one of a currency was worth in USDT: `usdt[i]` was known from `known[i]` (ms since 1970 UTC) on."""

    known: Times
    usdt: Floats

    def at(self, times: Times) -> Floats:
        """Return the rate at each moment; NaN where none was known that was fresh."""
        if not len(self.known):
            return np.full(len(times), np.nan)
        places = np.searchsorted(self.known, times, side="right") - 1
        rates = self.usdt[np.maximum(places, 0)].copy()
        rates[(places < 0) | (times - self.known[np.maximum(places, 0)] > _FRESH_MS)] = np.nan
        return rates


async def read_rate_lines(database: Database, exchange: str, trips: Trips) -> dict[str, RateLine]:
    """Return the rates of the trips' quote currencies that are no dollars, over the time in which these trips ended."""
    quotes = sorted({kind.quote for kind in trips.kinds} - DOLLARS)
    if not quotes or not len(trips):
        return {}
    start = from_milliseconds(int(trips.closed[0])) - timedelta(days=2)
    end = from_milliseconds(int(trips.closed[-1])) + timedelta(hours=1)
    found = {}
    for quote in quotes:
        known: list[tuple[Times, Floats]] = []
        async with database.connection() as connection:
            for symbol, is_turned in ((f"{quote}/{UNIT}", False), (f"{UNIT}/{quote}", True)):
                for timeframe in _TIMEFRAMES:
                    candles = await copy_out(connection, exchange, symbol, timeframe, start=start, end=end)
                    closes = candles["close"].astype(np.float64)
                    length = round(timeframe.duration.total_seconds() * 1000)
                    known.append((candles["open_time"].astype(np.int64) + length, 1 / closes if is_turned else closes))
        found[quote] = _line(known)
    return found


def _line(known: Sequence[tuple[Times, Floats]]) -> RateLine:
    times, rates = (np.concatenate(columns) for columns in zip(*known, strict=True))
    order = np.argsort(times, kind="stable")
    return RateLine(times[order], rates[order])


@dataclass(frozen=True, slots=True)
class Valued:
    """Round trips in one unit, and those for which there is no rate, in their own currencies.

    Attributes:
        trips: Those that are counted, profit and fees in `unit`.
        unit: USDT, or the quote currency of all trips where that has no rate at all.
        others: Those that are not counted, in their own quote currencies.
        converted: Quote currencies that were converted at the rate of the time.
        at_par: Dollars besides USDT, of which one counts as one USDT.
    """

    trips: Trips
    unit: str
    others: Trips
    converted: tuple[str, ...]
    at_par: tuple[str, ...]


def valued(trips: Trips, lines: Mapping[str, RateLine]) -> Valued:
    """Return the trips in USDT at the rate of the moment at which each ended; never one currency added to another."""
    quotes = {trips.kinds[kind].quote for kind in np.unique(trips.kind).tolist()}
    foreign = sorted(quotes - DOLLARS)
    at_par = tuple(sorted((quotes & DOLLARS) - {UNIT}))
    if not foreign:
        return Valued(trips, UNIT, trips.where(np.zeros(len(trips), dtype=bool)), (), at_par)
    rates = np.ones(len(trips))
    for quote in foreign:
        which = _of_quote(trips, quote)
        line = lines.get(quote)
        rates[which] = np.nan if line is None else line.at(trips.closed[which])
    is_known = ~np.isnan(rates)
    if len(quotes) == 1 and not is_known.any():
        return Valued(trips, foreign[0], trips.where(is_known), (), ())
    known, factors = trips.where(is_known), rates[is_known]
    is_foreign = known.of_kinds([kind.quote not in DOLLARS for kind in known.kinds])
    converted = replace(known, profit=_times(known.profit, factors, is_foreign), fees=_times(known.fees, factors, is_foreign))
    turned = tuple(quote for quote in foreign if bool((is_known & _of_quote(trips, quote)).any()))
    return Valued(converted, UNIT, trips.where(~is_known), turned, at_par)


def _of_quote(trips: Trips, quote: str) -> Flags:
    return trips.of_kinds([kind.quote == quote for kind in trips.kinds])


def _times(units: Times, factors: Floats, chosen: Flags) -> Times:
    found = units.copy()
    found[chosen] = np.rint(units[chosen] * factors[chosen]).astype(np.int64)
    return found
