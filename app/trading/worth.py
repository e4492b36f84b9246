"""What accounts are worth and what they earned: profit is how their worth changed without what was put in and taken out. All in USDT."""

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from app.core.db import Database
from app.domain.flows import time_weighted

#: Without removed accounts; `$2` NULL means all of them.
_ACCOUNTS: Final = "SELECT id FROM brokers WHERE user_id = $1 AND removed_at IS NULL AND ($2::uuid[] IS NULL OR id = ANY($2))"
#: Each account's worth at each moment of `$3`, or when it was first read if that was later, its worth now, and what came and went in
#: between. What waits to be believed counts as it was seen: most often it is a deposit, and a trade that is not known yet moves as much
#: out as in.
_PROFIT: Final = f"""
SELECT p.number, s.equity_usdt AS before, e.equity_usdt AS now,
       coalesce((SELECT sum(value_usdt) FROM cash_flows WHERE broker_id = b.id AND at > s.at AND at <= e.at), 0) AS flows,
       coalesce((SELECT sum((item ->> 'value')::numeric) FROM flow_watches w CROSS JOIN jsonb_array_elements(w.waiting) item
                  WHERE w.broker_id = b.id AND (item ->> 'at')::timestamptz > s.at AND (item ->> 'at')::timestamptz <= e.at), 0) AS waiting
  FROM unnest($3::timestamptz[]) WITH ORDINALITY AS p (since, number) CROSS JOIN ({_ACCOUNTS}) b
 CROSS JOIN LATERAL (SELECT at, equity_usdt FROM equity_snapshots WHERE broker_id = b.id ORDER BY at DESC LIMIT 1) e
 CROSS JOIN LATERAL (
   (SELECT at, equity_usdt, 0 AS rank FROM equity_snapshots WHERE broker_id = b.id AND at <= p.since ORDER BY at DESC LIMIT 1)
   UNION ALL
   (SELECT at, equity_usdt, 1 FROM equity_snapshots WHERE broker_id = b.id ORDER BY at LIMIT 1)
   ORDER BY rank LIMIT 1) s
"""  # noqa: S608  # constants
#: One account's worth per bucket is its last snapshot in it. One that was read before `$3` has its worth then as its first.
_SERIES: Final = f"""
WITH accounts AS ({_ACCOUNTS})
SELECT broker_id, at, equity_usdt FROM (
  SELECT DISTINCT ON (e.broker_id, bucket) e.broker_id, e.at, e.equity_usdt, date_bin($4, e.at, 'epoch'::timestamptz) AS bucket
    FROM equity_snapshots e JOIN accounts a ON a.id = e.broker_id
   WHERE e.user_id = $1 AND e.at > $3 ORDER BY e.broker_id, bucket, e.at DESC) t
UNION ALL
SELECT a.id, $3, s.equity_usdt FROM accounts a
 CROSS JOIN LATERAL (SELECT equity_usdt FROM equity_snapshots WHERE broker_id = a.id AND at <= $3 ORDER BY at DESC LIMIT 1) s
ORDER BY at, broker_id
"""  # noqa: S608  # constants
_VALUES: Final = f"""
SELECT f.broker_id, f.at, sum(f.value_usdt) AS value FROM cash_flows f JOIN ({_ACCOUNTS}) a ON a.id = f.broker_id
 WHERE f.user_id = $1 AND f.at > $3 AND f.value_usdt IS NOT NULL GROUP BY f.broker_id, f.at
UNION ALL
SELECT w.broker_id, (item ->> 'at')::timestamptz, (item ->> 'value')::numeric
  FROM flow_watches w JOIN ({_ACCOUNTS}) a ON a.id = w.broker_id CROSS JOIN jsonb_array_elements(w.waiting) item
 WHERE w.user_id = $1 AND (item ->> 'at')::timestamptz > $3 AND item ->> 'value' IS NOT NULL
ORDER BY at
"""  # noqa: S608  # constants
_FIRST: Final = f"SELECT min(at) FROM equity_snapshots WHERE user_id = $1 AND broker_id IN ({_ACCOUNTS})"  # noqa: S608  # constants
_FEES: Final = f"""
SELECT fee_asset AS asset, sum(fee) AS amount FROM fills
 WHERE user_id = $1 AND executed_at >= $3 AND executed_at < $4 AND fee <> 0 AND broker_id IN ({_ACCOUNTS}) GROUP BY fee_asset
"""  # noqa: S608  # constants
_REALISED: Final = f"""
SELECT quote, coalesce(sum(realized) FILTER (WHERE day >= $3::date), 0) AS day,
       coalesce(sum(realized) FILTER (WHERE day > $3::date - 7), 0) AS week,
       coalesce(sum(realized) FILTER (WHERE day > $3::date - 30), 0) AS month, coalesce(sum(realized), 0) AS total
  FROM daily_results WHERE user_id = $1 AND broker_id IN ({_ACCOUNTS}) GROUP BY quote ORDER BY quote
"""  # noqa: S608  # constants
#: So many points of a curve at most: more are not seen.
_POINTS: Final = 1000
_DAY: Final = timedelta(days=1)
_EVER: Final = timedelta(days=36_500)
#: Sums over past days are read again after so long: a fill of theirs may become known late.
_REMEMBERED: Final = timedelta(minutes=10)
_MOST_REMEMBERED: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Profit:
    """What accounts earned between two moments, in USDT. `before`, `now` and `amount` are None before the first reading."""

    before: Decimal | None = None
    now: Decimal | None = None
    #: What was put in less what was taken out in between.
    flows: Decimal = Decimal(0)

    @property
    def amount(self) -> Decimal | None:
        """How the worth changed without what came and went."""
        return None if self.before is None or self.now is None else self.now - self.before - self.flows

    @property
    def fraction(self) -> Decimal | None:
        """The amount as a part of what there was to earn it with; None where there was nothing."""
        amount = self.amount
        capital = (self.before or Decimal(0)) + max(self.flows, Decimal(0))
        return amount / capital if amount is not None and capital > 0 else None


