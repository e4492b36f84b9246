"""The equity curve of accounts, and what it says: deposits and withdrawals are not performance. Floats, for charts and ratios only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import numpy as np

from app.core.db import Database
from app.domain.arrays import Floats, Times
from app.domain.metrics import EquityFigures, amount, drawdown_of, equity_figures
from app.domain.metrics_tables import YearReturns, telling_rows, year_returns
from app.statistics.columns import milliseconds

#: One account's worth per bucket is its last snapshot in it. One that was read before `$3` has its worth then as its first.
_SERIES: Final = """
SELECT broker_id, string_agg(timestamptz_send(at) || float8send(equity_usdt::float8), '' ORDER BY at) AS packed FROM (
  SELECT broker_id, at, equity_usdt FROM (
    SELECT DISTINCT ON (broker_id, bucket) broker_id, at, equity_usdt, date_bin($5, at, 'epoch'::timestamptz) AS bucket
      FROM equity_snapshots WHERE user_id = $1 AND broker_id = ANY($2) AND at > $3 AND at <= $4 ORDER BY broker_id, bucket, at DESC) t
  UNION ALL
  SELECT b.id, $3, s.equity_usdt FROM brokers b
   CROSS JOIN LATERAL (SELECT equity_usdt FROM equity_snapshots WHERE broker_id = b.id AND at <= $3 ORDER BY at DESC LIMIT 1) s
   WHERE b.user_id = $1 AND b.id = ANY($2)) u GROUP BY broker_id
"""
#: What waits to be believed counts as it was seen, as on the page of the portfolio.
_FLOWS: Final = """
SELECT broker_id, string_agg(timestamptz_send(at) || float8send(value::float8), '' ORDER BY at) AS packed FROM (
  SELECT broker_id, at, value_usdt AS value FROM cash_flows
   WHERE user_id = $1 AND broker_id = ANY($2) AND at > $3 AND at <= $4 AND value_usdt IS NOT NULL
  UNION ALL
  SELECT w.broker_id, (item ->> 'at')::timestamptz, (item ->> 'value')::numeric
    FROM flow_watches w CROSS JOIN jsonb_array_elements(w.waiting) item
   WHERE w.user_id = $1 AND w.broker_id = ANY($2) AND (item ->> 'at')::timestamptz > $3 AND (item ->> 'at')::timestamptz <= $4
     AND item ->> 'value' IS NOT NULL) f GROUP BY broker_id
"""
_FIRST: Final = "SELECT min(at) FROM equity_snapshots WHERE user_id = $1 AND broker_id = ANY($2)"
_PACKED: Final = np.dtype([("at", ">i8"), ("value", ">f8")])
_MINUTE: Final = timedelta(minutes=1)
_HOUR: Final = timedelta(hours=1)
_BY_MINUTE: Final = timedelta(days=2)
MOST_POINTS: Final = 2000


@dataclass(frozen=True, slots=True)
class Series:
    """Moments (ms since 1970 UTC, rising) and a value in USDT at each."""

    times: Times
    values: Floats


@dataclass(frozen=True, slots=True)
class Curve:
    """What accounts were worth together.

    Attributes:
        times: ms since 1970 UTC, strictly rising.
        worth: USDT.
        flows: What of the change since the moment before was put in (above 0) or taken out.
        grown: What one USDT of the first moment became by trading alone: time-weighted, 1 at first.
    """

    times: Times
    worth: Floats
    flows: Floats
    grown: Floats

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFigures:
    """What a curve says. `figures` are of the time-weighted growth; its `net` is in USDT, without what was put in and taken out."""

    curve: Curve
    figures: EquityFigures
    put_in: Decimal
    months: tuple[YearReturns, ...]


async def read_curve(database: Database, user_id: UUID, broker_ids: Sequence[UUID], *, since: datetime | None, until: datetime) -> Curve:
    """Return the curve from `since` (None: from the first reading) to `until`: a point an hour, a minute within two days."""
    async with database.connection() as connection:
        if since is None:
            first = await connection.fetchval(_FIRST, user_id, broker_ids)
            since = (first or until) - timedelta(seconds=1)
        bucket = _MINUTE if until - since <= _BY_MINUTE else _HOUR
        series = await connection.fetch(_SERIES, user_id, broker_ids, since, until, bucket)
        flows = await connection.fetch(_FLOWS, user_id, broker_ids, since, until)
    return together({row["broker_id"]: _series(row) for row in series}, {row["broker_id"]: _series(row) for row in flows})


def _series(row: Any) -> Series:
    raw = np.frombuffer(row["packed"], _PACKED)
    return Series(milliseconds(raw["at"].astype(np.int64)), raw["value"].astype(np.float64))


def together(worth: Mapping[UUID, Series], flows: Mapping[UUID, Series]) -> Curve:
    """Return accounts as one curve.

    An account that was not there before is put in with all that it has, and what came into it before that is part of it. What the first
    accounts bring with them is where the curve begins.
    """
    if not worth:
        nothing = np.zeros(0)
        return Curve(np.zeros(0, dtype=np.int64), nothing, nothing, nothing)
    times = np.unique(np.concatenate([series.times for series in worth.values()]))
    total, flow = np.zeros(len(times)), np.zeros(len(times))
    for broker_id, series in worth.items():
        places = np.searchsorted(series.times, times, side="right") - 1
        total += np.where(places >= 0, series.values[np.maximum(places, 0)], 0.0)
        begin = int(np.searchsorted(times, series.times[0]))
        if begin > 0:
            flow[begin] += series.values[0]
        if broker_id in flows:
            _add_flows(flow, times, series, flows[broker_id])
    return Curve(times, total, flow, grown(total, flow))


def _add_flows(flow: Floats, times: Times, series: Series, flows: Series) -> None:
    """Each flow is in the account's first reading that is not before it; what came before its first one is part of that."""
    readings = np.searchsorted(series.times, flows.times, side="left")
    is_seen = (readings > 0) & (readings < len(series.times))
    np.add.at(flow, np.searchsorted(times, series.times[readings[is_seen]]), flows.values[is_seen])


def grown(worth: Floats, flows: Floats) -> Floats:
    """Return the time-weighted growth, 1 at first: each step's gain is related to what there was before it.

    Between points that are not above zero nothing is earned: there was nothing to earn with.
    """
    own, before = worth[1:] - flows[1:], worth[:-1]
    steps = np.ones(len(worth))
    np.divide(own, before, out=steps[1:], where=(before > 0) & (own > 0))
    return np.cumprod(steps).astype(np.float64)


def account_figures(curve: Curve) -> AccountFigures | None:
    """Return what a curve says; None when it has fewer than two points."""
    if len(curve) < 2:
        return None
    put_in = float(curve.flows[1:].sum())
    figures = equity_figures(curve.times, curve.grown)
    net = amount(float(curve.worth[-1] - curve.worth[0]) - put_in)
    return AccountFigures(
        curve=curve,
        figures=replace(figures, net=net),
        put_in=amount(put_in),
        months=year_returns(curve.times, curve.grown, curve.grown),
    )


def shown_rows(curve: Curve) -> Times:
    """Return the rows that a chart needs: 2,000 at most, and no extreme is lost."""
    below = drawdown_of(curve.grown)
    return telling_rows(curve.worth, curve.grown, MOST_POINTS, (int(np.argmax(below)),) if len(below) else ())
