"""Figures of round trips alone: outcomes, what was best and worst, how much of the time something was held, and the curve they make."""

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Final

import numpy as np

from app.domain.arrays import Floats, Times
from app.domain.metrics import DAY_MS, sharpe_ratio, sortino_ratio
from app.domain.metrics_outcomes import OutcomeFigures, outcome_figures
from app.domain.metrics_tables import telling_rows
from app.statistics.columns import Trips
from app.statistics.queries import Held

MOST_POINTS: Final = 2000
#: Nobody has traded here for longer: who asks from the year 1 on is not given two thousand years of nothing.
_MOST_DAYS: Final = 40_000


@dataclass(frozen=True, slots=True)
class Extreme:
    """A trip that stands out."""

    symbol: str
    closed_ms: int
    profit: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class TripFigures:
    """What round trips say, in their unit.

    Attributes:
        outcomes: How many won, how much, and for how long they were held.
        net: Sum of all, exactly.
        fees: Fees that have a price, exactly.
        best: Largest profit.
        worst: Smallest profit.
        exposure: Share of the time in which something was held, also what was still open at its end. None without any time.
        max_fall: Largest fall of the sum of profits below the highest sum before it, 0 or more.
        sharpe: mean / std(n − 1) · √365 of what was realised each UTC day: it needs no capital. None below two days or without deviation.
        sortino: The same over the root of the mean square of losing days. None without a losing day.
        days: UTC days that these are made of.
    """

    outcomes: OutcomeFigures
    net: Decimal
    fees: Decimal
    best: Extreme | None
    worst: Extreme | None
    exposure: float | None
    max_fall: Decimal
    sharpe: float | None
    sortino: float | None
    days: int


def trip_figures(trips: Trips, held: Held, *, since: datetime | None, until: datetime) -> TripFigures:
    """Return the figures of trips; `since` None begins with the first of them."""
    profit = trips.amounts(trips.profit)
    begin, end = _begin(trips, held, since), _ms(until)
    sums = np.concatenate(([0], np.cumsum(trips.profit)))
    daily = daily_sums(trips, begin, end)
    won, lost = (int(trips.profit[which].sum()) for which in (trips.profit > 0, trips.profit < 0))
    outcomes = replace(outcome_figures(profit, trips.closed - trips.opened), gross_profit=trips.amount(won), gross_loss=trips.amount(-lost))
    return TripFigures(
        outcomes=outcomes,
        net=trips.amount(won + lost),
        fees=trips.amount(int(trips.fees.sum())),
        best=_extreme(trips, int(np.argmax(trips.profit))) if len(trips) else None,
        worst=_extreme(trips, int(np.argmin(trips.profit))) if len(trips) else None,
        exposure=exposure(trips, held, begin, end),
        max_fall=trips.amount(int((np.maximum.accumulate(sums) - sums).max())),
        sharpe=sharpe_ratio(daily),
        sortino=sortino_ratio(daily),
        days=len(daily),
    )


def _extreme(trips: Trips, place: int) -> Extreme:
    kind = trips.kinds[int(trips.kind[place])]
    return Extreme(symbol=kind.symbol, closed_ms=int(trips.closed[place]), profit=trips.amount(int(trips.profit[place])))


def _begin(trips: Trips, held: Held, since: datetime | None) -> int | None:
    if since is not None:
        return _ms(since)
    known = [int(trips.opened.min())] if len(trips) else []
    known += [] if held.since is None else [_ms(held.since)]
    return min(known, default=None)


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def daily_sums(trips: Trips, begin: int | None, end: int) -> Floats:
    """Return what trips came to on each UTC day from `begin` to `end` (ms); none before the first trip, where nobody said when to begin."""
    if begin is None or end <= begin:
        return np.zeros(0)
    last = (end - 1) // DAY_MS
    first = max(begin // DAY_MS, last - _MOST_DAYS + 1)
    days = last - first + 1
    places = np.clip(trips.closed // DAY_MS - first, 0, days - 1)
    return np.bincount(places, weights=trips.amounts(trips.profit), minlength=days).astype(np.float64)


def exposure(trips: Trips, held: Held, begin: int | None, end: int) -> float | None:
    """Return the share of the time from `begin` to `end` (ms) in which at least one position was open; overlaps count once."""
    if begin is None or end <= begin:
        return None
    opened, closed = trips.opened, trips.closed
    if held.since is not None:
        opened, closed = np.append(opened, _ms(held.since)), np.append(closed, end)
    opened, closed = np.clip(opened, begin, end), np.clip(closed, begin, end)
    order = np.argsort(opened, kind="stable")
    opened, closed = opened[order], closed[order]
    if not len(opened):
        return 0.0
    reached = np.concatenate(([begin], np.maximum.accumulate(closed)[:-1]))
    return float(np.maximum(closed - np.maximum(opened, reached), 0).sum()) / (end - begin)


@dataclass(frozen=True, slots=True)
class TripCurve:
    """The sum of profits after each trip: 2,000 points at most. Floats, for a chart."""

    times: Times
    sums: Floats
    below: Floats


def trip_curve(trips: Trips) -> TripCurve:
    """Return the curve that trips make; trips of one millisecond are one point."""
    if not len(trips):
        nothing = np.zeros(0)
        return TripCurve(np.zeros(0, dtype=np.int64), nothing, nothing)
    lasts = np.flatnonzero(np.append(trips.closed[1:] != trips.closed[:-1], True))
    times, totals = trips.closed[lasts], np.cumsum(trips.profit)[lasts]
    below = np.maximum(np.maximum.accumulate(totals), 0) - totals
    rows = telling_rows(trips.amounts(totals), trips.amounts(below), MOST_POINTS)
    return TripCurve(times[rows], trips.amounts(totals[rows]), trips.amounts(below[rows]))