async def read_profit(database: Database, user_id: UUID, *, since: datetime, broker_ids: Sequence[UUID] | None = None) -> Profit:
    """Return what the user's accounts, or those of `broker_ids`, earned since a moment; an account that is younger, since it began."""
    (profit,) = await _read_profits(database, user_id, [since], broker_ids)
    return profit


async def read_profits(database: Database, user_id: UUID, *, now: datetime, broker_ids: Sequence[UUID] | None = None) -> dict[str, Profit]:
    """Return as `read_profit` does what was earned since midnight UTC (`day`), in 7 and 30 days (`week`, `month`), and ever (`all`)."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    begins = [midnight, now - 7 * _DAY, now - 30 * _DAY, now - _EVER]
    return dict(zip(("day", "week", "month", "all"), await _read_profits(database, user_id, begins, broker_ids), strict=True))


async def _read_profits(database: Database, user_id: UUID, begins: Sequence[datetime], broker_ids: Sequence[UUID] | None) -> list[Profit]:
    async with database.connection() as connection:
        rows = await connection.fetch(_PROFIT, user_id, broker_ids, begins)
    return [_profit([row for row in rows if row["number"] == number]) for number in range(1, len(begins) + 1)]


def _profit(rows: Sequence[Any]) -> Profit:
    if not rows:
        return Profit()
    return Profit(
        before=sum((row["before"] for row in rows), Decimal(0)),
        now=sum((row["now"] for row in rows), Decimal(0)),
        flows=sum((row["flows"] + row["waiting"] for row in rows), Decimal(0)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """What accounts were worth together, in USDT; `flow` is what of the change since the point before was put in or taken out.

    `earned` is the time-weighted return since the first point, a fraction.
    """

    at: datetime
    equity: Decimal
    flow: Decimal
    earned: Decimal


async def read_curve(
    database: Database, user_id: UUID, *, since: datetime | None, now: datetime, broker_ids: Sequence[UUID] | None = None
) -> list[CurvePoint]:
    """Return the equity curve, oldest first, 1,500 points at most; `since` None means from the beginning."""
    async with database.connection() as connection:
        if since is None:
            first = await connection.fetchval(_FIRST, user_id, broker_ids)
            since = (first or now) - timedelta(seconds=1)
        rows = await connection.fetch(_SERIES, user_id, broker_ids, since, bucket_of(now - since))
        flows = await connection.fetch(_VALUES, user_id, broker_ids, since)
    return _together(rows, flows)


def bucket_of(span: timedelta) -> timedelta:
    """Return how far apart the points of a curve over `span` are: a minute, five, an hour or some days."""
    for bucket in (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=10), timedelta(hours=1), _DAY):
        if span / bucket <= _POINTS * 3 / 2:
            return bucket
    return _DAY * -(-(span // _DAY) // _POINTS)


def _together(rows: Sequence[Any], flows: Sequence[Any]) -> list[CurvePoint]:
    worth: dict[UUID, Decimal] = {}
    upcoming: dict[UUID, deque[Any]] = defaultdict(deque)
    for item in flows:
        upcoming[item["broker_id"]].append(item)
    points: list[tuple[datetime, Decimal, Decimal]] = []
    for row in rows:
        broker_id, at = row["broker_id"], row["at"]
        # An account that was not there before is put in with all that it has, and what came into it before that is part of it.
        flow = Decimal(0) if broker_id in worth or not worth else row["equity_usdt"]
        waiting = upcoming[broker_id]
        while waiting and waiting[0]["at"] <= at:
            value = waiting.popleft()["value"]
            if broker_id in worth:
                flow += value
        worth[broker_id] = row["equity_usdt"]
        total = sum(worth.values(), Decimal(0))
        if points and points[-1][0] == at:
            points[-1] = (at, total, points[-1][2] + flow)
        else:
            points.append((at, total, flow))
    # What the first accounts bring with them is where the curve begins.
    earned = time_weighted([(equity, flow) for _, equity, flow in points])
    return [CurvePoint(at=at, equity=equity, flow=flow, earned=part) for (at, equity, flow), part in zip(points, earned, strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class RealisedLine:
    """What was realised in one quote currency, after fees: on the UTC day, in 7 and 30 days with it, and ever."""

    quote: str
    day: Decimal
    week: Decimal
    month: Decimal
    total: Decimal


async def read_realised(
    database: Database, user_id: UUID, *, today: datetime, broker_ids: Sequence[UUID] | None = None
) -> list[RealisedLine]:
    """Return what was realised, a line for each quote currency."""
    async with database.connection() as connection:
        rows = await connection.fetch(_REALISED, user_id, broker_ids, today.date())
    return [RealisedLine(quote=row["quote"], day=row["day"], week=row["week"], month=row["month"], total=row["total"]) for row in rows]


class FeeMemory:
    """Fees of past days by user and accounts, so that a hundred thousand fills are not added up for every look."""

    def __init__(self) -> None:
        self._known: dict[tuple[UUID, tuple[UUID, ...] | None], tuple[datetime, datetime, Mapping[str, Decimal]]] = {}

    async def read(
        self, database: Database, user_id: UUID, *, now: datetime, broker_ids: Sequence[UUID] | None = None
    ) -> Mapping[str, Decimal]:
        """Return all fees that our orders' fills cost, by the asset they were paid in; what was paid today is as of now."""
        key = (user_id, None if broker_ids is None else tuple(sorted(broker_ids)))
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        until, read_at, past = self._known.get(key, (midnight, now - _EVER, {}))
        async with database.connection() as connection:
            if until != midnight or now - read_at > _REMEMBERED:
                rows = await connection.fetch(_FEES, user_id, broker_ids, now - _EVER, midnight)
                past = {row["asset"]: row["amount"] for row in rows}
                if len(self._known) >= _MOST_REMEMBERED:
                    self._known.clear()
                self._known[key] = (midnight, now, past)
            today = await connection.fetch(_FEES, user_id, broker_ids, midnight, now + _DAY)
        fees = dict(past)
        for row in today:
            fees[row["asset"]] = fees.get(row["asset"], Decimal(0)) + row["amount"]
        return dict(sorted(fees.items()))
