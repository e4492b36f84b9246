"""A summary as the API and the files tell it."""

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from app.domain.arrays import Floats, Times
from app.domain.candles import from_milliseconds
from app.domain.instruments import plain
from app.domain.metrics import amount, drawdown_of
from app.statistics.equity import AccountFigures, shown_rows
from app.statistics.figures import METRICS, Metric
from app.statistics.grouping import GroupLine
from app.statistics.naming import month_of, name_of
from app.statistics.queries import Names
from app.statistics.rates import UNIT
from app.statistics.schemas import (
    AmountOut,
    CalendarOut,
    CostsOut,
    CurveOut,
    DayOut,
    GroupOut,
    HourOut,
    HoursOut,
    MetricOut,
    PointOut,
    QuoteOut,
    ShadowOut,
    SlippageOut,
    SummaryOut,
    UnknownOut,
)
from app.statistics.shadow import ShadowLine
from app.statistics.slippage import Slippage
from app.statistics.summary import Summary
from app.statistics.trip_figures import TripCurve

_FIRST_DAY: Final = date(1970, 1, 1)
_HOURS_A_DAY: Final = 24


def day_of(key: int) -> date:
    """Return days since 1970-01-01 as a date."""
    return _FIRST_DAY + timedelta(days=key)


def metric_out(metric: Metric, summary: Summary) -> MetricOut:
    """Return one metric; an amount as text."""
    value = metric.value(summary)
    return MetricOut(
        key=metric.key,
        unit=metric.unit,
        value=plain(value) if isinstance(value, Decimal) else value,
        convention=metric.convention,
    )


def group_out(line: GroupLine, key: str | None, name: str | None) -> GroupOut:
    """Return one group under its key and name."""
    return GroupOut(
        key=key,
        name=name,
        trades=line.trades,
        won=line.won,
        lost=line.lost,
        win_rate=line.win_rate,
        profit=line.profit,
        average=line.average,
        profit_factor=line.profit_factor,
        fees=line.fees,
    )


def groups_out(dimension: str, lines: Sequence[GroupLine], names: Names) -> list[GroupOut]:
    """Return the groups of a dimension."""
    return [group_out(line, None if line.key is None else str(line.key), name_of(dimension, line.key, names)) for line in lines]


def calendar_out(lines: Sequence[GroupLine], unit: str, zone: str) -> CalendarOut:
    """Return trades by day."""
    items = [DayOut(day=day_of(line.key), trades=line.trades, won=line.won, profit=line.profit, fees=line.fees) for line in lines]
    return CalendarOut(currency=unit, timezone=zone, items=items)


def hours_out(lines: Sequence[GroupLine], unit: str, zone: str) -> HoursOut:
    """Return trades by the hour of the week."""
    items = []
    for line in lines:
        weekday, hour = divmod(line.key, _HOURS_A_DAY)
        items.append(HourOut(weekday=weekday, hour=hour, trades=line.trades, won=line.won, profit=line.profit, fees=line.fees))
    return HoursOut(currency=unit, timezone=zone, items=items)


def curve_out(accounts: AccountFigures | None, trips: TripCurve, unit: str) -> CurveOut:
    """Return the curve of whole accounts, or that of the trades where there is none."""
    if accounts is None:
        return CurveOut(of="trades", currency=unit, items=_points(trips.times, trips.sums, trips.below))
    curve = accounts.curve
    rows = shown_rows(curve)
    earned, flows = curve.grown[rows] - 1, _flows_between(curve.flows, rows)
    items = _points(curve.times[rows], curve.worth[rows], drawdown_of(curve.grown)[rows])
    return CurveOut(
        of="accounts",
        currency=UNIT,
        items=[
            point.model_copy(update={"earned": float(part), "flow": amount(float(flow))})
            for point, part, flow in zip(items, earned, flows, strict=True)
        ],
    )


def _points(times: Times, values: Floats, below: Floats) -> list[PointOut]:
    columns = zip(times.tolist(), values.tolist(), below.tolist(), strict=True)
    return [PointOut(at=from_milliseconds(at), value=amount(value), drawdown=amount(fall)) for at, value, fall in columns]


def _flows_between(flows: Floats, rows: Times) -> Floats:
    """What was put in since the row before, of the rows that are kept."""
    sums = flows.cumsum()[rows]
    sums[1:] -= sums[:-1].copy()
    sums[0] = 0.0
    return sums


def costs_out(summary: Summary) -> CostsOut:
    """Return what trading cost."""
    slippage: Slippage = summary.slippage
    return CostsOut(
        fees=summary.figures.fees,
        unvalued_fees=[AmountOut(asset=asset, amount=fee) for asset, fee in summary.unvalued.items()],
        slippage=[
            SlippageOut(
                quote=line.quote, basis=line.basis, orders=line.orders, notional=line.notional, cost=line.cost, fraction=line.fraction
            )
            for line in slippage.lines
        ],
        slippage_unknown=[UnknownOut(reason=why, orders=orders) for why, orders in slippage.unknown],
    )


def _shadow_out(line: ShadowLine) -> ShadowOut:
    return ShadowOut(
        bot_id=line.bot_id,
        quote=line.quote,
        days=line.days,
        trades=line.trades,
        shadow_trades=line.shadow_trades,
        profit=line.profit,
        shadow_profit=line.shadow_profit,
        causes=dict(line.causes),
    )


def summary_out(summary: Summary) -> SummaryOut:
    """Return the whole."""
    asked, names = summary.asked, summary.names
    return SummaryOut(
        mode=asked.mode,
        broker_ids=[account.id for account in names.accounts_of(asked)],
        start=asked.since,
        end=asked.until,
        timezone=str(asked.zone),
        as_of=summary.read_at,
        currency=summary.unit,
        profit=summary.figures.net,
        put_in=None if summary.accounts is None else summary.accounts.put_in,
        open_trades=summary.held.trips,
        metrics=[metric_out(metric, summary) for metric in METRICS],
        costs=costs_out(summary),
        by_month=[group_out(line, month_of(line.key), month_of(line.key)) for line in summary.months],
        by_source=groups_out("source", summary.groups["source"], names),
        by_account=groups_out("account", summary.groups["account"], names),
        converted=list(summary.converted),
        at_par=list(summary.at_par),
        other_quotes=[
            QuoteOut(quote=line.quote, trades=line.trades, won=line.won, profit=line.profit, fees=line.fees) for line in summary.others
        ],
        shadow=[_shadow_out(line) for line in summary.shadows],
    )
